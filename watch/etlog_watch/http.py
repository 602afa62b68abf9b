"""The watcher's port: its metrics, and whether it judges its logs."""

from contextlib import AbstractContextManager

from etlog_events import serving
from prometheus_client import make_wsgi_app

from etlog_watch.metrics import Metrics


def served(metrics: Metrics, host: str, port: int) -> AbstractContextManager[int]:
    """Serve on `host` and `port` meanwhile; gives the port. Raises `OSError` when it cannot listen there."""
    return serving.served(make_wsgi_app(metrics.registry), metrics.readiness, host, port)
