"""One spool file: a header, then one event per line. Anyone can read it with `less`.

    {"log":"default","producer":"host-17-9f8e7d6c","store":"redis://127.0.0.1:6379/0","log_id":"c3ab…",…,"sum":"52ab13f0"}
    {"log":"default","producer":"host-17-9f8e7d6c","store":"redis://127.0.0.1:6379/0","log_id":"c3ab…",…,"sum":"52ab13f0"}
    701 9f31c2d8 {"kind":"AllocationSetSaved",…}
    702 0b7e55a1 {"kind":"AllocationSetTotaled",…}
    # delivered 701

A line is a number, a checksum and an event; the checksum is the CRC-32 of `<number> <event>`, in eight hex digits. The
header is written twice, each copy with the checksum of what is before `,"sum"`: a reader takes the first one that is
intact. So damage to a byte costs at most the event that it hits; where it hits the end of a line, the next event is
found inside that line. A number that comes again is that of a write that was interrupted and repeated, and is skipped.
Files of earlier releases have one header and no checksums.

A line `# delivered 701` says that the store has everything up to that number. It is a hint, for people and for the next
process: what counts is what the store says. A process that has sent a file that another left behind adds

    # delivered 702 at 2026-11-30T10:00:02.000Z, last written 2026-11-29T09:00:00.000Z

A process that finds this note a while later deletes the file at once, if the store says that it still has all of it.
Making the note must not make an old file look new, because one that its owner last wrote to long ago must not be sent:
so the file is given back the time of its last write. In case the process is killed before that, the note has that time
as well; the earlier of the two counts.

The name is `<producer>.<first number>.<token>.spool`, so that two processes under one id never share a file. A name
that ends with `.taken.spool` says that another process publishes under the id. The owner of a file holds a lock on it
(`flock`) as long as it runs, so that a process that gets the lock knows that the owner is gone.
"""

import errno
import fcntl
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from zlib import crc32

from etlog_producer.spool.folder import Descriptor
from etlog_producer.spool.header import SegmentHeader
from etlog_producer.spool.line import Line, Mark, encode
from etlog_producer.spool.names import SpoolFile, file_name, set_aside
from etlog_producer.spool.reader import SegmentReader


