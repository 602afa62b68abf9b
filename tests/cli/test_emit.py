"""`etlog emit`: one event from its options. Files are tested in `test_event_file.py`."""

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import redis
from etlog.__main__ import run
from etlog.commands import emit
from etlog_events.keys import Keys
from support import commands
from support.samples import WINDOW, saved
from support.servers import free_port
from support.stream import entries

pytestmark = pytest.mark.usefixtures("own_log")


def stored(client: Any, keys: Keys) -> list[str]:
    """The events in the stream, as text."""
    return [entry.event.decode() for entry in entries(client, keys)]


def test_one_event_is_made_of_its_options(client: redis.Redis, keys: Keys) -> None:
    """It is in the stream when the command ends."""
    ended = commands.run(
        *("emit", "AssetSetSaved", "--size", "97", "--start", WINDOW[0], "--end", WINDOW[1]),
        *("--time", "2022-06-03T19:07:54.5+02:00", "--meta", "region=eu-1", "--meta", "note=a=b"),
    )

    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == f"1 event delivered to log {keys.name}\n"
    assert stored(client, keys) == [
        '{"kind":"AssetSetSaved","metadata":{"size":97,'
        '"window":{"start":"2022-06-03T10:00:00Z","end":"2022-06-03T11:00:00Z"},"region":"eu-1","note":"a=b"},'
        '"time":"2022-06-03T17:07:54.5Z"}'
    ]


def test_an_error_needs_no_window(client: redis.Redis, keys: Keys) -> None:
    """Its time is now if none is given."""
    assert run(["emit", "AllocationSetComputeError", "--error", "no prices"]) == 0

    [event] = map(json.loads, stored(client, keys))
    assert event["metadata"] == {"error": "no prices"}
    assert event["time"].endswith("Z")


def test_an_event_that_the_store_did_not_accept_waits_in_the_spool(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the store goes away between the first look and the delivery, the command fails and nothing is lost."""
    monkeypatch.setattr(emit, "TIMEOUT", 0.1)
    monkeypatch.setattr(emit, "connected", lambda *_: nullcontext())
    monkeypatch.setenv("ETLOG_REDIS_URL", f"redis://127.0.0.1:{free_port()}/0")

    assert run(["emit", "AssetSetComputeError", "--error", "no prices"]) == 1

    said = capsys.readouterr().err
    assert "the event is in the spool, and the next producer or 'etlog spool flush' delivers it" in said
    assert len(list((tmp_path / "spool").rglob("*.spool"))) == 1


def test_a_file_is_counted(tmp_path: Path, keys: Keys, capsys: pytest.CaptureFixture[str]) -> None:
    """The events that were delivered, also when there are none."""
    file = tmp_path / "events.ndjson"
    file.write_bytes(b"\n".join([saved(1), saved(2)]))

    assert run(["emit", "--file", str(file)]) == 0
    assert run(["emit", "--file", "/dev/null"]) == 0

    first, second = (f"{count} events delivered to log {keys.name}\n" for count in (2, 0))
    assert capsys.readouterr() == (first + second, "")


def test_invalid_lines_are_skipped_if_wanted(
    client: redis.Redis, keys: Keys, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each is named, and the exit code tells of them."""
    file = tmp_path / "events.ndjson"
    file.write_bytes(b"\n".join([saved(0), b"{}", saved(2), b"nonsense", saved(4)]))

    assert run(["emit", "--file", str(file), "--on-error", "skip"]) == 1

    captured = capsys.readouterr()
    assert "line 2 skipped: " in captured.err
    assert "line 4 skipped: " in captured.err
    assert "etlog: 2 invalid lines skipped\n" in captured.err
    assert "3 events delivered" in captured.out
    assert stored(client, keys) == [saved(size).decode() for size in (0, 2, 4)]


def test_an_invalid_line_ends_the_process_with_2() -> None:
    """A whole process this time."""
    ended = commands.run("emit", "--file", "-", input=f"{saved(1).decode()}\nnonsense\n")

    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr.startswith("etlog: line 2: not JSON")
    assert len(ended.stderr.splitlines()) == 1
