"""Marks: their text, what they are on, and which of many is found."""

from typing import Any

import pytest
from etlog_ledger.marks import (
    DEAD_LETTERS,
    LOST_EVENTS,
    MARK_KINDS,
    WAIVING,
    Mark,
    Marks,
    acknowledgement,
    covers,
    decode_foreign,
    encode,
    is_over,
    marks_of,
)
from hypothesis import given, settings
from hypothesis import strategies as st

HOUR = 3600

#: Seconds since 1970 at 2026-11-18T00:00:00Z.
MIDNIGHT = 1_794_960_000


def clock(hour: int) -> str:
    """A time of that day, or of the next."""
    return f"2026-11-{18 + hour // 24}T{hour % 24:02}:00:00Z"


def mark(kind: str = "waived", *, id: str = "1", category: str = "asset", at: str = clock(0), **more: Any) -> Mark:
    """A mark on all sets of assets, unless told otherwise."""
    fields = {"id": id, "category": category, "kind": kind, "reason": "r", "by": "ana@ops", "at": at, **more}
    return Mark(**fields)


def hour(number: int, hours: int = 1) -> tuple[float, float]:
    """The window that begins with this hour of the day."""
    return MIDNIGHT + number * HOUR, MIDNIGHT + (number + hours) * HOUR


def test_a_mark_is_the_documented_text() -> None:
    """What does not apply is not there."""
    one = mark(every="1h", stage="Saved", from_=clock(8), to=clock(14), until=clock(30), id="5f1c09d2a7b3")

    assert encode(one) == (
        b'{"id":"5f1c09d2a7b3","category":"asset","kind":"waived","reason":"r","by":"ana@ops",'
        b'"at":"2026-11-18T00:00:00Z","every":"1h","stage":"Saved","from":"2026-11-18T08:00:00Z",'
        b'"to":"2026-11-18T14:00:00Z","until":"2026-11-19T06:00:00Z"}'
    )
    assert decode_foreign(b"5f1c09d2a7b3", encode(one)) == one


def test_the_mark_of_another_hand_is_read_in_the_spelling_of_etlog() -> None:
    """Its name is that of its field, and what a later release may add is passed over."""
    text = (
        b'{"id":"other","category":"asset","kind":"waived","reason":"r","by":"ana@ops","at":"2026-11-18t01:00:00+01:00",'
        b'"every":"60m","priority":1}'
    )

    assert decode_foreign(b"1", text) == mark(every="1h")


@pytest.mark.parametrize(
    "text",
    [
        *(b"", b"{}", b"[]", b"5", b"no mark", b"\xff\x00", b"[" * 100_000),
        encode(mark()).replace(b'"waived"', b'"wanted"'),
        encode(mark()).replace(b'"r"', b"5"),
        encode(mark(at="yesterday")),
        encode(mark(from_="2026-11-18")),
        encode(mark(until="2026-02-30T00:00:00Z")),
        encode(mark(every="hourly")),
        encode(mark(exact=True, from_=clock(8))),
        encode(mark(reason="r" * 501)),
        encode(mark(by="b" * 201)),
    ],
    ids=lambda text: text[:100].decode(errors="replace"),
)
def test_what_is_no_mark_is_left_out(text: bytes) -> None:
    """Whatever it is; those beside it count."""
    assert decode_foreign(b"1", text) is None
    assert decode_foreign(b"\xff", encode(mark())) is None
    assert decode_foreign(b"1" * 201, encode(mark())) is None
    assert marks_of({b"1": text, b"\xff": encode(mark()), b"2": encode(mark(id="2")), b"revision": b"7"}) == [
        mark(id="2")
    ]


@given(st.binary(max_size=40), st.binary(max_size=200))
def test_any_bytes_are_read(name: bytes, text: bytes) -> None:
    """Without an exception."""
    marks_of({name: text})


def test_marks_are_listed_by_when_they_were_made() -> None:
    """A fraction of a second counts."""
    made = [mark(id="b", at=clock(1)), mark(id="a", at=clock(1).replace("Z", ".5Z")), mark(id="0", at=clock(2))]

    assert marks_of({each.id.encode(): encode(each) for each in reversed(made)}) == made


def test_a_mark_is_over_when_its_end_has_come() -> None:
    """One without an end never is."""
    assert not is_over(mark(), 1e12)
    assert not is_over(mark(until=clock(1)), MIDNIGHT + HOUR - 1)
    assert is_over(mark(until=clock(1)), MIDNIGHT + HOUR)


@pytest.mark.parametrize(
    ("of", "windows"),
    [
        ({}, [0, 8, 9, 10, 11, 12]),
        ({"from_": clock(9), "to": clock(11)}, [9, 10]),
        ({"from_": clock(9).replace("00Z", "01Z"), "to": clock(11).replace("00Z", "01Z")}, [9, 10, 11]),
        ({"from_": clock(9).replace("00Z", "01Z"), "to": clock(9).replace("00Z", "01Z")}, []),
        ({"from_": clock(10)}, [10, 11, 12]),
        ({"to": clock(10)}, [0, 8, 9]),
        ({"from_": clock(9), "to": clock(10), "exact": True}, [9]),
        ({"from_": clock(9), "to": clock(11), "exact": True}, []),
        ({"every": "1h"}, [0, 8, 9, 10, 11, 12]),
        ({"every": "1d"}, []),
        ({"stage": "Saved"}, [0, 8, 9, 10, 11, 12]),
        ({"stage": "Loaded"}, []),
        ({"category": "allocation"}, []),
    ],
)
def test_a_mark_is_on_the_sets_that_overlap_its_span(of: dict[str, Any], windows: list[int]) -> None:
    """Of its category, cadence and stage; the end of the span is not in it."""
    one = mark(**of)

    assert [n for n in (0, 8, 9, 10, 11, 12) if covers(one, "asset", "1h", "Saved", *hour(n))] == windows


