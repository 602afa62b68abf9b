"""`etlog dev`: everything in one terminal, and nothing left behind when it ends."""

import os
import re
import shlex
import shutil
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import redis
from etlog_events.keys import Keys
from support import commands
from support.commands import Command
from support.receivers import receiving
from support.samples import DOCUMENTED
from support.servers import free_port, wait_until

#: What the sample ETL does when nothing fails.
DONE = ("Saved", "Loaded", "Aggregated", "Totaled", "Reconciled")


def api_of(command: Command) -> str:
    """Address of its API."""
    return command.wait_for(r"^  api +(http://127\.0\.0\.1:\d+)").group(1)


def store_of(command: Command) -> str:
    """Address of its store."""
    return command.wait_for(r"^  store +(redis://127\.0\.0\.1:\d+/0)").group(1)


def log_of(command: Command) -> dict[str, Any]:
    """The log, as the API gives it."""
    data: dict[str, Any] = httpx.get(f"{api_of(command)}/model/etl/log").json()["data"]
    return data


def is_counted(command: Command, counters: dict[str, int]) -> bool:
    """Whether its counters are these."""
    return bool(log_of(command)["counters"] == counters)


def part(command: Command, name: str) -> psutil.Process:
    """The process of one of its parts."""
    return next(each for each in command.family() if name in each.cmdline())


@pytest.fixture(scope="module")
def started() -> float:
    """When the sample's minute began."""
    return time.monotonic()


@pytest.fixture(scope="module")
def everything(started: float, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Command]:
    """All of it, on a terminal of 80 columns, for all tests here that only look."""
    data = tmp_path_factory.mktemp("dev") / "[red] data 'ä'"
    with commands.running("dev", "--data", str(data), "--port", str(free_port()), columns=80) as command:
        command.wait_for(r"^applied ")
        yield command


def test_it_says_what_was_started_and_where(everything: Command) -> None:
    """One line a part; the addresses are right."""
    lines = everything.shown.splitlines()

    for name in ("store", "consumer", "api", "etl", "logs"):
        assert sum(line.startswith(f"  {name} ") for line in lines) == 1
    assert "2 workers" in next(line for line in lines if line.startswith("  api "))
    assert httpx.get(f"{api_of(everything)}/healthz").status_code == 200
    with redis.Redis.from_url(store_of(everything)) as client:
        assert client.ping()


def test_what_it_says_to_try_works(everything: Command) -> None:
    """Both lines can be copied as they are, and `etlog log` too."""
    curl = shlex.split(everything.wait_for(r"Try +(curl .*)").group(1))
    redis_cli = shlex.split(everything.wait_for(r"(redis-cli .*)").group(1))
    etlog = shlex.split(everything.wait_for(r"^ +(etlog log .*)").group(1))

    assert httpx.get(curl[1]).json()["code"] == 200
    with redis.Redis(port=int(redis_cli[2])) as client:
        assert isinstance(client.execute_command(*redis_cli[3:]), list)
    assert commands.run(*etlog[1:]).returncode == 0


def test_the_summary_stays_in_one_line(everything: Command) -> None:
    """It is drawn over itself, again and again."""
    drawn = everything.printed.count("applied ")
    wait_until(lambda: everything.printed.count("applied ") > drawn, what="the summary to be drawn again")

    summaries = [line for line in everything.shown.replace("\r", "\n").splitlines() if "applied " in line]
    assert max(map(len, summaries)) <= 80
    assert re.fullmatch(
        r"applied [\d,]+ \([\d,]+ in the last minute\) · waiting [\d,?]+ · errors \d+ · dead 0 · lost 0", summaries[0]
    )


def test_two_processes_answer(everything: Command) -> None:
    """The API has two workers, in parts' own log no line is a fault."""
    workers = [
        each for each in part(everything, "serve").children(recursive=True) if "spawn_main" in " ".join(each.cmdline())
    ]

    assert len(workers) == 2


def test_a_second_start_on_the_same_folder_is_refused(everything: Command) -> None:
    """Two stores would write to the same files."""
    data = everything.wait_for(r"data in (.*)/store").group(1)

    ended = commands.run("dev", "--data", data)

    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == f"etlog: another 'etlog dev' uses {data}; name another folder with --data\n"


def test_ctrl_c_stops_everything_and_leaves_the_terminal_tidy(tmp_path: Path) -> None:
    """It reaches only the first process, which ends the parts in their order. Ports that were taken had been said."""
    with ExitStack() as taken:
        port = taken.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1]
        with suppress(OSError):  # another store may have it, which is as good
            taken.enter_context(socket.create_server(("127.0.0.1", 6379)))
        with commands.running("dev", "--no-etl", "--data", str(tmp_path), "--port", str(port), columns=80) as command:
            other = int(command.wait_for(rf"Port {port} is taken \(.*\), so the api uses (\d+)\.").group(1))
            assert port < other < port + 100
            assert int(command.wait_for(r"Port 6379 is taken \(.*\), so the store uses (\d+)\.").group(1)) > 6379
            assert api_of(command) == f"http://127.0.0.1:{other}"
            command.wait_for("applied 0 ")
            family = command.family()
            assert command.process.pid not in [os.getpgid(each.pid) for each in family[1:]]
            assert not [each for each in family if "sample" in each.cmdline()]

            command.type("\x03")

            assert command.wait() == 0
    commands.wait_for_end(family)
    assert command.shown.splitlines()[-5:] == [
        "",
        "Stopping",
        "  api stopped",
        "  consumer stopped",
        "  store stopped",
    ]
    assert command.printed.rindex("\x1b[?25h") > command.printed.rindex("\x1b[?25l"), "the cursor is shown again"
    assert "Traceback" not in command.shown
    assert not [path.name for path in (tmp_path / "logs").iterdir() if "Traceback" in path.read_text()]


