"""The description of the API: its OpenAPI document."""

from typing import Any

from etlog_events.kinds import ACTIONS
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from etlog_api import openapi_coverage
from etlog_api.middleware import GUARDED
from etlog_api.routes.log import LOG_PATH

_TIME = {"type": "string", "format": "date-time"}
_COUNT = {"type": "integer", "minimum": 0}
_ENTRY_ID = {"type": ["string", "null"], "pattern": "^[0-9]+-[0-9]+$"}


def _envelope(data: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["code", "data"],
        "additionalProperties": False,
        "properties": {
            "code": {"const": 200},
            "data": data,
            "warning": {"type": "string", "description": "Present only when the answer may mislead; says how."},
        },
    }


SCHEMAS: dict[str, Any] = {
    "Event": {
        "type": "object",
        "required": ["kind", "metadata", "time"],
        "additionalProperties": False,
        "properties": {
            "kind": {
                "type": "string",
                "pattern": f"^[A-Z][A-Za-z0-9]*({'|'.join(action.name for action in ACTIONS)})$",
                "examples": ["AllocationSetSaved"],
            },
            "metadata": {
                "type": "object",
                "description": "Other keys are passed on as the stage wrote them.",
                "properties": {
                    "size": {**_COUNT, "description": "Number of records in the set."},
                    "window": {
                        "type": "object",
                        "description": "The set's window.",
                        "required": ["start", "end"],
                        "properties": {"start": _TIME, "end": _TIME},
                    },
                    "error": {"type": "string", "description": "What failed, in events of the two error kinds."},
                },
            },
            "time": {**_TIME, "description": "When it happened, to the nanosecond."},
        },
    },
    "Log": _envelope(
        {
            "type": "object",
            "required": ["allocation", "asset", "counters"],
            "properties": {
                "counters": {
                    "type": "object",
                    "description": "Events of each kind since the log began.",
                    "additionalProperties": _COUNT,
                }
            },
            "additionalProperties": {
                "type": "array",
                "description": "The newest events of one category, oldest first.",
                "items": {"$ref": "#/components/schemas/Event"},
            },
        }
    ),
    "Status": _envelope(
        {
            "type": "object",
            "additionalProperties": False,
            "properties": {
                "id": {
                    "type": ["string", "null"],
                    "description": "A random id that tells this log from any other; null before the first event.",
                },
                "cursor": {**_ENTRY_ID, "description": "The last applied entry of the stream."},
                "last_entry": {**_ENTRY_ID, "description": "The last entry of the stream."},
                "entries": {**_COUNT, "description": "Entries that the stream holds."},
                "lag": {
                    "type": ["integer", "null"],
                    "description": "Events not applied yet, or entries, as lag_unit says; null where unknown.",
                },
                "lag_unit": {
                    "enum": ["events", "entries"],
                    "description": "What lag counts: entries, each of which may hold several events, while some wait "
                    "that others than etlog appended.",
                },
                "lag_entries": {
                    "type": ["integer", "null"],
                    "description": "Entries not applied yet; null where unknown.",
                },
                "oldest_unapplied": {
                    "type": ["number", "null"],
                    "description": "Age in seconds of the oldest entry not applied yet; null when nothing waits.",
                },
                "stats": {
                    "type": "object",
                    "description": "Events since the log began: applied, dead-lettered (dead), duplicate, lost, "
                    "published under a number and others; caught_up is when nothing waited last, in milliseconds since "
                    "1970.",
                    "additionalProperties": _COUNT,
                },
                "acknowledged": {
                    "type": "object",
                    "description": "How many of the lost and of the dead events someone has acknowledged.",
                    "additionalProperties": _COUNT,
                },
                "acknowledgements": {
                    "type": "object",
                    "description": "The marks that say so: why, by whom and when; null where there is none.",
                    "additionalProperties": {"type": ["object", "null"]},
                },
                "active_consumer": {"type": ["string", "null"], "description": "The consumer that holds the lease."},
                "store": {"type": "object", "additionalProperties": {"type": "string"}},
                "warnings": {
                    "type": "array",
                    "description": "What endangers the log, one sentence each.",
                    "items": {"type": "string"},
                },
                "heard": {
                    "type": "object",
                    "description": "When the latest event of a set happened, by category; null where the list holds "
                    "none. Errors that name no window do not count.",
                    "additionalProperties": {"type": ["string", "null"], "format": "date-time"},
                },
            },
        }
    ),
    "Logs": _envelope(
        {
            "type": "object",
            "required": ["default", "logs"],
            "additionalProperties": False,
            "properties": {
                "default": {"type": ["string", "null"], "description": "The log that a request without a name means."},
                "logs": {
                    "type": "array",
                    "description": "The logs that the token opens; all logs where no token is required.",
                    "items": {"type": "string"},
                },
            },
        }
    ),
    "Coverage": _envelope(openapi_coverage.COVERAGE),
    **openapi_coverage.SCHEMAS,
    "Health": _envelope({"type": "string"}),
    "Error": {
        "type": "object",
        "required": ["code", "message"],
        "additionalProperties": False,
        "properties": {"code": {"type": "integer"}, "message": {"type": "string"}},
    },
}


