"""Window texts and time zones: OpenCost's forms with its rounding, and what etlog adds and refuses."""

import json
import pickle
import time
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from etlog_events.errors import EtlogError, IllegalWindow
from etlog_events.windows import Window, parse_timezone, parse_window

NOW = datetime(2022, 6, 3, 17, 7, 54, 92619, tzinfo=UTC)

OPENCOST = [
    json.loads(line)
    for line in (Path(__file__).parent / "data" / "opencost_windows.jsonl").read_text(encoding="utf-8").splitlines()
]


def moment(text: str) -> datetime:
    """The instant of `text`, cut to microseconds."""
    return datetime.fromisoformat(text)


def span(text: str, now: datetime = NOW) -> tuple[datetime | None, datetime | None]:
    """Start and end of the window that `text` means at `now`."""
    window = parse_window(text, now=now)
    return window.start, window.end


@pytest.mark.parametrize("case", OPENCOST, ids=[f"{n}-{case['window']!r}" for n, case in enumerate(OPENCOST, 1)])
def test_opencost_gives_the_same_answer(case: dict[str, Any]) -> None:
    """Start, end and the text of the error are those that OpenCost's own parser computed."""
    zone = timezone(timedelta(minutes=case["utc_offset_minutes"]))
    now = moment(case["now"]).astimezone(zone)
    if case["error"] is not None:
        with pytest.raises(IllegalWindow) as refusal:
            parse_window(case["window"], now=now)
        assert str(refusal.value) == case["error"]
    else:
        assert span(case["window"], now) == (moment(case["start"]), moment(case["end"]))


def test_all_of_opencosts_cases_are_here() -> None:
    """The cases are complete, and errors are among them."""
    assert len(OPENCOST) == 400
    assert sum(case["error"] is not None for case in OPENCOST) == 25


@pytest.mark.parametrize(
    ("text", "end"),
    [("1m", "2022-06-03T17:01:00Z"), ("1h", "2022-06-03T18:00:00Z"), ("1d", "2022-06-04T00:00:00Z")],
)
def test_a_duration_at_the_very_edge_reaches_the_next_edge(text: str, end: str) -> None:
    """An event of this instant is inside, since the end is excluded."""
    assert span(text, moment("2022-06-03T17:00:00Z"))[1] == moment(end)


def test_durations_keep_to_the_utc_day_in_every_zone() -> None:
    """Only the names know the time zone; `1d` is the UTC day anywhere."""
    assert span("1d", NOW.astimezone(ZoneInfo("Asia/Tokyo"))) == span("1d", NOW)


def test_an_offset_in_weeks_is_that_many_weeks_of_seven_days() -> None:
    """`1d offset 1w` is the day that ended a week ago."""
    assert span("1d offset 1w") == (NOW - timedelta(days=8), NOW - timedelta(days=7))


def test_an_offset_of_zero_ends_now() -> None:
    """It differs from the plain duration in not being rounded."""
    assert span("24h offset 0h") == (NOW - timedelta(hours=24), NOW)


@pytest.mark.parametrize("separator", [",", "-", "|"])
def test_timestamps_are_seconds_since_1970(separator: str) -> None:
    """All three separators that OpenCost knows mean the same."""
    assert span(f"1586822400{separator}1586908800") == (moment("2020-04-14T00:00:00Z"), moment("2020-04-15T00:00:00Z"))


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("2020-04-01T02:00:00+02:00,2020-04-01T00:00:00-03:30", "2020-04-01T00:00:00Z", "2020-04-01T03:30:00Z"),
        ("2020-04-01T00:00:00.5Z,2020-04-01T00:00:00.75Z", "2020-04-01T00:00:00.5Z", "2020-04-01T00:00:00.75Z"),
        ("2020-04-01t00:00:00z,2020-04-03t00:00:00z", "2020-04-01T00:00:00Z", "2020-04-03T00:00:00Z"),
    ],
)
def test_a_time_may_have_an_offset_or_a_fraction(text: str, start: str, end: str) -> None:
    """RFC 3339 allows more than the `Z` and the whole seconds that OpenCost reads."""
    assert span(text) == (moment(start), moment(end))


