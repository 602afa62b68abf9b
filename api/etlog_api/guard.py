"""What stands before every answer: the token, and the headers that keep a browser on the safe side."""

import hmac
from collections.abc import Sequence

from starlette._utils import get_route_path  # what the router goes by: no prefix may lead past the guard
from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from etlog_api.answer import error

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


class TokenGuard:
    """Lets a request for data pass only with one of `tokens` as its bearer token (RFC 6750)."""

    def __init__(self, app: ASGIApp, tokens: Sequence[str]) -> None:
        self._app = app
        self._tokens = [token.encode() for token in tokens]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "http" and get_route_path(scope).startswith(GUARDED):
            problem = self._problem(Headers(scope=scope).get("authorization"))
            if problem is not None:
                headers = {"WWW-Authenticate": "Bearer"}
                await Response(error(401, problem), 401, headers, "application/json")(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _problem(self, authorization: str | None) -> str | None:
        if authorization is None:
            return "a token is needed; send it as 'Authorization: Bearer <token>'"
        scheme, _, given = authorization.partition(" ")
        token = given.strip().encode()
        # All are compared, each in constant time, so that the time taken tells nothing of any.
        known = [hmac.compare_digest(token, one) for one in self._tokens]
        return None if scheme.lower() == "bearer" and any(known) else "this token is not valid"
