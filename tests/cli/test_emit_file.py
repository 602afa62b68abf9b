"""`etlog emit`: one event or a whole file, each event once, whatever interrupts it."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from time import time

import pytest
import redis
from etlog import emit as emitting
from etlog.__main__ import run
from etlog_events.keys import Keys
from etlog_events.sequence import SENT_WITHIN
from support.servers import PATIENCE, free_port, wait_until
from support.stream import entries

WINDOW = {"start": "2022-06-03T10:00:00Z", "end": "2022-06-03T11:00:00Z"}


def line(size: int) -> str:
    """An event as a line."""
    event = {"kind": "AssetSetSaved", "metadata": {"size": size, "window": WINDOW}, "time": "2022-06-03T17:07:54Z"}
    return json.dumps(event) + "\n"


@pytest.fixture(autouse=True)
def spool_dir(plain_environment: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of the test's own for spool files."""
    monkeypatch.setenv("ETLOG_SPOOL_DIR", str(tmp_path / "spool"))
    return tmp_path / "spool"


@pytest.fixture
def options(store_url: str, keys: Keys, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which store and log."""
    monkeypatch.setenv("ETLOG_REDIS_URL", store_url)
    monkeypatch.setenv("ETLOG_NAME", keys.name)
    return ["--redis-url", store_url, "--log", keys.name]


def sizes(client: redis.Redis, keys: Keys) -> list[int]:
    """What tells the events in the log apart."""
    return [entry.metadata["size"] for entry in entries(client, keys)]


def test_one_event_is_delivered(options: list[str], client: redis.Redis, keys: Keys) -> None:
    """With its window, and metadata of its own."""
    window = ["--start", WINDOW["start"], "--end", WINDOW["end"]]

    assert run(["emit", "AssetSetSaved", "--size", "97", *window, "--meta", "region=eu-1", *options]) == 0

    [entry] = entries(client, keys)
    assert entry.metadata == {"size": 97, "window": WINDOW, "region": "eu-1"}


def test_one_event_that_the_store_did_not_take_waits_in_the_spool(
    spool_dir: Path, keys: Keys, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the store goes away between the first look and the delivery, the command fails and nothing is lost."""
    monkeypatch.setattr(emitting, "TIMEOUT", 0.1)
    monkeypatch.setattr(emitting, "_reach", lambda _: None)
    monkeypatch.setenv("ETLOG_REDIS_URL", f"redis://127.0.0.1:{free_port()}/0")

    assert run(["emit", "AssetSetComputeError", "--error", "no prices"]) == 1

    assert "it waits in the spool, and 'etlog spool flush' or the next event sends it" in capsys.readouterr().err
    assert len(list(spool_dir.rglob("*.spool"))) == 1


def test_a_file_is_delivered_line_by_line(options: list[str], client: redis.Redis, keys: Keys, tmp_path: Path) -> None:
    """And nothing is left of the run."""
    file = tmp_path / "events.ndjson"
    file.write_text("".join(map(line, range(12_000))) + "\n\n")

    assert run(["emit", "--file", str(file), *options]) == 0

    assert sizes(client, keys) == list(range(12_000))
    assert not list((tmp_path / "spool").rglob("*.place"))


def test_standard_input_is_delivered(store_url: str, client: redis.Redis, keys: Keys) -> None:
    """As it comes through a pipe."""
    command = [sys.executable, "-m", "etlog", "emit", "--file", "-", "--redis-url", store_url, "--log", keys.name]

    ended = subprocess.run(command, input="".join(map(line, range(10))), text=True, check=False, timeout=PATIENCE)

    assert ended.returncode == 0
    assert sizes(client, keys) == list(range(10))


def test_a_bad_line_stops_the_run_and_is_named(
    options: list[str], client: redis.Redis, keys: Keys, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What stands before it is delivered."""
    file = tmp_path / "events.ndjson"
    file.write_text(line(0) + line(1) + "{}\n" + line(3))

    assert run(["emit", "--file", str(file), *options]) != 0

    assert "line 3: " in capsys.readouterr().err
    assert sizes(client, keys) == [0, 1]


def test_bad_lines_may_be_skipped(
    options: list[str], client: redis.Redis, keys: Keys, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each is named, and the exit code tells of them."""
    file = tmp_path / "events.ndjson"
    file.write_text(line(0) + "{}\n" + line(2) + "nonsense\n" + line(4))

    assert run(["emit", "--file", str(file), "--on-error", "skip", *options]) == 1

    captured = capsys.readouterr()
    assert "line 2 is skipped: " in captured.err
    assert "line 4 is skipped: " in captured.err
    assert "2 lines were no events and were skipped" in captured.err
    assert "3 events delivered" in captured.out
    assert sizes(client, keys) == [0, 2, 4]


def test_a_run_that_was_interrupted_goes_on_without_doubling(
    store_url: str, options: list[str], client: redis.Redis, keys: Keys, tmp_path: Path
) -> None:
    """Twice, by Ctrl-C."""
    file = tmp_path / "events.ndjson"
    file.write_text("".join(map(line, range(60_000))))
    command = [sys.executable, "-m", "etlog", "emit", "--file", str(file), *options]
    for resume in ([], ["--resume"]):
        before = int(client.xlen(keys.events))
        process = subprocess.Popen([*command, *resume], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        wait_until(lambda: int(client.xlen(keys.events)) > before + 9000, what="some events")  # noqa: B023
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE) == 130

    assert run(["emit", "--file", str(file), "--resume", *options]) == 0

    assert sizes(client, keys) == list(range(60_000))
    assert not list((tmp_path / "spool").rglob("*.*"))


def test_a_file_that_changed_is_not_resumed(
    options: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its lines would not be those that were left out."""
    file = tmp_path / "events.ndjson"
    file.write_text(line(0) + "{}\n")
    assert run(["emit", "--file", str(file), *options]) != 0
    file.write_text(line(5))

    assert run(["emit", "--file", str(file), "--resume", *options]) == 2

    assert "has changed in what was emitted before" in capsys.readouterr().err


def test_a_skipped_line_that_was_mended_is_not_resumed(
    options: list[str], client: redis.Redis, keys: Keys, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Wherever it stands: every event after it would go out under the number of the one before."""
    file = tmp_path / "events.ndjson"
    lines = [*map(line, range(7_000)), "{}\n", *map(line, range(7_001, 60_000))]
    file.write_text("".join(lines))
    emit = [sys.executable, "-m", "etlog", "emit", "--file", str(file), "--on-error", "skip", *options]
    process = subprocess.Popen(emit, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    wait_until(lambda: int(client.xlen(keys.events)) > 9_000, what="some events")
    process.kill()
    process.wait(PATIENCE)
    lines[7_000] = line(7_000)
    file.write_text("".join(lines))

    assert run(["emit", "--file", str(file), "--resume", *options]) == 2

    assert "has changed in what was emitted before" in capsys.readouterr().err


def test_a_line_that_stopped_a_run_may_be_mended(
    options: list[str], client: redis.Redis, keys: Keys, tmp_path: Path
) -> None:
    """Nothing from there on was emitted; what is before it is not doubled."""
    file = tmp_path / "events.ndjson"
    lines = [*map(line, range(6_000)), "{}\n", *map(line, range(6_001, 6_100))]
    file.write_text("".join(lines))
    assert run(["emit", "--file", str(file), *options]) == 2
    lines[6_000] = line(6_000)
    file.write_text("".join(lines))

    assert run(["emit", "--file", str(file), "--resume", *options]) == 0

    assert sizes(client, keys) == list(range(6_100))


def test_a_place_that_is_too_old_is_not_resumed(
    options: list[str],
    client: redis.Redis,
    keys: Keys,
    spool_dir: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The store may have forgotten the numbers, and would take everything again."""
    file = tmp_path / "events.ndjson"
    file.write_text(line(0) + "{}\n")
    assert run(["emit", "--file", str(file), *options]) == 2
    [place] = spool_dir.rglob("*.place")
    old = time() - SENT_WITHIN - 60
    os.utime(place, (old, old))

    assert run(["emit", "--file", str(file), "--resume", *options]) == 1

    assert "was interrupted more than 60 days ago" in capsys.readouterr().err
    assert sizes(client, keys) == [0]


def test_a_named_pipe_is_emitted_whole(options: list[str], client: redis.Redis, keys: Keys, tmp_path: Path) -> None:
    """It can be read only once, from its first byte."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_text, args=("".join(map(line, range(100))),))
    writer.start()

    assert run(["emit", "--file", str(pipe), *options]) == 0

    writer.join()
    assert sizes(client, keys) == list(range(100))