def test_a_missing_end_leaves_the_window_open() -> None:
    """All from the start on."""
    assert span("2020-04-01T00:00:00Z,") == (moment("2020-04-01T00:00:00Z"), None)


def test_a_missing_start_leaves_the_window_open() -> None:
    """All before the end."""
    assert span(",2020-04-01T00:00:00Z") == (None, moment("2020-04-01T00:00:00Z"))


def test_nanoseconds_are_exact() -> None:
    """A window may be one nanosecond long, although its datetimes cannot tell start from end."""
    window = parse_window("2022-06-03T17:07:54.092619416Z,2022-06-03T17:07:54.092619417Z", now=NOW)
    assert (window.start_ns, window.end_ns) == (1_654_276_074_092_619_416, 1_654_276_074_092_619_417)
    assert window.start == window.end == moment("2022-06-03T17:07:54.092619Z")


def test_what_is_finer_than_a_nanosecond_is_cut() -> None:
    """The tenth digit of a fraction changes nothing."""
    assert parse_window("1970-01-01T00:00:00.0000000019Z,", now=NOW) == Window(1, None)


def test_times_before_1970_are_exact_too() -> None:
    """Nanoseconds are negative there, and still cut downwards to microseconds."""
    window = parse_window("1969-12-31T23:59:59.999999999Z,", now=NOW)
    assert window.start_ns == -1
    assert window.start == moment("1969-12-31T23:59:59.999999Z")


@pytest.mark.parametrize(
    "text",
    [
        "1586908800,1586822400",
        "1586822400-1586822400",
        "2020-04-03T00:00:00Z,2020-04-01T00:00:00Z",
        "2020-04-01T00:00:00Z,2020-04-01T00:00:00Z",
        "2020-04-01T00:00:00Z,2020-04-01T02:00:00+02:00",
        "0m",
        "0h",
        "0d",
        "0w",
        "0h offset 3h",
    ],
)
def test_a_window_that_does_not_end_after_its_start_is_refused(text: str) -> None:
    """It could hold no event, so asking for it is a mistake."""
    with pytest.raises(IllegalWindow):
        parse_window(text, now=NOW)


@pytest.mark.parametrize(
    "text",
    [
        "1586822400,253402300800",
        "1586822400,99999999999999999999",
        "9999999d",
        "1d offset 9999999d",
        "9" * 200 + "d",
        "9" * 5000 + "d",
        "9" * 5000 + "," + "9" * 5001,
    ],
)
def test_a_number_beyond_the_calendar_is_refused(text: str) -> None:
    """Neither year 10000 nor a year before 1 is a date."""
    with pytest.raises(IllegalWindow):
        parse_window(text, now=NOW)


@pytest.mark.parametrize(
    "text",
    [
        "x2020-04-01T00:00:00Z,2020-04-03T00:00:00Z",
        "2020-04-01T00:00:00Z,2020-04-03T00:00:00Zx",
        "2020-04-01T00:00:00Z,2020-04-03T00:00:00Z,",
        "2020-04-01T00:00:00Z, 2020-04-03T00:00:00Z",
        "2020-04-01T00:00:00Z",
        "2020-04-01T00:00:00,2020-04-03T00:00:00",
        "2020-02-30T00:00:00Z,2020-04-03T00:00:00Z",
        "2020-04-01T00:00:00Z,2020-04-03T24:00:01Z",
        "0001-01-01T00:00:00+01:00,2020-04-03T00:00:00Z",
        "2020-04-01T00:00:00Z,1586908800",
        "2020-04-01T00:00:00Z,today",
        "1586822400,",
        ",1586822400",
        "1586822400,1586908800,",
        "-1586822400,1586908800",
        ",",
        ",,",
        " today",
        "today ",
        "today\n",
        "24h\n",
        "1586822400,1586908800\n",
        "24h  offset 14h",
        "24h offset 14",
        "24h offset",
        "offset 14h",
        "24h offset -14h",
        "+7d",
        "7s",
        "d",
        "\u0667d",
        "\uff17d",
        "\u00b2d",
        "\u0661\u0665\u0668\u0666\u0668\u0662\u0662\u0664\u0660\u0660,\u0661\u0665\u0668\u0666\u0669\u0660\u0668\u0668\u0660\u0660",
        "\uff12020-04-01T00:00:00Z,2020-04-03T00:00:00Z",
        "\x00",
        "\ud800",
        "2020-04-01T00:00:00." + "0" * 500 + "Z,",
    ],
)
def test_what_is_no_window_is_refused(text: str) -> None:
    """The message is OpenCost's, with the text as it came."""
    with pytest.raises(IllegalWindow) as refusal:
        parse_window(text, now=NOW)
    assert str(refusal.value) == f"illegal window: {text}"


