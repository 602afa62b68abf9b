"""What stands before every answer: the prefix of a proxy, the token, and the headers that keep browsers safe."""

import hmac
from collections.abc import Sequence

from etlog_events.settings import Token
from starlette._utils import get_route_path  # what the router goes by: no prefix may lead past the guard
from starlette.datastructures import Headers
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from etlog_api.log.answer import error

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


class SafeHeaders:
    """Adds `HEADERS` to every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""

        async def send_safely(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *_RAW_HEADERS]
            await send(message)

        await self._app(scope, receive, send_safely if scope["type"] == "http" else send)


#: Where the scope of a request says which logs its token opens; not there, or None: all.
_OPENED = "etlog.logging_setup"


def may_see(scope: Scope, log: str) -> bool:
    """Whether the one who asks may see the log `log`."""
    opened = scope.get(_OPENED)
    return opened is None or log in opened


class TokenGuard:
    """Lets a request for data pass only with a bearer token (RFC 6750) of `tokens`, and notes which logs that opens."""

    def __init__(self, app: ASGIApp, tokens: Sequence[Token]) -> None:
        self._app = app
        self._tokens = [(token.secret.encode(), token) for token in tokens]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "http" and get_route_path(scope).startswith(GUARDED):
            authorization = Headers(scope=scope).get("authorization")
            token = self._token(authorization) if authorization is not None else None
            if token is None:
                problem = "a token is needed; send it as 'Authorization: Bearer <token>'"
                body = error(401, problem if authorization is None else "this token is not valid")
                headers = {"WWW-Authenticate": "Bearer"}
                await Response(body, 401, headers, "application/json")(scope, receive, send)
                return
            scope[_OPENED] = token.logs
        await self._app(scope, receive, send)

    def _token(self, authorization: str) -> Token | None:
        scheme, _, given = authorization.partition(" ")
        secret = given.strip().encode()
        # All are compared, each in constant time, so that the time taken tells nothing of any.
        known = [token for one, token in self._tokens if hmac.compare_digest(secret, one)]
        return known[0] if scheme.lower() == "bearer" and known else None


class WithoutPrefix:
    """Takes the server's `root_path` off every path, so that guards and routes see the same paths with and without it.

    Nothing in an answer needs the prefix: all links are relative.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        prefix = scope.get("root_path", "").rstrip("/")
        if not prefix or scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path: str = _without(scope["path"], prefix)  # uvicorn has put it there, as ASGI demands
        if path == prefix:  # relative links need the slash; this one too, so no host or scheme can be wrong
            await RedirectResponse(prefix.rpartition("/")[2] + "/")(scope, receive, send)
            return
        path = _without(path, prefix)
        scope = {**scope, "path": path, "raw_path": path.encode(), "root_path": ""}
        await self._app(scope, receive, send)


def _without(path: str, prefix: str) -> str:
    return path[len(prefix) :] if path.startswith(prefix + "/") else path
