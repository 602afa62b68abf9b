"""The thread that carries events from `emit()` to the store: in order, in batches, until the store has them."""

import logging
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep, time

from etlog_events.errors import NewerContract
from etlog_events.process import new_id
from etlog_events.sequence import RENEWED_AFTER

from etlog_producer import process
from etlog_producer.errors import AcksUnavailable
from etlog_producer.inbox import Inbox, WhenFull
from etlog_producer.outage import Outage
from etlog_producer.spool.recovery import PublishAs, Recovery
from etlog_producer.spool.writer import Folder, Spool
from etlog_producer.stats import Stats
from etlog_producer.unacked import BATCH_EVENTS, Unacked

logger = logging.getLogger("etlog.producer")

#: Seconds to wait for company after the first event, so that a burst travels in few batches. Nobody sees it.
LINGER = 0.001

#: Seconds between two looks at whether the store still has what it took, while nothing else is sent.
PROBE = 1.0

#: Seconds between two looks for spool files that somebody left behind.
LOOK = 60.0

#: Seconds that `stop` waits for the thread once its connections are cut.
JOIN = 1.5


class Sender:
    """Delivers what its intake takes in, from a thread of its own, which starts with the first event.

    `publish` sends a batch and raises the driver's errors; `cut` breaks the connections, so that no answer to an
    earlier request can be taken for one to a later.
    """

    def __init__(
        self,
        publish: PublishAs,
        cut: Callable[[], None],
        folder: Folder,
        *,
        spool_bytes: int,
        durable: bool = False,
        when_full: WhenFull = "drop_newest",
        batch_events: int = BATCH_EVENTS,
        resume: tuple[str, int] | None = None,
    ) -> None:
        self.id, before = resume or (new_id(), 0)
        self._publish = publish
        self._cut = cut
        self._folder = folder
        self._spool_bytes = spool_bytes
        self._batch_events = batch_events
        self._inbox = Inbox(self._new_spool(), durable=durable, when_full=when_full, before=before)
        self._changed = self._inbox.changed
        self._unacked = Unacked()
        self._unacked.give_up(before)
        self._recovery = Recovery(folder, publish)
        self._outage = Outage()
        self._base = -before  # events under earlier ids, less those that were numbered before us
        self._lost = 0
        self._skip = False
        self._thread: threading.Thread | None = None
        self._stopping = False
        self._finish_by = 0.0
        self._closed = (
            False  # the books are closed: the thread may still be caught in a connection, but changes nothing
        )
        self._in_touch = monotonic()
        self._in_touch_at = time()  # by the calendar, which goes on while a machine sleeps
        self._next_look = 0.0
        self._marked = 0.0
        self._unwritten = 0  # events that `stop` could not leave anywhere

    def put(self, event: bytes) -> None:
        """Take an event, and see that the thread runs."""
        self._inbox.put(event)
        if self._thread is None:
            self._start()

    def flush(self, timeout: float | None) -> bool:
        """Wait until all that was put before the call is delivered, at most `timeout` seconds; tell whether it is.

        Raises `AcksUnavailable` or `NewerContract` when waiting cannot help.
        """
        with self._changed:
            target = self._base + self._inbox.accepted
            self._changed.wait_for(
                lambda: self._delivered >= target or self._stopping or self._hopeless is not None, timeout
            )
            if self._delivered < target and self._hopeless is not None:
                raise self._hopeless
            return self._delivered >= target

    def stop(self, timeout: float) -> tuple[list[Path], int]:
        """End the thread, and leave what is undelivered in the spool.

        If nothing is, the thread first gets up to `timeout` seconds to deliver what others left behind.
        Returns the files, and the number of events that could not be written.
        """
        with self._changed:
            idle = self._delivered >= self._base + self._inbox.accepted
            self._finish_by = monotonic() + timeout if idle else 0.0
            self._stopping = True
            self._inbox.wake.set()
            self._changed.notify_all()
            thread = self._thread
        if thread is not None:
            if self._finish_by:
                thread.join(timeout)
            if thread.is_alive():
                thread.join(0.05)
                self._cut()
                thread.join(JOIN)
        with self._changed:
            self._closed = True
            self._cut()
            paths, failed = self._inbox.drain(self._unacked.delivered, self._unacked.waiting)
            self._recovery.release()
            self._lost += failed
            self._unwritten = failed
            return paths, failed

    def abandon(self) -> None:
        """This process was forked off: nothing here is its own."""
        self._inbox.abandon()
        self._recovery.release()

    @property
    def stats(self) -> Stats:
        """A look at the books."""
        with self._changed:
            return self._stats_unlocked()

    @property
    def last_error(self) -> str | None:
        """Why the store took nothing at the last attempt."""
        return self._outage.last_error

    def _stats_unlocked(self) -> Stats:
        emitted, delivered = self._base + self._inbox.accepted, self._delivered
        undelivered = emitted - delivered
        spooled = undelivered - self._unwritten if self._closed else self._inbox.spooled
        return Stats(
            emitted=emitted,
            delivered=delivered - self._lost + self._unwritten,
            waiting=0 if self._closed else undelivered - spooled,
            spooled=spooled,
            dropped=self._inbox.dropped,
            lost=self._lost,
            retries=self._outage.retries,
            last_error=self._outage.last_error,
        )

    @property
    def _delivered(self) -> int:
        return self._base + self._unacked.delivered

    @property
    def _hopeless(self) -> AcksUnavailable | NewerContract | None:
        refusal = self._outage.refusal
        return refusal if isinstance(refusal, AcksUnavailable | NewerContract) else None

    def _new_spool(self) -> Spool:
        return Spool(self._folder, self.id, self._spool_bytes)

    def _start(self) -> None:
        with self._changed:
            if self._thread is None and not self._stopping:
                self._thread = threading.Thread(target=self._run, name="etlog-sender", daemon=True)
                self._thread.start()
                process.close_at_end_of_child()

    def _run(self) -> None:
        wake = self._inbox.wake
        sleep(LINGER)
        while not self._stopping:
            wait = self._try(self._turn)
            if wait and wake.wait(wait) and not self._stopping:
                sleep(LINGER)
        with suppress(Exception):  # what others left then stays where it is
            self._finish_for_others()

    def _finish_for_others(self) -> None:
        """At the end of a short stage, which never was idle: deliver what others left, as far as time allows."""
        if monotonic() < self._finish_by and self._next_look == 0:
            self._recovery.look()
        while not self._closed and monotonic() < self._finish_by:
            wait = self._recovery.step()
            if wait is None:
                return
            sleep(min(wait, max(0.0, self._finish_by - monotonic())))

    def _try(self, turn: Callable[[], float]) -> float:
        """One attempt; after a failure, wait as the outage demands. Whatever failed, the events are still here."""
        try:
            return turn()
        except Exception as e:
            self._cut()
            with self._changed:
                wait = self._outage.failed(e)
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._stopping, wait)
            return 0.0

    def _turn(self) -> float:
        """Send one thing: own events first. Returns the seconds until there may be something else to do."""
        self._inbox.wake.clear()
        with self._changed:
            if self._closed:
                return 0.0
            self._renew_if_idle()
            self._refill()
            batch = self._unacked.batch(self._batch_events)
            first = self._unacked.delivered + 1
        probe_in = self._in_touch + PROBE - monotonic()
        if batch or (self._unacked.kept and probe_in <= 0):
            self._deliver(first, batch)
            return 0.0
        wait = self._help_others()
        return min(wait, max(probe_in, 0.001)) if self._unacked.kept else wait

    def _refill(self) -> None:
        room = 2 * self._batch_events - len(self._unacked)
        if room <= 0:
            return
        follows = self._unacked.delivered + len(self._unacked) + 1
        first, events = self._inbox.take(room, from_spool=len(self._unacked) == 0)
        if first > follows:  # a spool file is damaged; only when nothing waits
            self._unacked.give_up(first - 1)
        self._unacked.extend(events)

    def _deliver(self, first: int, batch: Sequence[bytes]) -> None:
        answer = self._publish(self.id, first, batch, self._skip)
        self._outage.ended()
        self._in_touch = monotonic()
        if batch:
            self._in_touch_at = time()
        with self._changed:
            if self._closed:
                return
            if answer.gap:
                self._skip = not self._rewind(answer.held)
                return
            if batch and answer.held < first:
                raise RuntimeError(f"the store answers strangely: it holds {answer.held} after a batch from {first}")
            self._skip = False
            self._unacked.deliver(answer.held)
            surely = self._unacked.delivered - self._unacked.kept
            self._inbox.delivered(surely)
            if monotonic() >= self._marked + PROBE:
                self._marked = monotonic()
                self._inbox.mark(surely)
            self._changed.notify_all()

    def _rewind(self, held: int) -> bool:
        before = self._unacked.delivered
        complete = self._unacked.rewind(held)
        first = self._unacked.delivered + 1
        if first <= before:
            logger.info(
                "The store lost events %d to %d; they are sent again", first, before, extra={"action": "rewound"}
            )
        if not complete:
            self._lost += first - 1 - held
            logger.error(
                "The store lost events %d to %d, which can no longer be sent again; it will count them as lost",
                held + 1,
                first - 1,
                extra={"action": "events_lost", "first": held + 1, "last": first - 1},
            )
        return complete

    def _renew_if_idle(self) -> None:
        """Not to go on under a number that the store may have forgotten: what comes then must not look like a loss."""
        if time() < self._in_touch_at + RENEWED_AFTER or self._unacked.kept or len(self._unacked):
            return
        fresh = new_id()

        def spool() -> Spool:
            return Spool(self._folder, fresh, self._spool_bytes)

        if self._inbox.renew(spool):
            self._base += self._unacked.delivered
            self._unacked = Unacked()
            self.id = fresh
            self._in_touch_at = time()

    def _help_others(self) -> float:
        """Send something of what others left behind. Returns the seconds until there is more to do."""
        now = monotonic()
        if now >= self._next_look:
            self._recovery.look()
            self._next_look = now + LOOK
        wait = self._recovery.step()
        if wait is None:
            return max(self._next_look - monotonic(), 0.001)
        self._outage.ended()
        return wait
