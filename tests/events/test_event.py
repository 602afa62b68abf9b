"""The event as a value: made by a call, encoded canonically, decoded from bytes."""

import math
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
import pytest
from etlog_events import timestamps
from etlog_events.errors import EtlogError, InvalidEvent
from etlog_events.event import MAX_BYTES, Event
from etlog_events.kinds import CATEGORIES, KUBECOST_KINDS, Kinds
from hypothesis import given, settings
from hypothesis import strategies as st
from support.samples import DOCUMENTED, WINDOW, saved

#: Nanoseconds since 1970: the first instant of year 1 and the last of year 9999.
EARLIEST = -62_135_596_800 * 10**9
LATEST = 253_402_300_800 * 10**9 - 1

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
own_values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(10**30), 10**30),
        st.floats(allow_nan=False, allow_infinity=False),
        texts,
    ),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
own_metadata = st.dictionaries(texts.filter(lambda key: key not in {"size", "window", "error"}), own_values, max_size=5)
windows = (
    st.lists(st.integers(EARLIEST, LATEST), min_size=2, max_size=2, unique=True)
    .map(sorted)
    .map(lambda pair: (timestamps.from_nanoseconds(pair[0]), timestamps.from_nanoseconds(pair[1])))
)
events = st.builds(
    Event.new,
    st.sampled_from(sorted(KUBECOST_KINDS.by_name)),
    size=st.integers(0, 2**63 - 1),
    window=windows,
    error=texts,
    time=st.integers(EARLIEST, LATEST).map(timestamps.from_nanoseconds),
    metadata=own_metadata,
)


def new(**changed: Any) -> Event:
    """A valid event, but for what is changed."""
    return Event.new(**{"kind": "AllocationSetSaved", "size": 97, "window": WINDOW, **changed})


@pytest.mark.parametrize("raw", [raw for texts in DOCUMENTED.values() for raw in texts])
def test_a_documented_event_survives_byte_for_byte(raw: bytes) -> None:
    """What Kubecost's documentation shows is what clients parse."""
    assert Event.decode(raw).encode() == raw


def test_a_documented_event_is_made_by_a_call() -> None:
    """The same bytes, from Python values."""
    event = Event.new(
        "AllocationSetSaved",
        size=97,
        window=(datetime(2022, 6, 3, 10, tzinfo=UTC), datetime(2022, 6, 3, 11, tzinfo=UTC)),
        time="2022-06-03T17:07:54.092619416Z",
    )

    assert event.encode() == DOCUMENTED["allocation"][2]


@given(events)
@settings(deadline=None)
def test_an_event_survives_its_text(event: Event) -> None:
    """Whatever the stage put into its metadata: text of any language, large numbers, nested values."""
    raw = event.encode()

    assert Event.decode(raw) == event
    assert Event.decode(raw).encode() == raw


def test_an_event_tells_its_fields() -> None:
    """Absent is absent."""
    event = new(metadata={"run": 5})
    failed = Event.new("AssetSetComputeError", error="no prices")

    assert (event.size, event.window, event.error) == (97, WINDOW, None)
    assert (failed.size, failed.window, failed.error) == (None, None, "no prices")
    assert failed.metadata == {"error": "no prices"}


def test_an_event_cannot_be_changed() -> None:
    """It is a value: what was checked once stays checked."""
    event = new()

    with pytest.raises(AttributeError):
        event.kind = "AssetSetSaved"  # type: ignore[misc]


def test_the_time_is_now_if_none_is_given() -> None:
    """Stages emit when something has just happened."""
    before, event, after = timestamps.now(), new(), timestamps.now()

    assert (
        timestamps.to_nanoseconds(before) <= timestamps.to_nanoseconds(event.time) <= timestamps.to_nanoseconds(after)
    )


@pytest.mark.parametrize(
    "moment",
    ["2022-06-03T12:00:00.5+02:00", datetime(2022, 6, 3, 12, 0, 0, 500_000, tzinfo=timezone(timedelta(hours=2)))],
)
def test_a_time_may_be_given_in_any_zone(moment: datetime | str) -> None:
    """It is kept in UTC."""
    assert new(time=moment).time == "2022-06-03T10:00:00.5Z"


