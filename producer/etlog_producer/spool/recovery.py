"""Spool files whose producer is gone: the process that finds them sends them, under their own id and numbers."""

import fcntl
import logging
import os
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from time import monotonic, time

from etlog_events.sequence import SENT_WITHIN

from etlog_producer.publish import Publisher
from etlog_producer.spool.segment import Line, SegmentReader, SpoolFile
from etlog_producer.spool.writer import SpoolFolder
from etlog_producer.unacked import BATCH_BYTES, BATCH_EVENTS

logger = logging.getLogger("etlog.producer")

#: Seconds from the last batch to the deletion of a file. A store that syncs every second has it on disk by then.
SETTLE = 2.0

#: Producers whose files are held open at once.
AT_ONCE = 16


class Orphan:
    """The files of one dead producer, locked. Events that the store has already are recognized by their numbers."""

    def __init__(self, producer: str, files: Sequence[SpoolFile], locks: Sequence[int]) -> None:
        self.producer = producer
        self.paths = [file.path for file in files]
        self.sent = 0
        self.lost = 0
        self.set_aside_as: list[Path] = []  # of files that are too old to be sent
        self.broken: dict[tuple[Path, bytes], None] = {}
        self._locks = list(locks)
        self._held: int | None = None  # the store's number, once it was asked
        self._readers: list[SegmentReader] = []
        self._unread: Line | None = None
        self._batch: list[bytes] = []
        self._first = 0
        self._last = 0  # the last number sent, or found to be in the store
        self._skip = False
        self._sent_at = monotonic()

    @classmethod
    def adopt(cls, producer: str, files: Sequence[SpoolFile]) -> "Orphan | None":
        """Lock the files. None if their owner lives, or another process has locked them."""
        locks: list[int] = []
        try:
            for file in files:
                locks.append(os.open(file.path, os.O_RDONLY))
                fcntl.flock(locks[-1], fcntl.LOCK_EX | fcntl.LOCK_NB)
                if not os.path.samestat(os.fstat(locks[-1]), file.path.stat()):
                    raise FileNotFoundError(file.path)
        except OSError:
            for lock in locks:
                os.close(lock)
            return None
        return cls(producer, files, locks)

    def step(self, publish: Publisher) -> float | None:
        """Do one thing: send a batch, or look whether the store kept all. May be called again after any error.

        Returns the seconds until the next thing is to be done, None when the files are delivered and gone.
        """
        if self._held is None:
            self._rewind(publish(self.producer, 1, []).held)
        if not self._batch:
            self._next_batch()
        if self._batch:
            answer = publish(self.producer, self._first, self._batch, skip=self._skip)
            if answer.gap:
                self._fill_gap(answer.held)
                return 0.0
            self._last = self._first + len(self._batch) - 1
            self._held = max(answer.held, self._last)
            self.sent += len(self._batch)
            self._batch, self._skip = [], False
            self._sent_at = monotonic()
            return 0.0
        wait = self._sent_at + SETTLE - monotonic()
        if wait > 0:
            return wait
        answer = publish(self.producer, self._last + 1, [])
        if answer.gap:
            self._rewind(answer.held)
            return 0.0
        self._delete()
        return None

    def _rewind(self, held: int) -> None:
        """Read again from the number after `held`."""
        self._close_readers()
        self._readers = [SegmentReader(path) for path in self.paths]
        self._unread, self._batch = None, []
        self._held = self._last = held

    def _fill_gap(self, held: int) -> None:
        """The store requires an earlier number: it forgot some, or that one is in no file."""
        if held != self._last:
            self._rewind(held)
            self._next_batch()
        if self._batch and self._first > held + 1:
            self._skip = True
            self.lost += self._first - held - 1
            logger.error(
                "Events %d to %d of producer %s are in no spool file; the log will count them as lost",
                held + 1,
                self._first - 1,
                self.producer,
                extra={"action": "events_lost", "producer": self.producer, "first": held + 1, "last": self._first - 1},
            )

    def _next_batch(self) -> None:
        """The next run of consecutive numbers after `_last`."""
        size = 0
        while len(self._batch) < BATCH_EVENTS and size < BATCH_BYTES:
            line = self._unread or self._next_line()
            self._unread = None
            if line is None:
                return
            if self._batch and line.number != self._first + len(self._batch):
                self._unread = line
                return
            if not self._batch:
                self._first = line.number
            self._batch.append(line.event)
            size += len(line.event)

    def _next_line(self) -> Line | None:
        while self._readers:
            reader = self._readers[0]
            while line := reader.next():
                if line.number == 0:
                    self._report(reader.path, line.event)
                elif line.number > max(self._last, self._first + len(self._batch) - 1 if self._batch else 0):
                    return line
            reader.close()
            self._readers.pop(0)
        return None

    def _report(self, path: Path, text: bytes) -> None:
        if (path, text[:200]) not in self.broken:
            self.broken[path, text[:200]] = None
            logger.error(
                "Skipped a broken line in spool file %s: %r",
                path,
                text[:80],
                extra={"action": "spool_line_broken", "path": str(path)},
            )

    def _delete(self) -> None:
        """The store has all of it. A file with a broken line is set aside, so that someone can look at it."""
        logger.info(
            "Delivered %d events of producer %s from the spool",
            self.sent,
            self.producer,
            extra={"action": "spool_delivered", "producer": self.producer, "sent": self.sent},
        )
        damaged = {path for path, _ in self.broken}
        for path in self.paths:
            if path in damaged:
                path.rename(path.with_suffix(".broken"))
            else:
                path.unlink(missing_ok=True)
        self.release()

    @property
    def age(self) -> float:
        """Seconds since the owner last wrote to a file."""
        return time() - max(path.stat().st_mtime for path in self.paths)

    def set_aside(self) -> None:
        """Give up sending the files: the store may no longer know which of the events it has."""
        try:
            self.set_aside_as = [path.rename(path.with_suffix(".old")) for path in self.paths]
        finally:
            self.release()
        for path, old in zip(self.paths, self.set_aside_as, strict=True):
            logger.warning(
                "Spool file %s is older than %d days and was not sent, because the store may already hold its events "
                "and no longer know it; set aside as %s",
                path.name,
                SENT_WITHIN // 86400,
                old,
                extra={"action": "spool_file_old", "path": str(old)},
            )

    def release(self) -> None:
        """Let go of the files, as they are."""
        self._close_readers()
        while self._locks:
            os.close(self._locks.pop())

    def _close_readers(self) -> None:
        while self._readers:
            self._readers.pop().close()


