"""A spool file that was left behind: open, locked, and kept or removed by the process that sends it."""

import errno
import fcntl
import logging
import os
from contextlib import suppress
from pathlib import Path
from time import time

from etlog_producer.spool.folder import Descriptor, open_trusted
from etlog_producer.spool.header import SegmentHeader
from etlog_producer.spool.line import Line, Mark
from etlog_producer.spool.names import SpoolFile, set_aside
from etlog_producer.spool.reader import SegmentReader

logger = logging.getLogger("etlog.producer")

#: Damaged lines of a file that are quoted in log lines.
_QUOTED = 10

#: Bytes at the end of a file in which its last line is looked for.
_TAIL = 256


class LeftBehind:
    """A file whose owner may be gone."""

    def __init__(self, file: SpoolFile, owner: int) -> None:
        """Open it, as one that the user `owner` must have made. Raises `OSError`."""
        self.file = file
        self._owner = owner
        self._opened = self._open()
        self._reader = SegmentReader(file.path, self._opened)
        self._damaged: dict[int, bytes] = {}  # by their offsets
        self._size = 0

    @property
    def header(self) -> SegmentHeader | None:
        """Where its events belong, None where that is damaged."""
        return self._reader.header

    def _open(self) -> Descriptor:
        try:
            return open_trusted(self.file.path, self._owner, os.O_RDWR | os.O_APPEND)
        except OSError as e:
            if e.errno not in {errno.EACCES, errno.EROFS, errno.EPERM}:
                raise
            return open_trusted(self.file.path, self._owner)  # no note can be made then

    def lock(self) -> None:
        """Lock it. Raises `BlockingIOError` where its owner still runs or another process sends it, and
        `FileNotFoundError` where it was delivered meanwhile."""
        fcntl.flock(self._opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        found = os.fstat(self._opened.fileno())
        if not os.path.samestat(found, self.file.path.lstat()):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(self.file.path))
        self._size = found.st_size
        self._mark = _last_mark(self._opened.fileno(), found.st_size)
        #: When its owner last wrote to it, in seconds since 1970.
        self.written = found.st_mtime if self._mark.written is None else min(found.st_mtime, self._mark.written)
        self._noted = found.st_mtime if self._mark.at is None else self._mark.at
        self.rewind()

    def rewind(self) -> None:
        """Read it again from its beginning."""
        self._reader = SegmentReader(self.file.path, self._opened)

    def next(self) -> Line | None:
        """The next event, None at the end. Damaged lines are reported and left out."""
        while line := self._reader.next():
            if not line.is_damaged:
                return line
            self._note_damage(line)
        return None

    def _note_damage(self, line: Line) -> None:
        if line.offset in self._damaged:
            return
        self._damaged[line.offset] = line.event[:80]
        if len(self._damaged) <= _QUOTED:
            logger.error(
                "Skipped a broken line in spool file %s, at byte %d: %r",
                self.file.path,
                line.offset,
                line.event[:80],
                extra={"action": "spool_line_broken", "path": str(self.file.path), "offset": line.offset},
            )

    @property
    def damage(self) -> str | None:
        """What is wrong with it, as far as it has been read; None if nothing is."""
        if self._reader.error is not None:
            return f"a part of it cannot be read ({self._reader.error.strerror})"
        if not self._damaged:
            return None
        lines = "1 broken line" if len(self._damaged) == 1 else f"{len(self._damaged)} broken lines"
        return f"{lines}, the first at byte {min(self._damaged)}"

    def settles_in(self, seconds: float) -> float:
        """How many of the `seconds` after all its events were noted as delivered are left, once it has been read."""
        if not self._reader.last:
            return 0.0
        if not self.is_noted:
            return seconds
        return max(0.0, self._noted + seconds - time())

    @property
    def is_noted(self) -> bool:
        """Whether the file says that all its events are delivered, once it has been read."""
        return self._mark.number == self._reader.last and self._noted <= time()

    def note_delivered(self) -> None:
        """Note that all its events are delivered, for the process that finds it. Raises `OSError`."""
        if not self._reader.last:
            return
        file = self._opened.fileno()
        text = Mark(self._reader.last, time(), self.written).encode()
        if self._size and os.pread(file, 1, self._size - 1) != b"\n":
            text = b"\n" + text
        if os.write(file, text) < len(text):
            os.ftruncate(file, self._size)
        times = os.fstat(file)
        os.utime(file, (times.st_atime, self.written))
        self._size = os.fstat(file).st_size

    def mark_taken(self) -> None:
        """Say by its name that another process publishes under its id. Raises `OSError`."""
        self.file = self.file.mark_taken()

    def remove(self) -> None:
        """Remove it: the store has all of it. Raises `OSError`."""
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(self._opened.fileno()), self.file.path.lstat()):
                self.file.path.unlink()

    def set_aside(self, suffix: str) -> Path:
        """Rename it, so that no one sends it and someone can look at it. Returns the path. Raises `OSError`."""
        return set_aside(self.file.path, suffix)

    def close(self) -> None:
        """Let go of it, as it is."""
        self._opened.close()

    def lock_again(self) -> bool:
        """Open and lock it once more. Tells whether it is as it was, and need not be read again. Raises `OSError`."""
        before = self._size
        self._opened = self._open()
        reader = self._reader
        self.lock()
        self._reader = reader
        return before == self._size


def _last_mark(file: int, size: int) -> Mark:
    """The note in the last line of a file, one of nothing where there is none."""
    tail = os.pread(file, _TAIL, max(0, size - _TAIL)).splitlines() or [b""]
    return Mark.decode(tail[-1]) or Mark(0)
