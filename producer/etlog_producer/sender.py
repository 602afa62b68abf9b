"""The thread that carries events from `emit()` to the store: in order, in batches, until the store has them."""

import logging
import random
import threading
from collections import deque
from collections.abc import Callable
from time import monotonic, sleep

from etlog_events.store import ANSWER_TIMEOUT

from etlog_producer import lifetime
from etlog_producer.backlog import Backlog
from etlog_producer.publish import Published

logger = logging.getLogger("etlog.producer")

#: Seconds to wait for company after the first event, so that a burst travels in few batches. Nobody sees it.
LINGER = 0.001

#: Seconds between attempts while the store says no: doubled from the first to the last, with jitter.
FIRST_RETRY, LAST_RETRY = 0.05, 3.0

#: Events that wait in memory at the most; about 20 MiB.
MAX_WAITING = 100_000

#: Sends a batch: (number of the first event, events, skip) -> answer of the store. Raises the driver's errors.
Publish = Callable[[int, list[bytes], bool], Published]


class Sender:
    """Takes encoded events from any thread and delivers them from its own, which starts with the first event."""

    def __init__(self, publish: Publish, drop_connections: Callable[[], None]) -> None:
        self._publish = publish
        self._drop_connections = drop_connections
        self._inbox: deque[bytes] = deque()
        self._backlog = Backlog()
        self._taken = 0  # events moved from the inbox to the backlog
        self._dropped = 0
        self._wake = threading.Event()
        self._stopping = False
        self._changed = threading.Condition()  # guards _taken against flush; notified when something was delivered
        self._thread: threading.Thread | None = None
        self._failing_since: float | None = None
        self.last_error: str | None = None

    def put(self, event: bytes) -> None:
        """Take an event. Never waits and never fails; beyond `MAX_WAITING` the event is dropped and counted."""
        inbox = self._inbox
        if len(inbox) + len(self._backlog) >= MAX_WAITING:
            self._drop()
            return
        inbox.append(event)
        if not self._wake.is_set():
            self._wake.set()
            if self._thread is None:
                self._start()

    def flush(self, timeout: float | None) -> bool:
        """Wait until all that was put before the call is delivered, at most `timeout` seconds; tell whether it is."""
        with self._changed:
            target = self._taken + len(self._inbox)
            return self._changed.wait_for(lambda: self._backlog.delivered >= target, timeout)

    def stop(self) -> None:
        """End the thread after the batch in hand."""
        with self._changed:
            self._stopping = True
            self._wake.set()
            self._changed.notify_all()
            thread = self._thread
        if thread is not None:
            thread.join(ANSWER_TIMEOUT)

    @property
    def undelivered(self) -> int:
        """Events that the store has not confirmed."""
        return len(self._inbox) + len(self._backlog)

    @property
    def delivered(self) -> int:
        """Events that the store has confirmed."""
        return self._backlog.delivered

    @property
    def dropped(self) -> int:
        """Events that found no room in memory."""
        return self._dropped

    def _drop(self) -> None:
        with self._changed:
            self._dropped += 1
            first = self._dropped == 1
        if first:
            logger.warning(
                "%d events wait for the store and no more fit in memory; new ones are dropped and counted",
                MAX_WAITING,
                extra={"action": "events_dropped"},
            )

    def _start(self) -> None:
        with self._changed:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="etlog-sender", daemon=True)
                self._thread.start()
                lifetime.close_at_end_of_child()

    def _run(self) -> None:
        while self._wake.wait() and not self._stopping:
            sleep(LINGER)
            self._wake.clear()
            self._take()
            self._deliver_all()

    def _take(self) -> None:
        with self._changed:
            count = len(self._inbox)
            self._backlog.extend(self._inbox.popleft() for _ in range(count))
            self._taken += count

    def _deliver_all(self) -> None:
        """Deliver until nothing waits. Returns early only to stop."""
        retry = FIRST_RETRY
        skip = False
        while batch := self._backlog.batch():
            first = self._backlog.delivered + 1
            try:
                answer = self._publish(first, batch, skip)
            except Exception as e:  # whatever it is, the events are still here and can be sent again
                self._failed(e)
                if self._stopping:
                    return
                self._pause(retry)
                retry = min(retry * 2, LAST_RETRY)
                continue
            self._recovered()
            retry = FIRST_RETRY
            if answer.gap:
                skip = not self._rewind(answer.held)
                continue
            skip = False
            with self._changed:
                self._backlog.deliver(answer.held)
                self._changed.notify_all()
            if self._stopping:
                return
            self._take()

    def _rewind(self, held: int) -> bool:
        before = self._backlog.delivered
        complete = self._backlog.rewind(held)
        first = self._backlog.delivered + 1
        if complete:
            logger.info(
                "The store lost events %d to %d; they are sent again", held + 1, before, extra={"action": "rewound"}
            )
        else:
            logger.error(
                "The store lost events %d to %d, which can no longer be sent again; it will count them as lost",
                held + 1,
                first - 1,
                extra={"action": "events_lost", "first": held + 1, "last": first - 1},
            )
        return complete

    def _failed(self, error: Exception) -> None:
        """A connection that saw an error is not trusted: an answer may still be under way on it."""
        self._drop_connections()
        self.last_error = str(error)
        if self._failing_since is None:
            self._failing_since = monotonic()
            logger.warning("Cannot publish, will keep trying: %s", error, extra={"action": "publish_failed"})

    def _recovered(self) -> None:
        if self._failing_since is not None:
            seconds = monotonic() - self._failing_since
            self._failing_since = self.last_error = None
            logger.warning("Publishing again after %.1f s", seconds, extra={"action": "publish_recovered"})

    def _pause(self, seconds: float) -> None:
        """Wait with jitter, so that many producers do not come back at the same instant."""
        deadline = monotonic() + seconds * random.uniform(0.5, 1.0)  # noqa: S311
        with self._changed:
            self._changed.wait_for(lambda: self._stopping, max(0.0, deadline - monotonic()))
