"""Spool files of a living producer: whatever happens to them, what their descriptors still give is kept and counted."""

import errno
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from etlog_producer.publish import Identity
from etlog_producer.spool import folder as folder_module
from etlog_producer.spool import segment, writer
from etlog_producer.spool.folder import SpoolFolder
from etlog_producer.spool.writer import SpoolWriter
from support.logged import Logged
from support.producers import spool_files, spooled


def event(number: int) -> bytes:
    """One that can be told apart, as long as each other one."""
    return b'{"size":%06d}' % number


def events(first: int, last: int) -> list[bytes]:
    """Those of these numbers."""
    return [event(number) for number in range(first, last + 1)]


@pytest.fixture
def folder(tmp_path: Path) -> SpoolFolder:
    """A folder that does not exist yet."""
    return SpoolFolder(tmp_path / "spool" / "nightly", "nightly", "redis://host/0")


@pytest.fixture
def spool(folder: SpoolFolder) -> Iterator[SpoolWriter]:
    """The spool of a producer."""
    with closing(SpoolWriter(folder, Identity("living-1-abc", "9f8e7d6c5b4a3210"))) as spool:
        yield spool


def on_disk(folder: SpoolFolder) -> list[int]:
    """The numbers in all files; each must be that of its event."""
    found = [number for path in spool_files(folder.path) for number in spooled(path)]
    return sorted(set(found))


def read_all(spool: SpoolWriter, last: int) -> list[int]:
    """The numbers that the spool still gives; each must be that of its event."""
    found: list[int] = []
    number = 1
    while number <= last:
        first, run = spool.read(number, last, 7)
        assert run == events(first, first + len(run) - 1)
        found += range(first, first + len(run))
        number = first + len(run)
    return found


def truncate(path: Path) -> None:
    """Leave the first of its lines, and a half."""
    text = path.read_bytes()
    os.truncate(path, text.index(b"5 ") + 12)


def replace(path: Path) -> None:
    """Put another file in its place."""
    path.with_name("other").write_text("other")
    path.with_name("other").rename(path)


def put_a_folder(path: Path) -> None:
    """Put one in its place."""
    path.unlink()
    path.mkdir()


def damage(path: Path, number: int) -> None:
    """Change a byte in an event."""
    text = path.read_bytes()
    with path.open("r+b") as file:
        file.seek(text.index(event(number)))
        file.write(b"!")


HURT: dict[str, tuple[Callable[[Path], Any], list[int], str]] = {
    "removed": (Path.unlink, [], "was removed; 10 of its events"),
    "replaced": (replace, [], "was replaced; 10 of its events"),
    "moved": (lambda path: path.rename(path.with_name("aside")), [], "was removed; 10 of its events"),
    "folder removed": (lambda path: shutil.rmtree(path.parent.parent), [], "was removed; 10 of its events"),
    "a folder instead of its folder's parent": (
        lambda path: path.parent.parent.rename(path.parent.parent.with_name("away")),
        [],
        "was removed; 10 of its events",
    ),
    "a folder in its place": (put_a_folder, [], "was replaced; 10 of its events"),
    "cut short": (truncate, list(range(5, 11)), "was cut short; 4 of its events are in new files now, 6 are gone"),
    "emptied": (lambda path: os.truncate(path, 0), list(range(1, 11)), "was cut short; 0 of its events"),
}


@pytest.mark.parametrize("how", HURT)
@pytest.mark.parametrize("by", ["append", "heal"])
def test_a_file_is_written_anew(spool: SpoolWriter, folder: SpoolFolder, how: str, by: str, logged: Logged) -> None:
    """Before the next event, or when it is looked at: what can be read is in a file again, and the rest is counted."""
    spool.append(1, events(1, 10))
    [path] = spool.paths
    hurt, lost, said = HURT[how]
    hurt(path)

    if by == "append":
        spool.append(11, events(11, 11))
    else:
        spool.heal()

    last = 11 if by == "append" else 10
    kept = [number for number in range(1, last + 1) if number not in lost]
    assert on_disk(folder) == kept
    assert [number for number in range(1, last + 2) if spool.holds(number)] == kept
    assert spool.count(1, last) == len(kept)
    assert read_all(spool, last) == kept
    assert spool_files(folder.path) == spool.paths
    spool.heal()
    [line] = logged("spool_file_hurt")
    assert f"{path} {said}" in line


