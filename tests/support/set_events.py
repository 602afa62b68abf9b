"""Events of few sets and of every kind, for tests of what is known of a set."""

import json
from typing import Any

from etlog_events.kinds import ACTIONS, CATEGORIES
from hypothesis import strategies as st

#: Some windows: of an hour, of a day, that begin or end between two seconds, that are short or far away.
WINDOWS = (
    ("2022-06-03T10:00:00Z", "2022-06-03T11:00:00Z"),
    ("2022-06-03T11:00:00Z", "2022-06-03T12:00:00Z"),
    ("2022-06-03T00:00:00Z", "2022-06-04T00:00:00Z"),
    ("2022-06-03T10:59:59.5Z", "2022-06-03T11:00:00.1Z"),
    ("2022-06-03T11:00:00Z", "2022-06-03T11:00:00.000000001Z"),
    ("0001-01-01T00:00:00Z", "0001-01-01T01:00:00Z"),
    ("9999-12-31T22:00:00Z", "9999-12-31T23:59:59.999999999Z"),
)

#: Times around the ends of these windows, some of them in another spelling.
TIMES = (
    "2022-06-03T10:59:59.999999999Z",
    "2022-06-03T11:00:00Z",
    "2022-06-03T11:00:00.000000001Z",
    "2022-06-03T11:00:00.1Z",
    "2022-06-03T11:00:00.10000000099Z",
    "2022-06-03T13:00:00.1+02:00",
    "2022-06-03t11:00:00.09z",
    "2022-06-04T00:00:00Z",
    "2022-06-03T17:07:54Z",
    "2022-06-03T17:07:54.1Z",
    "0001-01-01T00:00:00Z",
    "9999-12-31T23:59:59.999999999Z",
)

#: What a stage may say of how long it took, and of itself: it is the stage's own, so it may be anything.
SECONDS = (0, 0.0, 1, 1.5, 2e3, 3_162_240_000, 3_162_240_001, -1, -1e-9, 10**30, True, False, None, "1", [1], {"s": 1})
STAGES = ("Saved", "Totaled", "ComputeError", "saved", "", "x", 7, None, True, ["Saved"], {"stage": "Saved"})

#: Errors: short, empty, longer than what a row keeps, and cut between two that differ only behind the cut.
ERRORS = ("", "a", "403 Forbidden", "é" * 499 + "😀b", "é" * 499 + "😀c", "é" * 600, '\u0000\n"\\', "\U0010ffff")

_MISSING = object()


@st.composite
def events(draw: st.DrawFn) -> bytes:
    """The text of an event that the log takes, in canonical spelling or in another one."""
    action = draw(st.sampled_from(ACTIONS))
    metadata: dict[str, Any] = {}

    def add(name: str, values: tuple[Any, ...]) -> None:
        value = draw(st.sampled_from(values if name in action.needs else (_MISSING, *values)))
        if value is not _MISSING:
            metadata[name] = value

    add("size", (0, 1, 97, 2**63 - 1))
    add("window", tuple({"start": start, "end": end} for start, end in WINDOWS))
    add("error", ERRORS)
    if draw(st.booleans()):
        add("seconds", SECONDS)
        add("stage", STAGES)
    fields = {
        "kind": draw(st.sampled_from(sorted(CATEGORIES.values()))) + action.name,
        "metadata": metadata,
        "time": draw(st.sampled_from(TIMES)),
    }
    if draw(st.booleans()):
        return json.dumps(fields, ensure_ascii=False, separators=(",", ":")).encode()
    return json.dumps(dict(reversed(fields.items())), indent=1).encode()