@pytest.mark.timed
def test_a_very_long_text_is_refused_at_once() -> None:
    """A megabyte of digits takes no longer than a word."""
    started = time.perf_counter()
    for text in ("7" * 1_000_000 + "d", "7" * 1_000_000, "today" * 200_000, "," * 1_000_000):
        with pytest.raises(IllegalWindow):
            parse_window(text, now=NOW)
    assert time.perf_counter() - started < 1


def test_an_illegal_window_is_an_etlog_error_and_a_value_error() -> None:
    """Callers may catch either, and the error survives being sent between processes."""
    error = IllegalWindow("7y")
    assert isinstance(error, EtlogError)
    assert isinstance(error, ValueError)
    assert error.text == "7y"
    assert str(pickle.loads(pickle.dumps(error))) == "illegal window: 7y"


def test_a_now_without_a_time_zone_is_a_mistake_of_the_caller() -> None:
    """Nothing could say which day is today, so this is not the text's fault."""
    with pytest.raises(ValueError, match="now must have a time zone") as refusal:
        parse_window("today", now=datetime(2022, 6, 3))
    assert not isinstance(refusal.value, IllegalWindow)


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("today", "2024-03-31T00:00:00+01:00", "2024-04-01T00:00:00+02:00"),
        ("yesterday", "2024-03-30T00:00:00+01:00", "2024-03-31T00:00:00+01:00"),
        ("week", "2024-03-31T00:00:00+01:00", "2024-03-31T12:00:00+02:00"),
        ("lastweek", "2024-03-24T00:00:00+01:00", "2024-03-31T00:00:00+01:00"),
        ("month", "2024-03-01T00:00:00+01:00", "2024-03-31T12:00:00+02:00"),
        ("lastmonth", "2024-02-01T00:00:00+01:00", "2024-03-01T00:00:00+01:00"),
    ],
)
def test_names_keep_to_local_midnight_when_clocks_go_forward(text: str, start: str, end: str) -> None:
    """At noon of a day of 23 hours, each bound has the offset that holds at that bound."""
    now = datetime(2024, 3, 31, 12, tzinfo=ZoneInfo("Europe/Berlin"))
    assert span(text, now) == (moment(start), moment(end))


@pytest.mark.parametrize(
    ("zone", "noon", "hours"),
    [
        ("Europe/Berlin", "2024-03-31", 23),
        ("Europe/Berlin", "2024-10-27", 25),
        ("America/New_York", "2024-03-10", 23),
        ("America/New_York", "2024-11-03", 25),
        ("Australia/Lord_Howe", "2024-04-07", 24.5),
        ("America/Sao_Paulo", "2018-11-04", 23),
        ("Africa/Cairo", "2024-04-26", 23),
        ("America/Havana", "2024-11-03", 25),
        ("Asia/Beirut", "2024-10-26", 25),
        ("America/Nuuk", "2024-10-26", 25),
        ("Asia/Kolkata", "2024-03-31", 24),
    ],
)
def test_a_day_is_as_long_as_the_clocks_make_it(zone: str, noon: str, hours: float) -> None:
    """Where clocks change, `today` and the next day's `yesterday` are the same span."""
    now = datetime.fromisoformat(f"{noon}T12:00:00").replace(tzinfo=ZoneInfo(zone))
    start, end = span("today", now)
    assert start is not None
    assert end is not None
    assert end - start == timedelta(hours=hours)
    assert span("yesterday", now + timedelta(days=1)) == (start, end)


