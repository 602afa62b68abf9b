"""The description of the verdict, for the OpenAPI document: what it consists of, and an example."""

from typing import Any

from etlog_ledger.row import STAGES
from etlog_ledger.verdict import FAULTS, STATES

from etlog_api.coverage_query import SHOWN_STATES

COVERAGE_PATH = "/model/etl/coverage"

DESCRIPTION = (
    "`summary` is always of the whole log; the filters choose what else is shown. `category` keeps problems, errors "
    "and series of these categories. `stage` keeps these stages of series and sets, problems that have one of them, "
    "and all errors without a window, because they may be of any stage. `state` keeps problems in these states, sets "
    "with a shown stage in one of them, and, if `failed` is among them, errors without a window. `window` keeps sets "
    "whose window overlaps it, but hides no problem. Without `window`, the newest 48 of these sets are shown of each "
    "series. A series is left out if none of its stages is asked for, or if `state` or `window` leaves it no set. The "
    "verdict is renewed at most once a second."
)

#: Several names, with commas.
NAMES = r"^( *({0}) *(, *({0}) *)*)?$"

STAGE_PATTERN, STATE_PATTERN = (NAMES.format("|".join(names)) for names in (STAGES, SHOWN_STATES))

_TIME = {"type": "string", "format": "date-time"}
_TIME_OR_NULL = {"type": ["string", "null"], "format": "date-time"}
_COUNT = {"type": "integer", "minimum": 0}
_SECONDS_OR_NULL = {"type": ["number", "null"]}
_STAGES = {"type": "array", "items": {"type": "string"}}
_LENGTH = {"type": "string", "description": "A length such as 10s, 15m, 1h, 1d, 1w or 1mo.", "examples": ["1h"]}


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def _object(required: str, **properties: Any) -> dict[str, Any]:
    """An object; the names in `required` are always there."""
    return {"type": "object", "required": required.split(), "additionalProperties": False, "properties": properties}


def _by_stage(of: dict[str, Any], about: str) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": of, "description": about}


#: The parts of a verdict.
SCHEMAS: dict[str, Any] = {
    "Span": _object("start end", start=_TIME, end=_TIME),
    "Quantiles": _object("p50 p95", p50={"type": "number"}, p95={"type": "number"}),
    "Habit": _object(
        "due",
        due={
            "type": ["number", "string"],
            "description": "Seconds after the end of the window, or a time of the day in the pipeline's zone.",
        },
        only={"type": ["string", "null"], "description": "Of which sets the stage is expected; absent: of all."},
        declared={"type": "boolean", "description": "Whether the configuration declares it; it is learned otherwise."},
    ),
    "Cell": _object(
        "state",
        state={"enum": list(STATES), "description": "What the stage did with this set."},
        count={**_COUNT, "description": "Its events; absent: 0."},
        first={**_TIME, "description": "When the first of them happened."},
        last={**_TIME, "description": "When the last of them happened."},
        size={**_COUNT, "description": "Number of records, by the last of them."},
        seconds={"type": "number", "description": "How long the stage took."},
        error={"type": "string", "description": "The last error, also of a stage that recovered from it."},
        failed={**_TIME, "description": "When that happened."},
        unusual={"type": "boolean", "description": "Whether the size is unusual; absent: false."},
        usual={**_COUNT, "description": "The size that is usual, where this one is not."},
        due={**_TIME, "description": "When the set is overdue."},
        behind={"type": "string", "description": "The stage whose failure this one waits for."},
    ),
    "Set": _object("window stages", window=_ref("Span"), stages=_by_stage(_ref("Cell"), "In their usual order.")),
    "MarkShown": _object(
        "id kind reason by at until",
        **{name: {"type": "string"} for name in ("id", "kind", "reason", "by")},
        at=_TIME,
        until=_TIME_OR_NULL,
    ),
    "Told": _object(
        "first last targets",
        first={**_TIME, "description": "When the first target was."},
        last={**_TIME, "description": "When any of them was told anything of it last."},
        targets={**_COUNT, "minimum": 1, "description": "How many targets were."},
    ),
    "Problem": _object(
        "id category every stages state from to sets since text lastDone usualDelay mark told",
        id={"type": "string"},
        category={"type": "string"},
        every=_LENGTH,
        length={**_LENGTH, "description": "The length of the windows, where it is not `every`."},
        stages=_STAGES,
        state={"enum": list(FAULTS)},
        **{"from": {**_TIME, "description": "Start of the first window."}},
        to={**_TIME, "description": "End of the last window."},
        sets={**_COUNT, "description": "How many sets in between are wrong."},
        since={**_TIME, "description": "When the first of them became wrong."},
        text={"type": "string", "description": "All of it in a sentence."},
        lastDone={**_TIME_OR_NULL, "description": "When these stages were last done."},
        usualDelay={**_SECONDS_OR_NULL, "description": "Seconds from the end of a window until they usually are."},
        mark={"anyOf": [_ref("MarkShown"), {"type": "null"}], "description": "What someone said of it."},
        told={
            "anyOf": [_ref("Told"), {"type": "null"}],
            "description": "When people were told of it; null if no one was.",
        },
        size=_COUNT,
        usual=_COUNT,
        error={"type": "string"},
    ),
    "WindowlessErrors": _object(
        "category kind count last error",
        category={"type": "string"},
        kind={"type": "string"},
        count=_COUNT,
        last=_TIME,
        error={"type": ["string", "null"]},
    ),
    "Series": _object(
        "category every stages delay duration habits sets",
        category={"type": "string"},
        every={**_LENGTH, "description": "How often there is a set."},
        length={**_LENGTH, "description": "The length of the windows, where it is not `every`."},
        stages=_STAGES,
        delay=_by_stage(_ref("Quantiles"), "Seconds from the end of a window until a stage is done."),
        duration=_by_stage(_ref("Quantiles"), "Seconds that a stage takes."),
        habits=_by_stage(_ref("Habit"), "When each stage is expected."),
        sets={"type": "array", "items": _ref("Set"), "description": "The oldest first."},
    ),
}

