"""What a watcher tells of its work: metrics for Prometheus, and whether it judges its logs."""

from collections import Counter as Tally
from collections.abc import Callable, Iterable
from time import monotonic, time
from typing import Literal

from etlog_events.config import NOTICES
from etlog_events.serving import Readiness
from prometheus_client import CollectorRegistry, Counter, Gauge

from etlog_watch.message import Happened

#: Seconds without a turn that succeeded after which a watcher is not ready. There is one every few seconds.
STUCK_AFTER = 60.0

_UNKNOWN = float("nan")


class Metrics:
    """All metrics of one process, in their own registry, and when each of its logs was last dealt with."""

    def __init__(self, clock: Callable[[], float] = monotonic, now: Callable[[], float] = time) -> None:
        self.readiness = Readiness(STUCK_AFTER, clock)
        self.now = now
        self.registry = on = CollectorRegistry()
        self.active = Gauge(
            "etlog_watch_active",
            "1 while it tells, 0 while standing by or unable to reach the store",
            ["log"],
            registry=on,
        )
        self.problems = Gauge(
            "etlog_watch_problems",
            "Open incidents, by what is wrong; NaN while not telling",
            ["log", "state"],
            registry=on,
        )
        self.outbox = Gauge(
            "etlog_watch_outbox_messages", "Messages to be sent; NaN while not telling", ["log"], registry=on
        )
        self.oldest = Gauge(
            "etlog_watch_oldest_message_seconds",
            "Age of the oldest message to be sent; NaN while not telling",
            ["log"],
            registry=on,
        )
        self.judged = Gauge(
            "etlog_watch_judged_timestamp_seconds", "When this process judged the log last", ["log"], registry=on
        )
        self.store_errors = Counter(
            "etlog_watch_store_errors", "Errors of the store or on the way to it", ["log"], registry=on
        )
        self._messages = Counter(
            "etlog_watch_messages",
            "Attempts to send a message, by how they ended",
            ["target", "type", "outcome"],
            registry=on,
        )

    def attempted(self, target: str, happened: Happened, outcome: Literal["sent", "later", "gone", "given_up"]) -> None:
        """An attempt to send a message ended so.

        `target` is what may be shown of it, and its index in the file: `https://hooks.example.com#0`. `given_up` is an
        attempt that is not made, because those before it failed for too long.
        """
        self._messages.labels(target, f"etlog.problem.{happened}", outcome).inc()


class LogMetrics:
    """The metrics of one log, which stands by at first; the others of the process are in the same registry.

    From now on the process is ready only while each turn ends in `judged` or `standing_by`.
    """

    def __init__(self, of: Metrics, log: str) -> None:
        self._of = of
        self._log = log
        self._oldest: float | None = _UNKNOWN
        self._active, self._judged, self._outbox = (
            of.active.labels(log),
            of.judged.labels(log),
            of.outbox.labels(log),
        )
        self._store_errors = of.store_errors.labels(log)
        of.oldest.labels(log).set_function(self._oldest_age)
        self._judged.set(_UNKNOWN)
        self.standing_by()

    def standing_by(self) -> None:
        """Another watcher tells, and knows the incidents and what is to be sent."""
        self._does_not_tell()
        self._of.readiness.progressed(self._log)

    def judged(self, states: Iterable[str], waiting: Iterable[float]) -> None:
        """This process tells, and judged the log just now.

        `states` are those of the open incidents; `waiting` is when each message was made that is to be sent, seconds
        since 1970.
        """
        self._active.set(1)
        self._judged.set(self._of.now())
        numbers = Tally(states)
        for state in NOTICES:
            self._of.problems.labels(self._log, state).set(numbers[state])
        made = list(waiting)
        self._outbox.set(len(made))
        self._oldest = min(made, default=None)
        self._of.readiness.progressed(self._log)

    def store_failed(self) -> None:
        """The store, or the way to it, kept a turn from its end: another watcher may tell by now."""
        self._store_errors.inc()
        self._does_not_tell()

    def ended(self) -> None:
        """This process leaves the log to others."""
        self.standing_by()
        self._of.readiness.ended(self._log)

    def _does_not_tell(self) -> None:
        self._active.set(0)
        for state in NOTICES:
            self._of.problems.labels(self._log, state).set(_UNKNOWN)
        self._outbox.set(_UNKNOWN)
        self._oldest = _UNKNOWN

    def _oldest_age(self) -> float:
        return max(self._of.now() - self._oldest, 0.0) if self._oldest is not None else 0.0  # NaN stays NaN
