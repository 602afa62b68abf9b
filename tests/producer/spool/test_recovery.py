"""Spool files whose producer is gone: they are sent once, under their own numbers, by whichever process finds them."""

import errno
import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from time import time
from typing import Any, Protocol

import pytest
import redis
from etlog_events.keys import Keys
from etlog_events.publishing import CALL_EVENTS
from etlog_events.sequence import MAX_PRODUCER_BYTES, SENT_WITHIN
from etlog_events.store import connect, shown
from etlog_producer import Producer, sender
from etlog_producer.publish import Identity, Published, Publisher
from etlog_producer.spool import recovery
from etlog_producer.spool.folder import SpoolFolder
from etlog_producer.spool.header import LOG_ID_BYTES, SegmentHeader
from etlog_producer.spool.names import SpoolFile
from etlog_producer.spool.orphan import Orphan
from etlog_producer.spool.reader import SegmentReader
from etlog_producer.spool.recovery import Recovery
from etlog_producer.spool.segment import Segment
from etlog_producer.spool.writer import SpoolWriter
from support.logged import Logged
from support.producers import emit, numbered, spool_files, spooled
from support.proxy import Proxy
from support.samples import WINDOW, saved
from support.servers import Server, wait_until
from support.stream import entries, numbers, records

pytestmark = pytest.mark.usefixtures("settles_soon")


#: The token of a process that is gone.
TOKEN = "9f8e7d6c5b4a3210"


class Leave(Protocol):
    """Leaves a spool file of a producer that is gone: its header has the log's name and what is given, the store of the
    test if nothing else. It was last written to `age` seconds ago."""

    def __call__(
        self, *sizes: int, producer: str = "gone-1-abc", first: int = 1, age: float = 0.0, **header: Any
    ) -> Path: ...


@pytest.fixture
def leave(store_url: str, keys: Keys, spool_dir: Path) -> Leave:
    """Leaves files for the log of the test."""

    def leave(*sizes: int, producer: str = "gone-1-abc", first: int = 1, age: float = 0.0, **header: Any) -> Path:
        folder = spool_dir / keys.name
        folder.mkdir(parents=True, exist_ok=True)
        token = f".{header['token']}" if "token" in header else ""
        path = folder / f"{producer}.{first:020d}{token}.spool"
        fields = {"log": keys.name, "producer": producer, "store": shown(store_url)} | header
        window = {"start": WINDOW[0], "end": WINDOW[1]}
        lines = [
            f"{first + i} "
            + json.dumps(
                {"kind": "AssetSetSaved", "metadata": {"size": size, "window": window}, "time": "2022-06-03T17:07:54Z"}
            )
            for i, size in enumerate(sizes)
        ]
        path.write_text("\n".join([json.dumps(fields), *lines]) + "\n")
        written = time() - age
        os.utime(path, (written, written))
        return path

    return leave


@pytest.fixture(params=["this release", "an earlier release"])
def left_behind(leave: Leave, request: pytest.FixtureRequest) -> Leave:
    """Leaves files of either release, written before the store was reached."""
    if request.param == "an earlier release":
        return leave
    header = {"log_id": "", "token": TOKEN, "resumable": False}
    return lambda *sizes, **options: leave(*sizes, **(header | options))


@pytest.fixture
def folder(store_url: str, keys: Keys, spool_dir: Path) -> SpoolFolder:
    """The folder of the test's log."""
    return SpoolFolder(spool_dir / keys.name, keys.name, shown(store_url))


def flush_all(found: Recovery) -> None:
    """Deliver everything that is adopted."""
    wait_until(lambda: found.step() is None, what="the spool to be delivered")


def test_a_later_producer_sends_what_another_left(server: Server, keys: Keys, spool_dir: Path) -> None:
    """Under the original id and numbers. It deletes the file when the store has kept all of it for a while."""
    server.kill()
    first = Producer(server.url, log=keys.name)
    emit(first, *range(1200))
    first.close(timeout=0)
    assert len(spool_files(spool_dir)) == 1

    server.start()
    with Producer(server.url, log=keys.name) as second:
        emit(second, 5000)
        wait_until(lambda: not spool_files(spool_dir), what="the file to be deleted")

    with connect(server.url, part="test") as client:
        found = [(entry.producer, entry.seq, entry.metadata["size"]) for entry in entries(client, keys)]
    assert found == [(second.id, 1, 5000), *((first.id, size + 1, size) for size in range(1200))]


