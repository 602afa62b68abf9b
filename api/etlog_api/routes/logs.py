"""`/model/etl/logs`: which logs there are for the caller."""

from fastapi import APIRouter, Request, Response

from etlog_api.envelope import data_response
from etlog_api.openapi import answers
from etlog_api.registry import Registry


def router(registry: Registry) -> APIRouter:
    """The route, for the logs of `registry`."""
    routes = APIRouter()

    @routes.get(
        "/model/etl/logs",
        summary="The logs that `log` may name, and the default log",
        responses=answers("The logs.", 401, schema="Logs"),
    )
    async def logs(request: Request) -> Response:
        names = registry.names(request)
        return data_response({"default": registry.default(names), "logs": list(names)})

    return routes