@pytest.mark.parametrize("moment", [SpoolFolder.make, SpoolFolder.bytes], ids=["made", "measured"])
def test_a_folder_that_goes_while_a_file_is_opened_is_made_again(
    spool: SpoolWriter, folder: SpoolFolder, monkeypatch: pytest.MonkeyPatch, moment: Callable[[SpoolFolder], Any]
) -> None:
    """As by someone who tidies up at the wrong moment."""
    gone: list[Path] = []

    def and_then_it_goes(self: SpoolFolder) -> Any:
        done = moment(self)
        if not gone:
            shutil.rmtree(self.path)
            gone.append(self.path)
        return done

    monkeypatch.setattr(SpoolFolder, moment.__name__, and_then_it_goes)

    spool.append(1, events(1, 3))

    assert gone
    assert on_disk(folder) == [1, 2, 3]


def test_what_another_appends_is_cut_off(spool: SpoolWriter, folder: SpoolFolder) -> None:
    """No event of ours comes behind it."""
    spool.append(1, events(1, 3))
    [path] = spool.paths
    with path.open("ab") as file:
        file.write(b"garbage without an end")

    spool.append(4, events(4, 5))

    assert spooled(path) == [1, 2, 3, 4, 5]


def test_a_hole_is_left_out_and_then_the_files_say_so(spool: SpoolWriter, folder: SpoolFolder, logged: Logged) -> None:
    """The damage is seen when it is read: from then on no one is told that the event is in a file."""
    spool.append(1, events(1, 10))
    damage(spool.paths[0], 5)

    assert spool.read(1, 10, 100) == (1, events(1, 4))
    assert spool.read(5, 10, 100) == (6, events(6, 10))
    assert spool.read(11, 20, 100) == (21, [])

    spool.append(11, [event(11)])
    kept = [1, 2, 3, 4, *range(6, 12)]
    assert [number for number in range(13) if spool.holds(number)] == kept
    assert (spool.count(1, 11), spool.count(3, 7)) == (10, 4)
    assert on_disk(folder) == kept
    assert [path.name.split(".")[1].lstrip("0") for path in spool.paths] == ["1", "6"]
    spool.append(5, [event(5)])
    assert read_all(spool, 11) == list(range(1, 12))
    assert len(logged("spool_file_hurt")) == 1


def test_lower_numbers_may_follow_higher_ones(spool: SpoolWriter, folder: SpoolFolder) -> None:
    """A flush that fails puts what is in memory in front of what was spilled. What is there is not written again."""
    spool.append(50, events(50, 60))
    spool.append(1, events(1, 20))
    spool.append(15, events(15, 55))
    spool.append(61, events(61, 70))

    assert read_all(spool, 70) == list(range(1, 71)) == on_disk(folder)
    assert sum(len(spooled(path)) for path in spool.paths) == 70
    assert spool.count(1, 70) == 70
    spool.release(60)
    assert [number for number in (49, 50, 60, 61) if spool.holds(number)] == [50, 60, 61]
    spool.release(70)
    assert spool.paths == []


def test_a_number_that_is_given_out_again_has_the_newer_event(spool: SpoolWriter, folder: SpoolFolder) -> None:
    """The `emit` that got it first was interrupted, and has not returned."""
    spool.append(1, events(1, 3))

    spool.append(3, [b'{"another":3}'])

    assert spool.read(1, 3, 10) == (1, [event(1), event(2), b'{"another":3}'])
    assert on_disk(folder) == [1, 2, 3]
    spool.append(4, [event(4)])
    assert on_disk(folder) == [1, 2, 3, 4]


