"""`etlog watch` as a process: how it begins, ends, and tells a sample."""

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis
from etlog_events.keys import Keys
from support.commands import run, running
from support.receivers import Answer, Receiver, receiving
from support.servers import Server, free_port, wait_until
from support.watching import configured, notify


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A receiver of webhooks."""
    with receiving() as receiver:
        yield receiver


@pytest.fixture(autouse=True)
def own_log(store_url: str, keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command is on the test's log, and none of this machine's proxies is in its way."""
    monkeypatch.setenv("ETLOG_REDIS_URL", store_url)
    monkeypatch.setenv("ETLOG_NAME", keys.name)
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def config(monkeypatch: pytest.MonkeyPatch, folder: Path, *tables: str) -> None:
    """The configuration of the command."""
    monkeypatch.setenv("ETLOG_CONFIG", str(configured(folder / "etlog.toml", *tables)))


@pytest.mark.timed
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_one_that_is_stopped_leaves_its_place_at_once(
    number: signal.Signals,
    receiver: Receiver,
    client: redis.Redis,
    keys: Keys,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It need not wait for anything, and the next one need not wait for it."""
    config(monkeypatch, tmp_path, notify(receiver))
    with running("watch") as first, running("watch") as second:
        wait_until(lambda: "Watching log" in first.shown + second.shown, what="one to tell")
        teller, other = (first, second) if "Watching log" in first.shown else (second, first)
        assert client.hexists(keys.incidents, "watcher")

        took = teller.stop(number)
        began = time.monotonic()
        other.wait_for("Watching log")

        assert time.monotonic() - began < 8, "as if it had died"
        assert teller.process.returncode == 0
        assert took < 5
        assert "Traceback" not in teller.shown

        other.stop(number)
        assert other.process.returncode == 0
        assert not client.hexists(keys.incidents, "watcher")


@pytest.mark.timed
@pytest.mark.parametrize("fault", [Server.stop, Server.kill])
def test_one_without_a_store_is_stopped_as_soon(
    fault: Callable[[Server], None],
    server: Server,
    receiver: Receiver,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whether the store is gone or does not answer."""
    config(monkeypatch, tmp_path, notify(receiver))
    with running("watch", redis_url=server.url) as command:
        command.wait_for("Watching log")
        fault(server)

        took = command.stop()

        assert took < 10
        assert command.process.returncode == 0
        assert "Traceback" not in command.shown


@pytest.mark.timed
def test_ctrl_c_on_a_terminal_ends_it(receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And says nothing that looks like an error."""
    config(monkeypatch, tmp_path, notify(receiver))
    with running("watch", columns=120) as command:
        command.wait_for("Watching log")
        command.type("\x03")
        assert command.wait() == 0
        assert "Traceback" not in command.shown


def test_one_that_can_tell_no_one_says_so_once() -> None:
    """It may be that a variable is missing."""
    with running("watch") as command:
        command.wait_for("No one is told of problems")
        command.stop()

    warnings = [line for line in command.shown.splitlines() if "WARNING" in line and "[[notify]]" in line]
    assert len(warnings) == 1
    assert "No one is told of problems" in warnings[0]
    assert command.process.returncode == 0


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ("[[notify]]\n", "notify[0].url is missing"),
        ('[[notify]]\nurl = "http://127.0.0.1:1"\nremind = "often"\n', "notify[0].remind"),
        ('[[notify]]\nurl = "http://127.0.0.1:1"\nsecret = "env:ETLOG_TEST_NO_SUCH"\n', "notify[0].secret"),
        ("[[notify]\n", "line"),
    ],
)
@pytest.mark.parametrize("options", [[], ["--test"]])
def test_a_configuration_that_is_wrong_is_one_sentence(
    table: str, told: str, options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for every other command."""
    config(monkeypatch, tmp_path, table)

    ended = run("watch", *options)

    assert ended.returncode == 2
    assert ended.stdout == ""
    [line] = ended.stderr.splitlines()
    assert line.startswith("etlog: ")
    assert told in line


def test_without_a_store_it_does_not_begin(receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One sentence, as for every other command."""
    config(monkeypatch, tmp_path, notify(receiver))
    monkeypatch.setenv("ETLOG_REDIS_URL", f"redis://127.0.0.1:{free_port()}/0")

    ended = run("watch")

    assert ended.returncode == 3
    assert len(ended.stderr.splitlines()) == 1
    assert receiver.received == []


def test_a_sample_is_taken(receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing else is sent, and no store is asked."""
    config(monkeypatch, tmp_path, notify(receiver))
    monkeypatch.setenv("ETLOG_REDIS_URL", f"redis://127.0.0.1:{free_port()}/0")

    ended = run("watch", "--test")

    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == f"{receiver.url}#0: sent\n"
    [message] = receiver.received
    assert message.json["type"] == "etlog.problem.opened"
    [problem] = message.json["data"]["problems"]
    assert problem["log"] == "sample"
    assert "This is a sample" in problem["text"]


def test_a_sample_that_is_refused_is_told_of_each_target(
    receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever became of those before, and without what is secret of its address."""
    with receiving() as refusing:
        refusing.answer(Answer(status=403))
        away = free_port()
        config(
            monkeypatch,
            tmp_path,
            notify(refusing),
            f'[[notify]]\nurl = "http://127.0.0.1:{away}/secret-path?token=hidden"\n',
            notify(receiver),
        )

        ended = run("watch", "--test")

        refused, unreachable, taken = ended.stdout.splitlines()
        assert refused.startswith(f"{refusing.url}#0: not sent: ")
        assert "403" in refused
        assert unreachable.startswith(f"http://127.0.0.1:{away}#1: not sent: ")
        assert taken == f"{receiver.url}#2: sent"
        assert ended.returncode == 1
        assert ended.stderr == "etlog: not every target took the sample\n"
        assert "secret-path" not in ended.stdout + ended.stderr
        assert "hidden" not in ended.stdout + ended.stderr
        assert [len(each.received) for each in (refusing, receiver)] == [1, 1]


def test_a_sample_for_no_one_is_misused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a file or without."""
    without = run("watch", "--test")
    config(monkeypatch, tmp_path)
    empty = run("watch", "--test")

    for ended in (without, empty):
        assert (ended.returncode, ended.stdout) == (2, "")
        assert ended.stderr == "etlog: there is no target: add a [[notify]] to the file that ETLOG_CONFIG names\n"
