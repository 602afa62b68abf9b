"""`/model/etl/logs`: which logs there are, for the one who asks."""

import orjson
from fastapi import APIRouter, Request, Response

from etlog_api.errors import json_response
from etlog_api.openapi import answers
from etlog_api.registry import Registry


def router(registry: Registry) -> APIRouter:
    """The route, for the logs of `service`."""
    routes = APIRouter()

    @routes.get(
        "/model/etl/logs",
        summary="The logs that may be asked for as `log`, and which is meant without it",
        responses=answers("The logs.", 401, schema="Logs"),
    )
    async def logs(request: Request) -> Response:
        names = registry.names(request)
        data = {"default": registry.default(names), "logs": list(names)}
        return json_response(orjson.dumps({"code": 200, "data": data}))

    return routes
