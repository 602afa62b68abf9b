"""The thread that carries events from `emit()` to the store: in order, in batches, until the store has them."""

import _thread
import logging
from collections.abc import Callable
from contextlib import suppress
from math import inf
from pathlib import Path
from threading import TIMEOUT_MAX
from time import monotonic, sleep

from etlog_events.backoff import Backoff
from etlog_events.errors import StoreError
from redis.exceptions import RedisError

from etlog_producer import process
from etlog_producer.delivery import Batch, Delivery, ResumePoint, Stats
from etlog_producer.errors import IdTaken
from etlog_producer.publish import STRAY, UNANSWERED, Publisher
from etlog_producer.spool.recovery import Recovery
from etlog_producer.threads import Thread, held_signals
from etlog_producer.waiting import Waiting, is_hopeless

logger = logging.getLogger("etlog.producer")

#: Seconds to wait for more events after the first one, so that a burst travels in few batches. No one notices it.
LINGER = 0.001

#: Seconds between two questions whether the store still has what it took, while nothing else is sent.
PROBE = 1.0

#: Seconds between two looks for spool files that others left behind.
LOOK = 60.0

#: Seconds that a stage at its end gives to what others left.
HELP_AT_END = 0.5

#: Seconds between two attempts to start a thread where none is available.
START_AGAIN = 1.0

#: Seconds between two looks at a deadline that may have come nearer.
LOOK_AT_DEADLINE = 0.05

#: Seconds that `finish` waits for the thread once its connections are cut.
JOIN = 1.5


