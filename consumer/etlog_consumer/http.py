"""The consumer's port: `/metrics` for Prometheus, `/readyz` whether it makes progress, `/healthz` whether it lives."""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import make_wsgi_app

from etlog_consumer.metrics import Metrics

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment


class _Server(ThreadingMixIn, WSGIServer):
    """One client that never finishes its question must not keep the others from an answer."""

    daemon_threads = True


class _Silent(WSGIRequestHandler):
    timeout = 5

    def log_message(self, format: str, *args: Any) -> None:
        """A scrape every few seconds is no news."""


def application(metrics: Metrics) -> "Callable[[WSGIEnvironment, StartResponse], Iterable[bytes]]":
    """The routes as a WSGI application."""
    scrape = make_wsgi_app(metrics.registry)

    def answer(request: "WSGIEnvironment", start: "StartResponse") -> Iterable[bytes]:
        path = request.get("PATH_INFO", "")
        if path == "/metrics":
            found: Iterable[bytes] = scrape(request, start)
            return found
        status, body = "404 Not Found", "there are /metrics, /readyz and /healthz"
        if path == "/healthz":
            status, body = "200 OK", "ok"
        elif path == "/readyz":
            problem = metrics.problem()
            status, body = ("503 Service Unavailable", problem) if problem else ("200 OK", "ready")
        start(status, [("Content-Type", "text/plain; charset=utf-8")])
        return [body.encode() + b"\n"]

    return answer


@contextmanager
def served(metrics: Metrics, host: str, port: int) -> Iterator[int]:
    """Serve on `host` and `port` meanwhile; gives the port. Raises `OSError` when it cannot listen there."""
    server = make_server(host, port, application(metrics), server_class=_Server, handler_class=_Silent)
    threading.Thread(target=server.serve_forever, name="etlog-metrics", daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
