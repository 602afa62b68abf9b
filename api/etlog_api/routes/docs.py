"""The description of the API, for programs and for people."""

import orjson
from fastapi import APIRouter, FastAPI, Response

from etlog_api.description import openapi
from etlog_api.docs import STYLE, page
from etlog_api.response import json_response


def router(app: FastAPI, *, tokens: bool) -> APIRouter:
    """The routes; `tokens` tells whether data is only given for one."""
    routes = APIRouter(include_in_schema=False)

    @routes.get("/openapi.json")
    async def document() -> Response:
        return json_response(orjson.dumps(openapi(app, tokens=tokens)))

    @routes.get("/docs")
    async def docs() -> Response:
        text = page(openapi(app, tokens=tokens), "docs.css", "openapi.json")
        return Response(text, media_type="text/html; charset=utf-8")

    @routes.get("/docs.css")
    async def style() -> Response:
        return Response(STYLE, media_type="text/css; charset=utf-8")

    return routes
