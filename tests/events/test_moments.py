"""Moments: the text of an event tells the instants that it was given, whatever Python calls equal, in any order."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from enum import StrEnum
from functools import lru_cache
from random import Random
from typing import Self
from zoneinfo import ZoneInfo

import pytest
from etlog_events.errors import InvalidEvent
from etlog_events.event import Event, new_text
from etlog_events.kinds import KUBECOST_KINDS
from etlog_events.validation import validator
from hypothesis import given, settings
from hypothesis import strategies as st

#: An hour back in the morning, in the evening of another continent, half an hour, two hours, at midnight, with a summer
#: time that is the standard, around Ramadan, and a day that was left out.
ZONES = (
    *("Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Antarctica/Troll", "America/Havana"),
    *("Europe/Dublin", "Africa/Casablanca", "Pacific/Apia"),
)
BERLIN = ZoneInfo("Europe/Berlin")

#: 02:30 in Berlin when the clocks went back: it came at 00:30 in UTC, and once more at 01:30.
HALF_PAST_TWO = datetime(2022, 10, 30, 2, 30, tzinfo=BERLIN)
FIRST, SECOND = "2022-10-30T00:30:00Z", "2022-10-30T01:30:00Z"


@lru_cache
def changes(name: str) -> Sequence[datetime]:
    """The instants from 2011 to 2023 at which the zone changes its clocks, in UTC."""
    zone = ZoneInfo(name)
    found = []
    before = datetime(2011, 1, 1, tzinfo=UTC)
    for _ in range(12 * 366):
        after = before + timedelta(days=1)
        if (then := before.astimezone(zone).utcoffset()) != after.astimezone(zone).utcoffset():
            at = before
            while at.astimezone(zone).utcoffset() == then:
                at += timedelta(minutes=30)
            found.append(at)
        before = after
    return found


@st.composite
def moments(draw: st.DrawFn) -> datetime:
    """A datetime of a zone within three hours of one of its changes: of times that come once, twice or never."""
    name = draw(st.sampled_from(ZONES))
    change = draw(st.sampled_from(changes(name))).astimezone(ZoneInfo(name)).replace(tzinfo=None)
    wall = change + timedelta(minutes=draw(st.integers(-18, 18)) * 10)
    return wall.replace(tzinfo=ZoneInfo(name), fold=draw(st.integers(0, 1)))


def instant(moment: datetime) -> str:
    """What the text must tell, by the definition of an offset alone."""
    offset = moment.utcoffset()
    assert offset is not None
    return (moment.replace(tzinfo=None) - offset).isoformat() + "Z"


def new(window: tuple[datetime | str, datetime | str], time: datetime | str = "2022-06-03T17:07:54Z") -> Event:
    """An event of a window."""
    return Event.new("AssetSetTotaled", window=window, time=time)


@settings(max_examples=150, deadline=None)
@given(st.lists(moments(), min_size=2, max_size=6), st.randoms(use_true_random=False))
def test_an_event_tells_the_instants_that_it_was_given(drawn: list[datetime], order: Random) -> None:
    """Around both changes of the clocks, each moment beside its twin that differs in `fold` alone."""
    calls = [twin for moment in drawn for twin in (moment, moment.replace(fold=1 - moment.fold))]
    order.shuffle(calls)
    long_after = datetime(2030, 1, 1, tzinfo=UTC)
    for moment in calls:
        event = new((moment, long_after), moment)

        assert event.window == (instant(moment), "2030-01-01T00:00:00Z")
        assert event.time == instant(moment)
        raw = new_text("AssetSetTotaled", None, (moment, long_after), None, moment, {}, KUBECOST_KINDS)
        assert raw == event.encode()
        assert validator(KUBECOST_KINDS)(raw)[1] == raw


@pytest.mark.parametrize("folds", [(0, 1, 0), (1, 0, 1)])
def test_both_passes_of_the_repeated_hour_are_told_apart(folds: tuple[int, ...]) -> None:
    """As start and as end of a window: the hour in between is a window, too."""
    early, late = datetime(2022, 10, 29, tzinfo=UTC), datetime(2022, 10, 31, tzinfo=UTC)
    for fold in folds:
        moment, text = HALF_PAST_TWO.replace(fold=fold), (FIRST, SECOND)[fold]
        assert new((moment, late)).window == (text, "2022-10-31T00:00:00Z")
        assert new((early, moment)).window == ("2022-10-29T00:00:00Z", text)
    assert new((HALF_PAST_TWO, HALF_PAST_TWO.replace(fold=1))).window == (FIRST, SECOND)
    with pytest.raises(InvalidEvent, match="it must start before it ends"):
        new((HALF_PAST_TWO.replace(fold=1), HALF_PAST_TWO))


def test_a_zone_may_change_its_mind() -> None:
    """As one does that follows the clock of the machine."""

    class Here(tzinfo):
        offset = timedelta(hours=1)

        def utcoffset(self, _: datetime | None) -> timedelta:
            return self.offset

        def dst(self, _: datetime | None) -> timedelta:
            return timedelta(0)

        def tzname(self, _: datetime | None) -> str:
            return "here"

    here = Here()
    window = (datetime(2022, 6, 3, 12, tzinfo=here), datetime(2022, 6, 3, 13, tzinfo=here))

    assert new(window, window[0]).window == ("2022-06-03T11:00:00Z", "2022-06-03T12:00:00Z")
    here.offset = timedelta(hours=2)

    event = new(window, window[0])
    assert event.window == ("2022-06-03T10:00:00Z", "2022-06-03T11:00:00Z")
    assert event.time == "2022-06-03T10:00:00Z"


class Timestamp(datetime):
    """A datetime that counts further than it compares; `nanosecond` begins at the microsecond, as in pandas."""

    nanosecond = 0

    def counting(self, nanosecond: int) -> Self:
        """This one, with so many nanoseconds."""
        self.nanosecond = nanosecond
        return self


class Precise(Timestamp):
    """Here it begins at the second, as in Google's libraries."""

    def counting(self, nanosecond: int) -> Self:
        """This one, with so many nanoseconds."""
        return super().counting(self.microsecond * 1000 + nanosecond)


