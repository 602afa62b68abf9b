"""The way of one producer's events through memory, spool and store, and its accounts: each is counted once."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, time
from typing import NamedTuple

from etlog_events.errors import StoreError
from etlog_events.ids import new_id, new_token
from etlog_events.publishing import CALL_EVENTS
from etlog_events.sequence import RENEWED_AFTER

from etlog_producer.inbox import Inbox, WhenFull
from etlog_producer.publish import Identity, Published
from etlog_producer.spool.folder import SpoolFolder
from etlog_producer.spool.writer import SpoolWriter
from etlog_producer.unacked import Unacked

logger = logging.getLogger("etlog.producer")

#: Seconds between two notes in the spool of how far the store has the events.
MARK_EVERY = 1.0


@dataclass(frozen=True, slots=True)
class Stats:
    """A producer's accounts: `emitted == delivered + waiting + spooled + lost`, at every moment.

    `emitted` counts what `emit` accepted. `waiting` is undelivered in memory, even if a `flush` has put it into a file
    as well; `spooled` is undelivered in the spool alone.
    `dropped` was never accepted, because there was no room. `lost` was accepted and is gone: the store forgot more
    than is kept for it, a spool file was removed or damaged, or the disk failed at `close`. `retries` counts failed
    attempts. `last_error` is None while the store takes what it is given.
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

    who: Identity
    first: int
    events: Sequence[bytes]
    skip: bool


class ResumePoint(NamedTuple):
    """From where another producer may go on: after the event `number` of `producer`, whose process has the `token`."""

    producer: str
    number: int
    token: str = ""


class Farewell(NamedTuple):
    """What is to be said of a producer that has ended: it published nothing after the number `last`."""

    who: Identity
    last: int


@dataclass(frozen=True, slots=True)
class _HandedOver:
    """Undelivered events that are in files alone, under an id that another process took."""

    files: Sequence[Path]
    events: int


