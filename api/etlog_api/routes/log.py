"""`/model/etl/log` and its live tail."""

import logging
from collections.abc import AsyncIterator
from contextlib import aclosing

from fastapi import APIRouter, Request, Response
from sse_starlette import EventSourceResponse
from sse_starlette.sse import SendTimeoutError
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from etlog_api.errors import EXPECTED, error_response
from etlog_api.live.frames import parse_position
from etlog_api.openapi import KIND, LAST_EVENT_ID, LOG, LOG_PATH, answers
from etlog_api.query import BadQuery, Queries, parse_kinds
from etlog_api.registry import Registry

logger = logging.getLogger("etlog.api")

#: Seconds between heartbeats on a live connection; proxies cut what is silent for a minute.
HEARTBEAT = 15

#: Seconds in which a live client must take what it is sent.
SEND_TIMEOUT = 30

#: Seconds in which a live connection is ended properly when the service stops; uvicorn gives it one.
FAREWELL = 0.5


class LiveResponse(EventSourceResponse):
    """Server-Sent Events; a client that takes nothing any more is let go without much ado."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        try:
            await super().__call__(scope, receive, send)
        except SendTimeoutError:
            logger.info("A client of the live log took nothing and was let go", extra={"action": "live_dropped"})


class LogEndpoint:
    """Answers with a log of `service`: a plain ASGI application, which `etlog_api.openapi` describes."""

    path = LOG_PATH

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._queries = Queries(registry.settings.kinds, registry.settings.timezone, registry.clock)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        scope["route"] = self  # as FastAPI does; the metrics look there for the path
        try:
            if scope["method"] not in {"GET", "HEAD"}:
                raise HTTPException(405, headers={"Allow": "GET, HEAD"})
            text = scope["query_string"]
            log = self._registry.log_called(self._queries.log(text), scope)
            query = self._queries.query(text)
            response = await log.cache.body(await log.reader.view(), query).respond(scope["headers"])
        except EXPECTED as e:
            response = error_response(e)
        await response(scope, receive, send)


def router(registry: Registry) -> APIRouter:
    """The route of the live log, for the logs of `service`."""
    routes = APIRouter()
    kinds = registry.settings.kinds

    @routes.get(
        f"{LOG_PATH}/stream",
        summary="The log, live, as Server-Sent Events",
        description="The id of each is that of its entry in the stream, the data is the event. An event 'resync' says "
        "that some events will not come here, and that the log should be read anew.",
        responses=answers("Events as they are applied.", 400, 401, 404, 503, media="text/event-stream"),
        response_class=Response,
        openapi_extra={"parameters": [LOG, KIND, LAST_EVENT_ID]},
    )
    async def stream(request: Request) -> Response:
        live = registry.log(request).live
        wanted, _ = parse_kinds(request.query_params, kinds)
        last = request.headers.get("last-event-id")
        try:
            after = parse_position(last) if last else None
        except ValueError as e:
            raise BadQuery(str(e)) from e
        chunks = live.listen(after, wanted)
        first = await anext(chunks)  # what cannot begin is answered as an error, not as an empty stream

        async def from_first() -> AsyncIterator[bytes]:
            async with aclosing(chunks):
                yield first
                async for chunk in chunks:
                    yield chunk

        return LiveResponse(
            from_first(),
            ping=HEARTBEAT,
            send_timeout=SEND_TIMEOUT,
            shutdown_event=live.leaving,
            shutdown_grace_period=FAREWELL,
        )

    return routes