def test_a_window_may_be_given_in_any_zone() -> None:
    """It is kept in UTC."""
    event = new(window=("2022-06-03T12:00:00+02:00", datetime(2022, 6, 3, 11, tzinfo=UTC)))

    assert event.window == WINDOW


def test_own_metadata_keep_their_order_after_the_known_ones() -> None:
    """Size, window, error, then the stage's own in the stage's order."""
    event = Event.new(
        "AssetSetSaved", error="e", window=WINDOW, size=1, time="2022-06-03T10:00:00Z", metadata={"z": 1, "a": [2]}
    )

    assert event.encode() == (
        b'{"kind":"AssetSetSaved","metadata":{"size":1,'
        b'"window":{"start":"2022-06-03T10:00:00Z","end":"2022-06-03T11:00:00Z"},"error":"e","z":1,"a":[2]},'
        b'"time":"2022-06-03T10:00:00Z"}'
    )


def test_a_further_category_has_events_too() -> None:
    """Whoever asks for its kinds can make and read them; for others it is unknown."""
    kinds = Kinds({**CATEGORIES, "cloudcost": "CloudCostSet"})
    event = new(kind="CloudCostSetSaved", kinds=kinds)

    assert Event.decode(event.encode(), kinds) == event
    with pytest.raises(InvalidEvent, match="unknown kind 'CloudCostSetSaved'"):
        Event.decode(event.encode())


def test_an_empty_set_is_a_set() -> None:
    """Its size is 0, which is not the same as no size."""
    assert new(size=0).size == 0


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        ({"kind": "AllocationSetPurged"}, "unknown kind 'AllocationSetPurged'"),
        ({"kind": None}, "unknown kind None"),
        ({"kind": ["AllocationSetSaved"]}, r"unknown kind \['AllocationSetSaved'\]"),
        ({"size": None}, "AllocationSetSaved needs size"),
        ({"size": True}, "size must be a whole number from 0 to .*, not True"),
        ({"size": -1}, "size must be .*, not -1"),
        ({"size": 97.0}, r"size must be .*, not 97\.0"),
        ({"size": "97"}, "size must be .*, not '97'"),
        pytest.param({"size": 10**5000}, "size must be ", id="size of 5000 digits"),
        ({"size": 2**63}, "size must be .*, not 9223372036854775808"),
        ({"window": None}, "AllocationSetSaved needs window"),
        ({"window": 5}, "window must be a pair of start and end, not 5"),
        ({"window": WINDOW[:1]}, "window must be a pair of start and end"),
        ({"window": (*WINDOW, WINDOW[1])}, "window must be a pair of start and end"),
        ({"window": (None, WINDOW[1])}, "window: must be an aware datetime or an RFC 3339 text, not None"),
        ({"window": WINDOW[::-1]}, "window: it must start before it ends"),
        ({"window": (WINDOW[0], WINDOW[0])}, "window: it must start before it ends"),
        ({"window": ("today", WINDOW[1])}, "window: 'today' is not an RFC 3339 time"),
        ({"window": (datetime(2022, 6, 3), WINDOW[1])}, "window: 2022-06-03T00:00:00 has no time zone"),
        ({"time": datetime(2022, 6, 3)}, "time: 2022-06-03T00:00:00 has no time zone"),
        ({"time": 1654272474}, "time: must be an aware datetime or an RFC 3339 text, not 1654272474"),
        ({"time": "2022-02-30T00:00:00Z"}, "time: '2022-02-30T00:00:00Z' is not a time that exists"),
        ({"error": ValueError("x")}, r"error must be a string, not ValueError\('x'\)"),
        ({"kind": "AssetSetTotaled", "window": None}, "AssetSetTotaled needs window"),
        ({"kind": "AssetSetReconciled", "window": None}, "AssetSetReconciled needs window"),
        ({"kind": "AssetSetComputeError"}, "AssetSetComputeError needs error"),
        ({"kind": "AssetSetReconcileError"}, "AssetSetReconcileError needs error"),
    ],
)
def test_a_misused_call_names_the_fault(changed: dict[str, Any], fault: str) -> None:
    """The stage's author sees which argument breaks which rule."""
    with pytest.raises(InvalidEvent, match=f"^{fault}") as refused:
        new(**changed)

    assert refused.value.raw == b""
    assert str(refused.value) == refused.value.reason
    assert isinstance(refused.value, ValueError)
    assert isinstance(refused.value, EtlogError)


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        (math.nan, "Out of range float values"),
        (-math.inf, "Out of range float values"),
        ({"deep": [1, {"er": math.nan}]}, "Out of range float values"),
        ({1, 2}, "holds a set$"),
        (object(), "holds an object$"),
        (b"bytes", "holds a bytes$"),
        (datetime(2022, 6, 3, tzinfo=UTC), "holds a datetime$"),
        (datetime(2022, 6, 3).date(), "holds a date$"),
        (timedelta(1), "holds a timedelta$"),
        (Decimal(1), "holds a Decimal$"),
        ({("a", "b"): 1}, "keys must be str"),
        ("\ud800", "holds text that is not valid Unicode"),
        ({"\udfff": 1}, "holds text that is not valid Unicode"),
        pytest.param(10**5000, "digits", id="5000 digits"),
    ],
)
def test_metadata_that_are_no_json_are_refused(value: object, fault: str) -> None:
    """They would break every reader. The message names the key and the fault."""
    with pytest.raises(InvalidEvent, match=f"^metadata is not JSON-serializable: key 'value':? .*{fault}"):
        new(metadata={"before": 1, "value": value}).encode()


