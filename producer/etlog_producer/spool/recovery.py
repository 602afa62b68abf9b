"""Spool files whose producer is gone: the process that finds them sends them, under their own id and numbers.

A file goes to the log that it was written for, by the id of the log, wherever that is now; a file without one goes by
the address of the store. A file whose producer's id another process took goes under an id of its own, which is made of
what its name says, so that whoever tries again goes on where the last one stopped.
"""

import fcntl
import logging
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from time import monotonic, time

from etlog_events.errors import StoreError
from etlog_events.publishing import CALL_EVENTS
from etlog_events.sequence import SENT_WITHIN
from redis.exceptions import RedisError

from etlog_producer.errors import IdTaken, OtherLog
from etlog_producer.publish import STRAY, UNANSWERED, Identity, Publisher
from etlog_producer.spool.segment import Line, SegmentHeader, SegmentReader, SpoolFile
from etlog_producer.spool.writer import SpoolFolder
from etlog_producer.unacked import BATCH_BYTES

logger = logging.getLogger("etlog.producer")

#: Seconds from the last batch to the deletion of a file. A store that syncs every second has it on disk by then.
SETTLE = 2.0

#: Producers whose files are held open at once.
AT_ONCE = 16


#: An address that says itself which database it means: options, which an earlier release left out, cannot say another.
_NAMES_DATABASE = re.compile(r"(?!unix:).*/[0-9]+|rediss?\+cluster:.*")


class Orphan:
    """The files of one dead producer, locked. Events that the store has already are recognized by their numbers.

    With `any_log`, whichever log there is gets them.
    """

    def __init__(
        self, files: Sequence[SpoolFile], header: SegmentHeader, locks: Sequence[int], *, any_log: bool = False
    ) -> None:
        first = files[0]
        self.files = list(files)
        self.paths = [file.path for file in files]
        self.producer = first.id_of_its_own if first.taken else first.producer
        self.store = header.store
        self.sent = 0
        self.lost = 0
        self.set_aside_as: list[Path] = []  # of files that are too old to be sent
        self.broken: dict[tuple[Path, bytes], None] = {}
        self._who = Identity(self.producer, header.token)
        self._log_id = "" if any_log else header.log_id
        self._before = first.first - 1 if first.taken else 0  # its numbers begin anew
        # A bookmark may name the producer, if it is not the one of the file alone. Earlier releases do not say so.
        self._may_return = header.resumable and not first.taken
        self._locks = list(locks)
        self._written = max(os.fstat(lock).st_mtime for lock in locks)
        self._held: int | None = None  # the store's number, once it was asked
        self._readers: list[SegmentReader] = []
        self._unread: Line | None = None
        self._batch: list[bytes] = []
        self._first = 0
        self._last = 0  # the last number sent, or found to be in the store
        self._skip = False
        self._sent_at = monotonic()
        self._unanswered = False

    @classmethod
    def adopt(cls, files: Sequence[SpoolFile], header: SegmentHeader, *, any_log: bool = False) -> "Orphan | None":
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
        return cls(files, header, locks, any_log=any_log)

    def step(self, publish: Publisher) -> float | None:
        """Do one thing: send a batch, or look whether the store kept all. May be called again after any error.

        Returns the seconds until the next thing is to be done, None when the files are delivered and gone. Raises what
        publishing raises.
        """
        try:
            return self._step(publish)
        except UNANSWERED:
            self._unanswered = True
            raise

    def _step(self, publish: Publisher) -> float | None:
        if self._held is None:
            self._rewind(publish(self._who, 1, [], log_id=self._log_id).held)
        if not self._batch:
            self._next_batch()
        if self._batch:
            answer = publish(self._who, self._first, self._batch, skip=self._skip, log_id=self._log_id)
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
        answer = publish(self._who, self._last + 1, [], log_id=self._log_id)
        if answer.gap:
            self._rewind(answer.held)
            return 0.0
        self._held = answer.held
        self._delete()
        return None

    def end(self, publish: Publisher) -> None:
        """Tell the store that the producer has ended, when its last file is gone: what the store has forgotten would be
        sent anew. For the same reason no one may go on under its id, nor a call of its owner still be under way."""
        if self._held and not self._may_return and not self._unanswered and self.age > STRAY:
            with suppress(RedisError, StoreError, OSError):  # then it is remembered for a while
                publish.close(self._who, self._held, log_id=self._log_id)

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
        while len(self._batch) < CALL_EVENTS and size < BATCH_BYTES:
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
                number = line.number - self._before
                if number <= 0:
                    self._report(reader.path, line.event)
                elif number > max(self._last, self._first + len(self._batch) - 1 if self._batch else 0):
                    return Line(number, line.event)
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
        return time() - self._written

    def take(self) -> None:
        """Another process publishes under this id: from now on each file goes under an id of its own.

        Their names say so before the first of their events is sent: whoever goes on after a crash must do the same,
        even if the store has forgotten the other process by then. Raises `OSError`.
        """
        for place, file in enumerate(self.files):
            self.files[place] = file.take()
            self.paths[place] = self.files[place].path
        logger.error(
            "Another process publishes under the id %s; the events in %s are sent under ids of their own",
            self.producer,
            ", ".join(map(str, self.paths)),
            extra={"action": "id_taken", "producer": self.producer, "paths": [str(path) for path in self.paths]},
        )
        self.release()

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


