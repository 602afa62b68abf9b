"""Responses of one shape: JSON in, JSON out, and every error in the envelope."""

from etlog_events.errors import IllegalWindow, StoreUnavailable
from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException

from etlog_api.answer import error
from etlog_api.query import BadQuery

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

    async def http_error(_: Request, problem: Exception) -> Response:
        assert isinstance(problem, HTTPException)
        headers = dict(problem.headers) if problem.headers else None
        return json_response(error(problem.status_code, str(problem.detail)), problem.status_code, headers)

    async def internal_error(_: Request, __: Exception) -> Response:
        return json_response(error(500, "internal error; the service's own log says more"), 500)

    app.add_exception_handler(BadQuery, bad_request)
    app.add_exception_handler(IllegalWindow, bad_request)
    app.add_exception_handler(StoreUnavailable, store_away)
    app.add_exception_handler(HTTPException, http_error)
    app.add_exception_handler(Exception, internal_error)