@pytest.mark.parametrize(
    "tail", [b'4 {"kind":"AssetSetSav', b"4", b"\0" * 400, b'4 {"kind":"AssetSetSaved"}}\n', b"\xff\n"]
)
def test_a_broken_last_line_costs_that_line_alone(
    left_behind: Leave,
    publish: Publisher,
    folder: SpoolFolder,
    client: redis.Redis,
    keys: Keys,
    tail: bytes,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is reported, and the file is set aside, so that someone can look at it."""
    path = left_behind(10, 11, 12)
    path.write_bytes(path.read_bytes() + tail)
    found = Recovery(folder, publish)
    found.look()

    flush_all(found)

    assert [entry.metadata["size"] for entry in entries(client, keys)] == [10, 11, 12]
    assert "Skipped a broken line in spool file" in caplog.text
    assert not path.exists()
    assert path.with_suffix(".broken").exists()


def test_a_broken_line_in_the_middle_leaves_a_hole_that_is_counted(
    left_behind: Leave, publish: Publisher, folder: SpoolFolder, client: redis.Redis, keys: Keys
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
    left_behind: Leave, publish: Publisher, folder: SpoolFolder, client: redis.Redis, keys: Keys
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
    left_behind: Leave, publish: Publisher, folder: SpoolFolder, client: redis.Redis, keys: Keys
) -> None:
    """Nothing is doubled, wherever it stopped."""
    path = left_behind(*range(1500))
    one = Recovery(folder, publish)
    one.look()
    one.step()
    assert numbers(client, keys) == list(range(1, CALL_EVENTS + 1))
    one.release()
    assert path.exists()

    other = Recovery(folder, publish)
    other.look()
    flush_all(other)

    assert numbers(client, keys) == list(range(1, 1501))
    assert not path.exists()


def test_a_lost_reply_to_a_flush_doubles_nothing(
    left_behind: Leave, proxy: Proxy, folder: SpoolFolder, client: redis.Redis, keys: Keys
) -> None:
    """The same batch is sent again."""
    left_behind(*range(700))
    with connect(proxy.url, part="test", answer_timeout=0.3) as behind:
        found = Recovery(folder, Publisher(behind, keys))
        found.look()
        found.step()
        proxy.swallow_replies(True)
        with pytest.raises(redis.RedisError):
            found.step()
        proxy.swallow_replies(False)
        proxy.cut()
        flush_all(found)

    assert numbers(client, keys) == list(range(1, 701))


def test_a_store_that_loses_what_was_flushed_gets_it_again(
    left_behind: Leave, publish: Publisher, folder: SpoolFolder, client: redis.Redis, keys: Keys
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
    left_behind: Leave, publish: Publisher, folder: SpoolFolder, client: redis.Redis, keys: Keys
) -> None:
    """Also where they overlap."""
    left_behind(*range(100, 200), first=101)
    left_behind(*range(110), first=1)
    found = Recovery(folder, publish)
    found.look()

    flush_all(found)

    assert numbered(client, keys) == [(size + 1, size) for size in range(200)]


def test_what_the_dead_producer_had_in_memory_shows_as_a_hole(
    left_behind: Leave,
    publish: Publisher,
    folder: SpoolFolder,
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
    left_behind: Leave, folder: SpoolFolder, publish: Publisher, client: redis.Redis, keys: Keys
) -> None:
    """A log of the same name elsewhere is another log; who knows better may say so."""
    path = left_behind(1, 2)
    moved = SpoolFolder(folder.path, folder.log, "redis://elsewhere:6379/0")
    found = Recovery(moved, publish)
    found.look()
    assert found.step() is None
    assert path.exists()

    wanted = Recovery(moved, publish, any_store=True)
    wanted.look()
    flush_all(wanted)

    assert numbers(client, keys) == [1, 2]


def test_the_files_of_a_living_producer_are_its_own(
    dead_url: str, keys: Keys, spool_dir: Path, publish: Publisher
) -> None:
    """No one adopts them while it runs."""
    producer = Producer(dead_url, log=keys.name, durable=True)
    emit(producer, 1)
    found = Recovery(SpoolFolder(spool_dir / keys.name, keys.name, dead_url), publish)
    found.look()
    assert found.step() is None
    producer.close(timeout=0)

    found.look()
    flush_all(found)

    assert spool_files(spool_dir) == []


def test_an_idle_producer_finds_what_is_left_behind_later(
    left_behind: Leave,
    producer: Producer,
    client: redis.Redis,
    keys: Keys,
    monkeypatch: pytest.MonkeyPatch,
    logged: Logged,
) -> None:
    """It looks about once a minute."""
    monkeypatch.setattr("etlog_producer.sender.LOOK", 0.2)
    emit(producer, 1)
    assert producer.flush(10)

    path = left_behind(5, 6)

    wait_until(lambda: not path.exists(), what="the file to be delivered")
    assert [entry.producer for entry in entries(client, keys)] == [producer.id, "gone-1-abc", "gone-1-abc"]
    assert logged("spool_delivered") == ["Delivered 2 events of producer gone-1-abc from the spool"]


def test_an_error_is_over_once_the_last_file_is_gone(
    store_url: str, keys: Keys, left_behind: Leave, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the sender does last for another producer tells as much as what it does first."""
    failures = iter([OSError("the network is busy")])
    remove = Orphan._remove

    def fail_once(orphan: Orphan) -> None:
        for failure in failures:
            raise failure
        remove(orphan)

    monkeypatch.setattr(Orphan, "_remove", fail_once)
    monkeypatch.setattr(sender, "PROBE", 3600.0)
    path = left_behind(1)
    with Producer(store_url, log=keys.name) as producer:
        emit(producer, 1)
        wait_until(lambda: not path.exists(), what="the file to be gone")

        wait_until(lambda: producer.last_error is None, what="the error to be over")
        assert producer.stats().retries == 1


def other_log(client: redis.Redis, keys: Keys, how: str) -> None:
    """Put another log in the place of the one that was there: a new one, or nothing."""
    client.delete(*client.keys(f"etlog:{{{keys.name}}}:*"))
    if how == "another":
        Publisher(client, keys)(Identity("someone"), 1, [b"{}"])


def present_id(publish: Publisher) -> str:
    """The id of the test's log, which begins with an event of its own."""
    return publish(Identity("someone"), 1, [b"{}"]).log_id


def test_a_file_finds_its_log_wherever_that_is(
    leave: Leave, folder: SpoolFolder, publish: Publisher, client: redis.Redis, keys: Keys
) -> None:
    """The store has another address now: the id of the log tells, and no one has to."""
    path = leave(1, 2, store="redis://elsewhere:6379/0", token=TOKEN, log_id=present_id(publish))
    found = Recovery(folder, publish)
    found.look()

    flush_all(found)

    assert [(entry.producer, entry.seq) for entry in entries(client, keys)[1:]] == [
        ("gone-1-abc", 1),
        ("gone-1-abc", 2),
    ]
    assert not path.exists()


@pytest.mark.parametrize("how", ["another", "none"])
def test_a_file_for_another_log_is_kept(
    leave: Leave, folder: SpoolFolder, publish: Publisher, client: redis.Redis, keys: Keys, how: str, logged: Logged
) -> None:
    """The store was emptied, or another one is at its address. It holds up no other file, is reported once, with
    the store it was written for, and is not asked about until the next look; who knows better may send it."""
    kept = leave(1, 2, store="redis://elsewhere:6379/0", token=TOKEN, log_id=present_id(publish))
    other_log(client, keys, how)
    leave(5, producer="later-1-abc", token=TOKEN, log_id="")
    found = Recovery(folder, publish)
    for _ in range(3):
        found.look()
        flush_all(found)

    assert [entry.metadata["size"] for entry in entries(client, keys) if entry.event != b"{}"] == [5]
    assert kept.exists()
    assert list(found.for_other_logs.values()) == [[kept]]
    [reported] = logged("spool_other_log")
    assert str(kept) in reported
    assert "the store redis://elsewhere:6379/0, where a producer or 'etlog spool flush' sends them" in reported
    assert reported.index("'etlog spool flush' sends them") < reported.index("'etlog spool flush --any-store'")

    wanted = Recovery(folder, publish, any_store=True)
    wanted.look()
    flush_all(wanted)
    assert [entry.metadata["size"] for entry in entries(client, keys) if entry.event != b"{}"] == [5, 1, 2]


def test_a_log_that_is_back_gets_its_files(
    leave: Leave, folder: SpoolFolder, publish: Publisher, client: redis.Redis, keys: Keys
) -> None:
    """At the next look."""
    there = present_id(publish)
    kept = leave(1, token=TOKEN, log_id=there)
    client.set(keys.id, "another")
    found = Recovery(folder, publish)
    found.look()
    assert found.step() is None
    client.set(keys.id, there)
    assert found.step() is None

    found.look()
    flush_all(found)

    assert not kept.exists()


@pytest.mark.parametrize(
    "address", ["redis://host:1", "redis://host:1/", "unix:///run/0", "redis+sentinel://a/primary"]
)
def test_an_address_that_an_earlier_release_cut_short_is_not_trusted(
    leave: Leave, publish: Publisher, keys: Keys, spool_dir: Path, address: str
) -> None:
    """It left out the database after `?`: the file may be for another one than the address says now."""
    folder = SpoolFolder(spool_dir / keys.name, keys.name, address)
    path = leave(1, store=address)
    found = Recovery(folder, publish)
    found.look()
    assert not found.has_work
    path.unlink()

    leave(1, store=address, log_id="", token=TOKEN)
    found.look()

    assert found.has_work
    found.release()


def test_a_stage_notes_in_its_file_which_log_it_is_for(
    proxy: Proxy, store_url: str, client: redis.Redis, keys: Keys, spool_dir: Path, tmp_path: Path
) -> None:
    """Its only file was opened before it had reached the store. It is killed while the store is away, and that comes
    back at another address."""
    source = f"""
import os, signal, sys
from etlog_producer import Producer
producer = Producer(sys.argv[1], log=sys.argv[2], durable=True)
for size in range(3):
    producer.emit("AssetSetSaved", size=size, window={WINDOW!r})
    if size == 1:
        assert producer.flush(20)
        print(flush=True)
        sys.stdin.readline()
os.kill(os.getpid(), signal.SIGKILL)
"""
    command = [sys.executable, "-c", source, proxy.url, keys.name]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as stage:
        assert stage.stdout is not None
        stage.stdout.readline()
        proxy.swallow_replies(True)
        proxy.cut()
        stage.communicate("\n")
    [path] = spool_files(spool_dir)
    header = json.loads(path.read_text().splitlines()[0])
    assert header["log_id"] == client.get(keys.id).decode()  # type: ignore[union-attr]
    assert spooled(path) == [1, 2, 3]

    with Producer(store_url, log=keys.name) as later:
        emit(later, 9)

    assert [entry.metadata["size"] for entry in entries(client, keys)] == [0, 1, 9, 2]


def test_a_header_can_tell_any_log(spool_dir: Path) -> None:
    """It is written over, without moving what follows; an id that does not fit leaves it as it is."""
    spool_dir.mkdir()
    header = SegmentHeader("nightly", "gone-1-abc", "redis://host/0", token=TOKEN)
    segment = Segment(spool_dir, header, 7)
    segment.appear()
    segment.append([b"{}"])
    for log_id in ("a" * 40, "b" * LOG_ID_BYTES, "c", "d" * (LOG_ID_BYTES + 1)):
        segment.know_log(log_id)
        segment.append([b"{}"])

    reader = SegmentReader(segment.path)
    with closing(reader):
        assert reader.header == replace(header, log_id="c")
        assert spooled(segment.path) == [7, 8, 9, 10, 11]


@pytest.fixture
def taken(publish: Publisher) -> Identity:
    """Another process that publishes under the id of the one that is gone."""
    other = Identity("gone-1-abc", "0123456789abcdef")
    publish(other, 1, [saved(size) for size in (1000, 1001)])
    return other


def sizes(client: redis.Redis, keys: Keys) -> list[int]:
    """The sizes of all events in the stream."""
    return [entry.metadata["size"] for entry in entries(client, keys)]


@pytest.mark.usefixtures("taken")
def test_files_whose_id_another_process_took_go_under_ids_of_their_own(
    leave: Leave, folder: SpoolFolder, publish: Publisher, client: redis.Redis, keys: Keys, logged: Logged
) -> None:
    """Each file for itself, counted from 1; the one who took the id is not touched, and the id is named."""
    leave(*range(40, 60), first=41, token=TOKEN, age=1000.0)
    leave(*range(7), first=3, token=TOKEN, age=1000.0)
    found = Recovery(folder, publish)
    found.look()

    flush_all(found)

    assert sizes(client, keys) == [1000, 1001, *range(7), *range(40, 60)]
    assert {(entry.producer, entry.seq) for entry in entries(client, keys)[2:]} == {
        *((f"gone-1-abc~{TOKEN}-3", number) for number in range(1, 8)),
        *((f"gone-1-abc~{TOKEN}-41", number) for number in range(1, 21)),
    }
    assert [orphan.lost for orphan in found.done] == [0, 0]
    assert spool_files(folder.path) == []
    [error] = logged("id_taken")
    assert error.startswith("Another process publishes under the id gone-1-abc; ")
    ended = {name: record.closed for name, record in records(client, keys).items()}
    assert ended == {"gone-1-abc": False, f"gone-1-abc~{TOKEN}-3": True, f"gone-1-abc~{TOKEN}-41": True}


def test_a_second_attempt_under_an_id_of_its_own_doubles_nothing(
    leave: Leave, folder: SpoolFolder, publish: Publisher, client: redis.Redis, keys: Keys, taken: Identity
) -> None:
    """The first was killed halfway, and who took the id is forgotten by now: the name of the file tells."""
    leave(*range(1200), token=TOKEN)
    one = Recovery(folder, publish)
    one.look()
    for _ in range(3):
        one.step()
    assert 0 < len(sizes(client, keys)) - 2 < 1200
    one.release()
    client.hdel(keys.producers, taken.producer)

    other = Recovery(folder, publish)
    other.look()
    flush_all(other)

    assert sizes(client, keys) == [1000, 1001, *range(1200)]


def test_an_id_of_its_own_is_never_too_long(spool_dir: Path) -> None:
    """However long the id was that it is made of."""
    long = SpoolFile.named(spool_dir / f"{'é' * 120}.{10**15:020d}.{TOKEN}.taken.spool")

    assert long is not None
    assert len(long.id_of_its_own.encode()) <= MAX_PRODUCER_BYTES
    assert long.id_of_its_own.endswith(f"é~{TOKEN}-{10**15}")


@pytest.mark.parametrize("token", ["", "0f", "taken", "a/b", "a.b", "x" * 40])
def test_a_file_is_found_whatever_the_token_is(spool_dir: Path, token: str) -> None:
    """It is what someone gave with the id to resume."""
    writer = SpoolWriter(SpoolFolder(spool_dir, "nightly", "redis://host/0"), Identity("gone-1-abc", token))
    writer.append(7, [b"{}"])
    writer.mark_taken()
    writer.close()

    [file] = SpoolFolder(spool_dir, "nightly", "redis://host/0").files()
    assert (file.producer, file.first, spooled(file.path)) == ("gone-1-abc", 7, [7])
    assert file.taken is bool(token)


def test_two_processes_under_one_id_share_no_file(spool_dir: Path) -> None:
    """Both begin with the number 1."""
    folder = SpoolFolder(spool_dir, "nightly", "redis://host/0")
    writers = [SpoolWriter(folder, Identity("twin-1-abc", token)) for token in ("01", "02")]
    for number, writer in enumerate(writers):
        writer.append(1, [b'{"writer":%d}' % number])
        writer.close()

    assert [path.read_bytes().splitlines()[2][11:] for path in spool_files(spool_dir)] == [
        b'{"writer":0}',
        b'{"writer":1}',
    ]


@pytest.mark.parametrize(
    ("header", "age", "ends"),
    [
        ({"token": TOKEN, "resumable": False}, 1000.0, True),
        ({"token": TOKEN, "resumable": True}, 1000.0, False),
        ({}, 1000.0, False),
        ({"token": TOKEN, "resumable": False}, 1.0, False),
    ],
    ids=["gone for good", "in a bookmark", "of an earlier release", "gone just now"],
)
def test_a_producer_ends_with_its_last_file(
    leave: Leave,
    folder: SpoolFolder,
    publish: Publisher,
    client: redis.Redis,
    keys: Keys,
    header: dict[str, Any],
    age: float,
    ends: bool,
) -> None:
    """Unless someone may go on under its id, or a call of it may still be under way."""
    path = leave(1, 2, 3, age=age, **header)
    ended = publish.close
    files: list[bool] = []

    def close(who: Identity, last: int, **options: Any) -> Published:
        files.append(path.exists())
        return ended(who, last, **options)

    publish.close = close  # type: ignore[method-assign]
    found = Recovery(folder, publish)
    found.look()

    flush_all(found)

    assert records(client, keys)["gone-1-abc"].closed is ends
    assert files == ([False] if ends else []), "once it is forgotten, a file would be sent again"


def test_a_producer_with_another_file_has_not_ended(
    leave: Leave, folder: SpoolFolder, publish: Publisher, client: redis.Redis, keys: Keys
) -> None:
    """It was written after the look, by an owner that was just about to end; it follows on from the first one."""
    header: dict[str, Any] = {"token": TOKEN, "resumable": False, "age": 1000.0}
    leave(1, 2, 3, **header)
    found = Recovery(folder, publish)
    found.look()
    found.step()
    leave(4, 5, first=4, **header)

    wait_until(lambda: len(found.done) == 1 or found.step() is None, what="the first file to be delivered")
    assert not records(client, keys)["gone-1-abc"].closed
    flush_all(found)

    assert numbers(client, keys) == [1, 2, 3, 4, 5]
    assert records(client, keys)["gone-1-abc"].closed


def test_a_damaged_file_is_an_end_too(
    leave: Leave, folder: SpoolFolder, publish: Publisher, client: redis.Redis, keys: Keys
) -> None:
    """What it has lost does not come back."""
    path = leave(1, 2, 3, token=TOKEN, resumable=False)
    path.write_bytes(path.read_bytes().replace(b"\n2 {", b"\ngarbage {"))
    os.utime(path, (1, time() - 1000))
    found = Recovery(folder, publish)
    found.look()

    flush_all(found)

    assert records(client, keys)["gone-1-abc"].closed
    assert path.with_suffix(".broken").exists()


def test_who_had_no_answer_does_not_end_a_producer(
    leave: Leave, proxy: Proxy, folder: SpoolFolder, client: redis.Redis, keys: Keys
) -> None:
    """Its call may come late, and must be recognized then."""
    leave(*range(5), token=TOKEN, resumable=False, age=1000.0)
    with connect(proxy.url, part="test", answer_timeout=0.3) as behind:
        found = Recovery(folder, Publisher(behind, keys))
        found.look()
        proxy.swallow_replies(True)
        with pytest.raises(redis.RedisError):
            found.step()
        proxy.swallow_replies(False)
        proxy.cut()
        flush_all(found)

    assert not records(client, keys)["gone-1-abc"].closed


def test_an_end_that_fails_is_no_failure_of_the_delivery(
    leave: Leave, folder: SpoolFolder, publish: Publisher, client: redis.Redis, keys: Keys
) -> None:
    """The record stays as that of a producer that was killed."""
    path = leave(1, 2, token=TOKEN, resumable=False, age=1000.0)

    def fail(*_: Any, **__: Any) -> Published:
        raise redis.ConnectionError("away")

    publish.close = fail  # type: ignore[method-assign]
    found = Recovery(folder, publish)
    found.look()

    flush_all(found)

    assert not path.exists()
    assert numbers(client, keys) == [1, 2]


def test_more_files_than_can_be_open_at_once_are_all_sent(
    leave: Leave,
    folder: SpoolFolder,
    publish: Publisher,
    client: redis.Redis,
    keys: Keys,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After one look, in the order of their numbers."""
    monkeypatch.setattr(recovery, "AT_ONCE", 2)
    for first in range(1, 20, 3):
        leave(*range(first, first + 3), first=first, token=TOKEN)
    found = Recovery(folder, publish)
    found.look()

    flush_all(found)

    assert sizes(client, keys) == list(range(1, 22))
    assert spool_files(folder.path) == []


def leave_many(folder: SpoolFolder, count: int, events: int = 1) -> None:
    """Files of so many producers that are gone."""
    for number in range(count):
        writer = SpoolWriter(folder, Identity(f"many-{number}-abc", TOKEN))
        writer.append(1, [saved(size) for size in range(events)])
        writer.close()


def test_files_of_many_producers_settle_together(
    folder: SpoolFolder, publish: Publisher, client: redis.Redis, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All are sent before the first is waited for, and no file is held open meanwhile."""
    monkeypatch.setattr(recovery, "SETTLE", 3600.0)
    leave_many(folder, 100)
    found = Recovery(folder, publish)
    publish(Identity("someone"), 1, [])
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    found.look()

    while (wait := found.step()) == 0:
        pass

    assert wait == pytest.approx(3600, rel=0.1)
    assert client.xlen(keys.events) == 100
    assert len(spool_files(folder.path)) == 100
    assert len(list(Path("/proc/self/fd").iterdir())) == descriptors
    found.release()
    monkeypatch.setattr(recovery, "SETTLE", 0.0)
    found.look()
    flush_all(found)
    assert (len(found.done), spool_files(folder.path)) == (100, [])


def test_a_living_producer_takes_all_that_is_there(
    store_url: str, keys: Keys, folder: SpoolFolder, spool_dir: Path
) -> None:
    """Not so many a minute."""
    leave_many(folder, 100)
    with Producer(store_url, log=keys.name, spool_dir=spool_dir) as producer:
        emit(producer, 1)
        wait_until(lambda: not spool_files(folder.path), what="all files to be sent")


def test_the_next_process_deletes_what_one_has_sent(
    folder: SpoolFolder, publish: Publisher, client: redis.Redis, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without waiting, once that is long enough ago; not before; not if the store has lost it since."""
    monkeypatch.setattr(recovery, "SETTLE", 3600.0)
    leave_many(folder, 1, events=700)
    [path] = spool_files(folder.path)

    def sent() -> float | None:
        found = Recovery(folder, publish)
        found.look()
        wait = found.step()
        while wait == 0:
            wait = found.step()
        found.release()
        return wait

    assert sent() == pytest.approx(3600, rel=0.01)
    assert sent() == pytest.approx(3600, rel=0.01)
    assert len(numbers(client, keys)) == 700
    monkeypatch.setattr(recovery, "SETTLE", 0.3)
    client.delete(keys.events, keys.producers)
    assert sent() is not None
    assert path.exists()
    wait_until(lambda: sent() is None, what="the file to be deleted")
    assert len(numbers(client, keys)) == 700
    assert not path.exists()


@pytest.mark.parametrize("killed", [False, True])
def test_a_note_makes_no_file_younger(
    leave: Leave, folder: SpoolFolder, publish: Publisher, killed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What counts is when its owner wrote to it; also if the one who made the note was killed right behind it."""
    monkeypatch.setattr(recovery, "SETTLE", 3600.0)
    path = leave(1, 2, token=TOKEN, age=SENT_WITHIN - 3600)
    if killed:
        monkeypatch.setattr(os, "utime", lambda *_: None)
    found = Recovery(folder, publish)
    found.look()
    while found.step() == 0:
        pass
    found.release()
    assert b"# delivered 2 at " in path.read_bytes()
    assert (time() - path.stat().st_mtime < 60) is killed
    monkeypatch.undo()

    monkeypatch.setattr(recovery, "SENT_WITHIN", SENT_WITHIN - 7200)
    found.look()

    assert path.with_suffix(".old").exists()


@pytest.fixture
def unreadable(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Makes a file one that this user may not open: root may open each."""
    refused: list[str] = []
    really = os.open

    def refuse(path: Any, *args: Any, **options: Any) -> int:
        if str(path) in refused:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return really(path, *args, **options)

    monkeypatch.setattr(os, "open", refuse)
    return lambda path: refused.append(str(path))


def test_a_file_that_cannot_be_opened_stops_no_one(
    leave: Leave,
    folder: SpoolFolder,
    publish: Publisher,
    client: redis.Redis,
    keys: Keys,
    unreadable: Callable[[Path], None],
    logged: Logged,
) -> None:
    """It is reported once. What the same producer wrote behind it is sent, too; then its own events are counted as
    lost, so no one may take it for delivered later."""
    alone = leave(1, producer="a-1-abc", token=TOKEN)
    front = leave(10, 11, first=1, producer="b-1-abc", token=TOKEN)
    leave(12, first=3, producer="b-1-abc", token=TOKEN)
    leave(20, producer="c-1-abc", token=TOKEN)
    unreadable(alone)
    unreadable(front)
    found = Recovery(folder, publish)
    for _ in range(2):
        found.look()
        flush_all(found)

    assert sorted(sizes(client, keys)) == [12, 20]
    assert alone.exists()
    assert not front.exists()
    aside = front.with_suffix(".broken")
    assert aside.exists()
    assert [*found.unusable] == [alone]
    assert len([line for line in logged("spool_file_kept") if str(alone) in line]) == 1
    assert len([line for line in logged("spool_file_kept") if str(aside) in line]) == 1


def test_a_file_that_goes_between_listing_and_opening_is_none(
    leave: Leave, folder: SpoolFolder, publish: Publisher, client: redis.Redis, keys: Keys
) -> None:
    """The others of its producer are sent."""
    path = leave(1, 2, token=TOKEN)
    leave(3, first=3, token=TOKEN)
    files = folder.files()
    path.unlink()
    publish(Identity("gone-1-abc", TOKEN), 1, [saved(1), saved(2)])
    found = Recovery(folder, publish)
    found._find = lambda: found._found.extend([files]) if len(found.done) == 0 else None  # type: ignore[method-assign]
    found.look()

    flush_all(found)

    assert sizes(client, keys) == [1, 2, 3]
    assert found.unusable == {}


def test_what_the_store_refuses_stops_no_one(
    leave: Leave, folder: SpoolFolder, publish: Publisher, client: redis.Redis, keys: Keys
) -> None:
    """A number that no store takes, in a file that someone made."""
    path = leave(1, first=9_007_199_254_740_995, producer="a-1-abc", token=TOKEN)
    leave(2, producer="b-1-abc", token=TOKEN)
    found = Recovery(folder, publish)
    found.look()

    flush_all(found)

    assert sizes(client, keys) == [2]
    assert [*found.unusable] == [path]


def plant_fifo(path: Path, _: Path) -> None:
    """A FIFO: to open it would be to wait for ever."""
    os.mkfifo(path)


def plant_link(path: Path, secret: Path) -> None:
    """A link to a file that is none of the spool's."""
    path.symlink_to(secret)


def plant_hard_link(path: Path, secret: Path) -> None:
    """Another name of such a file."""
    path.hardlink_to(secret)


def plant_folder(path: Path, _: Path) -> None:
    """A folder."""
    path.mkdir()


def plant_file_of_another(path: Path, secret: Path) -> None:
    """A file of another user."""
    path.write_bytes(secret.read_bytes())
    os.chown(path, 12345, 12345)


@pytest.mark.parametrize("plant", [plant_fifo, plant_link, plant_hard_link, plant_folder, plant_file_of_another])
def test_what_is_planted_is_not_read(
    leave: Leave,
    folder: SpoolFolder,
    publish: Publisher,
    client: redis.Redis,
    keys: Keys,
    tmp_path: Path,
    plant: Callable[[Path, Path], None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is reported once, without a word of what is in it, and holds up nothing."""
    if plant is plant_file_of_another and os.geteuid():
        pytest.skip("only root can give files away")
    secret = tmp_path / "secret"
    secret.write_text("hunter2\n" * 3)
    leave(1, token=TOKEN)
    path = folder.path / f"gone-0-abc.{1:020d}.{TOKEN}.spool"
    plant(path, secret)
    found = Recovery(folder, publish, any_store=True)
    for _ in range(2):
        found.look()
        flush_all(found)

    assert sizes(client, keys) == [1]
    assert [*found.unusable] == [path]
    assert "it is ignored" in found.unusable[path]
    assert ("it is a link" in found.unusable[path]) is (plant is plant_link)
    assert caplog.text.count(f"{path}: it is ignored") == 1
    assert "hunter2" not in caplog.text
    assert os.path.lexists(path)


def test_a_folder_of_another_user_is_not_used(
    folder: SpoolFolder, publish: Publisher, tmp_path: Path, logged: Logged, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither for writing nor for reading; the text says what to do. Root may send what is in it."""
    leave_many(folder, 1)
    me = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: me + 12345)
    writer = SpoolWriter(folder, Identity("gone-1-abc", TOKEN))
    said = rf"the spool folder {folder.path} belongs to user .*\({me}\), not to {me + 12345}; .*ETLOG_SPOOL_DIR"
    with pytest.raises(PermissionError, match=said):
        writer.append(1, [saved(1)])
    found = Recovery(folder, publish)
    for _ in range(2):
        found.look()
        assert not found.has_work
    assert len(logged("spool_file_kept")) == 1

    os.chown(folder.path, 12345, 12345)
    os.chown(spool_files(folder.path)[0], 12345, 12345)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(PermissionError, match="belongs to user 12345, not to"):
        writer.append(1, [saved(1)])
    found.look()
    flush_all(found)
    assert [orphan.sent for orphan in found.done] == [1]


def test_a_link_is_no_folder_for_a_log(folder: SpoolFolder, tmp_path: Path) -> None:
    """It may lead anywhere."""
    (tmp_path / "elsewhere").mkdir()
    folder.path.parent.mkdir()
    folder.path.symlink_to(tmp_path / "elsewhere")

    with pytest.raises(PermissionError, match=r"is a link of user .* and no folder"):
        SpoolWriter(folder, Identity("gone-1-abc", TOKEN)).append(1, [saved(1)])
    with pytest.raises(PermissionError, match=r"is a link of user .* and no folder"):
        folder.owner()
    assert not list((tmp_path / "elsewhere").iterdir())


def test_what_a_killed_process_did_not_finish_goes(folder: SpoolFolder, publish: Publisher) -> None:
    """After a minute; not if it is locked, or no file of ours."""
    folder.make()
    old, young, locked, link = (folder.path / f".{name}.new" for name in ("old", "young", "locked", "link"))
    for path in (old, young, locked):
        path.write_text("{")
    link.symlink_to(old)
    for path in (old, locked):
        os.utime(path, (1, time() - 61))
    with locked.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)

        Recovery(folder, publish).look()

    assert [os.path.lexists(path) for path in (old, young, locked, link)] == [False, True, True, True]