def test_a_mark_on_one_set_is_not_on_the_longer_ones_around_it() -> None:
    """What happened to an hour says nothing of its day; a span that is given as one does."""
    one = mark(from_=clock(9), to=clock(10), exact=True)

    assert covers(one, "asset", "1h", "Saved", *hour(9))
    assert not covers(one, "asset", "1d", "Saved", *hour(0, 24))
    assert covers(mark(from_=clock(9), to=clock(10)), "asset", "1d", "Saved", *hour(0, 24))


def test_the_newest_mark_that_waives_a_cell_is_found() -> None:
    """Not one that silences, nor one that is over."""
    first, second = mark(id="1"), mark("retired", id="2", at=clock(1), from_=clock(10))
    ended = mark("expected-empty", id="3", at=clock(2), until=clock(5))
    silent = mark("acknowledged", id="4", at=clock(3))
    of_hours = Marks([silent, ended, second, first], MIDNIGHT + 6 * HOUR).of("asset", "1h")

    assert of_hours.waiver("Saved", *hour(9)) == first
    assert of_hours.waiver("Saved", *hour(10)) == second
    assert Marks([silent, ended], MIDNIGHT).of("asset", "1h").waiver("Saved", *hour(9)) == ended


def test_a_problem_is_silenced_when_all_of_its_cells_are() -> None:
    """By one mark or by several, of which the newest is shown."""
    morning = mark("acknowledged", id="1", from_=clock(8), to=clock(10))
    noon = mark("repairing", id="2", at=clock(1), from_=clock(10), to=clock(12))
    saved = mark("acknowledged", id="3", at=clock(2), stage="Saved")
    of_hours = Marks([morning, noon, mark(id="4", at=clock(3))], MIDNIGHT).of("asset", "1h")

    assert of_hours.silencer(["Saved", "Loaded"], [hour(8), hour(9)]) == morning
    assert of_hours.silencer(["Saved"], [hour(9), hour(10)]) == noon
    assert of_hours.silencer(["Saved"], [hour(11), hour(12)]) is None
    assert Marks([saved], MIDNIGHT).of("asset", "1h").silencer(["Saved"], [hour(20)]) == saved
    assert Marks([saved], MIDNIGHT).of("asset", "1h").silencer(["Saved", "Totaled"], [hour(20)]) is None


def test_a_series_without_marks_says_so() -> None:
    """Then no cell of it needs to be looked up."""
    found = Marks([mark(every="1h"), mark(category=LOST_EVENTS, count=3)], MIDNIGHT)

    assert found.of("asset", "1h")
    assert not found.of("asset", "1d")
    assert not found.of("allocation", "1h")
    assert found.of("asset", "1d").waiver("Saved", *hour(9)) is None


_times = st.none() | st.integers(0, 40).map(clock)
_marks = st.lists(
    st.builds(
        mark,
        st.sampled_from(MARK_KINDS),
        id=st.uuids().map(str),
        at=st.integers(0, 40).map(clock),
        stage=st.sampled_from([None, "Saved", "Loaded"]),
        every=st.sampled_from([None, "1h", "1d"]),
        category=st.sampled_from(["asset", "allocation"]),
        from_=_times,
        to=_times,
        until=_times,
    ),
    max_size=12,
)


@given(_marks, st.integers(0, 40), st.integers(0, 40), st.integers(1, 30), st.randoms(use_true_random=False))
@settings(deadline=None)
def test_the_mark_that_is_found_is_the_newest_of_those_on_the_cell(
    marks: list[Mark], now: int, start: int, hours: int, random: Any
) -> None:
    """Whatever the marks, and in whichever order they come."""
    marks = [
        mark(**{field: getattr(one, field) for field in one.__struct_fields__} | {"exact": True})
        if one.from_ and one.to and random.random() < 0.3
        else one
        for one in marks
    ]
    moment, window = MIDNIGHT + now * HOUR, hour(start, hours)
    on = [
        one
        for one in sorted(marks, key=lambda one: (one.at, one.id))
        if covers(one, "asset", "1h", "Saved", *window) and not is_over(one, moment)
    ]
    random.shuffle(marks)

    found = Marks(marks, moment).of("asset", "1h")

    assert found.waiver("Saved", *window) == next((one for one in on[::-1] if one.kind in WAIVING), None)
    assert found.silencer(["Saved"], [window]) == next((one for one in on[::-1] if one.kind not in WAIVING), None)


def test_losses_are_acknowledged_up_to_a_number() -> None:
    """By the mark of most of them that is not over. One of more than there are is of an earlier log."""
    marks = [
        mark("acknowledged", id="1", category=LOST_EVENTS, count=3),
        mark("acknowledged", id="2", category=LOST_EVENTS, count=5, until=clock(5)),
        mark("acknowledged", id="3", category=LOST_EVENTS, at=clock(9), count=2),
        mark("acknowledged", id="4", category=LOST_EVENTS, count=900),
        mark("acknowledged", id="5", category=LOST_EVENTS),
        mark("acknowledged", id="6", category=DEAD_LETTERS, count=4),
        mark("waived", id="7", category=LOST_EVENTS, count=7),
    ]

    def found(of: str, present: int, hours: int) -> str | None:
        one = acknowledgement(marks, of, present, MIDNIGHT + hours * HOUR)
        return None if one is None else one.id

    assert found(LOST_EVENTS, 8, 4) == "2"
    assert found(LOST_EVENTS, 8, 5) == "1"
    assert found(LOST_EVENTS, 2, 5) == "3"
    assert found(LOST_EVENTS, 1, 5) is None
    assert found(DEAD_LETTERS, 4, 5) == "6"
