"""What is recognized at a glance must be canonical for certain."""

import json
from typing import Any

import pytest
from etlog_events import timestamps
from etlog_events.event import MAX_SIZE, canonical_window
from etlog_events.kinds import KUBECOST_KINDS
from etlog_events.validation import _recognizer
from hypothesis import given, settings
from hypothesis import strategies as st
from support.samples import saved, text

recognize = _recognizer(KUBECOST_KINDS)

WINDOW = '"window":{"start":"2022-06-03T10:00:00Z","end":"2022-06-03T11:00:00Z"}'


def is_canonical(raw: bytes) -> bool:
    """The same, by decoding all of it and spelling it anew."""
    try:
        event: dict[str, Any] = json.loads(raw)
        window = event["metadata"]["window"]
        start, end = canonical_window(window["start"], window["end"])
        again: dict[str, Any] = {
            "kind": KUBECOST_KINDS.by_name[event["kind"]].name,
            "metadata": {"size": int(event["metadata"]["size"]), "window": {"start": start, "end": end}},
            "time": timestamps.canonical(event["time"]),
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        return False
    return 0 <= again["metadata"]["size"] <= MAX_SIZE and json.dumps(again, separators=(",", ":")).encode() == raw


@pytest.mark.parametrize("size", [0, 7, 97, 10**17])
@pytest.mark.parametrize("time", ["2022-06-03T17:07:54Z", "2022-06-03T17:07:54.09Z", "2022-06-03T17:07:54.092619416Z"])
def test_what_a_producer_writes_is_recognized(size: int, time: str) -> None:
    """Sizes of any length, times with and without a fraction."""
    raw = text(f'"size":{size},{WINDOW}', time=f'"{time}"')

    assert recognize(raw) is KUBECOST_KINDS.by_name["AllocationSetSaved"]


@pytest.mark.parametrize(
    "raw",
    [
        saved().replace(b"Saved", b"Stored"),
        saved().replace(b":97", b":097"),
        saved().replace(b":97", b":-1"),
        saved().replace(b":97", b":9.5"),
        saved().replace(b":97", b":"),
        saved().replace(b":97", b":" + str(MAX_SIZE + 1).encode()),
        saved().replace(b'"size":97,', b'"size":97,"size":97,'),
        saved().replace(b"T10:", b"T12:"),
        saved().replace(b"T10:", b"T25:"),
        saved().replace(b'00Z"}}', b'00Z"},"own":1}'),
        saved().replace(b'00Z"}}', b'00Z"},"time":"2022-06-03T17:07:54Z"}'),
        saved().replace(b"06-03T17", b"02-30T17"),
        saved().replace(b"619416Z", b"619410Z"),
        saved().replace(b"619416Z", b"619416+00:00"),
        saved() + b" ",
        saved() + b"\xff",
        saved()[:-1],
        b"",
    ],
)
def test_what_may_be_wrong_is_not_recognized(raw: bytes) -> None:
    """One thing is wrong with each, or is spelled in another way."""
    assert recognize(raw) is None


@settings(max_examples=2000)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 200),
            st.sampled_from([b"", b"0", b"9", b'"', b",", b":", b"}", b"Z", b"\xff"]),
            st.integers(0, 3),
        ),
        max_size=2,
    )
)
def test_nothing_is_recognized_that_is_not_canonical(damages: list[tuple[int, bytes, int]]) -> None:
    """Whatever is cut out of an event or put into it."""
    raw = saved()
    for at, inserted, removed in damages:
        raw = raw[:at] + inserted + raw[at + removed :]

    assert recognize(raw) is None or is_canonical(raw)
