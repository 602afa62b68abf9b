"""What holds for every window text, every instant and every time zone."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

from etlog_events.errors import IllegalWindow
from etlog_events.timestamps import from_nanoseconds
from etlog_events.windows import Window, parse_timezone, parse_window
from hypothesis import example, given, settings
from hypothesis import strategies as st

NOW = datetime(2022, 6, 3, 17, 7, 54, 92619, tzinfo=UTC)
#: Nanoseconds since 1970: the first instant of year 1 and the last of year 9999.
EARLIEST = -62_135_596_800 * 10**9
LATEST = 253_402_300_800 * 10**9 - 1

#: Zones whose clocks change at midnight, over midnight, by half an hour, in both hemispheres, and not at all.
PLACES = [
    "Africa/Cairo",
    "America/Havana",
    "America/New_York",
    "America/Nuuk",
    "America/Santiago",
    "America/Sao_Paulo",
    "America/St_Johns",
    "Asia/Beirut",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "Europe/Berlin",
    "Pacific/Chatham",
]
UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}

zones: st.SearchStrategy[tzinfo] = st.one_of(
    st.just(UTC),
    st.sampled_from(PLACES).map(ZoneInfo),
    st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes))),
)
#: Any instant for which a window must have an answer.
nows = st.datetimes(datetime(2, 1, 2), datetime(9998, 12, 30), timezones=st.just(UTC), allow_imaginary=False).flatmap(
    lambda moment: zones.map(moment.astimezone)
)
#: Since 2012 no zone turns its clocks back from one day into the day before.
recent_nows = st.datetimes(datetime(2012, 1, 2), datetime(2060, 1, 1), timezones=st.just(UTC)).flatmap(
    lambda moment: zones.map(moment.astimezone)
)
instants = st.integers(EARLIEST, LATEST)
#: Texts that come close to being windows, so that every branch is met.
near_windows = st.lists(
    st.one_of(
        st.sampled_from(["today", "week", "month", "last", "yester", "day", "m", "h", "d", "w", " offset ", " "]),
        st.sampled_from([",", "-", "|", "Z", "T", ":", ".", "+", "+01:00", "T00:00:00", "2020-04-01", "\n", "\u0663"]),
        st.sampled_from(["2020-04-01T00:00:00Z", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59.9-23:59"]),
        st.integers(0, 10**12).map(str),
    ),
    max_size=6,
).map("".join)


def bounds(window: Window) -> tuple[datetime, datetime]:
    """Start and end of a window that is open on neither side."""
    assert window.start is not None
    assert window.end is not None
    return window.start, window.end


@given(text=st.one_of(st.text(), near_windows), now=nows)
@example(text="9" * 4301 + "d", now=NOW)
@example(text="2020-04-01T00:00:0\ud800Z,", now=NOW)
def test_a_text_is_a_sound_window_or_an_illegal_one(text: str, now: datetime) -> None:
    """Nothing else is raised, and what is answered has its bounds in order and in the calendar."""
    try:
        window = parse_window(text, now=now)
    except IllegalWindow:
        return
    start = EARLIEST if window.start_ns is None else window.start_ns
    end = LATEST if window.end_ns is None else window.end_ns
    assert EARLIEST <= start <= end <= LATEST
    for bound in (window.start, window.end):
        assert bound is None or bound.utcoffset() == timedelta(0)


@given(text=st.sampled_from(["today", "yesterday", "week", "lastweek", "month", "lastmonth"]), now=nows)
def test_a_name_is_a_window_at_every_instant(text: str, now: datetime) -> None:
    """From year 2 to 9998, in every zone."""
    start, end = bounds(parse_window(text, now=now))
    assert start <= end


@settings(max_examples=300)
@given(now=recent_nows)
def test_days_weeks_and_months_join_without_gap(now: datetime) -> None:
    """Today holds this instant; yesterday, last week and last month end where today, the week and the month begin."""
    today, tomorrow = bounds(parse_window("today", now=now))
    week, week_end = bounds(parse_window("week", now=now))
    month, month_end = bounds(parse_window("month", now=now))
    assert today <= now < tomorrow
    assert timedelta(hours=23) <= tomorrow - today <= timedelta(hours=25)
    assert bounds(parse_window("yesterday", now=now))[1] == today
    assert bounds(parse_window("lastweek", now=now))[1] == week <= today
    assert bounds(parse_window("lastmonth", now=now))[1] == month <= today
    assert week_end == month_end == now


@given(now=recent_nows)
def test_names_begin_on_the_right_day_of_the_zone(now: datetime) -> None:
    """Weeks begin on Sunday and months on the 1st, as the zone's own calendar has it."""
    for text in ("week", "lastweek"):
        assert bounds(parse_window(text, now=now))[0].astimezone(now.tzinfo).isoweekday() == 7
    for text in ("month", "lastmonth"):
        assert bounds(parse_window(text, now=now))[0].astimezone(now.tzinfo).day == 1


