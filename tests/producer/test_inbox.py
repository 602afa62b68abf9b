"""The inbox: what has no room in memory, or is undelivered at the end, waits in files and arrives later, once."""

import errno
import json
import re
import stat
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis
from etlog_events.event import Event
from etlog_events.keys import Keys
from etlog_events.store import connect
from etlog_producer import Producer, ProducerClosed, SpoolFull, inbox
from etlog_producer.spool.writer import SpoolWriter
from support.producers import emit, numbered, spool_files, spooled
from support.samples import WINDOW
from support.servers import Server, wait_until
from support.stream import entries, numbers


def test_what_is_undelivered_at_close_is_in_a_file(
    dead_url: str, spool_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Readable by a person, and by this user alone; the warning says how many and where."""
    producer = Producer(dead_url, log="absent")
    emit(producer, 7, 8)
    producer.close(timeout=0)

    [path] = spool_files(spool_dir)
    token = producer.resume_point.token
    assert path == spool_dir / "absent" / f"{producer.id}.00000000000000000001.{token}.spool"
    header, again, first, second = path.read_text().splitlines()
    assert header == again
    found = json.loads(header)
    del found["sum"]
    assert found == {
        **{"log": "absent", "producer": producer.id, "store": dead_url},
        **{"log_id": "", "token": token, "resumable": False},
    }
    assert re.match(r'1 [0-9a-f]{8} \{"kind":"AssetSetSaved","metadata":\{"size":7,', first)
    assert re.match(r'2 [0-9a-f]{8} \{"kind":"AssetSetSaved","metadata":\{"size":8,', second)
    assert (stat.S_IMODE(path.stat().st_mode), stat.S_IMODE(path.parent.stat().st_mode)) == (0o600, 0o700)
    stats = producer.stats()
    assert (stats.emitted, stats.delivered, stats.waiting, stats.spooled, stats.dropped) == (2, 0, 0, 2, 0)
    [warning] = [record for record in caplog.records if record.__dict__.get("action") == "closed_undelivered"]
    assert f"2 events undelivered, kept in {path}" in warning.message


def test_what_does_not_fit_in_memory_goes_through_the_spool_in_order(
    server: Server, keys: Keys, spool_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the file goes when it is delivered, or with the close."""
    monkeypatch.setattr(inbox, "INBOX_EVENTS", 50)
    monkeypatch.setattr(inbox, "SPILL_EVENTS", 20)
    server.kill()
    with Producer(server.url, log=keys.name) as producer:
        emit(producer, *range(3000))
        stats = producer.stats()
        assert stats.spooled > 0
        assert (stats.emitted, stats.delivered, stats.waiting + stats.spooled) == (3000, 0, 3000)
        server.start()
        emit(producer, *range(3000, 4000))
        assert producer.flush(20)

    assert spool_files(spool_dir) == []
    with connect(server.url, part="test") as client:
        assert numbered(client, keys) == [(size + 1, size) for size in range(4000)]


def test_all_that_is_undelivered_stays_in_order_at_close(
    dead_url: str, spool_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the sender's hands, from the spool and from memory: every number once or more, none missing."""
    monkeypatch.setattr(inbox, "INBOX_EVENTS", 50)
    monkeypatch.setattr(inbox, "SPILL_EVENTS", 20)
    producer = Producer(dead_url, log="absent")
    emit(producer, 0)
    wait_until(lambda: producer.stats().retries, what="an attempt")
    emit(producer, *range(1, 500))
    producer.close(timeout=0)

    found = [number for path in spool_files(spool_dir) for number in spooled(path)]
    assert sorted(set(found)) == list(range(1, 501))
    assert producer.stats().spooled == 500


@pytest.mark.parametrize("durable", [False, True])
def test_beyond_the_bound_new_events_are_dropped_and_counted(
    dead_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, durable: bool
) -> None:
    """One line when it begins; what was accepted stays."""
    monkeypatch.setattr(inbox, "INBOX_EVENTS", 50)
    monkeypatch.setattr(inbox, "SPILL_EVENTS", 20)
    producer = Producer(dead_url, log="absent", spool_bytes=20_000, durable=durable)
    emit(producer, *range(1000))
    stats = producer.stats()
    producer.close(timeout=0)

    assert stats.dropped > 0
    assert stats.emitted + stats.dropped == 1000
    assert producer.stats().spooled == stats.emitted
    assert [record.__dict__.get("action") for record in caplog.records].count("events_dropped") == 1


def test_beyond_the_bound_emit_may_raise(dead_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller decides."""
    monkeypatch.setattr(inbox, "INBOX_EVENTS", 50)
    producer = Producer(dead_url, log="absent", spool_bytes=0, when_full="raise")

    with pytest.raises(SpoolFull, match=r"^no room for the event: the spool has reached its limit"):
        emit(producer, *range(1000))

    stats = producer.stats()
    assert stats.dropped == 0
    assert stats.emitted >= 50
    producer.close(timeout=0)
    assert producer.stats().spooled == stats.emitted, "at close the bound gives way"


def test_beyond_the_bound_emit_may_wait(server: Server, keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until the store is back; nothing is dropped."""
    monkeypatch.setattr(inbox, "INBOX_EVENTS", 50)
    server.kill()
    producer = Producer(server.url, log=keys.name, spool_bytes=0, when_full="block")
    thread = threading.Thread(target=emit, args=(producer, *range(2000)))
    thread.start()
    wait_until(lambda: producer.stats().emitted >= 50, what="memory to fill up")
    assert thread.is_alive()

    server.start()

    thread.join(20)
    assert producer.flush(20)
    producer.close()
    stats = producer.stats()
    assert (stats.emitted, stats.delivered, stats.dropped) == (2000, 2000, 0)


def test_an_emit_that_waits_ends_with_a_close(dead_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told that its event was not taken."""
    monkeypatch.setattr(inbox, "INBOX_EVENTS", 50)
    producer = Producer(dead_url, log="absent", spool_bytes=0, when_full="block")
    refused: list[bool] = []

    def work() -> None:
        try:
            emit(producer, *range(5000))
        except ProducerClosed:
            refused.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    wait_until(lambda: producer.stats().emitted >= 50, what="memory to fill up")
    producer.close(timeout=0)
    thread.join(5)

    assert refused == [True]


def test_a_folder_that_cannot_be_made_costs_the_stage_nothing(dead_url: str, tmp_path: Path) -> None:
    """Only at its close, if the store has not come by then, the events are lost, and are counted."""
    (tmp_path / "file").write_text("")
    producer = Producer(dead_url, log="absent", spool_dir=tmp_path / "file" / "spool")
    emit(producer, 1, 2)
    producer.close(timeout=0)

    stats = producer.stats()
    assert (stats.emitted, stats.spooled, stats.lost) == (2, 0, 2)


def test_a_durable_event_is_in_a_file_when_emit_returns(dead_url: str, spool_dir: Path) -> None:
    """Under its number."""
    producer = Producer(dead_url, log="absent", durable=True)
    for size in range(3):
        emit(producer, size)
        assert spooled(spool_files(spool_dir)[0]) == list(range(1, size + 2))
    producer.close(timeout=0)
    assert spooled(spool_files(spool_dir)[0]) == [1, 2, 3]


def test_a_durable_producer_leaves_no_file_behind(
    store_url: str, client: redis.Redis, keys: Keys, spool_dir: Path
) -> None:
    """When everything is delivered at its close."""
    with Producer(store_url, log=keys.name, durable=True) as producer:
        emit(producer, *range(500))
        assert producer.flush(10)
        assert spool_files(spool_dir)

    assert spool_files(spool_dir) == []
    assert numbers(client, keys) == list(range(1, 501))


def test_a_durable_producer_with_little_memory_reads_its_files(
    server: Server, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it let go of in memory is on disk."""
    monkeypatch.setattr(inbox, "INBOX_EVENTS", 50)
    monkeypatch.setattr(inbox, "SPILL_EVENTS", 20)
    server.kill()
    with Producer(server.url, log=keys.name, durable=True) as producer:
        emit(producer, *range(2000))
        server.start()
        assert producer.flush(20)

    with connect(server.url, part="test") as client:
        assert numbered(client, keys) == [(size + 1, size) for size in range(2000)]


@pytest.mark.usefixtures("settles_soon")
def test_a_durable_stage_killed_by_sigkill_loses_nothing(
    run_stage: Callable[[str], None], store_url: str, client: redis.Redis, keys: Keys, spool_dir: Path
) -> None:
    """It had no time to send anything."""
    source = f"""
import os, signal, sys
from etlog_producer import Producer, sender
sender.LINGER = 60
producer = Producer(sys.argv[1], log=sys.argv[2], durable=True)
for size in range(100):
    producer.emit("AssetSetSaved", size=size, window={WINDOW!r})
os.kill(os.getpid(), signal.SIGKILL)
"""
    ended = subprocess.run([sys.executable, "-c", source, store_url, keys.name], check=False, timeout=30)
    assert ended.returncode == -9
    assert client.xlen(keys.events) == 0

    with Producer(store_url, log=keys.name) as producer:
        emit(producer, 1000)
        wait_until(lambda: not spool_files(spool_dir), what="the file to be delivered")

    assert [entry.metadata["size"] for entry in entries(client, keys)] == [1000, *range(100)]


class Crowded(deque[bytes]):
    """An inbox into which other threads put an event each at the worst moments of a close."""

    def __init__(self, before: Callable[[], None], meanwhile: Callable[[], None]) -> None:
        super().__init__()
        self.before = before  # just before the events that are there are counted
        self.meanwhile = meanwhile  # while they are written

    def __len__(self) -> int:
        self.before()
        return super().__len__()

    def __getitem__(self, place: Any) -> Any:
        self.meanwhile()
        return super().__getitem__(place)

    def clear(self) -> None:
        self.meanwhile()
        super().clear()


def test_an_event_that_comes_while_the_producer_closes_is_kept_or_refused(dead_url: str, spool_dir: Path) -> None:
    """Whatever the moment, no event is taken and lost, and no thread is refused because of another's event."""
    producer = Producer(dead_url, log="absent")
    taken_in = producer._sender._inbox
    outcomes: dict[int, str] = {}
    threads: list[threading.Thread] = []

    def put(size: int) -> None:
        """By a thread that has found the producer open."""
        try:
            taken_in.put(Event.new("AssetSetSaved", size=size, window=WINDOW).encode())
            outcomes[size] = "taken"
        except ProducerClosed:
            outcomes[size] = "refused"

    def another_puts(size: int) -> Callable[[], None]:
        def once() -> None:
            if taken_in._sealed and size not in started:
                started.add(size)
                there = deque.__len__(inbox)
                threads.append(threading.Thread(target=put, args=(size,)))
                threads[-1].start()
                wait_until(lambda: deque.__len__(inbox) > there, what="the event to be in the inbox")

        return once

    started: set[int] = set()
    inbox = Crowded(another_puts(2), another_puts(3))
    taken_in._inbox = inbox
    put(1)

    producer.close(0)

    for thread in threads:
        thread.join()
    assert outcomes == {1: "taken", 2: "taken", 3: "refused"}
    [path] = spool_files(spool_dir)
    assert spooled(path) == [1, 2]
    stats = producer.stats()
    assert (stats.emitted, stats.spooled) == (2, 2)


@pytest.mark.parametrize(
    "fill",
    [
        "",
        "import resource, signal\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4000, 4000))",
    ],
    ids=["its bound", "the disk"],
)
def test_a_durable_stage_goes_on_in_memory_while_the_disk_takes_nothing(
    store_url: str, client: redis.Redis, keys: Keys, tmp_path: Path, fill: str
) -> None:
    """The store is there: no reason to drop anything. It says once that SIGKILL would lose events."""
    source = f"""
import sys
{fill}
from etlog_producer import Producer
producer = Producer(sys.argv[1], log=sys.argv[2], durable=True{"" if fill else ", spool_bytes=4000"})
for size in range(1001):
    producer.emit("AssetSetSaved", size=size, window={WINDOW!r})
assert producer.stats().dropped == 0, producer.stats()
producer.close()
assert producer.stats().delivered == 1001, producer.stats()
"""
    ended = subprocess.run(
        [sys.executable, "-c", source, store_url, keys.name], check=False, timeout=30, capture_output=True, text=True
    )

    assert ended.returncode == 0, ended.stderr
    assert numbered(client, keys) == [(size + 1, size) for size in range(1001)]
    assert ended.stderr.count("in memory alone") == 1


def test_a_durable_event_that_had_to_wait_for_the_disk_is_written_later(
    dead_url: str, spool_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the next one after a while, so that the gap that SIGKILL would leave closes."""
    monkeypatch.setattr(inbox, "DISK_RETRY", 0.0)
    producer = Producer(dead_url, log="absent", durable=True)
    emit(producer, 1)
    append = SpoolWriter.append

    def fail(*arguments: Any, **options: Any) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(SpoolWriter, "append", fail)
    emit(producer, 2, 3)
    [path] = spool_files(spool_dir)
    assert spooled(path) == [1]

    monkeypatch.setattr(SpoolWriter, "append", append)
    emit(producer, 4)

    assert spooled(path) == [1, 2, 3, 4]
    producer.close(0)
