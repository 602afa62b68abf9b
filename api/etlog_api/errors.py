"""Responses of one shape: JSON in, JSON out, and every error in the envelope."""

import logging

from etlog_events.errors import IllegalWindow, StoreError
from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from etlog_api.log.answer import error
from etlog_api.query import BadQuery
from etlog_api.registry import UnknownLog

logger = logging.getLogger("etlog.api")

#: Seconds after which a client may ask again while the store is away.
RETRY_AFTER = "5"


def json_response(body: bytes, code: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A response whose body is JSON already."""
    return Response(body, code, headers, media_type="application/json")


def unavailable(problem: str) -> Response:
    """503, with the time after which to ask again."""
    return json_response(error(503, problem), 503, {"Retry-After": RETRY_AFTER})


#: Errors that are an answer.
EXPECTED = (BadQuery, IllegalWindow, StoreError, UnknownLog, HTTPException)


def error_response(problem: Exception) -> Response:
    """The answer that one of the `EXPECTED` errors is: the envelope, with no more than its sentence."""
    match problem:
        case HTTPException():
            headers = dict(problem.headers) if problem.headers else None
            return json_response(error(problem.status_code, str(problem.detail)), problem.status_code, headers)
        case StoreError():
            return unavailable(str(problem))
        case UnknownLog():
            return json_response(error(404, str(problem)), 404)
        case _:
            return json_response(error(400, str(problem)), 400)


def answer_errors(app: FastAPI) -> None:
    """Make every expected error of `app` its answer."""

    async def handler(_: Request, problem: Exception) -> Response:
        return error_response(problem)

    for kind in EXPECTED:
        app.add_exception_handler(kind, handler)


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