class Sender:
    """Delivers what `delivery` holds, and then what `recovery` finds, from a thread that starts with the first event.

    The thread keeps `owner` alive, so that the end of the process finds it even if nothing else refers to it. One that
    does not linger sends an event at once, without waiting for more.
    """

    def __init__(
        self, publish: Publisher, delivery: Delivery, recovery: Recovery, *, owner: object, lingers: bool = True
    ) -> None:
        self._publish = publish
        self._delivery = delivery
        self._recovery = recovery
        self._owner = owner
        self._inbox = delivery.inbox
        self._lock, self._changed = self._inbox.lock, self._inbox.changed
        self._backoff = Backoff(logger, failing="Cannot publish, will keep trying", recovered="Publishing again")
        self._lingers = lingers
        self._thread: Thread | None = None
        self._start_again_at = 0.0
        self._at_work = _thread.allocate_lock()  # held by who does the work of the thread that is not available
        self._worker = 0  # the thread that holds it
        self._deadline, self._patient = inf, True
        self._stopping = self._takes_leave = self._final = False
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
        with self._lock:
            return self._delivery.resume_point

    @property
    def stats(self) -> Stats:
        """The producer's accounts."""
        with self._lock:
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
        elif process.is_deaf:
            process.meet_signals()

    def flush(self, timeout: float | None) -> bool:
        """Wait until all that was put before the call is delivered, at most `timeout` seconds; tell whether it is.

        What is not, however the waiting ends, is in the spool as well. Raises `AcksUnavailable` or `OtherContract` when
        waiting cannot help.
        """
        waiting = self.waiting()
        deadline = None if timeout is None else monotonic() + timeout
        try:
            if not self.is_interrupted:  # else no one can do anything before this call returns
                self._wait(lambda: waiting.is_over, deadline)
            return waiting.is_over and waiting.is_delivered
        finally:
            if not self.is_interrupted and not waiting.is_delivered:
                self.keep()

    def waiting(self) -> Waiting:
        """What `flush` waits for: the delivery of all that was put before."""
        return Waiting(self._delivery, self._backoff, self._delivery.accepted)

    def keep(self) -> None:
        """Put into the spool what is undelivered and in memory alone; it is still sent from there."""
        with self._lock:
            self._delivery.keep()

    def help(self, seconds: float) -> None:
        """Where no thread is available, deliver in this one for some `seconds`."""
        if not self._has_thread():
            self._deliver_here(lambda: False, monotonic() + seconds)

    def end_by(self, deadline: float, *, patient: bool = True) -> None:
        """Let `finish` wait until `deadline` at most, and not for a store that is away unless it is to be `patient`. Of
        what several callers say, the strictest counts."""
        self._deadline = min(self._deadline, deadline)
        self._patient = self._patient and patient
        with self._lock:
            self._changed.notify_all()

    def finish(self, *, final: bool) -> list[Path]:
        """Take no more, deliver what waits as far as `end_by` allows, end the thread, and leave the rest in the spool.

        If nothing is left to be delivered, the remaining time is there to tell the store that the producer has ended,
        which one that may be resumed has only if this is `final`, and to deliver what others left behind. May be
        interrupted and called again. Returns the files of the rest.
        """
        with self._lock:
            self._inbox.seal()
        is_kept = False
        while not self._is_over:  # until a deadline that may come nearer meanwhile
            if not is_kept and self._backoff.error is not None:
                is_kept = True
                self.keep()  # first: nobody knows how long the process has
            self._wait(lambda: self._is_over, min(self._deadline, monotonic() + LOOK_AT_DEADLINE))
        self._end_thread(final=final)
        with self._lock:
            self._publish.disconnect()
            paths = self._delivery.end()
            self._recovery.release()
            return paths

    @property
    def is_unused(self) -> bool:
        """Whether nothing was ever put."""
        return self._thread is None and not self._delivery.accepted

    @property
    def is_interrupted(self) -> bool:
        """Whether the caller has interrupted its own thread in what others wait for, so that waiting for them is in
        vain."""
        return self._inbox.is_interrupted or self._worker == _thread.get_ident()

    @property
    def _is_over(self) -> bool:
        """Whether there is nothing more to wait for at the end."""
        if self._is_done or is_hopeless(self._backoff.error) or monotonic() >= self._deadline:
            return True
        return not self._patient and self._backoff.error is not None

    def _end_thread(self, *, final: bool) -> None:
        with self._lock:
            self._final = final
            self._takes_leave = self._is_done
            self._stopping = self._delivery.closing = True
            self._inbox.wake.set()
            self._changed.notify_all()
            thread = self._thread
        if thread is None:
            if not self.is_unused:
                self._take_leave()
            return
        while (rest := self._finish_by - monotonic()) > 0 and not thread.join(min(rest, LOOK_AT_DEADLINE)):
            pass
        if not thread.join(LOOK_AT_DEADLINE):
            self._publish.disconnect()
            thread.join(JOIN)

    @property
    def _finish_by(self) -> float:
        """Until when the thread may go on after it was told to stop."""
        return self._deadline if self._takes_leave else 0.0

    def abandon(self) -> None:
        """This process was forked off: all of it belongs to the parent."""
        self._inbox.abandon()
        self._recovery.release()

    def _wait(self, is_over: Callable[[], bool], deadline: float | None) -> None:
        """Wait until something is so, or until `deadline`."""
        if not self._has_thread():
            self._deliver_here(is_over, deadline)
        with self._lock:
            rest = None if deadline is None else min(max(0.0, deadline - monotonic()), TIMEOUT_MAX)
            self._changed.wait_for(is_over, rest)

    def _has_thread(self) -> bool:
        """Whether there is a thread, or one can be started now, or none is needed."""
        if self._thread is None and not self._delivery.has_delivered(self._delivery.accepted):
            self._start(at_once=True)
            return self._thread is not None
        return True

    def _start(self, *, at_once: bool = False) -> None:
        """Start the thread. Where none is available, that is tried again later, and meanwhile `flush` delivers."""
        now = monotonic()
        if self._inbox.is_interrupted or (now < self._start_again_at and not at_once):
            return
        with self._lock:
            if self._thread is not None or self._stopping:
                return
            process.see_to_the_end()
            thread = Thread(self._run)
            try:
                thread.start()
            except RuntimeError as e:
                if not self._start_again_at:
                    logger.warning("Cannot start a thread to deliver events: %s", e, extra={"action": "no_thread"})
                self._start_again_at = now + START_AGAIN
            else:
                self._thread = thread

    def _run(self) -> None:
        wake = self._inbox.wake
        linger = LINGER if self._lingers else 0.0
        try:
            sleep(linger)
            while not self._stopping:
                wait = self._try_turn()
                if wait and wake.wait(wait) and not self._stopping:
                    sleep(linger)
            self._take_leave()
        finally:
            if not self._stopping:  # something that is no error ended it, such as the kill of a greenlet
                self._thread = None

    def _deliver_here(self, is_over: Callable[[], bool], deadline: float | None) -> None:
        """Do the thread's work in this one, until something is so, a thread does it, or until `deadline`."""
        if self._at_work.locked():
            return  # another caller does
        with self._at_work:
            try:
                self._worker = _thread.get_ident()
                while not is_over() and not self._stopping and (deadline is None or monotonic() < deadline):
                    try:
                        with held_signals():
                            wait = self._turn()
                    except (RedisError, StoreError, OSError) as e:
                        wait = self._failed(e)
                    if wait:
                        most = START_AGAIN if deadline is None else min(START_AGAIN, deadline - monotonic())
                        self._inbox.wake.wait(max(0.0, min(wait, most)))
                    if self._has_thread():
                        return
            finally:
                self._worker = 0

    def _take_leave(self) -> None:
        """The last that is done for a producer that closes, as far as time allows."""
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
            with self._lock:
                farewell = self._delivery.farewell(final=self._final)
            if farewell is None:
                return
            answer = self._publish.close(*farewell)
            if not answer.gap:
                return
            with self._lock:
                self._delivery.note(self._delivery.question(), answer)
                if self._is_done:
                    return  # nothing of it is kept
            while not self._is_done and monotonic() < self._finish_by:
                self._try_turn()

    @property
    def _is_done(self) -> bool:
        """Whether the store holds every event."""
        return self._delivery.has_delivered(self._delivery.accepted)

    def _finish_for_others(self) -> None:
        """At the end of a short stage, which never was idle: deliver what others left, as far as time allows. Whether
        the store keeps it, a later process sees."""
        until = min(self._finish_by, monotonic() + HELP_AT_END)
        if monotonic() < until and self._next_look == 0:
            self._recovery.look()
        while not self._delivery.ended and monotonic() < until and self._recovery.step() == 0:
            pass

    def _try_turn(self) -> float:
        """One attempt, and the pause after one that failed: whatever it was, the events are still here."""
        try:
            return self._turn()
        except Exception as e:
            pause = self._failed(e)
            with self._lock:
                if not self._stopping:
                    self._changed.wait_for(lambda: self._stopping, pause)
                    return 0.0
            sleep(max(0.0, min(pause, self._finish_by - monotonic())))
            return 0.0

    def _failed(self, error: Exception) -> float:
        """Note that an attempt failed. Returns the seconds until the next."""
        self._publish.disconnect()
        with self._lock:
            pause = self._backoff.failed(error)
            self._changed.notify_all()
        return pause

    def _turn(self) -> float:
        """Send one thing: own events first. Returns the seconds until there may be something else to do."""
        self._inbox.wake.clear()
        with self._lock:
            if self._delivery.ended:
                return 0.0
            batch = self._delivery.next_batch()
            past = self._delivery.past_farewell()
            can_resend = self._delivery.can_resend
            is_due = bool(batch.events) or self._delivery.has_hole
        if past is not None:
            with suppress(Exception):  # its record then stays for as long as that of one that was killed
                self._publish.close(*past)
        probe_in = self._asked + PROBE - monotonic()
        if is_due or (can_resend and probe_in <= 0):
            self._send(batch)
            return 0.0
        wait = self._help_others()
        return min(wait, max(probe_in, 0.001)) if can_resend else wait

    def _send(self, batch: Batch) -> None:
        try:
            answer = self._publish(batch.who, batch.first, batch.events, skip=batch.skip)
        except IdTaken:
            with self._lock:
                self._delivery.note_taken(batch.who)
            self._next_look = 0.0  # the files are for recovery now
            return
        except UNANSWERED:
            self._unanswered = monotonic()
            raise
        self._backoff.succeeded()
        self._asked = monotonic()
        with self._lock:
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
        with self._lock:
            self._delivery.note_recovered()
        if wait is not None:
            return wait
        return max(self._next_look - monotonic(), 0.001)
