"""The HTTP service: wires the reader of a log to its routes."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, tzinfo
from functools import partial
from typing import Annotated

from etlog_events import store
from etlog_events.errors import IllegalWindow, StoreUnavailable
from etlog_events.settings import Settings
from fastapi import FastAPI, Request, Response
from fastapi import Query as Parameter
from starlette.exceptions import HTTPException

from etlog_api import answer
from etlog_api.query import BadQuery, parse_query
from etlog_api.reader import QUESTION_TIMEOUT, Reader
from etlog_api.snapshot import read_cursor, read_snapshot
from etlog_api.status import Readiness

#: Seconds after which a client may ask again while the store is away.
RETRY_AFTER = "5"


def create_app(settings: Settings, clock: Callable[[tzinfo], datetime] = datetime.now) -> FastAPI:
    """The service for one log. Nothing is sent to the store before the first request."""
    client = store.connect_async(settings.redis_url, part="api", answer_timeout=QUESTION_TIMEOUT)
    keys, kinds = settings.keys, settings.kinds
    reader = Reader(partial(read_cursor, client, keys), partial(read_snapshot, client, keys, kinds))
    readiness = Readiness()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        await client.aclose()

    app = FastAPI(title="etlog", description="The event log for ETL pipelines.", version="0.1.0", lifespan=lifespan)

    @app.get("/model/etl/log", summary="The log, newest last, as in Kubecost's Events API")
    async def log(
        request: Request,
        kind: Annotated[str, Parameter(description="Only kinds that contain this text; several by comma.")] = "",
    ) -> Response:
        query = parse_query(request.query_params, kinds, UTC, clock)
        return json_response(answer.answer(await reader.view(), query, kinds))

    @app.get("/healthz", summary="Whether this process serves")
    async def healthz() -> Response:
        return json_response(b'{"code":200,"data":"ok"}')

    @app.get("/readyz", summary="Whether this replica can answer: the store answers, and the log makes progress")
    async def readyz() -> Response:
        problem = await readiness.problem(client, keys)
        if problem is not None:
            return json_response(answer.error(503, problem), 503, {"Retry-After": RETRY_AFTER})
        return json_response(b'{"code":200,"data":"ready"}')

    @app.exception_handler(BadQuery)
    @app.exception_handler(IllegalWindow)
    async def bad_request(_: Request, error: Exception) -> Response:
        return json_response(answer.error(400, str(error)), 400)

    @app.exception_handler(StoreUnavailable)
    async def store_away(_: Request, error: Exception) -> Response:
        return json_response(answer.error(503, str(error)), 503, {"Retry-After": RETRY_AFTER})

    @app.exception_handler(HTTPException)
    async def http_error(_: Request, error: HTTPException) -> Response:
        headers = dict(error.headers) if error.headers else None
        return json_response(answer.error(error.status_code, str(error.detail)), error.status_code, headers)

    @app.exception_handler(Exception)
    async def internal_error(_: Request, error: Exception) -> Response:
        return json_response(answer.error(500, "internal error; the service's log says more"), 500)

    return app


def json_response(body: bytes, code: int = 200, headers: dict[str, str] | None = None) -> Response:
    """A response whose body is JSON already."""
    return Response(body, code, headers, media_type="application/json")


def app_from_environment() -> FastAPI:
    """The service for the settings of the environment: what each worker process of uvicorn calls."""
    return create_app(Settings.from_environment())