@pytest.mark.parametrize("value", [None, "null", 2**70])
def test_whether_a_value_is_json_does_not_depend_on_its_neighbours(value: object) -> None:
    """A value that is taken is taken whatever else the metadata hold, and one that is refused is always refused."""

    def is_taken(**metadata: object) -> bool:
        try:
            new(metadata=metadata).encode()
        except InvalidEvent:
            return False
        return True

    assert is_taken(id=UUID(int=1)) == is_taken(id=UUID(int=1), neighbour=value)


@pytest.mark.parametrize("known", [{"size": -4}, {"window": "today"}, {"error": None}])
def test_own_metadata_cannot_break_the_rules_of_the_known_ones(known: dict[str, Any]) -> None:
    """An event that its own maker refuses to read must not be made."""
    with pytest.raises(InvalidEvent):
        new(metadata=known).encode()


def test_metadata_that_contain_themselves_are_refused() -> None:
    """They have no text."""
    loop: list[Any] = []
    loop.append(loop)

    with pytest.raises(InvalidEvent, match=r"^metadata is not JSON-serializable: key 'loop': Circular reference"):
        new(metadata={"loop": loop}).encode()


def test_metadata_nested_too_deeply_are_refused() -> None:
    """Past some thousand brackets no reader follows."""
    nested: list[Any] = []
    for _ in range(5000):
        nested = [nested]

    with pytest.raises(
        InvalidEvent, match=r"^metadata is not JSON-serializable: key 'nested': maximum recursion depth"
    ):
        new(metadata={"nested": nested}).encode()


def test_null_in_own_metadata_is_kept() -> None:
    """The stage's own keys are not interpreted."""
    assert Event.decode(new(metadata={"note": None}).encode()).metadata["note"] is None


def test_an_event_may_be_as_long_as_the_limit_and_no_longer() -> None:
    """64 KiB of canonical text."""
    room = MAX_BYTES - len(saved(note=""))

    assert len(saved(note="x" * room)) == MAX_BYTES
    assert Event.decode(saved(note="x" * room)).metadata["note"] == "x" * room
    with pytest.raises(InvalidEvent, match=f"^the event is {MAX_BYTES + 1} bytes long, the limit is {MAX_BYTES}$"):
        saved(note="x" * (room + 1))


def test_the_bare_constructor_checks_nothing() -> None:
    """It serves those who know; `new` and `decode` check."""
    event = Event("Nonsense", {}, "never")

    assert msgspec.json.decode(event.encode()) == {"kind": "Nonsense", "metadata": {}, "time": "never"}
