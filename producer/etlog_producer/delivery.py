"""The way of one producer's events through memory, spool and store, and its accounts: each is counted once."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, time

from etlog_events.errors import StoreError
from etlog_events.ids import new_id
from etlog_events.sequence import RENEWED_AFTER

from etlog_producer.inbox import Inbox, WhenFull
from etlog_producer.publish import Published
from etlog_producer.spool.writer import SpoolFolder, SpoolWriter
from etlog_producer.unacked import BATCH_EVENTS, Unacked

logger = logging.getLogger("etlog.producer")

#: Seconds between two notes in the spool of how far the store has the events.
MARK_EVERY = 1.0


@dataclass(frozen=True, slots=True)
class Stats:
    """A producer's accounts: `emitted == delivered + waiting + spooled + lost`, at every moment.

    `emitted` counts what `emit` accepted. `waiting` is undelivered in memory, `spooled` undelivered in the spool.
    `dropped` was never accepted, because there was no room. `lost` was accepted and is gone: the store forgot more
    than is kept for it, or the disk failed at `close`. `retries` counts failed attempts. `last_error` is None while
    the store takes what it is given.
    """

    emitted: int
    delivered: int
    waiting: int
    spooled: int
    dropped: int
    lost: int
    retries: int
    last_error: str | None


@dataclass(frozen=True, slots=True)
class Batch:
    """The arguments of a call of `Publisher`; without events it asks what the store holds."""

    producer: str
    first: int
    events: Sequence[bytes]
    skip: bool


class Delivery:
    """Takes events from the inbox, gives them out in batches, and notes what the store answers.

    Every method and property is used under the lock of the inbox, `inbox.changed`.
    """

    def __init__(
        self,
        folder: SpoolFolder,
        *,
        spool_bytes: int,
        durable: bool,
        when_full: WhenFull,
        batch_events: int = BATCH_EVENTS,
        resume: tuple[str, int] | None = None,
    ) -> None:
        self.id, before = resume or (new_id(), 0)
        self._folder = folder
        self._spool_bytes = spool_bytes
        self._batch_events = batch_events
        self.inbox = Inbox(self._spool_of(self.id), durable=durable, when_full=when_full, before=before)
        self._unacked = Unacked()
        self._unacked.give_up(before)
        self._base = -before  # events under earlier ids, less those that were numbered before this producer
        self._skip = False
        self._lost = 0
        self._unwritten = 0  # events that `end` could not leave anywhere
        self.ended = False  # the thread may still be caught in a connection, but changes nothing from then on
        self._last_event_at = time()  # by the calendar, which goes on while a machine sleeps
        self._marked = 0.0

    @property
    def accepted(self) -> int:
        """Events that were taken in since the producer was made."""
        return self._base + self.inbox.accepted

    @property
    def delivered(self) -> int:
        """Events of those that the store holds, or that are given up."""
        return self._base + self._unacked.delivered

    @property
    def can_resend(self) -> bool:
        """Whether there are delivered events that could be sent again, should the store lose them."""
        return self._unacked.kept > 0

    def next_batch(self) -> Batch:
        """What is to be sent now; the same again until the store has answered."""
        self._renew_if_idle()
        self._refill()
        events = self._unacked.batch(self._batch_events)
        return Batch(self.id, self._unacked.delivered + 1, events, self._skip)

    def note(self, batch: Batch, answer: Published) -> None:
        """Note the store's answer to `batch`. Raises `StoreError` for one that cannot be right."""
        if self.ended:
            return
        if answer.gap:
            self._skip = not self._rewind(answer.held)
            return
        if batch.events:
            if answer.held < batch.first:
                raise StoreError(
                    f"the store says that it holds {answer.held} after a batch that begins with {batch.first}"
                )
            self._last_event_at = time()
        self._skip = False
        self._unacked.deliver(answer.held)
        surely = self._unacked.delivered - self._unacked.kept
        self.inbox.delivered(surely)
        if monotonic() >= self._marked + MARK_EVERY:
            self._marked = monotonic()
            self.inbox.mark(surely)
        self.inbox.changed.notify_all()

    def end(self) -> tuple[list[Path], int]:
        """Take no more, and leave what is undelivered in the spool.

        Returns the files, and the number of events that could not be written.
        """
        self.ended = True
        paths, self._unwritten = self.inbox.drain(self._unacked.delivered, self._unacked.waiting)
        self._lost += self._unwritten
        return paths, self._unwritten

    def stats(self, retries: int, last_error: str | None) -> Stats:
        """The accounts; the arguments are what only the sender knows."""
        undelivered = self.accepted - self.delivered
        spooled = undelivered - self._unwritten if self.ended else self.inbox.spooled
        return Stats(
            emitted=self.accepted,
            delivered=self.delivered - self._lost + self._unwritten,
            waiting=0 if self.ended else undelivered - spooled,
            spooled=spooled,
            dropped=self.inbox.dropped,
            lost=self._lost,
            retries=retries,
            last_error=last_error,
        )

    def _spool_of(self, producer: str) -> SpoolWriter:
        return SpoolWriter(self._folder, producer, self._spool_bytes)

    def _refill(self) -> None:
        room = 2 * self._batch_events - len(self._unacked)
        if room <= 0:
            return
        follows = self._unacked.delivered + len(self._unacked) + 1
        first, events = self.inbox.take(room, from_spool=len(self._unacked) == 0)
        if first > follows:  # a spool file is damaged; only when nothing waits
            self._unacked.give_up(first - 1)
        self._unacked.extend(events)

    def _rewind(self, held: int) -> bool:
        before = self._unacked.delivered
        complete = self._unacked.rewind(held)
        first = self._unacked.delivered + 1
        if first <= before:
            logger.info(
                "The store lost events %d to %d; sending them again", first, before, extra={"action": "rewound"}
            )
        if not complete:
            self._lost += first - 1 - held
            logger.error(
                "The store lost events %d to %d, and they can no longer be sent again; the log will count them as lost",
                held + 1,
                first - 1,
                extra={"action": "events_lost", "first": held + 1, "last": first - 1},
            )
        return complete

    def _renew_if_idle(self) -> None:
        """After a long rest take another id: the store may have forgotten the number, and what comes next must not
        look like a loss."""
        if time() < self._last_event_at + RENEWED_AFTER or self._unacked.kept or len(self._unacked):
            return
        fresh = new_id()
        if self.inbox.renew(self._spool_of(fresh)):
            self._base += self._unacked.delivered
            self._unacked = Unacked()
            self.id = fresh
            self._last_event_at = time()