class Recovery:
    """All orphaned files of a folder, one thing at a time."""

    def __init__(self, folder: SpoolFolder, publish: Publisher, *, any_store: bool = False) -> None:
        self._folder = folder
        self._publish = publish
        self._any_store = any_store
        self._adopted: list[Orphan] = []
        self.done: list[Orphan] = []

    def look(self) -> None:
        """Adopt what is there and belongs to this store."""
        at_work = {orphan.producer for orphan in self._adopted}
        for producer, group in groupby(self._folder.files(), key=lambda file: file.producer):
            if len(self._adopted) >= AT_ONCE:
                return
            files = list(group)
            if producer not in at_work and self._is_for_this_store(files[0].path):
                orphan = Orphan.adopt(producer, files)
                if orphan is not None and orphan.age > SENT_WITHIN:
                    orphan.set_aside()
                    self.done.append(orphan)
                elif orphan is not None:
                    self._adopted.append(orphan)

    def _is_for_this_store(self, path: Path) -> bool:
        try:
            reader = SegmentReader(path)
        except OSError:
            return False
        reader.close()
        return self._any_store or (reader.header is not None and reader.header.store == self._folder.store)

    @property
    def has_work(self) -> bool:
        """Whether `step` has anything to do."""
        return bool(self._adopted)

    def step(self) -> float | None:
        """Do one thing; returns seconds until the next, None when nothing is left. Raises the driver's errors."""
        soonest: float | None = None
        for orphan in list(self._adopted):
            wait = orphan.step(self._publish)
            if wait is None:
                self._adopted.remove(orphan)
                self.done.append(orphan)
                continue
            soonest = wait if soonest is None else min(soonest, wait)
            if wait == 0:
                break
        return soonest

    def release(self) -> None:
        """Let go of everything, as it is."""
        while self._adopted:
            self._adopted.pop().release()
