"""Metrics for Prometheus: of this process's requests, and of the logs, which are read from the store at a scrape."""

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from etlog_api.status import Status

#: Seconds. An answer from the cache takes a tenth of a millisecond, a whole new log about ten milliseconds.
BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0)

#: The status of a log, and its counters.
Figures = tuple[Status, Mapping[str, int]]


class Metrics:
    """All metrics of one process."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        on = self._registry
        self._requests = Counter(
            "etlog_requests", "Requests answered by this process", ["route", "status"], registry=on
        )
        self._seconds = Histogram(
            "etlog_request_seconds", "Time to the answer", ["route"], buckets=BUCKETS, registry=on
        )
        self._of: dict[tuple[str, int], tuple[Counter, Histogram]] = {}  # because looking up labels is slow
        self._age = Gauge(
            "etlog_snapshot_age_seconds", "Since the store last confirmed the snapshot", ["log"], registry=on
        )
        self._store_up = Gauge("etlog_store_up", "Whether the store answered this scrape", ["log"], registry=on)
        self._lag_events = Gauge(
            "etlog_lag_events", "Events not applied yet; NaN where only entries can be counted", ["log"], registry=on
        )
        self._lag_entries = Gauge(
            "etlog_lag_entries", "Entries not applied yet; NaN where unknown", ["log"], registry=on
        )
        self._oldest = Gauge(
            "etlog_oldest_unapplied_seconds", "Age of the oldest unapplied entry", ["log"], registry=on
        )
        self._stats = Gauge("etlog_stats", "The log's stats since it began", ["log", "stat"], registry=on)
        self._counters = Gauge("etlog_counters", "Events applied since the log began", ["log", "kind"], registry=on)
        self._active = Gauge("etlog_active_consumer", "1 for the holder of the lease", ["log", "consumer"], registry=on)
        self._persistent = Gauge(
            "etlog_store_persistent", "Whether the store keeps an append-only file", ["log"], registry=on
        )
        self._of_logs = (
            *(self._age, self._store_up, self._lag_events, self._lag_entries, self._oldest),
            *(self._stats, self._counters, self._active, self._persistent),
        )

    def observe(self, route: str, status: int, seconds: float) -> None:
        """Count an answer."""
        found = self._of.get((route, status))
        if found is None:
            found = self._of[route, status] = self._requests.labels(route, status), self._seconds.labels(route)
        requests, times = found
        requests.inc()
        times.observe(seconds)

    def text(self, figures: Mapping[str, Figures | None], ages: Mapping[str, float | None]) -> bytes:
        """Everything in the text format of Prometheus.

        `figures` has the status and counters by the name of the log, None when the store is away; `ages` has the age of
        its snapshot in seconds, None without one.
        """
        for gauge in self._of_logs:
            gauge.clear()  # this caller may not see what another one saw
        for log, age in ages.items():
            self._age.labels(log).set(age if age is not None else float("nan"))
        for log, found in figures.items():
            self._store_up.labels(log).set(found is not None)
            if found is None:
                for gauge in (self._lag_events, self._lag_entries, self._oldest, self._persistent):
                    gauge.labels(log).set(float("nan"))
                continue
            status, counters = found
            self._lag_events.labels(log).set(_number(status.lag if status.lag_unit == "events" else None))
            self._lag_entries.labels(log).set(_number(status.lag_entries))
            self._oldest.labels(log).set(status.oldest_unapplied or 0.0)
            self._persistent.labels(log).set(float(status.store.get("aof_enabled", "nan")))
            for stat in ("applied", "dead", "duplicate", "lost"):
                self._stats.labels(log, stat).set(status.stats.get(stat, 0))
            for kind, number in counters.items():
                self._counters.labels(log, kind).set(number)
            if status.active_consumer is not None:
                self._active.labels(log, status.active_consumer).set(1)
        return generate_latest(self._registry)


def _number(known: int | None) -> float:
    return float("nan") if known is None else known
