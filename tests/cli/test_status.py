"""`etlog status`: how far the log is applied, what waits, and which consumer is active."""

import re
from pathlib import Path
from typing import Any

import orjson
import pytest
import redis
from etlog.client import Answer
from etlog.commands import status
from etlog.commands.status import last_heard
from etlog.moments import Moments
from etlog_api import heard
from etlog_events.keys import Keys
from etlog_producer.publish import Identity, Publisher
from etlog_producer.spool.folder import SpoolFolder
from etlog_producer.spool.writer import SpoolWriter
from support import commands
from support.consumers import CaughtUp, Consuming
from support.samples import saved


def test_the_status_tells_what_waits_and_who_is_active(
    api: str, client: redis.Redis, keys: Keys, consuming: Consuming, caught_up: CaughtUp
) -> None:
    """Without a consumer it says so, and how many entries wait."""
    client.xadd(keys.events, {"event": saved(1)})
    before = commands.run("status", "--url", api)

    with consuming() as consumer:
        caught_up()
        after = commands.run("status", "--url", api)
        lag = orjson.loads(commands.run("status", "--url", api, "--json").stdout)["data"]["lag"]

    assert "no consumer is active" in before.stdout
    assert "the oldest for" in before.stdout
    assert consumer.name in after.stdout
    assert "nothing" in after.stdout
    assert lag == 0


def test_what_waits_is_counted_in_events_or_entries(
    api: str, client: redis.Redis, keys: Keys, consuming: Consuming, caught_up: CaughtUp
) -> None:
    """In entries while some wait that other clients appended."""

    def waiting() -> str:
        lines = commands.run("status", "--url", api).stdout.splitlines()
        [line] = [line for line in lines if line.startswith("waiting")]
        return re.sub(r", the oldest for [0-9.]+ s$", "", line.removeprefix("waiting").strip())

    publisher = Publisher(client, keys)
    publisher(Identity("p"), 1, [saved(0)])
    assert waiting() == "1 event"
    publisher(Identity("p"), 2, [saved(size) for size in range(1199)])
    assert waiting() == "1,200 events"
    client.xadd(keys.events, {"event": saved(0), "event.1": saved(1)})
    assert waiting() == "an unknown number of entries"  # where there was never a consumer
    with consuming():
        caught_up()
    assert waiting() == "nothing"
    client.xadd(keys.events, {"event": saved(0), "event.1": saved(1)})
    assert waiting() == "1 entry"
    publisher(Identity("p"), 1201, [saved(0), saved(1)])
    assert waiting() == "2 entries"


def test_files_for_another_log_are_told_in_one_line(api: str, client: redis.Redis, keys: Keys, tmp_path: Path) -> None:
    """That is, written for a log of the same name with another id. Those for this one only wait."""

    def leave(producer: str, log_id: str) -> None:
        folder = SpoolFolder(tmp_path / "spool" / keys.name, keys.name, "redis://127.0.0.1:1/0")
        folder.make()
        writer = SpoolWriter(folder, Identity(producer), log_id=log_id)
        writer.append(1, [saved()])
        writer.close()

    def warned() -> list[str]:
        ended = commands.run("status", "--url", api)
        assert (ended.returncode, ended.stderr) == (0, "")
        return [line for line in ended.stdout.splitlines() if "spool" in line]

    assert warned() == []
    Publisher(client, keys)(Identity("p"), 1, [saved(0)])
    log_id = orjson.loads(commands.run("status", "--url", api, "--json").stdout)["data"]["id"]
    leave("host-1-a", log_id)
    leave("host-1-b", "")
    assert warned() == []
    leave("host-1-c", "an-older-one")
    [line] = warned()
    assert line == (
        f"Warning: 1 spool file on this machine is for another log {keys.name} than this one; see 'etlog spool list'"
    )
    leave("host-1-d", "an-older-one")
    assert warned()[0].startswith("Warning: 2 spool files on this machine are for another log")
    assert orjson.loads(commands.run("status", "--url", api, "--json").stdout)["code"] == 200


