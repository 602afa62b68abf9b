"""The spool: what has no place in memory, or is undelivered at the end, waits in files and arrives later, once."""

import json
import logging
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
from etlog_events.store import connect, shown
from etlog_producer import Producer, ProducerClosed, SpoolFull, inbox
from etlog_producer.publish import Published, Publisher
from etlog_producer.spool import recovery
from etlog_producer.spool.recovery import PublishAs, Recovery
from etlog_producer.spool.segment import Reader
from etlog_producer.spool.writer import Folder
from support.proxy import Proxy
from support.samples import WINDOW
from support.servers import Server, free_port, wait_until
from support.stream import entries, numbers


def emit(producer: Producer, *sizes: int) -> None:
    """Emit events that are told apart by their sizes."""
    for size in sizes:
        producer.emit("AssetSetSaved", size=size, window=WINDOW)


def files(folder: Path) -> list[Path]:
    """All spool files."""
    return sorted(folder.rglob("*.spool"))


def spooled(path: Path) -> list[int]:
    """The numbers in a file."""
    reader = Reader(path)
    found = []
    while line := reader.next():
        found.append(line.number)
    reader.close()
    return found


@pytest.fixture
def url_of_nobody() -> str:
    """An address at which nobody listens."""
    return f"redis://127.0.0.1:{free_port()}/0"


@pytest.fixture
def left_behind(store_url: str, keys: Keys, spool_dir: Path) -> Callable[..., Path]:
    """Leaves a spool file of a producer that is gone, for the store of the test."""

    def leave(*sizes: int, producer: str = "gone-1-abc", first: int = 1) -> Path:
        folder = spool_dir / keys.name
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{producer}.{first:020d}.spool"
        header = {"log": keys.name, "producer": producer, "store": shown(store_url)}
        window = {"start": WINDOW[0], "end": WINDOW[1]}
        lines = [
            f"{first + i} "
            + json.dumps(
                {"kind": "AssetSetSaved", "metadata": {"size": size, "window": window}, "time": "2022-06-03T17:07:54Z"}
            )
            for i, size in enumerate(sizes)
        ]
        path.write_text("\n".join([json.dumps(header), *lines]) + "\n")
        return path

    return leave


@pytest.fixture
def publish(client: redis.Redis, keys: Keys) -> PublishAs:
    """Publishes to the test's log."""
    publisher = Publisher(client, keys)

    def publish(producer: str, first: int, events: Any, skip: bool) -> Published:
        return publisher(producer, first, events, skip=skip)

    return publish


@pytest.fixture
def folder(store_url: str, keys: Keys, spool_dir: Path) -> Folder:
    """The folder of the test's log."""
    return Folder(spool_dir / keys.name, keys.name, shown(store_url))


def flush_all(found: Recovery) -> None:
    """Deliver everything that is adopted."""
    wait_until(lambda: found.step() is None, what="the spool to be delivered")


@pytest.fixture(autouse=True)
def settles_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """The shared server does not forget."""
    monkeypatch.setattr(recovery, "SETTLE", 0.05)


