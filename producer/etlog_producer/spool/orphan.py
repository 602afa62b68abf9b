"""The spool files of one producer that is gone, on their way to the store."""

import logging
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic, time

from etlog_events.errors import StoreError
from etlog_events.publishing import CALL_EVENTS
from etlog_events.sequence import SENT_WITHIN
from redis.exceptions import RedisError

from etlog_producer.publish import STRAY, UNANSWERED, Identity, Publisher
from etlog_producer.spool.header import SegmentHeader
from etlog_producer.spool.left_behind import LeftBehind
from etlog_producer.spool.line import Line
from etlog_producer.unacked import BATCH_BYTES

logger = logging.getLogger("etlog.producer")


class Orphan:
    """The files of one producer that is gone, locked. Events that the store has already are recognized by their
    numbers.

    With `any_log`, whichever log there is gets them.
    """

    def __init__(self, files: Sequence[LeftBehind], header: SegmentHeader, *, any_log: bool = False) -> None:
        first = files[0].file
        self._files = list(files)
        self.owner = first.owner
        self.taken = first.taken
        self.producer = first.id_of_its_own if first.taken else first.producer
        self.store = header.store
        self.sent = 0
        self.lost = 0
        #: When all is sent, the moment from which on the store can be asked whether it has kept it.
        self.due: float | None = None
        #: Files that are set aside: too old to be sent, and damaged ones, with what is wrong with each.
        self.set_aside_as: list[Path] = []
        self.broken_as: dict[Path, str] = {}
        #: Files that could not be removed or renamed, and why.
        self.stuck: dict[Path, str] = {}
        self._who = Identity(self.producer, header.token)
        self._log_id = "" if any_log else header.log_id
        self._before = first.first - 1 if first.taken else 0  # its numbers begin again
        # A bookmark may name the producer, if it is not the one of the file alone. Earlier releases do not say so.
        self._may_return = header.resumable and not first.taken
        self._written = max(file.written for file in files)
        self._held: int | None = None  # the store's number, once it was asked
        self._reading = 0  # which of the files
        self._unread: Line | None = None
        self._batch: list[bytes] = []
        self._first = 0
        self._last = 0  # the last number sent, or found to be in the store
        self._skip = False
        self._has_sent = False  # something, since it was read from its beginning
        self._unanswered = False

    @property
    def paths(self) -> list[Path]:
        """Where the files are."""
        return [file.file.path for file in self._files]

    def step(self, publish: Publisher, settle: float) -> bool:
        """Do one thing: send a batch, or look whether the store kept all of it for `settle` seconds. May be called
        again after any error.

        Tells whether all is delivered and the files are gone. Raises what publishing raises.
        """
        try:
            return self._step(publish, settle)
        except UNANSWERED:
            self._unanswered = True
            raise

    def _step(self, publish: Publisher, settle: float) -> bool:
        is_fresh = self._held is None
        if self._held is None:
            self._rewind(publish(self._who, 1, [], log_id=self._log_id).held)
        if self.due is None:
            if not self._batch:
                self._next_batch()
            if self._batch:
                self._send(publish)
                return False
            wait = settle if self._has_sent else max(file.settles_in(settle) for file in self._files)
            if wait:
                self._note_delivered()
                self.due = monotonic() + wait
                return False
        if not is_fresh:  # else it has just said so
            answer = publish(self._who, self._last + 1, [], log_id=self._log_id)
            if answer.gap:
                self._rewind(answer.held)
                return False
            self._held = answer.held
        self._remove()
        return True

    def _send(self, publish: Publisher) -> None:
        answer = publish(self._who, self._first, self._batch, skip=self._skip, log_id=self._log_id)
        if answer.gap:
            self._fill_gap(answer.held)
            return
        self._last = self._first + len(self._batch) - 1
        self._held = max(answer.held, self._last)
        self.sent += len(self._batch)
        self._has_sent = True
        self._batch, self._skip = [], False

    @property
    def may_end(self) -> bool:
        """Whether no one may go on under its id, and no call of its owner can still be under way."""
        return bool(self._held) and not self._may_return and not self._unanswered and self.age > STRAY

    def end(self, publish: Publisher) -> None:
        """Tell the store that the producer has ended, when its last file is gone: what the store has forgotten would be
        sent again. For the same reason only one that `may_end` can be ended."""
        if self._held:
            with suppress(RedisError, StoreError, OSError):  # then it is remembered for a while
                publish.close(self._who, self._held, log_id=self._log_id)

    def _rewind(self, held: int) -> None:
        """Read again from the number after `held`."""
        for file in self._files:
            file.rewind()
        self._reading = 0
        self._unread, self._batch, self._skip = None, [], False
        self._held = self._last = held
        self.due, self._has_sent = None, False

    def _fill_gap(self, held: int) -> None:
        """The store requires an earlier number: it forgot some, or that one is in no file."""
        if held != self._last:
            self._rewind(held)
            self._next_batch()
        if self._batch and self._first > held + 1:
            self._skip = True
            count = self._first - held - 1
            self.lost += count
            logger.error(
                "%s of producer %s %s in no spool file; the log will count %s as lost",
                f"Event {held + 1}" if count == 1 else f"Events {held + 1} to {self._first - 1}",
                self.producer,
                *(("is", "it") if count == 1 else ("are", "them")),
                extra={"action": "events_lost", "producer": self.producer, "first": held + 1, "last": self._first - 1},
            )

    @property
    def skips_from(self) -> int | None:
        """The first number in the file whose events are sent next, if those before it are given up."""
        return self._first + self._before if self._skip else None

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
        known = self._first + len(self._batch) - 1 if self._batch else self._last
        while self._reading < len(self._files):
            while line := self._files[self._reading].next():
                number = line.number - self._before
                if number > known:
                    return line._replace(number=number)
            self._reading += 1
        return None

    def _note_delivered(self) -> None:
        for file in self._files:
            if self._has_sent or not file.is_noted:
                with suppress(OSError):  # then the process that finds it waits once more
                    file.note_delivered()

    def _remove(self) -> None:
        """The store has all of it. A file that is damaged is set aside, so that someone can look at it."""
        logger.info(
            "Delivered %d events of producer %s from the spool",
            self.sent,
            self.producer,
            extra={"action": "spool_delivered", "producer": self.producer, "sent": self.sent},
        )
        for file in self._files:
            path = file.file.path
            try:
                if damage := file.damage:
                    self.broken_as[file.set_aside(".broken")] = damage
                else:
                    file.remove()
            except OSError as e:
                self.stuck[path] = f"it is delivered, but cannot be removed ({e.strerror})"
        for path, damage in self.broken_as.items():
            logger.warning(
                "Spool file %s is damaged: %s; what is intact was sent, and the file is kept",
                path,
                damage,
                extra={"action": "spool_file_broken", "path": str(path)},
            )
        self.release()

    @property
    def age(self) -> float:
        """Seconds since the owner last wrote to a file."""
        return time() - self._written

    def mark_taken(self) -> None:
        """Another process publishes under this id: from now on each file goes under an id of its own.

        Their names say so before the first of their events is sent: the process that goes on after a crash must do the
        same, even if the store has forgotten the other process by then. Raises `OSError`.
        """
        try:
            for file in self._files:
                file.mark_taken()
        finally:
            self.release()
        logger.error(
            "Another process publishes under the id %s; the events in %s are sent under ids of their own",
            self.producer,
            ", ".join(map(str, self.paths)),
            extra={"action": "id_taken", "producer": self.producer, "paths": [str(path) for path in self.paths]},
        )

    def set_aside(self) -> None:
        """Give up sending the files: the store may no longer know which of the events it has."""
        for file in self._files:
            path = file.file.path
            try:
                old = file.set_aside(".old")
            except OSError as e:
                self.stuck[path] = f"it is too old to be sent, and cannot be renamed ({e.strerror})"
                continue
            self.set_aside_as.append(old)
            logger.warning(
                "Spool file %s is older than %d days and was not sent, because the store may already hold its events "
                "and no longer know it; set aside as %s",
                path.name,
                SENT_WITHIN // 86400,
                old,
                extra={"action": "spool_file_old", "path": str(old)},
            )
        self.release()

    def release(self) -> None:
        """Let go of the files, as they are."""
        for file in self._files:
            file.close()

    def adopt_again(self) -> bool:
        """Lock the files once more. Tells whether they are as they were. Raises `OSError`."""
        try:
            return all(file.lock_again() for file in self._files)
        except OSError:
            self.release()
            raise