def _example_event(kind: str, time: str, start: str, end: str, **size: int) -> dict[str, Any]:
    return {"kind": kind, "metadata": {**size, "window": {"start": start, "end": end}}, "time": time}


_DAY = ("2022-06-03T00:00:00Z", "2022-06-04T00:00:00Z")
_HOUR = ("2022-06-03T10:00:00Z", "2022-06-03T11:00:00Z")

#: From Kubecost's documentation of its Events API.
_LOG_EXAMPLE = {
    "code": 200,
    "data": {
        "allocation": [
            _example_event("AllocationSetAggregated", "2022-06-03T16:58:41.289194368Z", *_DAY, size=35),
            _example_event("AllocationSetTotaled", "2022-06-03T16:58:41.285759258Z", *_DAY),
            _example_event("AllocationSetSaved", "2022-06-03T17:07:54.092619416Z", *_HOUR, size=97),
        ],
        "asset": [
            _example_event("AssetSetTotaled", "2022-06-03T16:58:18.340435496Z", *_DAY),
            _example_event("AssetSetAggregated", "2022-06-03T16:58:18.341095359Z", *_DAY, size=4),
            _example_event("AssetSetSaved", "2022-06-03T17:07:54.3346484Z", *_HOUR, size=29),
        ],
        "counters": {
            "AllocationSetAggregated": 8348,
            "AllocationSetLoaded": 108,
            "AllocationSetSaved": 8240,
            "AllocationSetTotaled": 8348,
            "AssetSetAggregated": 8320,
            "AssetSetLoaded": 108,
            "AssetSetSaved": 8212,
            "AssetSetTotaled": 8320,
        },
    },
}

_ERRORS = {
    400: ("A parameter cannot be understood; the message says which and why.", "illegal window: 7y"),
    401: ("A token is required, or the token is not valid.", "this token is not valid"),
    404: ("There is no such log, or this token does not open it.", "unknown log 'nightly'"),
    503: (
        "The store cannot be reached, or the log makes no progress.",
        "the store cannot be reached, and nothing was read from it yet",
    ),
}


