"""Responses of one shape: JSON in, JSON out, and every error in the envelope."""

import logging

from etlog_events.errors import IllegalWindow, StoreError
from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from etlog_api.answer import error
from etlog_api.query import BadQuery
from etlog_api.service import UnknownLog

logger = logging.getLogger("etlog.api")

#: Seconds after which a client may ask again while the store is away.
RETRY_AFTER = "5"


def json_response(body: bytes, code: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A response whose body is JSON already."""
    return Response(body, code, headers, media_type="application/json")


def unavailable(problem: str) -> Response:
    """503, with the time after which to ask again."""
    return json_response(error(503, problem), 503, {"Retry-After": RETRY_AFTER})


def answer_errors(app: FastAPI) -> None:
    """Make every error of `app` answer with the envelope, and none with more than its sentence."""

    async def bad_request(_: Request, problem: Exception) -> Response:
        return json_response(error(400, str(problem)), 400)

    async def store_away(_: Request, problem: Exception) -> Response:
        return unavailable(str(problem))

    async def unknown_log(_: Request, problem: Exception) -> Response:
        return json_response(error(404, str(problem)), 404)

    async def http_error(_: Request, problem: Exception) -> Response:
        assert isinstance(problem, HTTPException)
        headers = dict(problem.headers) if problem.headers else None
        return json_response(error(problem.status_code, str(problem.detail)), problem.status_code, headers)

    app.add_exception_handler(BadQuery, bad_request)
    app.add_exception_handler(IllegalWindow, bad_request)
    app.add_exception_handler(StoreError, store_away)
    app.add_exception_handler(UnknownLog, unknown_log)
    app.add_exception_handler(HTTPException, http_error)


class UnexpectedErrors:
    """Answers what no handler expects with 500 and no more than a sentence; the log has the trace.

    A handler of the framework would answer from outside of all that stands before the routes.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        began = False

        async def send_noted(message: Message) -> None:
            nonlocal began
            began = True
            await send(message)

        try:
            await self._app(scope, receive, send_noted)
        except Exception:
            if began or scope["type"] != "http":
                raise
            logger.exception("%s %s failed", scope["method"], scope["path"], extra={"action": "request_failed"})
            body = error(500, "internal error; the service's own log says more")
            await json_response(body, 500)(scope, receive, send)
