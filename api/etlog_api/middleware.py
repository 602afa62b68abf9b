"""The layers that every request passes, outermost first: safe headers, prefix, metrics, errors, token."""

import hmac
import logging
from collections.abc import Sequence
from time import perf_counter

from etlog_events.settings import Token
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import RedirectResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from etlog_api.envelope import error_response
from etlog_api.errors import answer_to
from etlog_api.metrics import Metrics

logger = logging.getLogger("etlog.api")

#: Paths of answers that hold data; everything else is a static file, a health check or a description.
GUARDED = ("/model/", "/metrics")

HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
}

_RAW_HEADERS = [(name.lower().encode(), value.encode()) for name, value in HEADERS.items()]

#: Where the scope of a request says which logs its token opens; not there, or None: all.
_OPENED = "etlog.logs"


class WithoutPrefix:
    """Takes the server's `root_path` off every path, so that layers and routes see the same paths with and without it,
    and no prefix leads past the token. Nothing in an answer needs the prefix: all links are relative.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        root_path: str = scope.get("root_path", "")
        if not root_path or scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        prefix = root_path.rstrip("/")
        path: str = _without(scope["path"], prefix)  # uvicorn has put it there, as ASGI demands
        if path == prefix:  # relative links need the slash; this one too, so no host or scheme can be wrong
            await RedirectResponse(prefix.rpartition("/")[2] + "/")(scope, receive, send)
            return
        path = _without(path, prefix)
        scope = {**scope, "path": path, "raw_path": path.encode(), "root_path": ""}
        await self._app(scope, receive, send)


def _without(path: str, prefix: str) -> str:
    return path[len(prefix) :] if path.startswith(prefix + "/") else path


class SafeHeaders:
    """Adds `HEADERS` to every answer, which keep browsers safe."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *_RAW_HEADERS]
            await send(message)

        await self._app(scope, receive, send_safely if scope["type"] == "http" else send)


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
                # The router puts its finding into the scope; the path that a client asks for would make a label each.
                route = getattr(scope.get("route"), "path", "none")
                self._metrics.observe(route, message["status"], perf_counter() - began)
            await send(message)

        await self._app(scope, receive, send_observed)


class Errors:
    """Makes every error an answer. One that is a bug in etlog is 500 with a sentence; its trace is in etlog's log."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        began = False
        scope.pop("starlette.exception_handlers", None)  # those of an application that mounts this one

        async def send_noted(message: Message) -> None:
            nonlocal began
            began = True
            await send(message)

        try:
            await self._app(scope, receive, send_noted)
        except Exception as e:
            if began or scope["type"] != "http":
                raise
            response = answer_to(e)
            if response is None:
                logger.exception("%s %s failed", scope["method"], scope["path"], extra={"action": "request_failed"})
                response = error_response(500, "internal error; the service's own log says more")
            await response(scope, receive, send)


class TokenGuard:
    """Lets a request for data pass only with a bearer token (RFC 6750) of `tokens`, and notes which logs that opens."""

    def __init__(self, app: ASGIApp, tokens: Sequence[Token]) -> None:
        self._app = app
        self._tokens = [(token.secret.encode(), token) for token in tokens]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection. Raises `HTTPException` for a request that must not pass."""
        if scope["type"] == "http" and scope["path"].startswith(GUARDED):
            scope[_OPENED] = self._token(Headers(scope=scope).get("authorization")).logs
        await self._app(scope, receive, send)

    def _token(self, authorization: str | None) -> Token:
        if authorization is None:
            raise _unauthorized("a token is required; send it as 'Authorization: Bearer <token>'")
        scheme, _, given = authorization.partition(" ")
        secret = given.strip().encode()
        # All are compared, each in constant time, so that the time taken tells nothing of any.
        known = [token for one, token in self._tokens if hmac.compare_digest(secret, one)]
        if scheme.lower() != "bearer" or not known:
            raise _unauthorized("this token is not valid")
        return known[0]


def _unauthorized(problem: str) -> HTTPException:
    return HTTPException(401, problem, {"WWW-Authenticate": "Bearer"})


def may_see(scope: Scope, log: str) -> bool:
    """Whether the caller may see the log `log`."""
    opened = scope.get(_OPENED)
    return opened is None or log in opened