@pytest.mark.parametrize("timestamp", [Timestamp, Precise])
@pytest.mark.parametrize("zone", [UTC, BERLIN])
def test_nanoseconds_are_kept(timestamp: type[Timestamp], zone: tzinfo) -> None:
    """Though the datetimes are equal, they are different instants."""
    end = datetime(2022, 10, 31, tzinfo=UTC)
    for nanosecond in (1, 2, 0, 999):
        moment = timestamp(2022, 10, 30, 2, 30, 0, 5, tzinfo=zone).counting(nanosecond)
        text = f"2022-10-30T0{0 if zone is BERLIN else 2}:30:00.000005{nanosecond:03d}".rstrip("0") + "Z"

        event = new((moment, end), moment)

        assert event.window == (text, "2022-10-31T00:00:00Z")
        assert event.time == text


@pytest.mark.parametrize("value", [None, "5", 1.5, lambda: 5])
def test_another_attribute_of_that_name_is_none_of_ours(value: object) -> None:
    """The datetime counts."""
    moment = Timestamp(2022, 6, 3, tzinfo=UTC)
    moment.nanosecond = value  # type: ignore[assignment]

    assert new(("2022-06-02T00:00:00Z", moment), moment).time == "2022-06-03T00:00:00Z"


def test_a_datetime_beyond_the_calendar_is_refused() -> None:
    """Some subclasses have years that RFC 3339 cannot spell: its text would become a dead letter."""

    class Ancient(datetime):
        def astimezone(self, _: tzinfo | None = None) -> Self:
            return self

        def isoformat(self, *_: str) -> str:
            return "-100-01-01T00:00:00+00:00"

    with pytest.raises(InvalidEvent, match="out of range"):
        new(("2022-06-03T10:00:00Z", "2022-06-03T11:00:00Z"), Ancient(2000, 1, 1, tzinfo=UTC))


def test_the_member_of_an_enum_leaves_no_trace() -> None:
    """It is equal to its text, and must not come back for it."""

    class Sets(StrEnum):
        KIND = "AssetSetTotaled"
        START = "2022-06-03T10:00:00.25Z"
        END = "2022-06-03T11:00:00.25Z"

    given_members = Event.new(Sets.KIND, window=(Sets.START, Sets.END), time=Sets.START)
    given_texts = Event.new(str(Sets.KIND.value), window=(Sets.START.value, Sets.END.value), time=Sets.START.value)

    for event in (given_members, given_texts):
        assert event.window is not None
        assert {type(text) for text in (event.kind, *event.window, event.time)} == {str}
    assert given_members.encode() == given_texts.encode()