class Delivery:
    """Takes events from the inbox, gives them out in batches, and notes what the store answers.

    Every method and property is used under the lock of the inbox.
    """

    def __init__(
        self,
        folder: SpoolFolder,
        *,
        spool_bytes: int,
        durable: bool,
        when_full: WhenFull,
        batch_events: int = CALL_EVENTS,
        resume: ResumePoint | None = None,
        resumable: bool = False,
    ) -> None:
        producer, before, token = resume or ResumePoint(new_id(), 0, new_token())
        self.who = Identity(producer, token)
        self.log_id = ""  # of the log, as the store said last
        self._folder = folder
        self._spool_bytes = spool_bytes
        self._batch_events = batch_events
        self._resumable = resumable or resume is not None
        #: Whether it goes on under the id of another run, which may have sent more than is known here.
        self.resumed = resume is not None
        self._sent = before  # the largest number that was sent
        self.inbox = Inbox(self._spool_of(self.who), durable=durable, when_full=when_full, before=before)
        self._unacked = Unacked()
        self._unacked.give_up(before)
        self._base = -before  # events under earlier ids, less those that were numbered before this producer
        self._handed_over: list[_HandedOver] = []
        self._past: Farewell | None = None  # of the last id, as long as no one has said it
        self._skip = False
        self._hole = 0  # events that are gone with a spool file, until the store says which of them it holds
        self._lost = 0
        self._left: list[Path] | None = None  # the files that `end` left
        self._unwritten = 0  # events that are in none of them
        self.closing = False  # nothing more is delivered, but for what is under way
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
        return self._base + self._unacked.delivered - self._in_others_hands

    @property
    def waits_for_recovery(self) -> bool:
        """Whether recovery has events to send that this producer accepted."""
        return bool(self._handed_over)

    @property
    def _in_others_hands(self) -> int:
        return sum(handed.events for handed in self._handed_over)

    def has_delivered(self, accepted: int) -> bool:
        """Whether the store holds all events up to the one that was accepted as number `accepted`, under any id."""
        return self.delivered >= accepted and not self._handed_over and not self.has_hole

    @property
    def has_hole(self) -> bool:
        """Whether numbers are gone of which the store has to be told."""
        return self._skip or self._hole > 0

    @property
    def resume_point(self) -> ResumePoint:
        """From where to go on after all that was taken in."""
        return ResumePoint(self.who.producer, self.inbox.accepted, self.who.token)

    @property
    def can_resend(self) -> bool:
        """Whether there are delivered events that could be sent again, should the store lose them."""
        return self._unacked.kept > 0

    def next_batch(self) -> Batch:
        """What is to be sent now; the same again until the store has answered."""
        self._renew_if_idle()
        self._refill()
        events = self._unacked.batch(self._batch_events)
        self._sent = max(self._sent, self._unacked.delivered + len(events))
        return self._batch(events)

    def question(self) -> Batch:
        """What asks the store whether it holds all that it should."""
        return self._batch([])

    def _batch(self, events: Sequence[bytes]) -> Batch:
        return Batch(self.who, self._unacked.delivered + 1, events, self._skip)

    def note(self, batch: Batch, answer: Published) -> None:
        """Note the store's answer to `batch`. Raises `StoreError` for one that cannot be right."""
        if self.ended:
            return
        if answer.log_id and answer.log_id != self.log_id:
            self.log_id = answer.log_id
            self.inbox.know_log(answer.log_id)
        if answer.gap:
            self._skip = not self._rewind(answer.held)
            return
        if answer.held > self._sent and not self.resumed:
            self._leave_id_to_another(answer.held)
            return
        if batch.events:
            if answer.held < batch.first:
                raise StoreError(
                    f"the store says that it holds {answer.held} after a batch that begins with {batch.first}"
                )
            self._last_event_at = time()
        self._skip, self._hole = False, 0
        self._unacked.deliver(answer.held)
        surely = self._unacked.delivered - self._unacked.kept
        self.inbox.delivered(surely)
        if monotonic() >= self._marked + MARK_EVERY:
            self._marked = monotonic()
            self.inbox.mark(surely)
        self.inbox.changed.notify_all()

    def note_taken(self, taken: Identity) -> None:
        """Note that another process publishes under the id: go on under a fresh one, without losing an event.

        What is in no file gets new numbers. The other events stay in their files, and only there: recovery, here or in
        another process, sends each file under an id of its own. Delivered events that can be sent again are sent again:
        where a record with another token took the place of ours, the store has lost ours, and those events with it.
        """
        if self.ended or taken != self.who:
            return
        self._unacked.rewind(0)
        self._go_on_under_fresh_id()

    def _leave_id_to_another(self, held: int) -> None:
        """The store holds numbers under this id that were never sent from here, so it took none of this batch: another
        client numbers its events so. Raises `StoreError` where numbers are in files already, and cannot be changed."""
        if self.inbox.has_files:
            raise StoreError(
                f"the store holds {held} events of producer {self.who.producer}, which has sent {self._sent}: another "
                "client publishes under its id"
            )
        self._go_on_under_fresh_id()

    def _go_on_under_fresh_id(self) -> None:
        taken = self.who
        alone, in_files = self.inbox.split(self._unacked.delivered + 1, self._unacked.waiting)
        self.who = Identity(new_id(), new_token())
        logger.error(
            "Another process publishes under the id %s; going on as %s",
            taken.producer,
            self.who.producer,
            extra={"action": "id_taken", "producer": taken.producer, "fresh": self.who.producer},
        )
        files, others, shift = self.inbox.hand_over(self._spool_of(self.who), len(alone))
        if in_files + others:
            self._handed_over.append(_HandedOver(files, in_files + others))
        self._unacked = Unacked()
        self._unacked.extend(alone)
        self._base += shift
        self._sent, self.resumed = 0, False
        self._skip, self._hole = False, 0

    def note_recovered(self) -> None:
        """Note which of the files that were handed over are gone: whoever deletes a spool file has delivered it."""
        left = [handed for handed in self._handed_over if any(file.exists() for file in handed.files)]
        if len(left) < len(self._handed_over):
            self._handed_over = left
            self.inbox.changed.notify_all()

    def farewell(self, *, final: bool) -> Farewell | None:
        """What to say of the producer at its end, None if there is nothing to say, or something is left to be sent.

        Its files go first: once the store has forgotten the producer, they would be sent again. A producer that may be
        resumed ends only if this is `final`. Raises `OSError`.
        """
        last = self._unacked.delivered
        if self.ended or (self._resumable and not final) or len(self._unacked) or not last or not self.inbox.forget():
            return None
        if any(file.producer == self.who.producer and not file.taken for file in self._folder.files()):
            return None  # an earlier run under this id has left it, and what is in there must be recognized
        return Farewell(self.who, last)

    def past_farewell(self) -> Farewell | None:
        """What to say of the id before this one, once."""
        past, self._past = self._past, None
        return past

    def keep(self) -> None:
        """Put into spool files what is undelivered and in memory alone; it is still sent from there."""
        if not self.ended:
            self.inbox.keep(self._unacked.delivered, self._unacked.waiting)

    def end(self) -> list[Path]:
        """Take no more, and leave what is undelivered in the spool. May be interrupted and called again.

        Returns the files.
        """
        self.ended = True
        if self._left is None:
            paths, self._unwritten = self.inbox.drain(self._unacked.delivered, self._unacked.waiting)
            self._left = [*(path for handed in self._handed_over for path in handed.files), *paths]
        self.inbox.let_go()
        return self._left

    def stats(self, retries: int, last_error: str | None) -> Stats:
        """The accounts; the arguments are what only the sender knows."""
        undelivered = self.accepted - self.delivered
        in_spool = self.inbox.spooled + self._in_others_hands
        spooled = in_spool if self._left is None else undelivered - self._unwritten
        return Stats(
            emitted=self.accepted,
            delivered=self.delivered - self._lost - self._hole,
            waiting=undelivered - spooled - self._unwritten,
            spooled=spooled,
            dropped=self.inbox.dropped,
            lost=self._lost + self._hole + self._unwritten,
            retries=retries,
            last_error=last_error,
        )

    def _spool_of(self, who: Identity) -> SpoolWriter:
        return SpoolWriter(self._folder, who, self._spool_bytes, log_id=self.log_id, resumable=self._resumable)

    def _refill(self) -> None:
        room = 2 * self._batch_events - len(self._unacked)
        if room <= 0:
            return
        follows = self._unacked.delivered + len(self._unacked) + 1
        first, events = self.inbox.take(room, from_spool=len(self._unacked) == 0)
        if first > follows:  # a spool file is damaged; only when nothing waits
            self._unacked.give_up(first - 1)
            self._hole += first - follows
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
            self._hole = 0
            logger.error(
                "Events %d to %d are neither in the store nor here any more; the log will count them as lost",
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
        fresh = Identity(new_id(), new_token())
        if self.inbox.renew(self._spool_of(fresh)):
            if self._unacked.delivered and not self._resumable:
                self._past = Farewell(self.who, self._unacked.delivered)
            self._base += self._unacked.delivered
            self._unacked = Unacked()
            self.who = fresh
            self._sent, self.resumed = 0, False
            self._last_event_at = time()