#: The data of the answer.
COVERAGE = _object(
    "log now zone cursor suspended expectations watched summary problems errors series",
    log={"type": "string"},
    now={**_TIME, "description": "As of when it is judged: a multiple of 10 seconds."},
    zone={"type": "string", "description": "The zone of the pipeline: an IANA name or +05:30."},
    cursor={"type": ["string", "null"], "description": "The last applied entry; null while nothing is applied."},
    suspended={
        "type": ["string", "null"],
        "description": "Why the verdict is older than a minute: the store is away, or events wait and are not applied. "
        "Nothing is called missing for it.",
    },
    expectations={"type": "string", "description": "A digest of what the configuration says of this log."},
    watched={
        "type": "boolean",
        "description": "Whether a watcher keeps what is told of this log; without one, no one is told of problems.",
    },
    summary={
        "type": "object",
        "description": "Stages of sets in each state, in the whole log, and how many sizes are unusual.",
        "required": list(SHOWN_STATES),
        "additionalProperties": _COUNT,
    },
    problems={"type": "array", "items": _ref("Problem")},
    errors={"type": "array", "items": _ref("WindowlessErrors"), "description": "Errors that name no window."},
    series={"type": "array", "items": _ref("Series")},
)

EXAMPLE: dict[str, Any] = {
    "code": 200,
    "data": {
        "log": "default",
        "now": "2022-06-03T14:37:10Z",
        "zone": "UTC",
        "cursor": "1654267030036-0",
        "suspended": None,
        "expectations": "5c3f9a1e02b7",
        "watched": True,
        "summary": {
            "done": 190,
            "recovered": 1,
            "failed": 0,
            "missing": 0,
            "stopped": 6,
            "due": 2,
            "waived": 0,
            "unusual": 0,
        },
        "problems": [
            {
                "id": "3f0c6d5b9a21",
                "category": "asset",
                "every": "1h",
                "stages": ["Saved"],
                "state": "stopped",
                "from": "2022-06-03T08:00:00Z",
                "to": "2022-06-03T14:00:00Z",
                "sets": 6,
                "since": "2022-06-03T09:02:10Z",
                "text": "asset Saved stopped: last 07:00 to 08:00, 6 sets since",
                "lastDone": "2022-06-03T08:01:30Z",
                "usualDelay": 90.5,
                "mark": None,
                "told": {"first": "2022-06-03T09:02:45Z", "last": "2022-06-03T09:02:45Z", "targets": 2},
            }
        ],
        "errors": [
            {
                "category": "asset",
                "kind": "AssetSetComputeError",
                "count": 3,
                "last": "2022-06-03T14:31:07Z",
                "error": "403 Forbidden",
            }
        ],
        "series": [
            {
                "category": "asset",
                "every": "1h",
                "stages": ["Saved"],
                "delay": {"Saved": {"p50": 90.5, "p95": 110.2}},
                "duration": {"Saved": {"p50": 1.4, "p95": 2.9}},
                "habits": {"Saved": {"due": 130.0}},
                "sets": [
                    {
                        "window": {"start": "2022-06-03T07:00:00Z", "end": "2022-06-03T08:00:00Z"},
                        "stages": {
                            "Saved": {
                                "state": "done",
                                "count": 1,
                                "first": "2022-06-03T08:01:30Z",
                                "last": "2022-06-03T08:01:30Z",
                                "size": 29,
                                "due": "2022-06-03T08:02:10Z",
                            }
                        },
                    },
                    {
                        "window": {"start": "2022-06-03T08:00:00Z", "end": "2022-06-03T09:00:00Z"},
                        "stages": {"Saved": {"state": "stopped", "due": "2022-06-03T09:02:10Z"}},
                    },
                ],
            }
        ],
    },
}
