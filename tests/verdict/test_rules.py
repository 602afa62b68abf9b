"""The rules of docs/verdict.md, each by rows that are made for it. What happens in life is in the labelled logs."""

import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from verdict.rows import BERLIN, DAY, HOUR, MONDAY, Rows, cell, every, judged, sets, spelled, told


@pytest.mark.parametrize(
    "seconds",
    [[60.0], [0.0, 10.0], [0.0, 0.0, 10.0], [-10.0, 0.0], [60.0] * 9 + [600.0]],
    ids=["equal", "two", "mostly none", "early", "one late"],
)
def test_a_stop_is_told_within_the_hour_however_delays_are_spread(seconds: Sequence[float]) -> None:
    """Delays in whole seconds are often equal: that tells nothing of those to come, and must not wait for years."""
    number = iter(range(1000))
    rows = sets(every(HOUR, 40), HOUR, lambda _: {"Saved": seconds[next(number) % len(seconds)]})

    verdict = judged(rows, MONDAY + 41 * HOUR + timedelta(minutes=59))

    assert told(verdict) == [("stopped", ("Saved",), 1)]


@pytest.mark.parametrize("days", range(4, 12))
def test_a_daily_set_that_does_not_come_is_told_on_the_day(days: int) -> None:
    """However few days are known: what they tell of a tail is bounded by how much they differ."""
    for seed in range(20):
        chance = random.Random(seed)
        rows = sets(every(DAY, days), DAY, lambda _, chance=chance: {"Saved": chance.uniform(300, 900)})  # type: ignore[misc]

        verdict = judged(rows, MONDAY + (days + 1) * DAY + 12 * HOUR + timedelta(minutes=30))

        assert told(verdict) == [("stopped", ("Saved",), 1)], seed


def test_a_stage_that_fails_often_is_expected() -> None:
    """A failed attempt is one: when the attempts end, that is told."""
    rows = sets(every(HOUR, 30), HOUR, lambda _: {"Saved": 60.0})
    for place, row in enumerate(rows.values()):
        end = MONDAY + (place + 1) * HOUR
        row.update(
            {"ReconcileError": cell(end, 120, error="403")} if place % 3 == 0 else {"Reconciled": cell(end, 120)}
        )
    rows |= sets(every(HOUR, 3, MONDAY + 30 * HOUR), HOUR, lambda _: {"Saved": 60.0})

    verdict = judged(rows, MONDAY + 33 * HOUR + timedelta(minutes=50))

    assert ("stopped", ("Reconciled",), 3) in told(verdict)
    assert verdict.summary["failed"] == 10


def test_a_stage_that_is_done_once_in_a_while_is_not_expected() -> None:
    """A few sets that follow each other by chance are no habit."""
    for seed in range(30):
        chance = random.Random(seed)
        rows = sets(
            every(HOUR, 96),
            HOUR,
            lambda _, chance=chance: {"Saved": 60.0} | ({"Loaded": 70.0} if chance.random() < 0.05 else {}),  # type: ignore[misc]
        )

        assert told(judged(rows, MONDAY + 96 * HOUR + timedelta(minutes=30))) == [], seed


def test_an_outage_is_no_habit() -> None:
    """Thirty hours are missing, after which all goes on as before."""
    rows = sets(every(HOUR, 240), HOUR, lambda start: {} if 100 <= (start - MONDAY) / HOUR < 130 else {"Saved": 60.0})

    verdict = judged(rows, MONDAY + 240 * HOUR + timedelta(minutes=30))

    assert told(verdict) == [("missing", ("Saved",), 30)]


def test_a_weekend_in_a_young_log_is_one() -> None:
    """Days of the week alone, for nine days: nothing was missed on Saturday and Sunday."""
    weekdays = [start for start in every(DAY, 9) if start.weekday() < 5]
    rows = sets(weekdays, DAY, lambda _: {"Saved": 600.0})

    assert told(judged(rows, MONDAY + 9 * DAY + HOUR)) == []


def test_who_keeps_hours_is_not_expected_at_the_first_weekend() -> None:
    """A stage that does 6 to 18 o'clock from Monday to Friday, of which no weekend is known yet."""
    office = [start for start in every(HOUR, 5 * 24) if 6 <= start.hour < 18]
    rows = sets(office, HOUR, lambda _: {"Saved": 60.0})

    assert told(judged(rows, MONDAY + 5 * DAY + 12 * HOUR)) == []
    assert told(judged(rows, MONDAY + 7 * DAY + 8 * HOUR + HOUR / 2)) == [("stopped", ("Saved",), 2)]


