"""What a consumer tells of its work: metrics for Prometheus, and whether it makes progress."""

from collections.abc import Callable
from time import monotonic, time

from etlog_events.serving import Readiness
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from etlog_consumer.batch import Batch

#: Seconds without a turn that succeeded after which a consumer is not ready. An idle turn takes half a second.
STUCK_AFTER = 15.0

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
_EVENTS = (1, 3, 10, 30, 100, 300, 1000, 4000)


class Metrics:
    """All metrics of one process, in their own registry, and when it last made progress with what it does."""

    def __init__(self, clock: Callable[[], float] = monotonic, now: Callable[[], float] = time) -> None:
        self.readiness = Readiness(STUCK_AFTER, clock)
        self.now = now
        self.registry = on = CollectorRegistry()
        self.applied = Counter("etlog_applied", "Events applied by this consumer", ["log", "kind"], registry=on)
        self.size = Histogram("etlog_batch_events", "Events in a batch", ["log"], buckets=_EVENTS, registry=on)
        self.seconds = Histogram(
            "etlog_apply_seconds", "Time to apply a batch and read on", ["log"], buckets=_SECONDS, registry=on
        )
        self.lag_events = Gauge(
            "etlog_lag_events", "Events not applied yet; NaN where only entries can be counted", ["log"], registry=on
        )
        self.lag_entries = Gauge(
            "etlog_lag_entries", "Entries not applied yet; NaN where unknown", ["log"], registry=on
        )
        self.age = Gauge("etlog_oldest_unapplied_seconds", "Age of the oldest unapplied entry", ["log"], registry=on)
        self.dead = Counter("etlog_dead", "Events that became dead letters", ["log"], registry=on)
        self.duplicates = Counter("etlog_duplicate", "Events that were applied before", ["log"], registry=on)
        self.lost = Counter("etlog_lost", "Events that were published and never arrived", ["log"], registry=on)
        self.active = Gauge("etlog_active", "1 while active, 0 while standing by", ["log"], registry=on)
        self.store_errors = Counter(
            "etlog_store_errors", "Errors of the store or on the way to it", ["log"], registry=on
        )


class LogMetrics:
    """The metrics of one log; the others of the process are in the same registry."""

    def __init__(self, of: Metrics, log: str) -> None:
        self._of = of
        self._log = log
        self._oldest: float | None = None
        self._size, self._seconds = of.size.labels(log), of.seconds.labels(log)
        self._dead, self._duplicates, self._active = (
            of.dead.labels(log),
            of.duplicates.labels(log),
            of.active.labels(log),
        )
        self._lag_events, self._lag_entries = of.lag_events.labels(log), of.lag_entries.labels(log)
        self.lost, self.store_errors = of.lost.labels(log), of.store_errors.labels(log)
        of.age.labels(log).set_function(self._oldest_age)
        self.standing_by()

    def active(self) -> None:
        """This consumer took over."""
        self._active.set(1)

    def standing_by(self) -> None:
        """Another consumer is at work, which knows the lag."""
        self._active.set(0)
        self._lag_events.set(float("nan"))
        self._lag_entries.set(float("nan"))
        self._oldest = None

    def waiting(self, entry_id: bytes) -> None:
        """`entry_id` is the oldest entry that is not applied."""
        self._oldest = int(entry_id.partition(b"-")[0]) / 1000

    def nothing_waits(self) -> None:
        """All is applied."""
        self._oldest = None
        self.lag(0, 0)

    def lag(self, entries: int, events: int | None) -> None:
        """So many entries and events are not applied yet."""
        self._lag_entries.set(entries)
        self._lag_events.set(float("nan") if events is None else events)

    def applied(self, batch: Batch, seconds: float) -> None:
        """`batch` was applied."""
        for kind, number in batch.counters.items():
            self._of.applied.labels(self._log, kind).inc(number)
        stats = batch.stats
        self._size.observe(stats["applied"] + stats["dead"] + stats["duplicate"])
        self._seconds.observe(seconds)
        self._dead.inc(stats["dead"])
        self._duplicates.inc(stats["duplicate"])
        self.lost.inc(stats["lost"])

    def progressed(self) -> None:
        """A turn has done all that there was to do."""
        self._of.readiness.progressed(self._log)

    def ended(self) -> None:
        """This process leaves the log to others."""
        self.standing_by()
        self._of.readiness.ended(self._log)

    def _oldest_age(self) -> float:
        oldest = self._oldest
        return max(0.0, self._of.now() - oldest) if oldest is not None else 0.0