def test_a_day_without_midnight_begins_where_the_clocks_skip_it() -> None:
    """In São Paulo 2018-11-04 went from 23:59:59 of the day before to 01:00."""
    now = datetime(2018, 11, 4, 12, tzinfo=ZoneInfo("America/Sao_Paulo"))
    assert span("today", now)[0] == moment("2018-11-04T01:00:00-02:00")


def test_a_day_with_two_midnights_begins_with_the_first() -> None:
    """In Havana 2024-11-03 has the hour from 00:00 to 01:00 twice."""
    now = datetime(2024, 11, 3, 0, 30, fold=1, tzinfo=ZoneInfo("America/Havana"))
    assert span("today", now)[0] == moment("2024-11-03T00:00:00-04:00")


def test_both_readings_of_a_doubled_hour_are_told_apart() -> None:
    """A `now` in the second 02:30 of the night is an hour after the first."""
    first = datetime(2024, 10, 27, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"))
    assert span("week", first)[1] == moment("2024-10-27T00:30:00Z")
    assert span("week", first.replace(fold=1))[1] == moment("2024-10-27T01:30:00Z")


def test_a_week_that_begins_this_instant_is_empty() -> None:
    """At midnight of a Sunday the text is as right as a second later, there is only nothing in it yet."""
    sunday = moment("2024-03-31T00:00:00Z")
    assert span("week", sunday) == (sunday, sunday)


def test_a_yesterday_that_never_was_is_empty() -> None:
    """Samoa went from 29 to 31 December 2011 across the date line."""
    start, end = span("yesterday", datetime(2011, 12, 31, 12, tzinfo=ZoneInfo("Pacific/Apia")))
    assert start == end == moment("2011-12-30T10:00:00Z")


@pytest.mark.parametrize("name", ["Europe/Berlin", "America/Argentina/Buenos_Aires", "Etc/GMT+5", "Asia/Kolkata"])
def test_a_time_zone_may_be_an_iana_name(name: str) -> None:
    """It has the daylight saving time of that place."""
    assert parse_timezone(name) == ZoneInfo(name)


@pytest.mark.parametrize(
    ("text", "minutes"),
    [("+05:30", 330), ("-03:00", -180), ("-00:30", -30), ("+00:00", 0), ("+14:00", 840), ("UTC", 0)],
)
def test_a_time_zone_may_be_an_offset(text: str, minutes: int) -> None:
    """East of Greenwich is plus, and the sign holds for the minutes too."""
    assert parse_timezone(text).utcoffset(None) == timedelta(minutes=minutes)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "x",
        "Europe",
        "Europe/",
        "Europe/Berlin/x",
        "Europe/Berlin ",
        "Europe/Berlin\n",
        "Europe//Berlin",
        "../x",
        "Europe/../Europe/Berlin",
        "./UTC",
        ".",
        "..",
        "/",
        "/etc/localtime",
        "/usr/share/zoneinfo/Europe/Berlin",
        "C:\\zone",
        "zone.tab",
        "leapseconds",
        "UTC\0",
        "\ud800",
        "A" * 300,
        "A/" * 3000 + "A",
        "Z",
        "5",
        "+5:30",
        "+0530",
        "05:30",
        "+24:00",
        "+05:60",
        "+05:30:00",
        "+\u0660\u0665:\u0663\u0660",
        "UTC+05:30",
    ],
)
def test_what_is_no_time_zone_is_refused(text: str) -> None:
    """One sentence says what a time zone must be, whatever was wrong: a path, a folder, a number."""
    with pytest.raises(ValueError, match="must be an IANA time zone") as refusal:
        parse_timezone(text)
    assert type(refusal.value) is ValueError
    assert str(refusal.value) == (
        f"must be an IANA time zone such as Europe/Berlin or an offset such as +05:30, not {text!r}"
    )
