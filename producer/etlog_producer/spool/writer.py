"""The spool of a log on this machine: what no longer fits in memory, and what is undelivered when a process ends."""

import errno
import os
import stat
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from etlog_producer.publish import Identity
from etlog_producer.spool.segment import Line, Segment, SegmentHeader, SegmentReader, SpoolFile

#: Bytes of one file. A file goes as a whole, so a full spool gets room in steps of this size.
SEGMENT_BYTES = 32 * 1024 * 1024

#: Bytes that the files of one log may take together, by default.
MAX_BYTES = 1024 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class SpoolFolder:
    """The folder that holds the spool files of one log; `store` is the address they belong to, without secrets."""

    path: Path
    log: str
    store: str

    def make(self) -> None:
        """Make the folder, readable by this user alone. Raises `OSError`."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = self.path.stat()
        if found.st_uid == os.getuid() and stat.S_IMODE(found.st_mode) & 0o077:
            self.path.chmod(0o700)

    def files(self) -> list[SpoolFile]:
        """All files, those that are sent under one id together and in the order of their numbers."""
        try:
            found = [SpoolFile.named(Path(entry.path)) for entry in os.scandir(self.path)]
        except OSError:
            return []
        return sorted((file for file in found if file), key=lambda file: (file.owner, file.first))

    def bytes(self) -> int:
        """Bytes of all files."""
        return sum(_size(file.path) for file in self.files())


class SpoolWriter:
    """The files of one producer. Every method is called under the lock of its `Inbox`."""

    def __init__(
        self,
        folder: SpoolFolder,
        who: Identity,
        max_bytes: int = MAX_BYTES,
        *,
        log_id: str = "",
        resumable: bool = False,
    ) -> None:
        self._folder = folder
        self._header = SegmentHeader(folder.log, who.producer, folder.store, log_id, who.token, resumable)
        self._max_bytes = max_bytes
        self._segments: deque[Segment] = deque()
        self._others = 0  # bytes of other producers' files, when last looked at
        self._reading: SegmentReader | None = None
        self._ahead: Line | None = None  # read, but after a hole

    @property
    def paths(self) -> list[Path]:
        """The files there are, oldest first."""
        return sorted(segment.path for segment in self._segments)

    def append(self, first: int, events: Sequence[bytes], *, bounded: bool = True) -> None:
        """Write events numbered from `first`. Raises `OSError`, of the kind `ENOSPC` when the limit is reached."""
        segment = self._segments[-1] if self._segments else None
        if segment is None or segment.last + 1 != first or segment.bytes >= SEGMENT_BYTES:
            segment = self._open(first, bounded)
        size = sum(map(len, events)) + 20 * len(events)
        if bounded and self._others + sum(s.bytes for s in self._segments) + size > self._max_bytes:
            raise OSError(errno.ENOSPC, f"the spool has reached its limit of {self._max_bytes} bytes")
        segment.append(events)

    def holds(self, number: int) -> bool:
        """Whether the event `number` is in a file."""
        return any(segment.first <= number <= segment.last for segment in self._segments)

    def count(self, first: int, last: int) -> int:
        """How many of these numbers are in files."""
        return sum(max(0, min(s.last, last) - max(s.first, first) + 1) for s in self._segments)

    def heal(self) -> None:
        """Look at all files."""

    def read(self, number: int, last: int, limit: int) -> tuple[int, list[bytes]]:
        """The next events from `number` to `last`, at most `limit`: the number of the first, and a run without a hole.

        Asked for in rising order. Past the last readable event the answer is `last + 1` and none.
        """
        events: list[bytes] = []
        first = number
        while len(events) < limit and first + len(events) <= last:
            line = self._ahead or self._next_line(first + len(events), last)
            self._ahead = None
            if line is None:
                return (first, events) if events else (last + 1, [])
            if line.number < first + len(events):
                continue
            if line.number > first + len(events):
                if events:
                    self._ahead = line
                    break
                first = line.number
            events.append(line.event)
        return first, events

    def _next_line(self, number: int, last: int) -> Line | None:
        while True:
            reading = self._reading
            if reading is not None:
                while line := reading.next():
                    if line.number:
                        return line
                after = next((s for s in self._segments if s.path > reading.path), None)
            else:
                after = next((s for s in self._segments if s.last >= number), None)
            if after is None or after.first > last:
                return None
            if reading is not None:
                reading.close()
            self._reading = SegmentReader(after.path)

    def release(self, delivered: int) -> bool:
        """Delete the files with nothing beyond `delivered`, which the store surely has. Tells whether any went."""
        before = len(self._segments)
        while self._segments and self._segments[0].last <= delivered:
            self._segments.popleft().delete()
        return len(self._segments) < before

    def release_all_but_newest(self, delivered: int) -> bool:
        """`release`, sparing the file that is written to, unless it is large: a new one costs the next `emit` more."""
        newest = self._segments.pop() if self._segments else None
        released = self.release(delivered)
        if newest is not None:
            self._segments.append(newest)
            if newest.bytes >= SEGMENT_BYTES // 32:
                released = self.release(delivered) or released
        return released

    def mark(self, delivered: int) -> None:
        """Note in the newest file how far the store has the events."""
        if self._segments and delivered:
            self._segments[-1].mark(delivered)

    def know_log(self, log_id: str) -> None:
        """The store has said that the log has this id: note it in the files, those there are and those to come.

        Most files are opened before the store is reached, those of a durable producer always.
        """
        self._header = replace(self._header, log_id=log_id)
        for segment in self._segments:
            with suppress(OSError):  # what stays without an id goes by the address of the store
                segment.know_log(log_id)

    def take(self) -> None:
        """Another process publishes under this id: say so by the names of the files."""
        for segment in self._segments:
            with suppress(OSError):  # then the store says it to the one who sends the file
                segment.take()

    def close(self) -> None:
        """Let go of the files; anyone may send what is still in them. A forked child must do so too."""
        if self._reading is not None:
            self._reading.close()
            self._reading = None
        while self._segments:
            self._segments.popleft().release()

    def _open(self, first: int, bounded: bool) -> Segment:
        self._folder.make()
        own = sum(segment.bytes for segment in self._segments)
        self._others = self._folder.bytes() - own
        if bounded and self._others + own >= self._max_bytes:
            raise OSError(errno.ENOSPC, f"the spool has reached its limit of {self._max_bytes} bytes")
        segment = Segment(self._folder.path, self._header, first)
        self._segments.append(segment)
        return segment


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
