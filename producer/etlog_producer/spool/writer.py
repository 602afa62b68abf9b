"""The spool of one producer: what no longer fits in memory, and what is undelivered when a process ends."""

import errno
import logging
from bisect import bisect
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from operator import attrgetter
from pathlib import Path

from etlog_producer.publish import Identity
from etlog_producer.spool.folder import SpoolFolder
from etlog_producer.spool.header import SegmentHeader
from etlog_producer.spool.segment import Segment

logger = logging.getLogger("etlog.producer")

#: Bytes of one file. A file goes as a whole, so a full spool gets room in steps of this size.
SEGMENT_BYTES = 32 * 1024 * 1024

#: Bytes that the files of one log may take together, by default.
MAX_BYTES = 1024 * 1024 * 1024

_by_first = attrgetter("first")


class SpoolWriter:
    """The files of one producer. Every method is called under the lock of its `Inbox`.

    Someone may remove, replace or damage a file meanwhile. What its descriptor still gives is then written again;
    `holds` and `count` tell what is in files, as of the last `append` or `heal`. Every method may be interrupted
    anywhere, and called again.
    """

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
        self._segments: list[Segment] = []  # by their first numbers; what is in two of them is the same
        self._others = 0  # bytes of other producers' files, when last looked at
        self._room = 0  # at least so many bytes may be written

    @property
    def paths(self) -> list[Path]:
        """The files that exist, by their names."""
        return sorted(segment.path for segment in self._segments if segment.is_there())

    def append(self, first: int, events: Sequence[bytes], *, bounded: bool = True) -> None:
        """Write events numbered from `first`; those that are in files are left out, unless they are others.

        Raises `OSError`, of the kind `ENOSPC` when the limit is reached. Then `holds` tells which were written.
        """
        if len(events) == 1 and self._segments:  # what an `emit` waits for
            newest, size = self._segments[-1], len(events[0]) + 20
            if size <= self._room and newest.size < SEGMENT_BYTES and newest.append_next(first, events[0]):
                self._room -= size
                return
        self.heal()
        if self.count(first, first + len(events) - 1):
            self._forget_others(first, events)
        for start, run in self._missing(first, events):
            self._write(start, run, next((s for s in self._whole if s.last + 1 == start), None), bounded)

    def _write(self, first: int, events: Sequence[bytes], segment: Segment | None, bounded: bool) -> None:
        if segment is None or segment.size >= SEGMENT_BYTES:
            segment = self._open(first, bounded)
        size = sum(map(len, events)) + 20 * len(events)
        try:
            if bounded and size > self._room:
                self._room = self._max_bytes - self._others - self._bytes
                if size > self._room:
                    raise self._full
            segment.append(events)
            self._room -= size
        except OSError:
            if segment.last < segment.first:  # an empty file says nothing
                self._delete(segment)
            raise

    def _forget_others(self, first: int, events: Sequence[bytes]) -> None:
        """An `emit` that was interrupted has not returned, and its number goes to the next event: it must not be in
        that one's way."""
        for number, event in enumerate(events, first):
            for segment in self._whole:
                if segment.first <= number <= segment.last and segment.read(number, number, 1)[1] != [event]:
                    if segment.damaged:
                        self._heal(segment)
                    else:
                        segment.cut(number)

    def _missing(
        self, first: int, events: Sequence[bytes], beside: Segment | None = None
    ) -> Iterator[tuple[int, Sequence[bytes]]]:
        """The runs of events that are in no file, not counting the one `beside` which they are looked for."""
        number, end = first, first + len(events)
        while number < end:
            whole = [s for s in self._whole if s is not beside and s.last >= s.first]
            if held := [s.last for s in whole if s.first <= number <= s.last]:
                number = max(held) + 1
                continue
            after = min([end, *(s.first for s in whole if s.first > number)])
            yield number, events[number - first : after - first]
            number = after

    def holds(self, number: int) -> bool:
        """Whether the event `number` is in a file."""
        return any(segment.first <= number <= segment.last for segment in self._segments if not segment.detached)

    def count(self, first: int, last: int) -> int:
        """How many of the events `first` to `last` are in files."""
        count = 0
        for segment in self._whole:
            start, end = max(first, segment.first), min(last, segment.last)
            if start <= end:
                count += end + 1 - start
                first = end + 1
        return count

    def read(self, number: int, last: int, limit: int) -> tuple[int, list[bytes]]:
        """The next events from `number` to `last`, at most `limit`: the number of the first, and a run without a hole.

        Nothing that is wrong with a file is an error: what cannot be read is left out. Past the last event that can be
        read, the answer is `last + 1` and none.
        """
        found: tuple[int, list[bytes]] = last + 1, []
        for segment in self._segments:
            if segment.last < number:
                continue
            if found[0] <= max(number, segment.first):
                break
            read = segment.read(number, last, limit)
            if read[1] and read[0] < found[0]:
                found = read
        return found

    def heal(self) -> None:
        """Look at all files; write those again that are not as they were written."""
        for segment in list(self._segments):
            segment.trim()
            if segment.fault() is not None:
                self._heal(segment)
            else:
                segment.detached = False

    def _heal(self, segment: Segment) -> None:
        """Write what can be read of a file to new ones, without the holes."""
        fault = segment.fault()
        runs = segment.runs()
        try:
            # The first one comes last: it may take the place of a file that is there, which has all of them till then.
            for first, events in reversed([part for run in runs for part in self._missing(*run, segment)]):
                self._new(first, events)
        except OSError as e:
            if not segment.detached:
                segment.detached = True
                logger.error(
                    "Spool file %s %s, and cannot be written again: %s",
                    segment.path,
                    fault,
                    e.strerror or e,
                    extra={"action": "spool_file_hurt", "path": str(segment.path)},
                )
            return
        if segment in self._segments:
            self._segments.remove(segment)
        with suppress(OSError):  # then someone finds it who learns from the store what it has
            segment.delete()
        segment.release()
        written = sum(len(events) for _, events in runs)
        lost = segment.last + 1 - segment.first - written
        if not written and not lost:  # it had none
            return
        logger.error(
            "Spool file %s %s; %d of its events are in new files now%s",
            segment.path,
            fault,
            written,
            f", {lost} are gone" if lost else "",
            extra={"action": "spool_file_hurt", "path": str(segment.path), "written": written, "gone": lost},
        )

    def _new(self, first: int, events: Sequence[bytes] = ()) -> Segment:
        """A new file with these events. Raises `OSError`."""
        self._folder.make()
        try:
            segment = Segment(self._folder.path, self._header, first, events)
            self._add(segment)
        except FileNotFoundError:  # someone has removed the folder meanwhile
            self._folder.make()
            segment = Segment(self._folder.path, self._header, first, events)
            self._add(segment)
        return segment

    def _add(self, segment: Segment) -> None:
        """Let a file appear. An interrupt must not leave one that is unknown here: it would not be locked for long."""
        self._segments.insert(bisect(self._segments, segment.first, key=_by_first), segment)
        try:
            segment.appear()
        except OSError:
            self._segments.remove(segment)
            raise

    @property
    def _whole(self) -> list[Segment]:
        return [segment for segment in self._segments if not segment.detached]

    @property
    def _bytes(self) -> int:
        return sum(segment.size for segment in self._segments)

    def release(self, delivered: int) -> bool:
        """Delete the files with nothing beyond `delivered`, which the store surely has. Tells whether any went."""
        return self._release([segment for segment in self._segments if segment.last <= delivered])

    def release_all_but_newest(self, delivered: int) -> bool:
        """`release`, sparing the file that is written to, unless it is large: a new one costs the next `emit` more."""
        spared = [s for s in self._segments[-1:] if s.size < SEGMENT_BYTES // 32]
        return self._release([s for s in self._segments if s.last <= delivered and s not in spared])

    def _release(self, segments: Sequence[Segment]) -> bool:
        before = len(self._segments)
        for segment in segments:
            self._delete(segment)
        return len(self._segments) < before

    def _delete(self, segment: Segment) -> None:
        """Delete a file. It stays here if it cannot be deleted: no one else must take its owner for gone."""
        try:
            segment.delete()
        except OSError as e:
            if not segment.stays:
                segment.stays = True
                logger.warning(
                    "Spool file %s has been delivered, and cannot be deleted: %s",
                    segment.path,
                    e.strerror or e,
                    extra={"action": "spool_file_stays", "path": str(segment.path)},
                )
        else:
            self._segments.remove(segment)

    def mark(self, delivered: int) -> None:
        """Note in the newest file how far the store has the events. Raises `OSError`."""
        if self._segments and delivered:
            newest = self._segments[-1]
            newest.trim()
            if newest.fault() is None:
                newest.mark(delivered)

    def know_log(self, log_id: str) -> None:
        """The store has said that the log has this id: note it in the files, those there are and those to come.

        Most files are opened before the store is reached, those of a durable producer always.
        """
        self._header = replace(self._header, log_id=log_id)
        for segment in self._segments:
            with suppress(OSError):  # what stays without an id goes by the address of the store
                segment.know_log(log_id)

    def mark_taken(self) -> None:
        """Another process publishes under this id: say so by the names of the files."""
        self.heal()
        for segment in self._segments:
            with suppress(OSError):  # then the store says it to the one who sends the file
                segment.mark_taken()

    def close(self) -> None:
        """Let go of the files, as they are; anyone may send what is still in them. A forked child must do so too."""
        for segment in self._segments:
            segment.release()
        self._segments.clear()

    def _open(self, first: int, bounded: bool) -> Segment:
        self._folder.make()
        self._others = self._folder.bytes() - self._bytes
        if bounded and self._others + self._bytes >= self._max_bytes:
            raise self._full
        return self._new(first)

    @property
    def _full(self) -> OSError:
        return OSError(errno.ENOSPC, f"the spool has reached its limit of {self._max_bytes} bytes")