@given(count=st.integers(1, 1000), unit=st.sampled_from("mhdw"), now=recent_nows)
def test_a_duration_is_as_long_as_it_says_and_ends_at_the_next_edge(count: int, unit: str, now: datetime) -> None:
    """The edge is the next minute, hour or UTC midnight, and a week's edge is a day's."""
    start, end = bounds(parse_window(f"{count}{unit}", now=now))
    edge = min(UNITS[unit], timedelta(days=1))
    assert end - start == count * UNITS[unit]
    assert now < end <= now + edge
    assert (end - datetime.min.replace(tzinfo=UTC)) % edge == timedelta(0)


@given(
    count=st.integers(1, 1000),
    unit=st.sampled_from("mhdw"),
    ago=st.integers(0, 1000),
    ago_unit=st.sampled_from("mhdw"),
    now=recent_nows,
)
def test_a_duration_with_an_offset_is_not_rounded(
    count: int, unit: str, ago: int, ago_unit: str, now: datetime
) -> None:
    """It ends exactly so long ago."""
    window = parse_window(f"{count}{unit} offset {ago}{ago_unit}", now=now)
    end = now.astimezone(UTC) - ago * UNITS[ago_unit]
    assert bounds(window) == (end - count * UNITS[unit], end)


@given(start=instants, end=instants)
def test_a_pair_of_times_comes_back_to_the_nanosecond(start: int, end: int) -> None:
    """What is spelled canonically is read exactly, or refused when it does not end after its start."""
    text = f"{from_nanoseconds(start)},{from_nanoseconds(end)}"
    try:
        assert parse_window(text, now=NOW) == Window(start, end)
    except IllegalWindow:
        assert end <= start
    else:
        assert start < end


@given(start=st.integers(0, 10**13), end=st.integers(0, 10**13), separator=st.sampled_from(",-|"))
def test_timestamps_are_exact_or_refused(start: int, end: int, separator: str) -> None:
    """Every second from 1970 to the end of year 9999 can be said."""
    try:
        window = parse_window(f"{start}{separator}{end}", now=NOW)
    except IllegalWindow:
        assert end <= start or end * 10**9 > LATEST
    else:
        assert window == Window(start * 10**9, end * 10**9)
        assert start < end


@given(text=st.one_of(st.text(), st.text("+-:0123456789"), st.text("./\\EuropeBrlinUTC\0")))
def test_a_text_is_a_time_zone_or_a_value_error(text: str) -> None:
    """No path, folder or strange character raises anything else."""
    with suppress(ValueError):
        assert NOW.astimezone(parse_timezone(text)) == NOW


@given(minutes=st.integers(-1439, 1439))
def test_every_offset_is_understood(minutes: int) -> None:
    """From -23:59 to +23:59."""
    hours, rest = divmod(abs(minutes), 60)
    zone = parse_timezone(f"{'-' if minutes < 0 else '+'}{hours:02d}:{rest:02d}")
    assert zone.utcoffset(None) == timedelta(minutes=minutes)