def shown(capsys: pytest.CaptureFixture[str], **more: Any) -> dict[str, str]:
    """The rows of the status of a log with these facts, those in red between asterisks."""
    facts: dict[str, Any] = {
        **{"cursor": None, "lag": 0, "lag_unit": "events", "oldest_unapplied": None, "active_consumer": "c"},
        **{"entries": 0, "store": {}, "warnings": [], "stats": {}},
    }
    status.show(Answer(orjson.dumps({"data": facts | more}), 0.0), as_json=False)
    lines = re.sub(r"\x1b\[1;31m(.*?) *\x1b\[0m", r"*\1*", capsys.readouterr().out).splitlines()
    return {name: value.strip() for name, _, value in (line.partition(" ") for line in lines)}


def test_losses_are_red_only_beyond_those_that_are_acknowledged(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says by whom and why; an API that knows of no marks says nothing."""
    for name, value in {"FORCE_COLOR": "1", "TERM": "xterm", "COLUMNS": "100"}.items():
        monkeypatch.setenv(name, value)
    mark = {"by": "ana@ops", "reason": "disk [full]\x1b"}

    def losses(lost: int, acknowledged: int | None) -> tuple[str, str]:
        said = (
            {} if acknowledged is None else {"acknowledged": {"lost": acknowledged}, "acknowledgements": {"lost": mark}}
        )
        rows = shown(capsys, stats={"lost": lost, "dead": 1}, **said)
        return rows["lost"], rows["dead"]

    assert losses(3, 3) == ("3, acknowledged by ana@ops: disk [full]\\x1b", "*1*")
    assert losses(5, 3) == ("*5, 3 of them acknowledged by ana@ops: disk [full]\\x1b*", "*1*")
    assert losses(3, None) == ("*3*", "*1*")
    assert losses(0, None) == ("0", "*1*")


def test_one_of_several_logs_is_asked_for_by_its_name(second_of_two: tuple[str, ...]) -> None:
    """The status is that of the log that `--log` names."""
    answer = commands.run("status", "--json", *second_of_two)

    assert orjson.loads(answer.stdout)["data"]["entries"] == 2


def test_the_status_tells_when_each_category_last_heard_of_a_set(
    api: str, client: redis.Redis, keys: Keys, consuming: Consuming, caught_up: CaughtUp
) -> None:
    """By the latest of its events; an error without a window is not of a set, however many there are."""
    error = b'{"kind":"AllocationSetComputeError","metadata":{"error":"no prices"},"time":"2022-06-05T10:00:00Z"}'
    times = ("2022-06-03T17:00:00.5Z", "2022-06-03T16:00:00Z")
    window = b'{"start":"2022-06-03T10:00:00Z","end":"2022-06-03T11:00:00Z"}'
    for time in times:
        text = b'{"kind":"AllocationSetTotaled","metadata":{"window":%b},"time":"%b"}' % (window, time.encode())
        client.xadd(keys.events, {"event": text})
    for _ in range(heard.NEWEST):
        client.xadd(keys.events, {"event": error})
    with consuming():
        caught_up()
    client.rpush(keys.log("allocation"), "not an event")
    client.set(keys.log("asset"), "not a list")

    shown = commands.run("status", "--url", api).stdout
    found = orjson.loads(commands.run("status", "--url", api, "--json").stdout)["data"]["heard"]

    assert re.search(r"^allocation +last event of a set \d+ d ago \(2022-06-03 17:00:00 UTC\) *$", shown, re.MULTILINE)
    assert re.search(r"^asset +no event of a set *$", shown, re.MULTILINE)
    assert found == {"allocation": times[0], "asset": None}


def test_a_clock_that_is_ahead_is_told_as_such() -> None:
    """Nothing was heard in the future."""
    moments = Moments("UTC", 1_000_000_000)

    assert last_heard("2001-09-09T01:46:40.9Z", moments) == "last event of a set now (01:46:40 UTC)"
    assert (
        last_heard("2001-09-09T01:48:40Z", moments) == "last event of a set at 01:48:40 UTC, ahead of the API's clock"
    )
