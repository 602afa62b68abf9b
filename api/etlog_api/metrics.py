"""Metrics for Prometheus: of this process's requests, and of the log, asked of the store when scraped."""

from time import perf_counter

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from etlog_api.status import Status

#: Seconds. An answer from the cache takes a tenth of a millisecond, a whole new log some ten.
BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0)


class Metrics:
    """All metrics of one process, in a registry of their own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        on = self._registry
        self._requests = Counter(
            "etlog_requests", "Requests answered by this process", ["route", "status"], registry=on
        )
        self._seconds = Histogram(
            "etlog_request_seconds", "Time to the answer", ["route"], buckets=BUCKETS, registry=on
        )
        self._of: dict[tuple[str, int], tuple[Counter, Histogram]] = {}  # to look the labels up takes its time
        self._age = Gauge("etlog_snapshot_age_seconds", "Since the store last confirmed the snapshot", registry=on)
        self._store_up = Gauge("etlog_store_up", "Whether the store answered this scrape", registry=on)
        self._lag = Gauge("etlog_lag_entries", "Entries not applied yet; NaN where unknown", registry=on)
        self._oldest = Gauge("etlog_oldest_unapplied_seconds", "Age of the oldest unapplied entry", registry=on)
        self._stats = Gauge("etlog_stats", "The log's stats since it began", ["stat"], registry=on)
        self._active = Gauge("etlog_active_consumer", "1 for the holder of the lease", ["consumer"], registry=on)

    def observe(self, route: str, status: int, seconds: float) -> None:
        """Count an answer."""
        found = self._of.get((route, status))
        if found is None:
            found = self._of[route, status] = self._requests.labels(route, status), self._seconds.labels(route)
        requests, times = found
        requests.inc()
        times.observe(seconds)

    def text(self, status: Status | None, snapshot_age: float | None) -> bytes:
        """Everything in the text format of Prometheus; `status` is None when the store is away."""
        self._store_up.set(status is not None)
        self._age.set(snapshot_age if snapshot_age is not None else float("nan"))
        self._active.clear()
        if status is not None:
            self._lag.set(status.lag if status.lag is not None else float("nan"))
            self._oldest.set(status.oldest_unapplied or 0.0)
            for stat in ("applied", "dead", "duplicate", "lost"):
                self._stats.labels(stat).set(status.stats.get(stat, 0))
            if status.active_consumer is not None:
                self._active.labels(status.active_consumer).set(1)
        else:
            self._lag.set(float("nan"))
            self._oldest.set(float("nan"))
        return generate_latest(self._registry)


class Measured:
    """Observes every request under the path of its route; what has no route counts as `none`."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = perf_counter()

        async def send_observed(message: Message) -> None:
            if message["type"] == "http.response.start":
                # The router puts its finding into the scope; a path of the client's own would make a label each.
                route = getattr(scope.get("route"), "path", "none")
                self._metrics.observe(route, message["status"], perf_counter() - began)
            await send(message)

        await self._app(scope, receive, send_observed)