def test_a_start_on_the_same_folder_goes_on_with_its_log(tmp_path: Path) -> None:
    """After the first has stopped by itself; the second is stopped as `kill` and process managers do it."""
    event: dict[Any, Any] = {"event": DOCUMENTED["asset"][0]}
    options = ("dev", "--no-etl", "--data", str(tmp_path))

    with commands.running(*options, "--port", str(free_port()), "--for", "0.5") as command:
        with redis.Redis.from_url(store_of(command)) as client:
            client.xadd(Keys("default").events, event)

        assert command.wait() == 0
        assert "Stopping" in command.shown
    with commands.running(*options, "--port", str(free_port())) as command:
        command.wait_for("^applied ")
        wait_until(partial(is_counted, command, {"AssetSetTotaled": 1}), what="the event of the first")
        with redis.Redis.from_url(store_of(command)) as client:
            client.xadd(Keys("default").events, event)
        wait_until(partial(is_counted, command, {"AssetSetTotaled": 2}), what="the event of the second")
        assert len(log_of(command)["asset"]) == 2
        family = command.family()

        assert command.stop(signal.SIGTERM) < 10
        assert command.wait() == 0
    assert "Traceback" not in command.shown
    commands.wait_for_end(family)


def test_a_part_that_dies_ends_everything(tmp_path: Path) -> None:
    """It is named, with the end of what it printed; the exit code is 1."""
    with commands.running("dev", "--no-etl", "--data", str(tmp_path), "--port", str(free_port())) as command:
        command.wait_for("^applied ")
        family = command.family()
        part(command, "consume").kill()

        assert command.wait() == 1
    commands.wait_for_end(family)
    end = command.shown[command.shown.index("etlog: ") :].splitlines()
    assert end[0] == f"etlog: the consumer ended with exit code -9; the end of {tmp_path}/logs/consumer.log:"
    assert "etlog.consumer: Active" in end[1]
    assert "Traceback" not in command.shown


def test_a_closed_terminal_leaves_nothing_behind(tmp_path: Path) -> None:
    """No one can read what it prints any longer."""
    with commands.running(
        "dev", "--no-etl", "--data", str(tmp_path), "--port", str(free_port()), columns=80
    ) as command:
        command.wait_for("^applied ")
        family = command.family()
        command.hang_up()

        commands.wait_for_end(family)


def test_within_a_minute_the_log_tells_of_every_stage(everything: Command, started: float) -> None:
    """Of both categories."""
    wanted = {prefix + action for prefix in ("AllocationSet", "AssetSet") for action in DONE}

    def seen() -> bool:
        log = log_of(everything)
        return wanted <= {event["kind"] for event in log["allocation"] + log["asset"]}

    wait_until(seen, timeout=60 - (time.monotonic() - started), what="all kinds")
    assert wanted <= set(log_of(everything)["counters"])


def test_with_a_configuration_it_tells_of_what_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a watcher that runs beside the others, and the verdict says so. The port of metrics is the consumer's."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    file, options = tmp_path / "etlog.toml", ("--fail", "--port", str(free_port()), "--data", str(tmp_path))
    with receiving() as receiver:
        file.write_text(f'version = 1\n[[notify]]\nurl = "{receiver.url}/hook"\non = ["failed"]\n')
        with commands.running("dev", "--config", str(file), *options, metrics_port=str(free_port())) as command:
            command.wait_for(rf"^  watch +tells of problems, by {re.escape(str(file))}$")
            api = api_of(command)

            wait_until(lambda: receiver.received, timeout=120, what="a message")
            message = receiver.received[0].json
            told = [problem for problem in message["data"]["problems"] if problem["stages"]]

            def shown() -> list[dict[str, Any]]:
                problems = httpx.get(f"{api}/model/etl/coverage").json()["data"]["problems"]
                return [problem for problem in problems if problem["told"]]

            wait_until(shown, what="the verdict to say who was told")
            assert "People were told at " in commands.run("coverage", "--url", api).stdout
            family = command.family()
            assert command.stop(signal.SIGTERM) < 15
        commands.wait_for_end(family)
    assert message["type"] == "etlog.problem.opened"
    assert {problem["state"] for problem in told} == {"failed"}
    assert told[0]["url"].startswith(f"{api}/?log=default")
    assert "  watch stopped" in command.shown.splitlines()


def test_a_killed_one_leaves_nothing_behind(everything: Command) -> None:
    """Nothing can run on SIGKILL, but the kernel terminates the parts where `setpriv` is installed."""
    if not shutil.which("setpriv") and not os.environ.get("CI"):
        pytest.skip("needs setpriv")
    family = everything.family()
    assert len(family) > 8

    everything.process.kill()

    commands.wait_for_end(family)
