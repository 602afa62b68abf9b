"""What stands before every answer: the token, and the headers that keep a browser on the safe side."""

import hmac
from collections.abc import Sequence

from etlog_events.tokens import Token
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


#: Where the scope of a request says which logs its token opens; not there, or None: all.
_OPENED = "etlog.logs"


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
