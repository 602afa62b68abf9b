"""Damaged spool files: each byte costs at most the event that it belongs to, and none is ever altered."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import redis
from etlog_events.keys import Keys
from etlog_events.store import shown
from etlog_producer.publish import Identity, Publisher
from etlog_producer.spool.folder import SpoolFolder
from etlog_producer.spool.header import SegmentHeader
from etlog_producer.spool.reader import SegmentReader
from etlog_producer.spool.recovery import Recovery
from etlog_producer.spool.segment import Segment
from etlog_producer.spool.writer import SpoolWriter
from support.logged import Logged
from support.samples import saved
from support.servers import wait_until
from support.stream import entries

pytestmark = pytest.mark.usefixtures("settles_soon")

WHO = Identity("gone-1-abc", "9f8e7d6c5b4a3210")
HEADER = SegmentHeader("nightly", WHO.producer, "redis://host/0", "c3ab", WHO.token)
EVENTS = {number: b'{"size":%d,"note":"J# 5 0badcafe {"}' % number for number in range(99, 102)}


@pytest.fixture
def intact(tmp_path: Path) -> bytes:
    """A small file, as its owner writes it."""
    segment = Segment(tmp_path, HEADER, 99)
    segment.append([EVENTS[99], EVENTS[100]])
    segment.mark(99)
    segment.append([EVENTS[101]])
    segment.appear()
    segment.release()
    text = segment.path.read_bytes()
    segment.path.unlink()
    return text


def read(path: Path) -> tuple[SegmentHeader | None, dict[int, bytes], int]:
    """Header, events and the number of damaged lines of a file."""
    reader = SegmentReader(path)
    events: dict[int, bytes] = {}
    damaged = 0
    while line := reader.next():
        if line.number:
            assert line.number not in events
            events[line.number] = line.event
        else:
            damaged += 1
    reader.close()
    return reader.header, events, damaged


def hit(text: bytes, place: int) -> int | None:
    """The event that a byte belongs to, None if it belongs to none."""
    start = text.rfind(b"\n", 0, place) + 1
    number = text[start : text.find(b"\n", start)].partition(b" ")[0]
    return int(number) if number.isdigit() else None


def test_a_flipped_bit_costs_the_event_that_it_hits(intact: bytes, tmp_path: Path) -> None:
    """Every bit of a file. The header is found, no event is altered, and the damage is seen."""
    path = tmp_path / "flipped.spool"
    for bit in range(8 * len(intact)):
        flipped = bytearray(intact)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)

        header, events, damaged = read(path)

        assert header == HEADER, bit
        assert events.items() <= EVENTS.items(), bit
        assert EVENTS.keys() - events.keys() <= {hit(intact, bit // 8)}, bit
        note = intact.index(b"# delivered 99")
        assert damaged or note < bit // 8 < note + 14, bit  # what the number in a note says is not checked


def test_without_a_whole_header_no_one_knows_the_log(intact: bytes, tmp_path: Path) -> None:
    """The events are there. A header with a checksum is never taken for one of an earlier release."""
    path = tmp_path / "beheaded.spool"
    for damage in (b"nightly", b'"sum"', b"c3ab"):
        path.write_bytes(intact.replace(damage, damage[:-1] + b"x"))
        assert read(path) == (None, EVENTS, 2)
    path.write_bytes(intact[intact.index(b"99 ") :])
    assert read(path)[:2] == (None, EVENTS)


@pytest.mark.parametrize(("cut", "left", "damaged"), [(1, 3, 0), (2, 2, 1), (60, 2, 1), (80, 1, 1), (130, 0, 1)])
def test_a_file_that_was_cut_short_has_the_rest(
    intact: bytes, tmp_path: Path, cut: int, left: int, damaged: int
) -> None:
    """What was in the line where it ends is damaged."""
    path = tmp_path / "cut.spool"
    path.write_bytes(intact[:-cut])

    assert read(path) == (HEADER, {number: EVENTS[number] for number in [*EVENTS][:left]}, damaged)


def test_what_was_written_twice_is_one_event(intact: bytes, tmp_path: Path) -> None:
    """A write that was interrupted, and made anew."""
    lines = intact.splitlines(keepends=True)
    path = tmp_path / "twice.spool"
    path.write_bytes(b"".join([*lines[:4], *lines[2:]]))

    assert read(path) == (HEADER, EVENTS, 0)


def test_a_file_of_an_earlier_release_is_read_as_before(tmp_path: Path) -> None:
    """It has no checksums; with the first release, its header tells less."""
    path = tmp_path / "earlier.spool"
    lines = b'1 {"a":1}\n2 {"a":2}\n# delivered 1\n2 {"a":3}\n3 {"a"\n4 {"a":4}\n'
    path.write_bytes(b'{"log":"nightly","producer":"gone-1-abc","store":"redis://host/0"}\n' + lines)
    events = {1: b'{"a":1}', 2: b'{"a":2}', 4: b'{"a":4}'}
    assert read(path) == (
        SegmentHeader("nightly", "gone-1-abc", "redis://host/0", resumable=True, complete=False, checked=False),
        events,
        2,
    )
    path.write_bytes(b'{"log":"a","producer":"b","store":"c","log_id":"d","token":"e","resumable":false}   \n' + lines)
    assert read(path) == (SegmentHeader("a", "b", "c", "d", "e", checked=False), events, 2)


def test_a_page_that_the_disk_cannot_read_costs_what_is_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest is found, before and behind it."""
    segment = Segment(tmp_path, HEADER, 1)
    segment.appear()
    segment.append([b'{"size":%d}' % number for number in range(1, 1001)])
    segment.release()
    pread = os.pread

    def fail(file: int, size: int, place: int) -> bytes:
        if place < 3 * 4096 and place + size > 2 * 4096:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return pread(file, size, place)

    whole = read(segment.path)
    monkeypatch.setattr(os, "pread", fail)
    header, events, damaged = read(segment.path)

    assert (header, damaged) == (HEADER, 1)
    lost = 1000 - len(events)
    assert 4096 // 30 < lost < 4096 // 20
    assert events.items() < whole[1].items()
    assert 1000 in events