def answers(
    success: str, *errors: int, schema: str | None = None, media: str = "application/json", example: Any = None
) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route: its answer when all is well, and its errors."""
    content: dict[str, Any] = {"schema": {"$ref": f"#/components/schemas/{schema}"} if schema else {"type": "string"}}
    if example is not None:
        content["example"] = example
    described: dict[int | str, dict[str, Any]] = {200: {"description": success, "content": {media: content}}}
    for code in errors:
        about, message = _ERRORS[code]
        error = {"schema": {"$ref": "#/components/schemas/Error"}, "example": {"code": code, "message": message}}
        described[code] = {"description": about, "content": {"application/json": error}}
    return described


_RFC3339 = r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(\.\d+)?([Zz]|[+-]\d{2}:\d{2})"


def parameter(name: str, about: str, *, place: str = "query", **schema: Any) -> dict[str, Any]:
    """An optional parameter."""
    return {"name": name, "in": place, "required": False, "description": about, "schema": schema}


LOG = parameter(
    "log",
    "The log to read, one of those in /model/etl/logs; unset: the default log.",
    type="string",
    pattern="^([A-Za-z0-9][A-Za-z0-9._-]{0,63})?$",
)
KIND = parameter(
    "kind",
    "Only kinds that contain this text, such as AssetSet or Saved; several texts are comma-separated.",
    type="string",
    examples=["AssetSet"],
)
WINDOW = parameter(
    "window",
    "Only events that happened in this window: today, yesterday, week, lastweek, month, lastmonth, 15m, 24h, 7d, 2w, "
    "'24h offset 14h', two Unix times, or two RFC 3339 times (write + as %2B), one of which may be left out.",
    anyOf=[
        {"enum": ["", "today", "yesterday", "week", "lastweek", "month", "lastmonth"]},
        {"type": "string", "pattern": "^[0-9]*[1-9][0-9]*[mhdw]( offset [0-9]+[mhdw])?$"},
        {"type": "string", "pattern": "^[0-9]+[-,|][0-9]+$"},
        {"type": "string", "pattern": f"^({_RFC3339},({_RFC3339})?|,{_RFC3339})$"},
    ],
    examples=["24h"],
)
LIMIT = parameter(
    "limit",
    "At most this many events of each category, the newest.",
    type="integer",
    minimum=1,
    maximum=999_999_999,
    examples=[100],
)
SET = parameter(
    "set",
    "Only events of sets whose window overlaps this span: two RFC 3339 times (write + as %2B), with a comma or a slash "
    "between them. A warning tells when the lists no longer hold all of these events, and which refused events may "
    "belong to them.",
    anyOf=[{"enum": [""]}, {"type": "string", "pattern": f"^{_RFC3339}[,/]{_RFC3339}$"}],
    examples=["2022-06-03T10:00:00Z,2022-06-03T11:00:00Z"],
)
CATEGORY = parameter(
    "category",
    "Only these categories, comma-separated.",
    type="string",
    pattern=openapi_coverage.NAMES.format("[a-z][a-z0-9_]*"),
    examples=["asset"],
)
STAGE = parameter(
    "stage",
    "Only these stages, comma-separated.",
    type="string",
    pattern=openapi_coverage.STAGE_PATTERN,
    examples=["Saved"],
)
STATE = parameter(
    "state",
    "Only these states, comma-separated.",
    type="string",
    pattern=openapi_coverage.STATE_PATTERN,
    examples=["missing,stopped"],
)
SET_WINDOW = {
    **WINDOW,
    "description": "Only sets whose window overlaps this one: today, yesterday, week, lastweek, month, lastmonth, 15m, "
    "24h, 7d, 2w, '24h offset 14h', two Unix times, or two RFC 3339 times (write + as %2B), one of which may be left "
    "out.",
}
LAST_EVENT_ID = parameter(
    "Last-Event-ID",
    "Resume after the event with this id.",
    place="header",
    type="string",
    pattern=r"^[0-9]{1,19}-[0-9]{1,19}(\.[1-9][0-9]{0,2})?$",
    examples=["1654276074092-0", "1654276074092-0.12"],
)


#: The answer to a condition that holds.
UNCHANGED: dict[str, Any] = {"description": "The answer whose `ETag` is in `If-None-Match` still holds."}

#: The route that FastAPI cannot describe, because it is plain ASGI.
_LOG: dict[str, Any] = {
    "summary": "The log, as in Kubecost's Events API",
    "operationId": "log_model_etl_log_get",
    "parameters": [LOG, KIND, WINDOW, SET, LIMIT],
    "responses": {
        **{
            str(code): answer
            for code, answer in answers("The log.", 400, 401, 404, 503, schema="Log", example=_LOG_EXAMPLE).items()
        },
        "304": {**UNCHANGED},
    },
}
for _code in ("200", "304"):
    _LOG["responses"][_code]["headers"] = {
        "Etlog-Cursor": {
            "description": "An id for Last-Event-ID: the answer has all that the live log sends up to there. Its "
            "first part is the id of the last applied entry, its place the largest that an event can have. Absent "
            "while nothing is applied.",
            "schema": {"type": "string"},
        }
    }


def openapi(app: FastAPI, *, tokens: bool) -> dict[str, Any]:
    """The OpenAPI document of `app`; with `tokens`, routes that hold data require one."""
    document = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    document["paths"] = {LOG_PATH: {"get": {**_LOG, "responses": {**_LOG["responses"]}}}, **document["paths"]}
    of_verdict = document["paths"][openapi_coverage.COVERAGE_PATH]["get"]["responses"]["200"]["content"]
    of_verdict["application/json"]["example"] = openapi_coverage.EXAMPLE  # FastAPI leaves out what is null
    for path, operations in document["paths"].items():
        for operation in operations.values():
            if tokens and path.startswith(GUARDED):
                operation["security"] = [{"token": []}]
            elif not tokens:
                operation["responses"].pop("401", None)
    components: dict[str, Any] = {"schemas": SCHEMAS}
    if tokens:
        components["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    document["components"] = components
    return document
