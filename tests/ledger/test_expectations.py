"""Expectations: which sets the configuration declares, and when they are due."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

import pytest
from etlog_events import config
from etlog_events.schedule import parse_only
from etlog_events.settings import Settings
from etlog_ledger.cadence import Every
from etlog_ledger.expectations import (
    NOT_EXPECTED,
    Declared,
    Expectation,
    NotExpected,
    declared,
    digest,
    of_log,
)
from hypothesis import example, given
from hypothesis import strategies as st

BERLIN = ZoneInfo("Europe/Berlin")
NEW_YORK = ZoneInfo("America/New_York")
ZONES: list[tzinfo] = [UTC, BERLIN, NEW_YORK, ZoneInfo("Pacific/Apia"), timezone(timedelta(hours=5, minutes=30))]

HOUR = timedelta(hours=1)
HOURLY, DAILY = Every.parse("1h"), Every.parse("1d")

SETTINGS = Settings(names=("nightly", "hourly"), name="nightly")

zones = st.sampled_from(ZONES)
starts = st.datetimes(datetime(2026, 3, 1), datetime(2026, 4, 1), timezones=st.just(UTC))
expectations = st.builds(
    Expectation,
    category=st.sampled_from(["asset", "allocation"]),
    stages=st.lists(st.sampled_from(["Saved", "Totaled"]), min_size=1, unique=True),
    due=st.one_of(st.timedeltas(timedelta(), timedelta(days=3)), st.times().map(lambda t: t.replace(tzinfo=None))),
    every=st.sampled_from([None, HOURLY, DAILY]),
    only=st.sampled_from(["mon-sun", "mon-fri 06:00-18:00", "sat+sun, 22:00-04:00"]).map(parse_only),
    excepted=st.frozensets(st.dates(date(2026, 3, 1), date(2026, 3, 31)), max_size=10),
    since=st.none() | starts,
)


def at(text: str, zone: tzinfo = UTC) -> datetime:
    """A time on the clocks of a zone."""
    return datetime.fromisoformat(text).replace(tzinfo=zone)


def due(expectation: Expectation, end: datetime) -> str:
    """When the set of a window that ends then is due, on the clocks of the zone and with their offset."""
    return expectation.due_at(end).astimezone(end.tzinfo).isoformat(" ", "minutes")


def on_file(text: str, log: str = "nightly") -> Sequence[Expectation]:
    """What a file with these tables declares of a log in Berlin."""
    return of_log(config.parse("version = 1\n" + text, SETTINGS), log, BERLIN)[1]


def test_a_set_is_due_so_long_after_its_window_whatever_the_clocks_do() -> None:
    """At 2 the clocks of Berlin go from 2 to 3."""
    expectation = Expectation("asset", ["Saved"], timedelta(minutes=90))

    assert due(expectation, at("2026-03-29 01:00", BERLIN)) == "2026-03-29 03:30+02:00"


def test_a_set_is_due_at_the_first_such_time_after_its_window() -> None:
    """Not at its end, where there was no time to make it."""
    expectation = Expectation("asset", ["Saved"], time(6))

    assert due(expectation, at("2026-05-04 00:00", BERLIN)) == "2026-05-04 06:00+02:00"
    assert due(expectation, at("2026-05-04 05:59", BERLIN)) == "2026-05-04 06:00+02:00"
    assert due(expectation, at("2026-05-04 06:00", BERLIN)) == "2026-05-05 06:00+02:00"
    assert due(expectation, at("2026-05-04 23:00", BERLIN)) == "2026-05-05 06:00+02:00"


def test_a_time_that_clocks_skip_is_later_and_of_one_that_comes_twice_the_first_counts() -> None:
    """In Berlin, 2:30 is skipped on the last Sunday of March, and comes twice on that of October."""
    expectation = Expectation("asset", ["Saved"], time(2, 30))

    assert due(expectation, at("2026-03-29 00:00", BERLIN)) == "2026-03-29 03:30+02:00"
    assert due(expectation, at("2026-10-25 00:00", BERLIN)) == "2026-10-25 02:30+02:00"
    assert due(expectation, at("2026-10-25 02:10", BERLIN).replace(fold=1)) == "2026-10-26 02:30+01:00"


@given(zones, starts, st.times())
@example(ZoneInfo("Pacific/Apia"), at("2011-12-30 09:00"), time(6))
def test_a_time_of_the_day_comes_within_a_day(zone: tzinfo, end: datetime, clock: time) -> None:
    """But for a change of clocks, and where the date line was crossed."""
    found = Expectation("asset", ["Saved"], clock).due_at(end.astimezone(zone))

    assert timedelta() < found - end <= timedelta(hours=49 if end.year == 2011 else 25)
    local = found.astimezone(zone).replace(tzinfo=None)
    assert (
        local.time() == clock or found.astimezone(zone).utcoffset() != (found - 3 * HOUR).astimezone(zone).utcoffset()
    )


@pytest.mark.parametrize("zone", [*ZONES, timezone(timedelta(hours=-14)), timezone(timedelta(hours=14))])
@pytest.mark.parametrize("moment", [datetime.min, datetime.max])
@pytest.mark.parametrize("when", [timedelta(days=300_000), timedelta(), time(6)])
def test_the_ends_of_the_calendar_do_no_harm(zone: tzinfo, moment: datetime, when: timedelta | time) -> None:
    """A foreign event may have any window."""
    expectation = Expectation(
        "asset", ["Saved"], when, since=moment.replace(tzinfo=zone), excepted=frozenset({date.min})
    )
    there = moment.replace(tzinfo=zone)

    found = Declared((expectation,)).due(there, there)

    assert found in {NOT_EXPECTED, None} or (isinstance(found, datetime) and found.tzinfo is UTC)


def test_an_expectation_speaks_of_windows_from_a_time_on_and_in_some_hours() -> None:
    """By their start, in the zone of the pipeline; the end of the hours is excluded."""
    expectation = Expectation(
        "asset", ["Saved"], HOUR, only=parse_only("mon-fri 06:00-18:00"), since=at("2026-05-05 00:00", BERLIN)
    )

    def covers(text: str) -> bool:
        return expectation.covers(at(text, BERLIN))

    assert not covers("2026-05-04 06:00")
    assert [covers(f"2026-05-05 {clock}") for clock in ("05:59", "06:00", "17:59", "18:00")] == [
        False,
        True,
        True,
        False,
    ]
    assert not covers("2026-05-09 12:00")  # a Saturday


def test_since_is_an_instant_also_while_clocks_go_back() -> None:
    """On that night, 2:30 comes twice."""
    expectation = Expectation("asset", ["Saved"], HOUR, since=at("2026-10-25 02:30", BERLIN).replace(fold=1))

    assert not expectation.covers(at("2026-10-25 02:45", BERLIN))
    assert expectation.covers(at("2026-10-25 02:45", BERLIN).replace(fold=1))


def test_a_night_is_excepted_as_a_whole() -> None:
    """It belongs to the day on which it begins."""
    night = Expectation(
        "asset", ["Saved"], HOUR, only=parse_only("22:00-06:00"), excepted=frozenset({date(2026, 12, 25)})
    )

    assert not night.excepts(at("2026-12-25 05:00", BERLIN))
    assert night.excepts(at("2026-12-25 22:00", BERLIN))
    assert night.excepts(at("2026-12-26 05:00", BERLIN))


def test_the_last_expectation_that_covers_a_set_counts() -> None:
    """And where some hold and none covers it, it is not expected."""
    always = Expectation("asset", ["Saved"], 2 * HOUR)
    office = Expectation("asset", ["Saved", "Totaled"], HOUR, every=HOURLY, only=parse_only("mon-fri 06:00-18:00"))
    late = Expectation("asset", ["Saved"], 5 * HOUR, since=at("2026-05-05 00:00"))
    monday, night, tuesday = at("2026-05-04 10:00"), at("2026-05-04 20:00"), at("2026-05-05 10:00")

    def told(stage: str, start: datetime, every: Every = HOURLY) -> datetime | NotExpected | None:
        of_stage = declared([always, office, late], "asset", every, stage)
        return of_stage.due(start, start + HOUR) if of_stage else None

    assert told("Saved", monday) == monday + 2 * HOUR
    assert told("Saved", night) == night + 3 * HOUR
    assert told("Saved", tuesday) == tuesday + 6 * HOUR
    assert told("Saved", monday, DAILY) == monday + 3 * HOUR
    assert told("Totaled", monday) == monday + 2 * HOUR
    assert told("Totaled", night) is NOT_EXPECTED
    assert told("Totaled", monday, DAILY) is None
    assert told("Loaded", monday) is None
    assert declared([late], "allocation", HOURLY, "Saved") is None
    assert Declared((late,)).due(monday, monday + HOUR) is None


@given(st.lists(expectations, max_size=4), zones, starts, st.sampled_from([HOURLY, DAILY]))
def test_what_is_declared_follows_from_each_expectation(
    several: list[Expectation], zone: tzinfo, start: datetime, every: Every
) -> None:
    """Read the slow way, one sentence of the documentation after another."""
    start = start.astimezone(zone)
    end = (start.astimezone(UTC) + HOUR).astimezone(zone)
    naming = [
        one
        for one in several
        if one.category == "asset" and one.every in (None, every) and "Saved" in one.stages
        if one.since is None or one.since <= start
    ]
    covering = [one for one in naming if one.covers(start)]
    expected: object = None
    if covering:
        expected = NOT_EXPECTED if covering[-1].excepts(start) else covering[-1].due_at(end)
    elif naming:
        expected = NOT_EXPECTED

    of_stage = declared(several, "asset", every, "Saved")

    assert (of_stage.due(start, end) if of_stage else None) == expected


def test_a_cadence_is_the_same_however_it_is_spelled() -> None:
    """But a day of the calendar is not 24 hours."""
    [hour, day] = on_file(
        """
        [[expect]]
        category = "asset"
        every = "60m"
        stages = ["Saved"]
        due = "5m"

        [[expect]]
        category = "asset"
        every = "1d"
        stages = ["Saved"]
        due = "06:00"
        """
    )

    assert declared([hour], "asset", Every.parse("1h"), "Saved") is not None
    assert declared([day], "asset", Every.parse("24h"), "Saved") is None


def test_a_log_has_its_zone_and_what_is_declared_of_it() -> None:
    """A date or a time without a zone is in that of the log."""
    file = config.parse(
        """
        version = 1

        [[log]]
        name = "nightly"
        zone = "America/New_York"

        [[expect]]
        category = "asset"
        stages = ["Saved"]
        due = "06:00"
        since = 2026-11-01

        [[expect]]
        log = "hourly"
        category = "asset"
        stages = ["Saved"]
        due = "5m"
        since = 2026-11-01T06:00:00
        """,
        SETTINGS,
    )

    nightly = of_log(file, "nightly", BERLIN)
    hourly = of_log(file, "hourly", BERLIN)

    assert nightly[0] == NEW_YORK
    assert [one.since for one in nightly[1]] == [at("2026-11-01 04:00")]
    assert hourly[0] is BERLIN
    assert [one.since for one in hourly[1]] == [at("2026-10-31 23:00"), at("2026-11-01 05:00")]
    assert of_log(config.Config(), "any", UTC) == (UTC, ())


def test_the_digest_tells_one_configuration_from_another() -> None:
    """And is the same for the same one, on every machine and in every release."""
    one = """
        [[expect]]
        category = "asset"
        every = "60m"
        stages = ["Saved", "Totaled"]
        due = "20m"
        only = "mon-fri 06:00-18:00"
        except = [2026-12-25]
        since = 2026-11-01
        """
    changes = [
        ("asset", "allocation"),
        ("60m", "30m"),
        (', "Totaled"', ""),
        ('"20m"', '"21m"'),
        ('"20m"', '"00:20"'),
        ("06:00", "07:00"),
        ("12-25", "12-26"),
        ("11-01", "11-02"),
    ]
    others = [on_file(one.replace(*change)) for change in changes]

    digests = [digest(BERLIN, found) for found in [on_file(one), *others, on_file(""), on_file(one + one)]]

    assert digest(BERLIN, on_file(one.replace("60m", "1h"))) == digests[0]
    assert len({*digests, digest(UTC, on_file(one)), digest(UTC, ())}) == len(digests) + 2
    assert digests[0] == "b6bd67cf8c48"