@pytest.mark.parametrize("at", [datetime(2026, 10, 20, tzinfo=BERLIN), datetime(2027, 3, 23, tzinfo=BERLIN)])
def test_a_nightly_batch_follows_the_clock(at: datetime) -> None:
    """All hours of a day are done at 06:00 of the next, also on the day on which the clock changes."""

    def delays(start: datetime) -> dict[str, float]:
        end = start + HOUR
        day = (end - timedelta(seconds=1)).astimezone(BERLIN).date() + DAY
        batch = datetime(day.year, day.month, day.day, 6, 0, tzinfo=BERLIN)
        return {"Saved": (batch - end).total_seconds()}

    begin = at.astimezone(UTC)
    known = sets(every(HOUR, 24 * 12, begin), HOUR, delays)
    for hours in range(24 * 4, 24 * 11):
        now = begin + hours * HOUR + timedelta(minutes=10)
        rows = {name: row for name, row in known.items() if row["Saved"].first <= spelled(now)}
        assert told(judged(rows, now, BERLIN)) == [], now


def test_a_backfill_does_not_hide_a_stop() -> None:
    """120 hours are caught up, one every five minutes, while live sets come; then both go on without Saved."""
    live = MONDAY + 120 * HOUR

    def delays(start: datetime) -> dict[str, float]:
        place = (start - MONDAY) / HOUR
        caught_up = (live + place * timedelta(minutes=5) - start - HOUR).total_seconds()
        return {"Loaded": 60.0, "Saved": 90.0} if place >= 120 else {"Loaded": caught_up, "Saved": caught_up + 1}

    rows = sets(every(HOUR, 132), HOUR, delays)
    rows |= sets(every(HOUR, 3, MONDAY + 132 * HOUR), HOUR, lambda _: {"Loaded": 60.0})

    assert ("stopped", ("Saved",), 3) in told(judged(rows, MONDAY + 135 * HOUR + timedelta(minutes=50)))


def test_what_a_backfill_has_not_come_to_is_not_missing() -> None:
    """A log that is six hours old, and has caught up 20 of the 120 hours before."""
    live = MONDAY + 120 * HOUR
    rows = sets(every(HOUR, 6, live), HOUR, lambda _: {"Saved": 60.0})
    rows |= sets(
        every(HOUR, 20),
        HOUR,
        lambda start: {"Saved": (live + (start - MONDAY) / 12 - start).total_seconds()},
    )

    assert told(judged(rows, live + 6 * HOUR + timedelta(minutes=20))) == []


def test_a_series_that_takes_the_place_of_another_one_ends_it() -> None:
    """Days that began at midnight begin at six from then on."""
    rows = sets(every(DAY, 12), DAY, lambda _: {"Saved": 600.0})
    rows |= sets(every(DAY, 6, MONDAY + 12 * DAY + 6 * HOUR), DAY, lambda _: {"Saved": 600.0})

    assert told(judged(rows, MONDAY + 18 * DAY + 7 * HOUR)) == []


def test_hours_at_two_phases_are_two_series() -> None:
    """They do not overlap as sliding windows do: each is judged alone."""
    rows = sets(every(HOUR, 50), HOUR, lambda _: {"Saved": 60.0})
    rows |= sets(every(HOUR, 40, MONDAY + HOUR / 2), HOUR, lambda _: {"Saved": 60.0})

    verdict = judged(rows, MONDAY + 50 * HOUR + timedelta(minutes=20))

    assert [series.every for series in verdict.series] == ["1h", "1h"]
    assert told(verdict) == [("stopped", ("Saved",), 9)]


def test_windows_below_a_second_are_a_series() -> None:
    """Floats have no tenth of a second."""
    rows = sets(every(timedelta(milliseconds=100), 300), timedelta(milliseconds=100), lambda _: {"Saved": 0.02})

    verdict = judged(rows, MONDAY + timedelta(seconds=30))

    assert [series.every for series in verdict.series] == ["0.1s"]
    assert told(verdict) == []