def test_what_is_undelivered_at_close_is_in_a_file(
    url_of_nobody: str, spool_dir: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Readable for a person and for nobody else; the warning says how many and where."""
    producer = Producer(url_of_nobody, log="absent")
    emit(producer, 7, 8)
    producer.close(timeout=0)

    [path] = files(spool_dir)
    assert path == spool_dir / "absent" / f"{producer.id}.00000000000000000001.spool"
    header, first, second = path.read_text().splitlines()
    assert json.loads(header) == {"log": "absent", "producer": producer.id, "store": url_of_nobody}
    assert first.startswith('1 {"kind":"AssetSetSaved","metadata":{"size":7,')
    assert second.startswith('2 {"kind":"AssetSetSaved","metadata":{"size":8,')
    assert (stat.S_IMODE(path.stat().st_mode), stat.S_IMODE(path.parent.stat().st_mode)) == (0o600, 0o700)
    stats = producer.stats()
    assert (stats.emitted, stats.delivered, stats.waiting, stats.spooled, stats.dropped) == (2, 0, 0, 2, 0)
    [warning] = [record for record in caplog.records if record.__dict__.get("action") == "closed_undelivered"]
    assert f"2 events undelivered, kept in {path}" in warning.message


def test_a_later_producer_sends_what_another_left(server: Server, keys: Keys, spool_dir: Path) -> None:
    """Under the original id and numbers, even if it lives for one event only; then the file is gone."""
    server.kill()
    first = Producer(server.url, log=keys.name)
    emit(first, *range(1200))
    first.close(timeout=0)
    assert len(files(spool_dir)) == 1

    server.start()
    with Producer(server.url, log=keys.name) as second:
        emit(second, 5000)

    assert files(spool_dir) == []
    with connect(server.url, part="test") as client:
        found = [(entry.producer, entry.seq, entry.metadata["size"]) for entry in entries(client, keys)]
    assert found == [(second.id, 1, 5000), *((first.id, size + 1, size) for size in range(1200))]


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

    assert files(spool_dir) == []
    with connect(server.url, part="test") as client:
        assert [(entry.seq, entry.metadata["size"]) for entry in entries(client, keys)] == [
            (size + 1, size) for size in range(4000)
        ]


def test_all_that_is_undelivered_stays_in_order_at_close(
    url_of_nobody: str, spool_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the sender's hands, from the spool and from memory: every number once or more, none missing."""
    monkeypatch.setattr(inbox, "INBOX_EVENTS", 50)
    monkeypatch.setattr(inbox, "SPILL_EVENTS", 20)
    producer = Producer(url_of_nobody, log="absent")
    emit(producer, 0)
    wait_until(lambda: producer.stats().retries, what="an attempt")
    emit(producer, *range(1, 500))
    producer.close(timeout=0)

    found = [number for path in files(spool_dir) for number in spooled(path)]
    assert sorted(set(found)) == list(range(1, 501))
    assert producer.stats().spooled == 500


@pytest.mark.parametrize("durable", [False, True])
def test_beyond_the_bound_new_events_are_dropped_and_counted(
    url_of_nobody: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, durable: bool
) -> None:
    """One line when it begins; what was accepted stays."""
    monkeypatch.setattr(inbox, "INBOX_EVENTS", 50)
    monkeypatch.setattr(inbox, "SPILL_EVENTS", 20)
    producer = Producer(url_of_nobody, log="absent", spool_bytes=20_000, durable=durable)
    emit(producer, *range(1000))
    stats = producer.stats()
    producer.close(timeout=0)

    assert stats.dropped > 0
    assert stats.emitted + stats.dropped == 1000
    assert producer.stats().spooled == stats.emitted
    assert [record.__dict__.get("action") for record in caplog.records].count("events_dropped") == 1


def test_beyond_the_bound_emit_may_raise(url_of_nobody: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The caller decides."""
    monkeypatch.setattr(inbox, "INBOX_EVENTS", 50)
    producer = Producer(url_of_nobody, log="absent", spool_bytes=0, when_full="raise")

    with pytest.raises(SpoolFull, match="there is no room"):
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


def test_an_emit_that_waits_ends_with_a_close(url_of_nobody: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told that its event was not taken."""
    monkeypatch.setattr(inbox, "INBOX_EVENTS", 50)
    producer = Producer(url_of_nobody, log="absent", spool_bytes=0, when_full="block")
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


def test_a_folder_that_cannot_be_made_costs_the_stage_nothing(url_of_nobody: str, tmp_path: Path) -> None:
    """Only at its close, if the store has not come by then, the events are lost, and are counted."""
    (tmp_path / "file").write_text("")
    producer = Producer(url_of_nobody, log="absent", spool_dir=tmp_path / "file" / "spool")
    emit(producer, 1, 2)
    producer.close(timeout=0)

    stats = producer.stats()
    assert (stats.emitted, stats.spooled, stats.lost) == (2, 0, 2)


@pytest.mark.parametrize(
    "tail", [b'4 {"kind":"AssetSetSav', b"4", b"\0" * 400, b'4 {"kind":"AssetSetSaved"}}\n', b"\xff\n"]
)
def test_a_broken_last_line_costs_that_line_alone(
    left_behind: Callable[..., Path],
    publish: PublishAs,
    folder: Folder,
    client: redis.Redis,
    keys: Keys,
    tail: bytes,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is reported, and the file is set aside for whoever wants to look at it."""
    path = left_behind(10, 11, 12)
    path.write_bytes(path.read_bytes() + tail)
    found = Recovery(folder, publish)
    found.look()

    flush_all(found)

    assert [entry.metadata["size"] for entry in entries(client, keys)] == [10, 11, 12]
    assert "A broken line in spool file" in caplog.text
    assert not path.exists()
    assert path.with_suffix(".broken").exists()


def test_a_broken_line_in_the_middle_leaves_a_hole_that_is_counted(
    left_behind: Callable[..., Path], publish: PublishAs, folder: Folder, client: redis.Redis, keys: Keys
) -> None:
    """The others keep their numbers, so that the consumer sees the hole."""
    path = left_behind(*range(5))
    lines = path.read_bytes().splitlines(keepends=True)
    lines[3] = b"garbage\n"
    path.write_bytes(b"".join(lines))
    found = Recovery(folder, publish)
    found.look()

    flush_all(found)

    assert numbers(client, keys) == [1, 2, 4, 5]
    assert [orphan.lost for orphan in found.done] == [1]


def test_two_who_flush_at_once_send_everything_once(
    left_behind: Callable[..., Path], publish: PublishAs, folder: Folder, client: redis.Redis, keys: Keys
) -> None:
    """The second finds the files taken."""
    left_behind(*range(1500))
    one, other = Recovery(folder, publish), Recovery(folder, publish)
    one.look()
    other.look()

    assert other.step() is None
    flush_all(one)

    assert (len(one.done), len(other.done)) == (1, 0)
    assert numbers(client, keys) == list(range(1, 1501))


def test_who_is_killed_halfway_leaves_the_rest_to_the_next(
    left_behind: Callable[..., Path], publish: PublishAs, folder: Folder, client: redis.Redis, keys: Keys
) -> None:
    """Nothing is doubled, wherever it stopped."""
    path = left_behind(*range(1500))
    one = Recovery(folder, publish)
    one.look()
    one.step()
    assert numbers(client, keys) == list(range(1, 501))
    one.release()
    assert path.exists()

    other = Recovery(folder, publish)
    other.look()
    flush_all(other)

    assert numbers(client, keys) == list(range(1, 1501))
    assert not path.exists()


def test_a_lost_reply_to_a_flush_doubles_nothing(
    left_behind: Callable[..., Path], proxy: Proxy, folder: Folder, client: redis.Redis, keys: Keys
) -> None:
    """The same batch is sent again."""
    left_behind(*range(700))
    with connect(proxy.url, part="test", answer_timeout=0.3) as behind:
        publisher = Publisher(behind, keys)
        found = Recovery(folder, lambda producer, first, events, skip: publisher(producer, first, events, skip=skip))
        found.look()
        found.step()
        proxy.swallow_replies(True)
        with pytest.raises(redis.RedisError):
            found.step()
        proxy.swallow_replies(False)
        proxy.cut()
        behind.connection_pool.disconnect()
        flush_all(found)

    assert numbers(client, keys) == list(range(1, 701))


def test_a_store_that_loses_what_was_flushed_gets_it_again(
    left_behind: Callable[..., Path], publish: PublishAs, folder: Folder, client: redis.Redis, keys: Keys
) -> None:
    """The file is deleted only when the store has kept it for a while."""
    left_behind(*range(700))
    found = Recovery(folder, publish)
    found.look()
    found.step()
    client.delete(keys.events, keys.producers)

    flush_all(found)

    assert numbers(client, keys) == list(range(1, 701))


def test_several_files_of_one_producer_are_sent_in_order(
    left_behind: Callable[..., Path], publish: PublishAs, folder: Folder, client: redis.Redis, keys: Keys
) -> None:
    """Also where they overlap."""
    left_behind(*range(100, 200), first=101)
    left_behind(*range(110), first=1)
    found = Recovery(folder, publish)
    found.look()

    flush_all(found)

    assert [(entry.seq, entry.metadata["size"]) for entry in entries(client, keys)] == [
        (size + 1, size) for size in range(200)
    ]


def test_what_the_dead_producer_had_in_memory_shows_as_a_hole(
    left_behind: Callable[..., Path],
    publish: PublishAs,
    folder: Folder,
    client: redis.Redis,
    keys: Keys,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is gone, and the log will count it."""
    left_behind(*range(5), first=11)
    found = Recovery(folder, publish)
    found.look()

    flush_all(found)

    assert numbers(client, keys) == list(range(11, 16))
    assert "Events 1 to 10 of producer gone-1-abc are in no spool file" in caplog.text


def test_files_for_another_store_are_left_alone(
    left_behind: Callable[..., Path], folder: Folder, publish: PublishAs, client: redis.Redis, keys: Keys
) -> None:
    """A log of the same name elsewhere is another log; who knows better may say so."""
    path = left_behind(1, 2)
    moved = Folder(folder.path, folder.log, "redis://elsewhere:6379/0")
    found = Recovery(moved, publish)
    found.look()
    assert found.step() is None
    assert path.exists()

    wanted = Recovery(moved, publish, any_store=True)
    wanted.look()
    flush_all(wanted)

    assert numbers(client, keys) == [1, 2]


def test_the_files_of_a_living_producer_are_its_own(
    url_of_nobody: str, keys: Keys, spool_dir: Path, publish: PublishAs
) -> None:
    """Nobody adopts them while it lives."""
    producer = Producer(url_of_nobody, log=keys.name, durable=True)
    emit(producer, 1)
    found = Recovery(Folder(spool_dir / keys.name, keys.name, url_of_nobody), publish)
    found.look()
    assert found.step() is None
    producer.close(timeout=0)

    found.look()
    flush_all(found)

    assert files(spool_dir) == []


def test_a_durable_event_is_in_a_file_when_emit_returns(url_of_nobody: str, spool_dir: Path) -> None:
    """Under its number."""
    producer = Producer(url_of_nobody, log="absent", durable=True)
    for size in range(3):
        emit(producer, size)
        assert spooled(files(spool_dir)[0]) == list(range(1, size + 2))
    producer.close(timeout=0)
    assert spooled(files(spool_dir)[0]) == [1, 2, 3]


def test_a_durable_producer_leaves_no_file_behind(
    store_url: str, client: redis.Redis, keys: Keys, spool_dir: Path
) -> None:
    """When everything is delivered at its close."""
    with Producer(store_url, log=keys.name, durable=True) as producer:
        emit(producer, *range(500))
        assert producer.flush(10)
        assert files(spool_dir)

    assert files(spool_dir) == []
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
        assert [(entry.seq, entry.metadata["size"]) for entry in entries(client, keys)] == [
            (size + 1, size) for size in range(2000)
        ]


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

    assert [entry.metadata["size"] for entry in entries(client, keys)] == [1000, *range(100)]
    assert files(spool_dir) == []


def test_an_idle_producer_finds_what_is_left_behind_later(
    left_behind: Callable[..., Path],
    producer: Producer,
    client: redis.Redis,
    keys: Keys,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It looks about once a minute."""
    caplog.set_level(logging.INFO, "etlog.producer")
    monkeypatch.setattr("etlog_producer.sender.LOOK", 0.2)
    emit(producer, 1)
    assert producer.flush(10)

    path = left_behind(5, 6)

    wait_until(lambda: not path.exists(), what="the file to be delivered")
    assert [entry.producer for entry in entries(client, keys)] == [producer.id, "gone-1-abc", "gone-1-abc"]
    assert "Delivered 2 events of producer gone-1-abc from the spool" in caplog.messages


class Crowded(deque[bytes]):
    """An inbox into which other threads put an event each at the worst moments of a close."""

    def __init__(self, before: Callable[[], None], meanwhile: Callable[[], None]) -> None:
        super().__init__()
        self.before = before  # just before the events that are there are counted
        self.meanwhile = meanwhile  # while they are taken out

    def __len__(self) -> int:
        self.before()
        return super().__len__()

    def popleft(self) -> bytes:
        self.meanwhile()
        return super().popleft()

    def clear(self) -> None:
        self.meanwhile()
        super().clear()


def test_an_event_that_comes_while_the_producer_closes_is_kept_or_refused(url_of_nobody: str, spool_dir: Path) -> None:
    """Whatever the moment, none is taken and lost; and nobody is refused because of somebody else's event."""
    producer = Producer(url_of_nobody, log="absent")
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
                there = sum(1 for _ in inbox)
                threads.append(threading.Thread(target=put, args=(size,)))
                threads[-1].start()
                wait_until(lambda: sum(1 for _ in inbox) > there, what="the event to be in the inbox")

        return once

    started: set[int] = set()
    inbox = Crowded(another_puts(2), another_puts(3))
    taken_in._inbox = inbox
    put(1)

    producer.close(0)

    for thread in threads:
        thread.join()
    assert outcomes == {1: "taken", 2: "taken", 3: "refused"}
    [path] = files(spool_dir)
    assert spooled(path) == [1, 2]
    stats = producer.stats()
    assert (stats.emitted, stats.spooled) == (2, 2)
