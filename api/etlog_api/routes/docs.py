"""`/docs` and `/openapi.json`: the description of the API, for people without any script, and for programs."""

from functools import cache
from html import escape
from typing import Any

import orjson
from fastapi import APIRouter, FastAPI, Request, Response

from etlog_api.envelope import JSON
from etlog_api.negotiation import Body
from etlog_api.openapi import openapi

_STYLE = b"""\
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h2 { border-top: 1px solid #8886; padding-top: 1rem; font-size: 1.1rem; }
code, pre { font-family: ui-monospace, monospace; font-size: .9em; }
pre { overflow-x: auto; padding: .8rem; background: #8882; }
td, th { text-align: left; vertical-align: top; padding: .2rem 1rem .2rem 0; }
"""


def _html(document: dict[str, Any], style_url: str, document_url: str) -> str:
    """The OpenAPI document for people."""
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>{escape(document['info']['title'])} API</title><link rel=stylesheet href='{escape(style_url)}'>"
        f"<h1>{escape(document['info']['title'])} API</h1><p>{escape(document['info']['description'])} "
        f"The same as <a href='{escape(document_url)}'>OpenAPI</a>.</p>"
    ]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            parts.append(f"<h2><code>{method.upper()} {escape(path)}</code></h2><p>{escape(operation['summary'])}.</p>")
            if operation.get("description"):
                parts.append(f"<p>{escape(operation['description'])}</p>")
            rows = [
                (f"<code>{escape(parameter['name'])}</code>", escape(parameter.get("description", "")))
                for parameter in operation.get("parameters", [])
            ]
            rows += [(code, escape(answer["description"])) for code, answer in operation["responses"].items()]
            parts.append("<table>" + "".join(f"<tr><th>{name}<td>{about}" for name, about in rows) + "</table>")
            for content in operation["responses"]["200"].get("content", {}).values():
                if "example" in content:
                    example = orjson.dumps(content["example"], option=orjson.OPT_INDENT_2).decode()
                    parts.append(f"<pre>{escape(example)}</pre>")
    return "".join(parts)


def router(app: FastAPI, *, tokens: bool) -> APIRouter:
    """The routes; `tokens` tells whether data requires a token."""
    routes = APIRouter(include_in_schema=False)
    style = Body(_STYLE, "text/css; charset=utf-8")

    @cache  # made at the first request, when all routes are there
    def document() -> dict[str, Any]:
        return openapi(app, tokens=tokens)

    @cache
    def description() -> Body:
        return Body(orjson.dumps(document()), JSON)

    @cache
    def html() -> Body:
        return Body(_html(document(), "docs.css", "openapi.json").encode(), "text/html; charset=utf-8")

    @routes.api_route("/openapi.json", methods=["GET", "HEAD"])
    async def for_programs(request: Request) -> Response:
        return await description().respond(request.headers.raw)

    @routes.api_route("/docs", methods=["GET", "HEAD"])
    async def for_people(request: Request) -> Response:
        return await html().respond(request.headers.raw)

    @routes.api_route("/docs.css", methods=["GET", "HEAD"])
    async def styled(request: Request) -> Response:
        return await style.respond(request.headers.raw)

    return routes
