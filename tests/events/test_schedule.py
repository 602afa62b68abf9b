"""Schedules: what a text of the configuration means, and the text that means it."""

from datetime import date, datetime, time, timedelta

import pytest
from etlog_events.schedule import EVERY_DAY, MIDNIGHT, Hours, length, parse_due, parse_only, spell_only
from hypothesis import given
from hypothesis import strategies as st

WEEKDAYS = frozenset(range(5))

#: Times of the day, to the minute, as the file spells them.
times = st.builds(time, st.integers(0, 23), st.integers(0, 59))

hours = st.builds(Hours, st.frozensets(st.integers(0, 6), min_size=1), times, times)

moments = st.datetimes(datetime(2026, 1, 1), datetime(2026, 3, 1))


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("mon-fri 06:00-18:00", [Hours(WEEKDAYS, time(6), time(18))]),
        ("Mon-Fri  6:00 - 18:00", [Hours(WEEKDAYS, time(6), time(18))]),
        ("mon-fri", [Hours(WEEKDAYS, MIDNIGHT, MIDNIGHT)]),
        ("06:00-18:00", [Hours(EVERY_DAY, time(6), time(18))]),
        ("22:00-24:00", [Hours(EVERY_DAY, time(22), MIDNIGHT)]),
        ("22:00-06:00", [Hours(EVERY_DAY, time(22), time(6))]),
        ("sat+sun", [Hours(frozenset({5, 6}), MIDNIGHT, MIDNIGHT)]),
        ("fri-mon", [Hours(frozenset({4, 5, 6, 0}), MIDNIGHT, MIDNIGHT)]),
        ("mon-wed+sat 08:30-09:00", [Hours(frozenset({0, 1, 2, 5}), time(8, 30), time(9))]),
        (
            "sat+sun,mon-fri 06:00-18:00",
            [Hours(frozenset({5, 6}), MIDNIGHT, MIDNIGHT), Hours(WEEKDAYS, time(6), time(18))],
        ),
    ],
)
def test_only_names_days_hours_or_both(text: str, means: list[Hours]) -> None:
    """Parts are separated by commas, days are ranges or joined by `+`."""
    assert list(parse_only(text)) == means


@pytest.mark.parametrize(
    "text",
    [
        *("", ",", "mon,", "always", "monday", "mon fri", "mon+", "mon-", "mon-fri-sat", "mo", "weekdays"),
        *("06:00", "06:00-", "6-18", "06:00-24:01", "25:00-26:00", "24:00-06:00", "06:60-07:00", "mon06:00-07:00"),
        *("06:00-18:00 mon-fri", "mon 06:00-07:00 08:00-09:00", "\u0660\u0666:00-18:00", "x" * 10_000),
    ],
)
def test_other_hours_are_refused(text: str) -> None:
    """With the rest of a sentence that begins with the name of the key."""
    with pytest.raises(
        ValueError, match=r"^must be days, hours or both, such as mon-fri 06:00-18:00 .*, not '"
    ) as refused:
        parse_only(text)

    assert len(str(refused.value)) < 250


@given(st.lists(hours, min_size=1, max_size=4))
def test_hours_are_spelled_as_they_are_read(only: list[Hours]) -> None:
    """Whatever the days and the hours are."""
    assert list(parse_only(spell_only(only))) == only


@given(hours, moments)
def test_a_night_belongs_to_the_day_on_which_it_begins(part: Hours, start: datetime) -> None:
    """A window is in some hours if it starts between the two times, on a day or the night after it."""
    days = [start.date() - timedelta(days=1), start.date()]
    spans = [(day, datetime.combine(day, part.start), datetime.combine(day, part.end)) for day in days]
    spans = [(day, begin, end if end > begin else end + timedelta(days=1)) for day, begin, end in spans]

    found = [day for day, begin, end in spans if day.weekday() in part.days and begin <= start < end]

    assert (start in part) == bool(found)
    assert not found or found == [part.day_of(start)]


def test_a_night_at_the_beginning_of_the_calendar_does_no_harm() -> None:
    """A foreign event may have any time."""
    night = Hours(EVERY_DAY, time(22), time(6))

    assert datetime.min in night
    assert night.day_of(datetime.min) == date.min


@pytest.mark.parametrize(
    ("text", "due"),
    [
        ("20m", timedelta(minutes=20)),
        ("0m", timedelta()),
        ("90s", timedelta(seconds=90)),
        ("2h", timedelta(hours=2)),
        ("1d", timedelta(hours=24)),
        ("06:00", time(6)),
        ("6:05", time(6, 5)),
        ("23:59", time(23, 59)),
    ],
)
def test_due_is_a_time_after_the_window_or_one_of_the_day(text: str, due: timedelta | time) -> None:
    """A day is 24 hours here."""
    assert parse_due(text) == due


@pytest.mark.parametrize("text", ["", "20", "m", "-5m", "1.5h", "20 m", "1w", "1mo", "24:00", "6", "6:5", "06:00:00"])
def test_other_times_are_refused(text: str) -> None:
    """A week is long for a delay."""
    with pytest.raises(
        ValueError, match=r"^must be a time after the end of the window such as 20m, or a time of the day"
    ):
        parse_due(text)


def test_lengths_are_seconds_days_or_months() -> None:
    """`24h` are so many seconds, `1d` is a day of the calendar."""
    assert [length(text) for text in ("10s", "15m", "60m", "24h", "1d", "2w", "1mo", "1y")] == [
        *((10, "s"), (900, "s"), (3600, "s"), (86_400, "s")),
        *((1, "d"), (14, "d"), (1, "mo"), (12, "mo")),
    ]
    for text in ("", "h", "0h", "01h", "1.5h", "-1h", "1H", "1 h", "1h ", "1000000000s", "hourly"):
        with pytest.raises(ValueError, match=r"^must be a length such as 15m, 1h, 1d, 1w or 1mo, not '"):
            length(text)
