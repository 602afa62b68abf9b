"""`/model/etl/log/stream`: the log, live, as Server-Sent Events."""

import logging
from collections.abc import AsyncIterator
from contextlib import aclosing

from etlog_events.positions import parse_position
from fastapi import APIRouter, Request, Response
from sse_starlette import EventSourceResponse
from sse_starlette.sse import SendTimeoutError
from starlette.types import Receive, Scope, Send

from etlog_api.errors import BadQuery
from etlog_api.openapi import KIND, LAST_EVENT_ID, LOG, answers
from etlog_api.query import parse_kinds
from etlog_api.registry import Registry
from etlog_api.routes.log import LOG_PATH

logger = logging.getLogger("etlog.api")

#: Seconds between heartbeats on a live connection; proxies cut what is silent for a minute.
HEARTBEAT = 15

#: Seconds in which a live client must take what it is sent.
SEND_TIMEOUT = 30

#: Seconds in which a live connection is ended properly when the service stops; uvicorn gives it one.
FAREWELL = 0.5


class LiveResponse(EventSourceResponse):
    """Server-Sent Events; a client that stops reading is dropped, which is not an error."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        try:
            await super().__call__(scope, receive, send)
        except SendTimeoutError:
            logger.info(
                "Dropped a client of the live log that read nothing for %s s",
                SEND_TIMEOUT,
                extra={"action": "live_dropped"},
            )


def router(registry: Registry) -> APIRouter:
    """The route, for the logs of `registry`."""
    routes = APIRouter()
    kinds = registry.settings.kinds

    @routes.get(
        f"{LOG_PATH}/stream",
        summary="The log, live, as Server-Sent Events",
        description="The data of a message is an event, its id that of the event: the id of the entry in the stream, "
        "and, unless it is the first one there, its place behind a point. A message 'resync' says that some events "
        "will not arrive here, and that the client should read the log again. The id of such a message, and of one "
        "without data, is a place to resume from; there need not be an event.",
        responses=answers("Events as they are applied.", 400, 401, 404, 503, media="text/event-stream"),
        response_class=Response,
        openapi_extra={"parameters": [LOG, KIND, LAST_EVENT_ID]},
    )
    async def stream(request: Request) -> Response:
        live = registry.log(request).live
        wanted, _ = parse_kinds(request.query_params, kinds)
        last = request.headers.get("last-event-id")
        try:
            chunks = live.subscribe(parse_position(last) if last else None, wanted)
        except ValueError as e:
            raise BadQuery(f"Last-Event-ID {e}") from e
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