def header_of(files: Sequence[SpoolFile]) -> SegmentHeader | None:
    """The header of a producer's files, that of the newest one which knows the log; None where they are gone.

    One that cannot be read names no store.
    """
    found = None
    for file in files:
        try:
            reader = SegmentReader(file.path)
        except OSError:  # delivered meanwhile
            continue
        reader.close()
        header = reader.header or SegmentHeader(
            "", file.producer, "?", token=file.token, resumable=True, complete=False
        )
        found = header if found is None or header.log_id else found
    return found


def is_meant_for(folder: SpoolFolder, header: SegmentHeader) -> bool:
    """Whether a file may be for the log of `folder`: by the id of a log, which the store will compare, or else by the
    store's address. An earlier release left out a database that stood behind `?`, so there the path must name it."""
    if header.log_id:
        return True
    return header.store == folder.store and (header.complete or _NAMES_DATABASE.fullmatch(header.store) is not None)


class Recovery:
    """All orphaned files of a folder, one thing at a time."""

    def __init__(self, folder: SpoolFolder, publish: Publisher, *, any_store: bool = False) -> None:
        self._folder = folder
        self._publish = publish
        self._any_store = any_store
        self._adopted: list[Orphan] = []
        self._reported: set[tuple[str, str, int]] = set()
        self.done: list[Orphan] = []
        #: Files that the store refused at this look, by their owner: it holds another log than the one they are for.
        self.for_other_logs: dict[tuple[str, str, int], list[Path]] = {}

    def look(self) -> None:
        """Adopt what is there and may belong to this log."""
        self.for_other_logs.clear()
        self._adopt()

    def _adopt(self) -> None:
        passed = {orphan.files[0].owner for orphan in self._adopted} | self.for_other_logs.keys()
        for owner, group in groupby(self._folder.files(), key=lambda file: file.owner):
            if len(self._adopted) >= AT_ONCE:
                return
            files = list(group)
            if owner in passed:
                continue
            header = header_of(files)
            if header is None or not (self._any_store or is_meant_for(self._folder, header)):
                continue
            orphan = Orphan.adopt(files, header, any_log=self._any_store)
            if orphan is not None and orphan.age > SENT_WITHIN:
                orphan.set_aside()
                self.done.append(orphan)
            elif orphan is not None:
                self._adopted.append(orphan)

    @property
    def has_work(self) -> bool:
        """Whether `step` has anything to do."""
        return bool(self._adopted)

    def step(self) -> float | None:
        """Do one thing; returns seconds until the next, None when nothing is left. Raises the driver's errors."""
        soonest: float | None = None
        for orphan in list(self._adopted):
            try:
                wait = orphan.step(self._publish)
            except OtherLog:
                self._adopted.remove(orphan)
                self._keep(orphan)
                continue
            except IdTaken:
                if orphan.files[0].taken:
                    raise
                orphan.take()
                self._adopted.remove(orphan)
                continue
            if wait is None:
                self._adopted.remove(orphan)
                self.done.append(orphan)
                if not any(file.owner == orphan.files[0].owner for file in self._folder.files()):
                    orphan.end(self._publish)
                continue
            soonest = wait if soonest is None else min(soonest, wait)
            if wait == 0:
                break
        if soonest is None:
            self._adopt()
            return 0.0 if self._adopted else None
        return soonest

    def _keep(self, orphan: Orphan) -> None:
        """Leave the files where they are until the next look."""
        owner = orphan.files[0].owner
        self.for_other_logs[owner] = orphan.paths
        if owner not in self._reported:
            self._reported.add(owner)
            logger.warning(
                "Spool files are for another log %s than the one in this store, and are kept: %s; they were written "
                "for the store %s, where a producer or 'etlog spool flush' sends them. "
                "Only 'etlog spool flush --any-store' sends them here, although this is another log",
                self._folder.log,
                ", ".join(map(str, orphan.paths)),
                orphan.store,
                extra={
                    "action": "spool_other_log",
                    "paths": [str(path) for path in orphan.paths],
                    "store": orphan.store,
                },
            )
        orphan.release()

    def release(self) -> None:
        """Let go of everything, as it is."""
        while self._adopted:
            self._adopted.pop().release()