def test_a_disk_that_cannot_read_stops_no_one(spool: SpoolWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is behind is read."""
    spool.append(1, events(1, 1000))
    spool.append(2001, events(2001, 2010))
    pread = os.pread

    def fail(file: int, size: int, place: int) -> bytes:
        if place < 2 * 4096 and place + size > 4096:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return pread(file, size, place)

    monkeypatch.setattr(os, "pread", fail)

    found = read_all(spool, 3000)

    assert found[0] == 1
    assert found[-10:] == list(range(2001, 2011))
    assert 700 < len(found) < 900


def test_a_full_disk_keeps_what_is_there(
    spool: SpoolWriter, folder: SpoolFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a line does not stay, nor an empty file; a file that was removed meanwhile is read by its descriptor."""
    spool.append(1, events(1, 3))
    pwrite = os.pwrite

    def half(file: int, text: bytes, place: int) -> int:
        return pwrite(file, text[: len(text) // 2], place)

    monkeypatch.setattr(os, "pwrite", half)
    for first in (4, 100):
        with pytest.raises(OSError, match="No space left"):
            spool.append(first, [event(first)])
    assert on_disk(folder) == [1, 2, 3]
    assert len(spool_files(folder.path)) == 1
    spool.paths[0].unlink()
    spool.heal()
    assert (spool.count(1, 3), spool.holds(1), spool.paths) == (0, False, [])
    assert read_all(spool, 3) == [1, 2, 3]

    monkeypatch.setattr(os, "pwrite", pwrite)
    spool.append(4, [event(4)])

    assert on_disk(folder) == [1, 2, 3, 4]
    assert spool.count(1, 4) == 4
    assert not list(folder.path.glob(".*.new"))


class Interrupt:
    """Raises `KeyboardInterrupt` before the nth instruction of the spool's writer, if `at` is not 0."""

    def __init__(self, at: int) -> None:
        self.at = at
        self.count = 0

    def __enter__(self) -> "Interrupt":
        sys.settrace(self._trace)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)

    def _trace(self, frame: FrameType, kind: str, _: object) -> Any:
        if frame.f_code.co_filename not in {file.__file__ for file in (folder_module, segment, writer)}:
            return None
        if frame.f_code.co_name == "__del__":  # where Python ignores it
            return None
        frame.f_trace_opcodes = True
        if kind == "opcode":
            self.count += 1
            if self.count == self.at:
                sys.settrace(None)
                raise KeyboardInterrupt
        return self._trace


ACTIONS: dict[str, tuple[Callable[[SpoolWriter], Any], list[int]]] = {
    "append one": (lambda spool: spool.append(11, events(11, 11)), [2, 3, 4, 5, 7, 8, 9, 10, 11]),
    "append to a file": (lambda spool: spool.append(11, events(11, 12)), [2, 3, 4, 5, 7, 8, 9, 10, 11, 12]),
    "append to a new file": (lambda spool: spool.append(1, events(1, 2)), [1, 2, 3, 4, 5, 7, 8, 9, 10]),
    "append in between": (lambda spool: spool.append(5, events(5, 8)), [2, 3, 4, 5, 6, 7, 8, 9, 10]),
    "heal": (lambda spool: spool.heal(), [2, 4, 5, 7, 8, 9, 10]),
    "release": (lambda spool: spool.release(6), [7, 8, 9, 10]),
    "read": (lambda spool: spool.read(7, 10, 2), [2, 3, 4, 5, 7, 8, 9, 10]),
    "take": (lambda spool: spool.mark_taken(), [2, 3, 4, 5, 7, 8, 9, 10]),
}

#: Places at which an action is interrupted: not each instruction, for the sake of time.
PLACES = 40


@pytest.mark.parametrize("name", ACTIONS)
def test_an_interrupt_anywhere_loses_nothing(name: str, tmp_path: Path) -> None:
    """The same is done once more, and then all is as if nothing had been."""
    action, there = ACTIONS[name]

    def interrupted(at: int) -> int:
        """Returns after how many instructions."""
        folder = SpoolFolder(tmp_path / str(at), "nightly", "redis://host/0")
        spool = SpoolWriter(folder, Identity("living-1-abc", "9f8e7d6c5b4a3210"))
        spool.append(2, events(2, 5))
        spool.append(7, events(7, 10))
        if name == "heal":
            spool.paths[1].unlink()
            damage(spool.paths[0], 3)
            spool.read(2, 5, 10)
        with suppress(KeyboardInterrupt), Interrupt(at) as interrupt:
            action(spool)
        action(spool)

        assert on_disk(folder) == there, at
        assert read_all(spool, 12) == there, at
        assert [number for number in range(14) if spool.holds(number)] == there, at
        assert spool.count(0, 14) == len(there), at
        spool.release(12)
        assert spool_files(folder.path) == [], at
        spool.close()
        return interrupt.count

    instructions = interrupted(0)
    for at in range(1, instructions + 1, max(1, instructions // PLACES)):
        assert interrupted(at) == at
