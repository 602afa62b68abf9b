"""The commands that ask a running API: the live log, the status, the bug report."""

import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import orjson
import pytest
import redis
from etlog_api import create_app
from etlog_events.event import Event
from etlog_events.keys import Keys
from etlog_events.settings import Settings
from support import commands
from support.apis import api_process, apply, serve
from support.consumers import Consuming
from support.samples import saved
from support.servers import PATIENCE, free_port, wait_until


@pytest.fixture
def api(store_url: str, keys: Keys) -> Iterator[str]:
    """The address of an API of the test's own log."""
    with api_process(store_url, name=keys.name) as api:
        yield api.url


def etlog(*arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run `etlog` to its end."""
    command = [sys.executable, "-m", "etlog", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)


def test_the_log_is_followed_from_its_newest_events_on(
    api: str, client: redis.Redis, keys: Keys, consuming: Consuming, caught_up: Callable[[], None], tmp_path: Path
) -> None:
    """What was applied before is shown first, what comes is shown once, and Ctrl-C ends it without a traceback."""
    output = tmp_path / "followed"
    with consuming():
        for size in range(15):
            client.xadd(keys.events, {"event": saved(size)})
        caught_up()
        with output.open("wb") as file:
            command = [sys.executable, "-m", "etlog", "log", "--follow", "--json", "--url", api]
            following = subprocess.Popen(command, stdout=file, stderr=subprocess.PIPE)
        wait_until(lambda: len(output.read_bytes().splitlines()) == 10, what="the newest events")

        for size in range(15, 20):
            client.xadd(keys.events, {"event": saved(size)})
        wait_until(lambda: len(output.read_bytes().splitlines()) == 15, what="the events that came")

    following.send_signal(signal.SIGINT)
    _, errors = following.communicate(timeout=PATIENCE)
    sizes = [orjson.loads(line)["metadata"]["size"] for line in output.read_bytes().splitlines()]
    assert sizes == list(range(5, 20))
    assert errors == b""


def test_what_comes_while_the_api_is_away_is_shown_after_it(
    store_url: str, client: redis.Redis, keys: Keys, consuming: Consuming, caught_up: Callable[[], None], tmp_path: Path
) -> None:
    """Also when nothing that passes the filter had come before: where it stood is known from the connection alone."""
    output = tmp_path / "followed"

    def emit(error: str) -> None:
        client.xadd(keys.events, {"event": Event.new("AssetSetComputeError", error=error).encode()})
        caught_up()

    def shown() -> list[str]:
        return [orjson.loads(line)["metadata"]["error"] for line in output.read_bytes().splitlines()]

    with consuming(), ExitStack() as stack:
        emit("before")
        api = stack.enter_context(api_process(store_url, name=keys.name))
        file = stack.enter_context(output.open("wb"))
        command = [sys.executable, "-m", "etlog", "log", "--follow", "--kind", "Error", "--json", "--url", api.url]
        following = stack.enter_context(subprocess.Popen(command, stdout=file))
        stack.callback(following.kill)
        wait_until(lambda: shown() == ["before"], what="what was there")
        api.stop()
        emit("meanwhile")
        api.start()
        wait_until(lambda: len(shown()) == 2, what="what came while the API was away")
        emit("after")
        wait_until(lambda: len(shown()) == 3, what="what came after it")

    assert shown() == ["before", "meanwhile", "after"]


def test_the_status_tells_what_waits_and_who_is_active(
    api: str, client: redis.Redis, keys: Keys, consuming: Consuming, caught_up: Callable[[], None]
) -> None:
    """Without a consumer it says so, and how many entries wait."""
    client.xadd(keys.events, {"event": saved(1)})
    before = etlog("status", "--url", api)

    with consuming() as consumer:
        caught_up()
        after = etlog("status", "--url", api)
        lag = orjson.loads(etlog("status", "--url", api, "--json").stdout)["data"]["lag"]

    assert "no consumer is active" in before.stdout
    assert "the oldest for" in before.stdout
    assert consumer.name in after.stdout
    assert "nothing" in after.stdout
    assert lag == 0


def test_the_bug_report_is_saved_whole(api: str, tmp_path: Path) -> None:
    """To the file that was named, and no partial one is left beside it."""
    report = tmp_path / "report.zip"

    said = etlog("bugreport", "-o", str(report), "--url", api)

    assert said.returncode == 0
    assert str(report) in said.stdout
    with zipfile.ZipFile(report) as archive:
        assert "etlog-bugreport/log.json" in archive.namelist()
    assert list(tmp_path.iterdir()) == [report]


def test_a_report_that_cannot_be_written_is_one_sentence(api: str, tmp_path: Path) -> None:
    """It names the file."""
    said = etlog("bugreport", "-o", str(tmp_path / "no" / "such" / "folder.zip"), "--url", api)

    assert said.returncode == 1
    assert said.stderr.count("\n") == 1
    assert "folder.zip" in said.stderr


def test_an_api_that_is_not_there_is_one_sentence() -> None:
    """For each command that asks it."""
    for command in (["log", "--follow"], ["status"], ["bugreport"]):
        said = etlog(*command, "--url", f"http://127.0.0.1:{free_port()}")

        assert said.returncode == 2
        assert said.stderr.count("\n") == 1
        assert "cannot be reached" in said.stderr


def test_each_of_several_logs_is_asked_for_by_its_name(store_url: str, keys: Keys, tmp_path: Path) -> None:
    """By the log, the status and the bug report; one that is not there is told."""
    other = Keys(f"{keys.name}-other")
    apply(store_url, keys, [saved(1)])
    apply(store_url, other, [saved(2), saved(3)])
    with serve(create_app(Settings(redis_url=store_url, name=keys.name, names=(keys.name, other.name)))) as api:
        asked = ("--log", other.name, "--url", api.url)
        status = etlog("status", "--json", *asked)
        report = etlog("bugreport", "--output", str(tmp_path / "report.zip"), *asked)
        unknown = etlog("log", "--url", api.url, "--log", "no-such-log")
        command = [sys.executable, "-m", "etlog", "log", "--follow", "--json", *asked]
        following = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert following.stdout is not None
        followed = [orjson.loads(following.stdout.readline()) for _ in range(2)]
        following.send_signal(signal.SIGINT)
        following.communicate(timeout=PATIENCE)

    assert orjson.loads(status.stdout)["data"]["entries"] == 2
    assert [event["metadata"]["size"] for event in followed] == [2, 3]
    assert report.returncode == 0
    with zipfile.ZipFile(tmp_path / "report.zip") as archive:
        assert len(orjson.loads(archive.read("etlog-bugreport/log.json"))["data"]["allocation"]) == 2
    assert (unknown.returncode, unknown.stderr) == (2, "etlog: the API answered 404: unknown log 'no-such-log'\n")


def test_the_log_that_an_option_names_is_the_only_one(
    store_url: str, client: redis.Redis, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An option wins, also over the names of several logs."""
    monkeypatch.setenv("ETLOG_NAMES", "one,two")
    client.xadd(keys.events, {"event": saved(1)})
    with commands.running("consume", "--redis-url", store_url, "--log", keys.name) as consuming:
        consuming.wait_for(f"applies log {keys.name}")
        wait_until(lambda: client.hget(keys.stats, "applied") == b"1", what="the event to be applied")
    assert "Share" not in consuming.shown
