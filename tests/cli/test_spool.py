"""`etlog spool`: what waits on the disk is shown and sent."""

import os
from pathlib import Path
from time import time

import pytest
import redis
from etlog.__main__ import run
from etlog_events.keys import Keys
from etlog_events.sequence import SENT_WITHIN
from etlog_producer import Producer
from support.samples import WINDOW
from support.servers import Server, free_port
from support.stream import numbers


@pytest.fixture(autouse=True)
def spool_dir(plain_environment: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of the test's own for spool files."""
    monkeypatch.setenv("ETLOG_SPOOL_DIR", str(tmp_path / "spool"))
    monkeypatch.setattr("etlog_producer.spool.recovery.SETTLE", 0.05)
    return tmp_path / "spool"


def leave(url: str, log: str, count: int) -> str:
    """Leave events in the spool. Returns their producer's id."""
    producer = Producer(url, log=log)
    for size in range(count):
        producer.emit("AssetSetSaved", size=size, window=WINDOW)
    producer.close(0)
    return producer.id


def test_an_empty_spool_is_said_to_be_empty(capsys: pytest.CaptureFixture[str]) -> None:
    """With the folder that was looked into."""
    assert run(["spool", "list", "--log", "nightly"]) == 0

    assert "no spool files of log nightly in /" in capsys.readouterr().out


def test_files_are_listed_and_flushed(server: Server, capsys: pytest.CaptureFixture[str], spool_dir: Path) -> None:
    """With the number of their events and their age; then they are gone."""
    server.kill()
    producer = leave(server.url, "nightly", 1234)
    options = ["--redis-url", server.url, "--log", "nightly"]

    assert run(["spool", "list", *options]) == 0
    listed = capsys.readouterr().out
    assert f"{producer}.00000000000000000001.spool" in listed
    assert " 1234 " in listed
    assert run(["spool", "flush", *options]) == 1
    assert "the files are kept" in capsys.readouterr().err

    server.start()
    assert run(["spool", "flush", *options]) == 0

    assert "1234 events delivered from the spool to log nightly" in capsys.readouterr().out
    assert not list(spool_dir.rglob("*.spool"))
    with redis.Redis.from_url(server.url) as client:
        assert numbers(client, Keys("nightly")) == list(range(1, 1235))


def test_files_that_are_too_old_are_set_aside(
    store_url: str,
    client: redis.Redis,
    keys: Keys,
    spool_dir: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The store may have the events and know nothing of their numbers any more; the command fails, and says where."""
    producer = leave(f"redis://127.0.0.1:{free_port()}/0", keys.name, 3)
    [path] = spool_dir.rglob("*.spool")
    old = time() - SENT_WITHIN - 60
    os.utime(path, (old, old))

    assert run(["spool", "flush", "--any-store", "--redis-url", store_url, "--log", keys.name]) == 1

    captured = capsys.readouterr()
    aside = path.with_suffix(".old")
    assert "0 events delivered" in captured.out
    assert captured.err.count("\n") == 1
    assert "1 file(s) too old to send" in captured.err
    assert str(aside) in captured.err
    assert aside.read_text().count(producer) == 1
    assert client.xlen(keys.events) == 0
    assert run(["spool", "flush", "--any-store", "--redis-url", store_url, "--log", keys.name]) == 0


def test_files_for_another_store_are_flushed_only_if_wanted(
    store_url: str, client: redis.Redis, keys: Keys, capsys: pytest.CaptureFixture[str]
) -> None:
    """The store may have moved, or it may be quite another one."""
    leave(f"redis://127.0.0.1:{free_port()}/0", keys.name, 3)
    options = ["--redis-url", store_url, "--log", keys.name]

    assert run(["spool", "flush", *options]) == 1
    assert "1 file(s) for another store remain" in capsys.readouterr().err
    assert client.xlen(keys.events) == 0

    assert run(["spool", "flush", "--any-store", *options]) == 0
    assert numbers(client, keys) == [1, 2, 3]
