"""`/model/etl/log` and its live tail."""

import logging
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Annotated

from fastapi import APIRouter, Header, Request, Response
from fastapi import Query as Parameter
from sse_starlette import EventSourceResponse
from sse_starlette.sse import SendTimeoutError
from starlette.types import Receive, Scope, Send

from etlog_api.description import LOG_ANSWERS, answers
from etlog_api.page import parse_position
from etlog_api.query import BadQuery, parse_kinds, parse_query
from etlog_api.service import Service

logger = logging.getLogger("etlog.api")

#: Seconds between heartbeats on a live connection; proxies cut what is silent for a minute.
HEARTBEAT = 15

#: Seconds in which a live client must take what it is sent.
SEND_TIMEOUT = 30

# The parameters are declared for the description alone; what they mean is decided in `query`.
Kind = Annotated[
    str, Parameter(description="Only kinds that contain this text, such as AssetSet or Saved; several by comma.")
]
Window = Annotated[
    str,
    Parameter(
        description="Only events that happened in this window: today, yesterday, week, lastweek, month, lastmonth, "
        "15m, 24h, 7d, 2w, '24h offset 14h', two Unix times, or two RFC 3339 times (write + as %2B) of which one may "
        "be missing."
    ),
]
Limit = Annotated[str, Parameter(description="Only the newest so many events of each category.")]
LastEventId = Annotated[str, Header(alias="Last-Event-ID", description="Resume after the entry with this id.")]


class LiveResponse(EventSourceResponse):
    """Server-Sent Events; a client that takes nothing any more is let go without much ado."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        try:
            await super().__call__(scope, receive, send)
        except SendTimeoutError:
            logger.info("A client of the live log took nothing and was let go", extra={"action": "live_dropped"})


def router(service: Service) -> APIRouter:
    """The routes, for the log of `service`."""
    routes = APIRouter(prefix="/model/etl")
    kinds, zone = service.settings.kinds, service.settings.timezone

    @routes.head("/log", include_in_schema=False)
    @routes.get("/log", summary="The log, as in Kubecost's Events API", responses=LOG_ANSWERS)
    async def log(request: Request, kind: Kind = "", window: Window = "", limit: Limit = "") -> Response:
        query = parse_query(request.query_params, kinds, zone, service.clock)
        return await service.cache.body(await service.reader.view(), query).respond(request)

    @routes.get(
        "/log/stream",
        summary="The log, live, as Server-Sent Events",
        description="The id of each is that of its entry in the stream, the data is the event. An event 'resync' says "
        "that some events will not come here, and that the log should be read anew.",
        responses=answers("Events as they are applied.", 400, 401, 503, schema=None, media="text/event-stream"),
    )
    async def stream(request: Request, kind: Kind = "", last_event_id: LastEventId = "") -> Response:
        wanted, _ = parse_kinds(request.query_params, kinds)
        try:
            after = parse_position(last_event_id) if last_event_id else None
        except ValueError as e:
            raise BadQuery(str(e)) from e
        chunks = service.live.listen(after, wanted)
        first = await anext(chunks)  # what cannot begin is answered as an error, not as an empty stream

        async def from_first() -> AsyncIterator[bytes]:
            async with aclosing(chunks):
                yield first
                async for chunk in chunks:
                    yield chunk

        return LiveResponse(
            from_first(), ping=HEARTBEAT, send_timeout=SEND_TIMEOUT, headers={"Cache-Control": "no-store"}
        )

    return routes
