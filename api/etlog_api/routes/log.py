"""`/model/etl/log`: the log, in the shape of Kubecost's Events API."""

from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Match
from starlette.types import Receive, Scope, Send

from etlog_api.query import Queries
from etlog_api.registry import Registry

LOG_PATH = "/model/etl/log"


class LogRoute(BaseRoute):
    """The route of the log, which `etlog_api.openapi` describes.

    It is plain ASGI: what FastAPI does for a function takes as long as all the rest of an answer from the cache.
    """

    path = LOG_PATH  # for the metrics

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._queries = Queries(registry.settings.kinds, registry.clock)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Whether the request is for the log."""
        found = scope["type"] == "http" and scope["path"] == LOG_PATH
        return (Match.FULL, {"route": self}) if found else (Match.NONE, {})

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request. Raises `BadQuery`, `IllegalWindow`, `UnknownLog` and `StoreError`."""
        if scope["method"] not in {"GET", "HEAD"}:
            raise HTTPException(405, headers={"Allow": "GET, HEAD"})
        text = scope["query_string"]
        log = self._registry.log_named(self._queries.log(text), scope)
        query = self._queries.query(text, log.zone)
        response = await (await log.body(query)).respond(scope["headers"])
        await response(scope, receive, send)
