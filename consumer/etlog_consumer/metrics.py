"""What a consumer tells of its work: metrics for Prometheus, and whether it makes progress."""

from collections.abc import Callable
from time import monotonic, time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from etlog_consumer.batch import Batch

#: Seconds without a turn that succeeded after which a consumer is not ready. An idle turn takes half a second.
STUCK_AFTER = 15.0

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
_ENTRIES = (1, 3, 10, 30, 100, 300, 1000, 4000)


class Metrics:
    """All metrics of one consumer, in a registry of their own."""

    def __init__(self, clock: Callable[[], float] = monotonic, now: Callable[[], float] = time) -> None:
        self._clock = clock
        self._now = now
        self._progressed = clock()
        self._oldest: float | None = None
        self.registry = on = CollectorRegistry()
        self._applied = Counter("etlog_applied", "Events applied by this consumer", ["kind"], registry=on)
        self._size = Histogram("etlog_batch_entries", "Entries in a batch", buckets=_ENTRIES, registry=on)
        self._seconds = Histogram(
            "etlog_apply_seconds", "Time to apply a batch and read on", buckets=_SECONDS, registry=on
        )
        self.lag = Gauge("etlog_lag_entries", "Entries not applied yet; NaN where unknown", registry=on)
        self._age = Gauge("etlog_oldest_unapplied_seconds", "Age of the oldest unapplied entry", registry=on)
        self._age.set_function(self._oldest_age)
        self._dead = Counter("etlog_dead", "Entries that became dead letters", registry=on)
        self._duplicates = Counter("etlog_duplicate", "Entries that were applied before", registry=on)
        self.lost = Counter("etlog_lost", "Events that were published and never arrived", registry=on)
        self._active = Gauge("etlog_active", "1 while active, 0 while standing by", registry=on)
        self.store_errors = Counter("etlog_store_errors", "Errors of the store or on the way to it", registry=on)
        self.standing_by()

    def active(self) -> None:
        """This consumer took over."""
        self._active.set(1)

    def standing_by(self) -> None:
        """Another consumer is at work, which knows the lag."""
        self._active.set(0)
        self.lag.set(float("nan"))
        self._oldest = None

    def waiting(self, entry_id: bytes) -> None:
        """`entry_id` is the oldest entry that is not applied."""
        self._oldest = int(entry_id.partition(b"-")[0]) / 1000

    def nothing_waits(self) -> None:
        """All is applied."""
        self._oldest = None
        self.lag.set(0)

    def applied(self, batch: Batch, seconds: float) -> None:
        """`batch` was applied."""
        for kind, number in batch.counters.items():
            self._applied.labels(kind).inc(number)
        self._size.observe(len(batch.ids))
        self._seconds.observe(seconds)
        self._dead.inc(len(batch.dead))
        self._duplicates.inc(batch.duplicates)
        self.lost.inc(sum(len(gap) for gap in batch.gaps))

    def progressed(self) -> None:
        """A turn has done all that there was to do."""
        self._progressed = self._clock()

    def problem(self) -> str | None:
        """What keeps this consumer from being ready, or None."""
        standing = self._clock() - self._progressed
        return f"no progress for {standing:.0f} s" if standing >= STUCK_AFTER else None

    def _oldest_age(self) -> float:
        oldest = self._oldest
        return max(0.0, self._now() - oldest) if oldest is not None else 0.0