@pytest.fixture
def folder(store_url: str, keys: Keys, spool_dir: Path) -> SpoolFolder:
    """The folder of the test's log."""
    return SpoolFolder(spool_dir / keys.name, keys.name, shown(store_url))


def left(folder: SpoolFolder, count: int) -> Path:
    """A file with so many events, of a producer that is gone and had reached no store."""
    writer = SpoolWriter(folder, WHO)
    writer.append(1, [saved(size) for size in range(1, count + 1)])
    [path] = writer.paths
    writer.close()
    return path


@pytest.mark.parametrize(
    ("damage", "lost"),
    [
        (lambda text: text.replace(b'"log"', b'"l0g"', 1), []),
        (lambda text: text.replace(b'"size":2', b'"size":3'), [2]),
        (lambda text: text.replace(b"\n2 ", b"*2 "), []),
        (lambda text: text.replace(b"\n3 ", b"\n#"), [3]),
        (lambda text: text.replace(b"\n4 ", b"\n5 "), [4]),
    ],
    ids=["header", "event", "end of line", "number", "other number"],
)
def test_what_is_whole_is_sent_and_the_file_is_kept(
    publish: Publisher,
    folder: SpoolFolder,
    client: redis.Redis,
    keys: Keys,
    damage: Callable[[bytes], bytes],
    lost: list[int],
    logged: Logged,
) -> None:
    """It is named; the events that are lost leave a hole in the numbers."""
    path = left(folder, 5)
    text = path.read_bytes()
    path.write_bytes(damage(text))
    assert path.read_bytes() != text
    found = Recovery(folder, publish)
    found.look()

    wait_until(lambda: found.step() is None, what="the file to be sent")

    sent = [(entry.seq, entry.metadata["size"]) for entry in entries(client, keys)]
    assert sent == [(number, number) for number in range(1, 6) if number not in lost]
    aside = path.with_suffix(".broken")
    assert (path.exists(), aside.exists()) == (False, True)
    [orphan] = found.done
    assert (orphan.lost, [*orphan.broken_as]) == (len(lost), [aside])
    [said] = logged("spool_file_broken")
    assert str(aside) in said


def test_a_file_without_a_header_waits_for_someone_to_decide(
    publish: Publisher, folder: SpoolFolder, client: redis.Redis, keys: Keys, logged: Logged
) -> None:
    """It is reported once, and holds up no other."""
    path = left(folder, 2)
    path.write_bytes(path.read_bytes().replace(b'"log"', b'"l0g"'))
    SpoolWriter(folder, Identity("other-1-abc", "01")).append(1, [saved(7)])
    found = Recovery(folder, publish)
    for _ in range(2):
        found.look()
        wait_until(lambda: found.step() is None, what="the other file to be sent")

    assert [entry.metadata["size"] for entry in entries(client, keys)] == [7]
    assert [*found.unusable] == [path]
    [said] = logged("spool_file_kept")
    assert "--any-store" in said
    wanted = Recovery(folder, publish, any_store=True)
    wanted.look()
    wait_until(lambda: wanted.step() is None, what="the file to be sent")
    assert [entry.metadata["size"] for entry in entries(client, keys)] == [7, 1, 2]
    assert path.with_suffix(".broken").exists()
