"""The description of the API: its OpenAPI document, and the same as a page without a script."""

from html import escape
from typing import Any

import orjson
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from etlog_api.guard import GUARDED

_EVENT = {
    "type": "object",
    "required": ["kind", "metadata", "time"],
    "additionalProperties": False,
    "properties": {
        "kind": {"type": "string", "examples": ["AllocationSetSaved"]},
        "metadata": {
            "type": "object",
            "properties": {
                "size": {"type": "integer", "minimum": 0, "description": "Number of records in the set."},
                "window": {
                    "type": "object",
                    "description": "The set's window.",
                    "required": ["start", "end"],
                    "properties": {
                        "start": {"type": "string", "format": "date-time"},
                        "end": {"type": "string", "format": "date-time"},
                    },
                },
                "error": {"type": "string", "description": "What failed, on the two kinds of errors."},
            },
        },
        "time": {"type": "string", "format": "date-time", "description": "When it happened, to the nanosecond."},
    },
}

_EXAMPLE = {
    "code": 200,
    "data": {
        "allocation": [
            {
                "kind": "AllocationSetSaved",
                "metadata": {
                    "size": 97,
                    "window": {"start": "2022-06-03T10:00:00Z", "end": "2022-06-03T11:00:00Z"},
                },
                "time": "2022-06-03T17:07:54.092619416Z",
            }
        ],
        "asset": [
            {
                "kind": "AssetSetSaved",
                "metadata": {
                    "size": 29,
                    "window": {"start": "2022-06-03T10:00:00Z", "end": "2022-06-03T11:00:00Z"},
                },
                "time": "2022-06-03T17:07:54.3346484Z",
            }
        ],
        "counters": {"AllocationSetSaved": 8240, "AssetSetSaved": 8212},
    },
}

SCHEMAS: dict[str, Any] = {
    "Event": _EVENT,
    "Log": {
        "type": "object",
        "required": ["code", "data"],
        "additionalProperties": False,
        "properties": {
            "code": {"const": 200},
            "data": {
                "type": "object",
                "required": ["allocation", "asset", "counters"],
                "properties": {
                    "counters": {
                        "type": "object",
                        "description": "Events of each kind since the log began.",
                        "additionalProperties": {"type": "integer", "minimum": 0},
                    }
                },
                "additionalProperties": {
                    "type": "array",
                    "description": "The newest events of one category, oldest first.",
                    "items": {"$ref": "#/components/schemas/Event"},
                },
            },
            "warning": {"type": "string", "description": "There when the answer may mislead, and says how."},
        },
    },
    "Answer": {
        "type": "object",
        "required": ["code", "data"],
        "properties": {"code": {"const": 200}, "data": {}},
    },
    "Error": {
        "type": "object",
        "required": ["code", "message"],
        "additionalProperties": False,
        "properties": {"code": {"type": "integer"}, "message": {"type": "string"}},
    },
}

_ERRORS = {
    400: "A parameter cannot be understood; the message says which and why.",
    401: "A token is needed, or the one given is not valid.",
    503: "The store cannot be reached, or the log makes no progress.",
}


def answers(
    success: str, *errors: int, schema: str | None = "Answer", media: str = "application/json", example: Any = None
) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route: what it answers when all is well, and which errors."""
    content: dict[str, Any] = {"schema": {"$ref": f"#/components/schemas/{schema}"} if schema else {"type": "string"}}
    if example is not None:
        content["example"] = example
    described: dict[int | str, dict[str, Any]] = {200: {"description": success, "content": {media: content}}}
    for code in errors:
        error_content = {"schema": {"$ref": "#/components/schemas/Error"}}
        described[code] = {"description": _ERRORS[code], "content": {"application/json": error_content}}
    return described


LOG_ANSWERS: dict[int | str, dict[str, Any]] = {
    **answers("The log.", 400, 401, 503, schema="Log", example=_EXAMPLE),
    304: {"description": "What was answered before, with the `ETag` in `If-None-Match`, still holds."},
}


def openapi(app: FastAPI, *, tokens: bool) -> dict[str, Any]:
    """The OpenAPI document of `app`; with `tokens`, routes that hold data want one."""
    document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    for path, operations in document["paths"].items():
        for operation in operations.values():
            operation["responses"].pop("422", None)  # parameters are checked by us, and answered with 400
            if tokens and path.startswith(GUARDED):
                operation["security"] = [{"token": []}]
            elif not tokens:
                operation["responses"].pop("401", None)
    components: dict[str, Any] = {"schemas": SCHEMAS}
    if tokens:
        components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    document["components"] = components
    return document


STYLE = b"""\
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h2 { border-top: 1px solid #8886; padding-top: 1rem; font-size: 1.1rem; }
code, pre { font-family: ui-monospace, monospace; font-size: .9em; }
pre { overflow-x: auto; padding: .8rem; background: #8882; }
td, th { text-align: left; vertical-align: top; padding: .2rem 1rem .2rem 0; }
"""


def page(document: dict[str, Any], style_url: str, document_url: str) -> str:
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
