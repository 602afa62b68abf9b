"""The thread that carries events from `emit()` to the store: in order, in batches, until the store has them."""

import logging
import threading
from contextlib import suppress
from pathlib import Path
from time import monotonic, sleep

from etlog_events.backoff import Backoff
from etlog_events.errors import OtherContract

from etlog_producer import process
from etlog_producer.delivery import Batch, Delivery, ResumePoint, Stats
from etlog_producer.errors import AcksUnavailable, IdTaken
from etlog_producer.publish import STRAY, UNANSWERED, Publisher
from etlog_producer.spool.recovery import Recovery

logger = logging.getLogger("etlog.producer")

#: Seconds to wait for company after the first event, so that a burst travels in few batches. No one notices it.
LINGER = 0.001

#: Seconds between two questions whether the store still has what it took, while nothing else is sent.
PROBE = 1.0

#: Seconds between two looks for spool files that others left behind.
LOOK = 60.0

#: Seconds that `stop` waits for the thread once its connections are cut.
JOIN = 1.5


class Sender:
    """Delivers what `delivery` holds, and then what `recovery` finds, from a thread that starts with the first event.

    The thread keeps `owner` alive, so that the end of the process finds it even if nothing else refers to it.
    """

    def __init__(self, publish: Publisher, delivery: Delivery, recovery: Recovery, *, owner: object) -> None:
        self._publish = publish
        self._delivery = delivery
        self._recovery = recovery
        self._owner = owner
        self._inbox = delivery.inbox
        self._changed = self._inbox.changed
        self._backoff = Backoff(logger, failing="Cannot publish, will keep trying", recovered="Publishing again")
        self._thread: threading.Thread | None = None
        self._stopping = False
        self._finish_by = 0.0
        self._final = False
        # When an attempt last ended without an answer. The run that this one goes on from may have ended in one.
        self._unanswered = monotonic() if delivery.resumed else -STRAY
        self._asked = monotonic()  # when the store last answered about this producer's events
        self._next_look = 0.0

    @property
    def id(self) -> str:
        """The producer's id at present."""
        return self._delivery.who.producer

    @property
    def log_id(self) -> str:
        """The id of the log, as the store said last; "" before."""
        return self._delivery.log_id

    @property
    def resume_point(self) -> ResumePoint:
        """From where another producer may go on after all that was put."""
        with self._changed:
            return self._delivery.resume_point

    @property
    def stats(self) -> Stats:
        """The producer's accounts."""
        with self._changed:
            return self._delivery.stats(self._backoff.retries, self.last_error)

    @property
    def last_error(self) -> str | None:
        """Why the last attempt failed, None if it did not."""
        return self._backoff.reason

    def put(self, event: bytes) -> None:
        """Take an event, and see that the thread runs."""
        self._inbox.put(event)
        if self._thread is None:
            self._start()

    def flush(self, timeout: float | None) -> bool:
        """Wait until all that was put before the call is delivered, at most `timeout` seconds; tell whether it is.

        Raises `AcksUnavailable` or `OtherContract` when waiting cannot help.
        """
        with self._changed:
            target = self._delivery.accepted
            self._changed.wait_for(
                lambda: self._delivery.has_delivered(target) or self._stopping or self._hopeless is not None, timeout
            )
            delivered = self._delivery.has_delivered(target)
            if not delivered and self._hopeless is not None:
                raise self._hopeless
            return delivered

    def seal(self) -> None:
        """Take no more events."""
        with self._changed:
            self._inbox.seal()

    def stop(self, timeout: float, *, final: bool) -> tuple[list[Path], int]:
        """End the thread, and leave what is undelivered in the spool.

        If nothing is, the thread first gets up to `timeout` seconds to tell the store that the producer has ended, and
        to deliver what others left behind. One that may be resumed has ended if this is `final`.
        Returns the files, and the number of events that could not be written.
        """
        with self._changed:
            self._inbox.seal()
            self._final = final
            self._finish_by = monotonic() + timeout if self._is_done else 0.0
            self._stopping = True
            self._inbox.wake.set()
            self._changed.notify_all()
            thread = self._thread
        if thread is not None:
            if self._finish_by:
                thread.join(timeout)
            if thread.is_alive():
                thread.join(0.05)
                self._publish.disconnect()
                thread.join(JOIN)
        with self._changed:
            self._publish.disconnect()
            left = self._delivery.end()
            self._recovery.release()
            return left

    def abandon(self) -> None:
        """This process was forked off: all of it belongs to the parent."""
        self._inbox.abandon()
        self._recovery.release()

    @property
    def _hopeless(self) -> Exception | None:
        error = self._backoff.error
        return error if isinstance(error, AcksUnavailable | OtherContract) else None

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
            wait = self._try_turn()
            if wait and wake.wait(wait) and not self._stopping:
                sleep(LINGER)
        with suppress(Exception):  # then the store remembers the producer for as long as one that was killed
            self._say_farewell()
        with suppress(Exception):  # what others left then stays where it is
            self._finish_for_others()

    def _say_farewell(self) -> None:
        """Tell the store that the producer has ended, once there is nothing that it could still have to send.

        It is said once: after an attempt without an answer the store may have forgotten the producer, and whatever
        follows would count anew. A gap says that nothing was changed, because the store lost the tail.
        """
        while self._unanswered + STRAY <= monotonic() < self._finish_by:
            with self._changed:
                farewell = self._delivery.farewell(final=self._final)
            if farewell is None:
                return
            answer = self._publish.close(*farewell)
            if not answer.gap:
                return
            with self._changed:
                self._delivery.note(Batch(farewell.who, farewell.last + 1, [], skip=False), answer)
                if self._is_done:
                    return  # nothing of it is kept
            while not self._is_done and monotonic() < self._finish_by:
                self._try_turn()

    @property
    def _is_done(self) -> bool:
        """Whether the store holds every event."""
        return self._delivery.has_delivered(self._delivery.accepted)

    def _finish_for_others(self) -> None:
        """At the end of a short stage, which never was idle: deliver what others left, as far as time allows."""
        if monotonic() < self._finish_by and self._next_look == 0:
            self._recovery.look()
        while not self._delivery.ended and monotonic() < self._finish_by:
            wait = self._recovery.step()
            if wait is None:
                return
            sleep(min(wait, max(0.0, self._finish_by - monotonic())))

    def _try_turn(self) -> float:
        """One attempt, and the pause after one that failed: whatever it was, the events are still here."""
        try:
            return self._turn()
        except Exception as e:
            self._publish.disconnect()
            with self._changed:
                pause = self._backoff.failed(e)
                self._changed.notify_all()
                if not self._stopping:
                    self._changed.wait_for(lambda: self._stopping, pause)
                    return 0.0
            sleep(max(0.0, min(pause, self._finish_by - monotonic())))
            return 0.0

    def _turn(self) -> float:
        """Send one thing: own events first. Returns the seconds until there may be something else to do."""
        self._inbox.wake.clear()
        with self._changed:
            if self._delivery.ended:
                return 0.0
            batch = self._delivery.next_batch()
            past = self._delivery.past_farewell()
            can_resend = self._delivery.can_resend
        if past is not None:
            with suppress(Exception):  # its record then stays for as long as that of one that was killed
                self._publish.close(*past)
        probe_in = self._asked + PROBE - monotonic()
        if batch.events or (can_resend and probe_in <= 0):
            self._send(batch)
            return 0.0
        wait = self._help_others()
        return min(wait, max(probe_in, 0.001)) if can_resend else wait

    def _send(self, batch: Batch) -> None:
        try:
            answer = self._publish(batch.who, batch.first, batch.events, skip=batch.skip)
        except IdTaken:
            with self._changed:
                self._delivery.note_taken(batch.who)
            self._next_look = 0.0  # the files are for recovery now
            return
        except UNANSWERED:
            self._unanswered = monotonic()
            raise
        self._backoff.succeeded()
        self._asked = monotonic()
        with self._changed:
            self._delivery.note(batch, answer)

    def _help_others(self) -> float:
        """Send something of what others left behind. Returns the seconds until there is more to do."""
        now = monotonic()
        if now >= self._next_look:
            self._recovery.look()
            self._next_look = now + (PROBE if self._delivery.waits_for_recovery else LOOK)
        wait = None
        if self._recovery.has_work:
            wait = self._recovery.step()
            self._backoff.succeeded()
        with self._changed:
            self._delivery.note_recovered()
        if wait is not None:
            return wait
        return max(self._next_look - monotonic(), 0.001)
