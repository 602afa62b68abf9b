"""The port of a process without other clients: `/metrics` for Prometheus, `/readyz` whether it makes progress,
`/healthz` whether it lives."""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from socketserver import ThreadingMixIn
from time import monotonic
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


class Readiness:
    """When a process last got on with each thing it does; after `stuck_after` seconds without, it is not ready."""

    def __init__(self, stuck_after: float, clock: Callable[[], float] = monotonic) -> None:
        self._stuck_after = stuck_after
        self._clock = clock
        self._progressed: dict[str, float] = {}

    def progressed(self, what: str) -> None:
        """All that there was to do with `what` is done."""
        self._progressed[what] = self._clock()

    def ended(self, what: str) -> None:
        """Nothing is to be done with `what` any more."""
        self._progressed.pop(what, None)

    def problem(self) -> str | None:
        """What keeps this process from being ready, or None."""
        now = self._clock()
        stuck = {what: now - at for what, at in list(self._progressed.items()) if now - at >= self._stuck_after}
        if not stuck:
            return None
        names = f" with {', '.join(sorted(stuck))}" if len(self._progressed) > 1 else ""
        return f"no progress for {max(stuck.values()):.0f} s{names}"


class _Server(ThreadingMixIn, WSGIServer):
    """One client that never finishes its question must not keep the others from an answer."""

    daemon_threads = True


class _Silent(WSGIRequestHandler):
    timeout = 5

    def log_message(self, format: str, *args: Any) -> None:
        """A scrape every few seconds is no news."""


def _application(scrape: "WSGIApplication", readiness: Readiness) -> "WSGIApplication":
    def answer(request: "WSGIEnvironment", start: "StartResponse") -> Iterable[bytes]:
        path = request.get("PATH_INFO", "")
        if path == "/metrics":
            return scrape(request, start)
        status, body = "404 Not Found", "there are /metrics, /readyz and /healthz"
        if path == "/healthz":
            status, body = "200 OK", "ok"
        elif path == "/readyz":
            problem = readiness.problem()
            status, body = ("503 Service Unavailable", problem) if problem else ("200 OK", "ready")
        start(status, [("Content-Type", "text/plain; charset=utf-8")])
        return [body.encode() + b"\n"]

    return answer


@contextmanager
def served(scrape: "WSGIApplication", readiness: Readiness, host: str, port: int) -> Iterator[int]:
    """Serve on `host` and `port` meanwhile; gives the port.

    `scrape` answers at `/metrics`. Raises `OSError` when it cannot listen there.
    """
    server = make_server(host, port, _application(scrape, readiness), server_class=_Server, handler_class=_Silent)
    threading.Thread(target=server.serve_forever, name="etlog-metrics", daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