class Segment:
    """A file that its owner writes: consecutive numbers from `first` to `last`.

    It is used by its descriptor alone, so that it can be read even after someone has removed it. Every method may be
    interrupted anywhere, and called again.
    """

    def __init__(self, folder: Path, header: SegmentHeader, first: int, events: Sequence[bytes] = ()) -> None:
        """Make the file with `events`, readable by this user alone; no one finds it before it has `appeared`.

        Raises `OSError`.
        """
        self.path = folder / file_name(header.producer, first, header.token)
        self.first = first
        self._header = header
        self._reading: tuple[SegmentReader, Line | None, int] | None = None  # the next line, the number that is next
        #: Whether a part of it cannot be read as it was written.
        self.damaged = False
        #: Whether it is neither at its name nor can be written again: it can only be read.
        self.detached = False
        #: Whether it was said that it cannot be deleted.
        self.stays = False
        # Under another name until it is locked and complete: an unlocked file looks as if its owner were dead.
        self._unfinished = folder / f".{os.urandom(8).hex()}.new"
        self._file = Descriptor(str(self._unfinished), "x+", opener=_private)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            text = b"".join([header.encode(), *(encode(first + i, event) for i, event in enumerate(events))])
            self._write(text, 0)
            self._end = len(text), first + len(events) - 1  # one attribute: no interrupt comes between the two
            found = os.fstat(self._file.fileno())
            self._inode = found.st_dev, found.st_ino
            self._name = str(self.path)
        except BaseException:
            self._file.close()
            self._unfinished.unlink(missing_ok=True)
            raise

    def appear(self) -> None:
        """Give the file its name; a folder that is there makes way. Raises `OSError`; then there is none."""
        try:
            try:
                self._unfinished.rename(self.path)
            except IsADirectoryError:
                set_aside(self.path, ".broken")
                self._unfinished.rename(self.path)
        except OSError:
            self._file.close()
            self._unfinished.unlink(missing_ok=True)
            raise

    @property
    def last(self) -> int:
        """The number of the last event, `first - 1` if there is none."""
        return self._end[1]

    @property
    def size(self) -> int:
        """Bytes of the file, as far as it was written here."""
        return self._end[0]

    def append(self, events: Sequence[bytes]) -> None:
        """Add events under the numbers after `last`: all of them, or none and an `OSError`."""
        at, last = self._end
        text = b"".join([encode(number, event) for number, event in enumerate(events, last + 1)])
        self._write(text, at)
        self._end = at + len(text), last + len(events)

    def append_next(self, number: int, event: bytes) -> bool:
        """`append` for the one event that an `emit` waits for, if it follows on and nothing is wrong with the file.

        Tells whether it was added. Raises `OSError`.
        """
        at, last = self._end
        if last + 1 != number or self.damaged or self.detached:
            return False
        try:
            found = os.lstat(self._name)
        except OSError:
            return False
        if found.st_size != at or (found.st_dev, found.st_ino) != self._inode:
            return False
        text = b"%d %08x %b\n" % (number, crc32(b"%d %b" % (number, event)), event)  # `encode`, without the call
        if os.pwrite(self._file.fileno(), text, at) < len(text):
            self._take_back(at)
        self._end = at + len(text), number
        return True

    def know_log(self, log_id: str) -> None:
        """Note in the header that the events are for the log with this id. Raises `OSError`."""
        now = replace(self._header, log_id=log_id)
        text = now.encode()
        if len(text) == len(self._header.encode()):  # else someone made the id who makes longer ones
            os.pwrite(self._file.fileno(), text, 0)
            self._header = now

    def mark(self, delivered: int) -> None:
        """Note that the store has everything up to `delivered`. Raises `OSError`."""
        at, last = self._end
        text = Mark(delivered).encode()
        self._write(text, at)
        self._end = at + len(text), last

    def _write(self, text: bytes, at: int) -> None:
        """Write at a place of the file: what an interrupted attempt has left there is written over."""
        if os.pwrite(self._file.fileno(), text, at) < len(text):
            self._take_back(at)

    def _take_back(self, at: int) -> None:
        """The disk is full: half a line must not stay."""
        os.ftruncate(self._file.fileno(), at)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def trim(self) -> None:
        """Cut off what is behind the last event: an attempt to write that was interrupted, or what another process has
        added."""
        with suppress(OSError):
            if os.fstat(self._file.fileno()).st_size > self._end[0]:
                os.ftruncate(self._file.fileno(), self._end[0])

    def fault(self) -> str | None:
        """What is wrong with the file: None if it is at its name and not shorter than it was written."""
        try:
            found = os.lstat(self._name)
        except (FileNotFoundError, NotADirectoryError):
            return "was removed"
        except OSError:  # no one can tell by the name
            found = os.fstat(self._file.fileno())
            if not found.st_nlink:
                return "was removed"
        if (found.st_dev, found.st_ino) != self._inode:
            return "was replaced"
        if found.st_size < self._end[0]:
            return "was cut short"
        return "is damaged" if self.damaged else None

    def is_there(self) -> bool:
        """Whether the file is at its name."""
        try:
            found = self.path.lstat()
        except OSError:
            return False
        return (found.st_dev, found.st_ino) == self._inode

    def read(self, number: int, last: int, limit: int) -> tuple[int, list[bytes]]:
        """The next events from `number` to `last`, at most `limit`: the number of the first, and a run without a hole.

        Without any left, the answer is `last + 1` and none.
        """
        number, last = max(number, self.first), min(last, self.last)
        # While it is read there is no place to go on from: an interrupt must not leave a hole.
        reading, self._reading = self._reading, None
        if reading is None or reading[2] > number:
            reading = SegmentReader(self.path, self._file, end=lambda: self._end[0]), None, self.first
        reader, ahead, _ = reading
        events: list[bytes] = []
        first = number
        while len(events) < limit and first + len(events) <= last:
            ahead = ahead or reader.next()
            if ahead is None:
                self.damaged = True  # there should be more
                break
            if ahead.number > first + len(events):
                self.damaged = True
                if events or ahead.number > last:
                    break
                first = ahead.number
            if ahead.is_damaged:
                self.damaged = True
            elif ahead.number == first + len(events):
                events.append(ahead.event)
            ahead = None
        if not events:
            first = last + 1
        self._reading = reader, ahead, first + len(events)
        return first, events

    def runs(self) -> list[tuple[int, list[bytes]]]:
        """All events that can be read: runs without a hole, and their first numbers."""
        found = []
        number = self.first
        while number <= self.last:
            first, events = self.read(number, self.last, self.last)
            if events:
                found.append((first, events))
            number = first + max(1, len(events))
        return found

    def cut(self, number: int) -> None:
        """Forget the events from `number` on. Raises `OSError`."""
        reader = SegmentReader(self.path, self._file, end=lambda: self._end[0])
        while (found := reader.next()) and found.number < number:
            pass
        if found is None:
            self.damaged = True
        else:
            self._reading = None
            os.ftruncate(self._file.fileno(), found.offset)
            self._end = found.offset, number - 1

    def mark_taken(self) -> None:
        """Say by the name of the file that another process publishes under its id. Raises `OSError`."""
        self.path = SpoolFile(self.path, self._header.producer, self.first, self._header.token).mark_taken().path
        self._name = str(self.path)

    def release(self) -> None:
        """Let go of the file and its lock: anyone may send what is in it."""
        self._file.close()

    def delete(self) -> None:
        """Remove the file, unless another one has taken its place: the store has all of it. Raises `OSError`."""
        if self.is_there():
            self.path.unlink(missing_ok=True)
        self._file.close()


def _private(name: str, flags: int) -> int:
    return os.open(name, flags | os.O_NOFOLLOW, 0o600)