def test_sizes_that_come_now_and_then_are_usual() -> None:
    """Three of ten sets have no records, at random: after a while that is nothing to tell."""
    chance = random.Random(5)
    rows: Rows = {}
    for start in every(HOUR, 14 * 24):
        rows |= sets([start], HOUR, lambda _: {"Saved": 60.0}, 0 if chance.random() < 0.3 else chance.randint(380, 420))

    verdict = judged(rows, MONDAY + 14 * DAY + timedelta(minutes=20))

    assert verdict.summary["unusual"] <= 3


def test_sizes_that_swing_are_usual_once_the_swing_is_known() -> None:
    """Also those of the first night, when no one could know."""
    rows: Rows = {}
    for start in every(HOUR, 6 * 24):
        rows |= sets([start], HOUR, lambda _: {"Saved": 60.0}, 0 if start.hour < 6 else 400)

    assert judged(rows, MONDAY + 6 * DAY + timedelta(minutes=20)).summary["unusual"] == 0


def test_a_set_of_nothing_is_unusual() -> None:
    """And ten times the usual number of records, each time it comes."""
    rows: Rows = {}
    for place, start in enumerate(every(HOUR, 8 * 24)):
        size = 0 if place in {180, 181, 182, 183} else 4000 if place == 190 else 400 + place % 7
        rows |= sets([start], HOUR, lambda _: {"Saved": 60.0}, size)

    verdict = judged(rows, MONDAY + 8 * DAY + timedelta(minutes=20))

    assert [(p.state, p.sets, p.size, p.usual) for p in verdict.problems] == [
        ("unusual", 4, 0, 403),
        ("unusual", 1, 4000, 403),
    ]


def test_many_odd_windows_are_many_series_and_no_problem() -> None:
    """A flood of windows of random lengths: none is expected, and judging them again takes nothing."""
    chance = random.Random(3)
    rows: Rows = {}
    for start in every(timedelta(minutes=7), 2000):
        rows |= sets([start], timedelta(seconds=chance.randint(1, 9000)), lambda _: {"Saved": 60.0})

    assert told(judged(rows, MONDAY + 30 * DAY)) == []


def test_a_size_is_unusual_in_a_log_that_grows() -> None:
    """By a third a week, with a swing over the day: what the weeks before had tells little, and this is ten times as
    much."""
    chance = random.Random(3)
    rows: Rows = {}
    for place, start in enumerate(every(HOUR, 60 * 24)):
        size = 1000 * 1.3 ** (place / 168) * (1 + abs(start.hour - 12) / 24) * chance.uniform(0.8, 1.2)
        rows |= sets([start], HOUR, lambda _: {"Saved": 60.0}, round(size * (10 if place == 1400 else 1)))

    assert [(p.state, p.sets) for p in judged(rows, MONDAY + 60 * DAY + timedelta(minutes=20)).problems] == [
        ("unusual", 1)
    ]


@pytest.mark.parametrize("year", [2026, 2027, 2036, 2099, 9999])
def test_a_set_of_the_future_hides_nothing(year: int) -> None:
    """A clock was wrong once: the stop of the others is told as before, whatever the ledger holds for long."""
    rows = sets(every(HOUR, 100), HOUR, lambda _: {"Saved": 60.0})
    ahead = datetime(year, 12, 24, tzinfo=UTC)
    rows |= {f"{spelled(ahead)}/{spelled(ahead + HOUR)}": {"Saved": cell(MONDAY + 100 * HOUR, 90)}}

    verdict = judged(rows, MONDAY + 106 * HOUR + timedelta(minutes=50))

    assert told(verdict) == [("stopped", ("Saved",), 6)]


def test_an_error_in_a_stop_does_not_divide_it() -> None:
    """One try in between failed: it is told beside the stop, which is one of two stages."""
    rows = sets(every(HOUR, 100), HOUR, lambda _: {"Loaded": 60.0, "Saved": 90.0})
    tried = MONDAY + 103 * HOUR
    rows[f"{spelled(tried)}/{spelled(tried + HOUR)}"] = {"ComputeError": cell(tried + HOUR, 60, error="boom")}

    verdict = judged(rows, MONDAY + 108 * HOUR + timedelta(minutes=50))

    assert told(verdict) == [("failed", ("Loaded",), 1), ("stopped", ("Loaded", "Saved"), 7)]
