"""Metrics for Prometheus: of this process's requests, of the logs, which are read from the store at a scrape, and of
the verdicts on them."""

from collections import Counter as Counted
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from itertools import product
from typing import NamedTuple

from etlog_ledger.verdict import FAULTS, STATES, SeriesVerdict, Verdict
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from etlog_api.status import Status

#: Seconds. An answer from the cache takes a tenth of a millisecond, a whole new log about ten milliseconds.
BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0)

#: Series of each category of a log that are told of, those with the most sets: more than a pipeline has. Sets of odd
#: windows may make any number of them, and a series with five stages is 60 samples.
SERIES = 8

_AS_OF, _HEARD = "etlog_verdict_timestamp_seconds", "etlog_last_event_timestamp_seconds"
_PROBLEMS, _ERRORS, _SETS = "etlog_problems", "etlog_windowless_errors", "etlog_sets"
_DELAY, _DURATION = "etlog_stage_delay_seconds", "etlog_stage_duration_seconds"
_OF_VERDICTS = {
    _AS_OF: "The moment that the verdict speaks of, since 1970",
    _PROBLEMS: "Problems, by the first of their stages, and whether a mark covers them",
    _ERRORS: "Errors that name no set, since the last set that was done",
    _SETS: "Sets in the ledger, by what a stage did with them; unusual ones are counted once more",
    _DELAY: "From the end of the window until the stage had done the set",
    _DURATION: "Time that the stage took",
    _HEARD: "When an event of the kind happened last, since 1970",
}

#: The name of a metric, labels, and a value.
Sample = tuple[str, dict[str, str], float]


class Figures(NamedTuple):
    """What the metrics tell of a log: its status, its counters, and the last verdict on it, None before the first."""

    status: Status
    counters: Mapping[str, int]
    verdict: Verdict | None = None


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
        self._verdicts = _Verdicts()
        on.register(self._verdicts)

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

        `figures` are by the name of the log, None when the store is away; `ages` has the age of its snapshot in
        seconds, None without one.
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
            status, counters, _ = found
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
        self._verdicts.held = {log: found.verdict for log, found in figures.items() if found and found.verdict}
        return generate_latest(self._registry)


class _Verdicts(Collector):
    """The metrics of the verdicts that it is given to hold, by the name of the log."""

    held: Mapping[str, Verdict] = {}

    def collect(self) -> Iterable[Metric]:
        return verdict_metrics(self.held)


def verdict_metrics(verdicts: Mapping[str, Verdict]) -> Iterable[Metric]:
    """What the verdicts say, by the name of the log.

    Problems are all counted. Sets, delays and durations are told of `SERIES` series of each category, and only of those
    with a stage that is expected.
    """
    metrics = {
        name: Metric(name, text, "summary" if name in {_DELAY, _DURATION} else "gauge")
        for name, text in _OF_VERDICTS.items()
    }
    for log, verdict in verdicts.items():
        found: dict[tuple[str, tuple[tuple[str, str], ...]], float] = {}
        for name, labels, value in (*_of_all(verdict), *_of_series(verdict)):
            key = name, tuple(labels.items())
            if key not in found:
                found[key] = value
            else:  # series that differ in their phase alone, and several problems of a stage
                found[key] = max(found[key], value) if "quantile" in labels else found[key] + value
        for (name, pairs), value in found.items():
            metrics[name].add_sample(name, {"log": log, **dict(pairs)}, value)
    return metrics.values()


def _of_all(verdict: Verdict) -> Iterator[Sample]:
    yield _AS_OF, {}, verdict.now
    for kind, time in verdict.heard.items():
        yield _HEARD, {"kind": kind}, datetime.fromisoformat(time).timestamp()
    # There is a 0 for what may happen, so that a dashboard draws it.
    for category in {series.category: None for series in verdict.series}:
        yield _ERRORS, {"category": category}, 0
    for error in verdict.errors:
        yield _ERRORS, {"category": error.category}, error.count
    for category, stage in {(series.category, stage): None for series in verdict.series for stage in series.habits}:
        for state, marked in product(FAULTS, ("false", "true")):
            yield _PROBLEMS, {"category": category, "stage": stage, "state": state, "marked": marked}, 0
    for problem in verdict.problems:
        marked = "false" if problem.mark is None else "true"
        of = {"category": problem.category, "stage": problem.stages[0], "state": problem.state, "marked": marked}
        yield _PROBLEMS, of, 1


def _of_series(verdict: Verdict) -> Iterator[Sample]:
    told: Counted[str] = Counted()
    for series in sorted(verdict.series, key=_size, reverse=True):
        if not series.habits or told[series.category] == SERIES:
            continue
        told[series.category] += 1
        of = {"category": series.category, "every": series.every}
        if series.length is not None:
            of["length"] = series.length
        for stage, state in product(series.stages, (*STATES, "unusual")):
            yield _SETS, {**of, "stage": stage, "state": state}, series.counts.get(stage, {}).get(state, 0)
        for name, quantiles in ((_DELAY, series.delay), (_DURATION, series.duration)):
            for stage, seconds in quantiles.items():
                yield name, {**of, "stage": stage, "quantile": "0.5"}, seconds.p50
                yield name, {**of, "stage": stage, "quantile": "0.95"}, seconds.p95


def _size(series: SeriesVerdict) -> int:
    return sum(number for counts in series.counts.values() for number in counts.values())


def _number(known: int | None) -> float:
    return float("nan") if known is None else known
