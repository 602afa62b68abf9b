"""The rules of docs/verdict.md on when a set is overdue, and what is learned of it."""

import random
from datetime import UTC, datetime, timedelta
from itertools import product

from verdict.rows import BERLIN, DAY, HOUR, MONDAY, Rows, cell, every, judged, sets, spelled, told

MINUTE = timedelta(minutes=1)


def test_two_sets_that_were_caught_up_do_not_delay_the_next_alarm() -> None:
    """One day the set came with that of the next day: it was late, and no sign of how late sets usually are."""
    chance = random.Random(1)
    rows = sets(
        every(DAY, 40),
        DAY,
        lambda start: {"Saved": 86_600 if start == MONDAY + 30 * DAY else chance.uniform(300, 900)},
    )

    assert told(judged(rows, MONDAY + 41 * DAY + HOUR)) == [("stopped", ("Saved",), 1)]


def test_a_set_that_an_outage_delayed_does_not_delay_the_next_alarm() -> None:
    """Friday's last hour came on Saturday, and Monday's first one does not come."""
    office = [start for start in every(HOUR, 21 * 24) if start.weekday() < 5 and 6 <= start.hour < 18]
    rows = sets(office, HOUR, lambda start: {"Saved": 70_000.0 if start == office[-1] else 60.0})

    verdict = judged(rows, MONDAY + 21 * DAY + 7 * HOUR + 20 * MINUTE)

    assert told(verdict) == [("stopped", ("Saved",), 1)]


def test_delays_that_changed_for_good_are_learned_anew() -> None:
    """Hours come 20 minutes later than they did: a stop is told soon after that, not by what they differed before."""
    chance = random.Random(1)
    changed = MONDAY + 500 * HOUR
    rows = sets(
        every(HOUR, 700), HOUR, lambda start: {"Saved": chance.uniform(50, 70) + (1200 if start >= changed else 0)}
    )

    assert told(judged(rows, MONDAY + 701 * HOUR + 26 * MINUTE)) == []
    assert told(judged(rows, MONDAY + 701 * HOUR + 33 * MINUTE)) == [("stopped", ("Saved",), 1)]


def batched(start: datetime, hour: int, minute: int) -> float:
    """How long after its end an hour is done in a batch of the night, in UTC."""
    end = start + HOUR
    batch = end.replace(hour=hour, minute=minute)
    return ((batch if batch > end else batch + DAY) - end).total_seconds()


def test_what_waits_for_the_batch_of_the_next_night_is_not_overdue_before() -> None:
    """Whatever the last batch left out: those behind it are none of its sets."""
    rows = sets(every(HOUR, 14 * 24), HOUR, lambda start: {"Saved": batched(start, 4, 30)})
    night = MONDAY + 13 * DAY + 4 * HOUR + 30 * MINUTE
    done = {name: row for name, row in rows.items() if row["Saved"].first <= spelled(night)}
    del done[f"{spelled(night - 90 * MINUTE)}/{spelled(night - 30 * MINUTE)}"]

    for hours in range(2, 24):
        assert told(judged(done, night + hours * HOUR)) == [("stopped", ("Saved",), 1)], hours


def test_a_batch_is_as_late_as_it_was_on_other_nights() -> None:
    """Some nights it takes half an hour: the night after a stop that was caught up knows that."""
    chance = random.Random(4)
    nights = [chance.uniform(300, 420) for _ in range(20)]
    nights[2] = 1500

    def delays(start: datetime) -> dict[str, float]:
        seconds = batched(start, 4, 30)
        night = (start + HOUR + timedelta(seconds=seconds) - MONDAY).days
        if night in {5, 6}:
            return {"Saved": seconds + (7 - night) * 86_400 + nights[7]}
        return {"Saved": seconds + nights[night]}

    rows = sets(every(HOUR, 19 * 24), HOUR, delays)
    night = MONDAY + 18 * DAY + 4 * HOUR + 30 * MINUTE
    done = {name: row for name, row in rows.items() if row["Saved"].first < spelled(night)}

    assert told(judged(done, night + 25 * MINUTE)) == []
    assert [problem.state for problem in judged(done, night + 60 * MINUTE).problems] == ["stopped"]


def test_what_a_weekend_leaves_comes_on_monday() -> None:
    """Hours that end on Saturday, on Sunday and on Monday before six are done then, one every two minutes.

    When the log began, there was no weekend before, so the first Monday was earlier done with them.
    """
    rows: Rows = {}
    done = MONDAY
    for start in every(HOUR, 35 * 24):
        end = start + HOUR
        waits = end.weekday() >= 5 or (end.weekday() == 0 and end.hour < 6)
        monday = (end + 2 * DAY - timedelta(days=(end + 2 * DAY).weekday())).replace(hour=6)
        done = max(done + 2 * MINUTE, monday if waits else end + MINUTE)
        rows |= sets([start], HOUR, lambda _, delay=done - end: {"Saved": delay.total_seconds()})  # type: ignore[misc]

    for week, hours in product((3, 4), range(1, 8)):
        now = MONDAY + week * 7 * DAY + hours * HOUR
        known = {name: row for name, row in rows.items() if row["Saved"].first <= spelled(now)}
        assert told(judged(known, now)) == [], now


def test_clocks_that_change_do_not_make_a_hole_a_habit() -> None:
    """Office hours begin at six o'clock in Berlin; on the Monday after the clock went forward, the first is missing.

    At that time of the weeks before, in UTC, nothing was done.
    """
    office = [
        start
        for start in every(HOUR, 42 * 24, datetime(2027, 2, 22, tzinfo=BERLIN).astimezone(UTC))
        if start.astimezone(BERLIN).weekday() < 5 and 6 <= start.astimezone(BERLIN).hour < 18
    ]
    missing = datetime(2027, 3, 29, 6, tzinfo=BERLIN).astimezone(UTC)
    rows = sets([start for start in office if start != missing], HOUR, lambda _: {"Saved": 60.0})

    for later in (2 * HOUR, DAY, 3 * DAY):
        now = missing + later + 30 * MINUTE
        known = {name: row for name, row in rows.items() if row["Saved"].first <= spelled(now)}
        assert told(judged(known, now, BERLIN)) == [("missing", ("Saved",), 1)], later


def test_a_set_that_may_yet_come_is_not_left_out() -> None:
    """Two Saturdays are missing; on the third one, before it is overdue, they still are."""
    saturdays = {MONDAY + 12 * DAY, MONDAY + 19 * DAY}
    rows = sets(
        [start for start in every(DAY, 27) if start not in saturdays], DAY, lambda _: {"Loaded": 60.0, "Saved": 3600.0}
    )
    del rows[next(reversed(rows))]["Saved"]

    assert told(judged(rows, MONDAY + 27 * DAY + HOUR / 2)) == [("missing", ("Loaded", "Saved"), 1)] * 2


def test_a_stage_waits_for_one_that_caught_up_a_set_of_long_ago() -> None:
    """Loaded is done now for an hour of three weeks ago: Saved has its usual time after that."""
    hole = MONDAY + 200 * HOUR
    rows = sets(
        [start for start in every(HOUR, 700) if start != hole], HOUR, lambda _: {"Loaded": 60.0, "Saved": 400.0}
    )
    now = MONDAY + 700 * HOUR + 10 * MINUTE
    assert told(judged(rows, now)) == [("missing", ("Loaded", "Saved"), 1)]

    rows[f"{spelled(hole)}/{spelled(hole + HOUR)}"] = {"Loaded": cell(now, 0)}

    assert told(judged(rows, now + MINUTE)) == []
    assert told(judged(rows, now + 40 * MINUTE)) == [("missing", ("Saved",), 1)]


def test_stages_that_stop_one_after_the_other_are_one_problem() -> None:
    """Saved is overdue a quarter of an hour after Loaded, set by set: it is one stop, under one id."""
    rows = sets(every(HOUR, 100), HOUR, lambda _: {"Loaded": 60.0, "Saved": 960.0})

    verdicts = [judged(rows, MONDAY + 101 * HOUR + minutes * MINUTE) for minutes in range(10, 400)]
    problems = [verdict.problems for verdict in verdicts]

    assert {len(found) for found in problems} == {1}
    assert len({found[0].id for found in problems}) == 1
    assert {tuple(found[0].stages) for found in problems} == {("Loaded",), ("Loaded", "Saved")}
    assert all(found[0].sets == max(1, verdict.summary["stopped"] // 2 + verdict.summary["stopped"] % 2)
               for verdict, found in zip(verdicts, problems, strict=True))  # fmt: skip


def test_a_stage_that_was_caught_up_is_still_the_first() -> None:
    """Loaded stood still for a third of the sets while Saved went on: an error that names no stage is Loaded's."""
    chance = random.Random(2)
    again = MONDAY + 151 * HOUR

    def delays(start: datetime) -> dict[str, float]:
        seconds = chance.uniform(60, 600)
        stood = 90 <= (start - MONDAY) / HOUR < 150
        return {
            "Loaded": (again - start - HOUR).total_seconds() + seconds / 100 if stood else seconds,
            "Saved": seconds + 5,
        }

    rows = sets(every(HOUR, 152), HOUR, delays)
    failed = MONDAY + 152 * HOUR
    rows[f"{spelled(failed)}/{spelled(failed + HOUR)}"] = {"ComputeError": cell(failed + HOUR, 30, error="403")}

    assert ("failed", ("Loaded",), 1) in told(judged(rows, failed + HOUR + MINUTE))


def test_a_failure_of_a_window_that_runs_is_told_at_once() -> None:
    """Also where its stage was done before, as windows that run are done again and again."""
    rows = sets(every(HOUR, 50), HOUR, lambda _: {"Saved": 60.0})
    start = MONDAY + 50 * HOUR
    rows[f"{spelled(start)}/{spelled(start + HOUR)}"] = {
        "Saved": cell(start + HOUR, -2400),
        "ComputeError.Saved": cell(start + HOUR, -1200, error="disk full"),
    }

    assert told(judged(rows, start + 50 * MINUTE)) == [("failed", ("Saved",), 1)]


def test_rows_that_someone_else_wrote_take_down_no_verdict() -> None:
    """A size below zero, and a window of thousands of years."""
    rows = sets(every(HOUR, 50), HOUR, lambda _: {"Saved": 60.0}, 400)
    rows[next(reversed(rows))]["Saved"] = cell(MONDAY + 50 * HOUR, 60, size=-1)
    rows["2026-01-01T00:00:00Z/5000-01-01T00:00:00Z"] = {"Saved": cell(MONDAY + 50 * HOUR, 60)}

    verdict = judged(rows, MONDAY + 50 * HOUR + 10 * MINUTE)

    assert told(verdict) == [("unusual", ("Saved",), 1)]
    assert [series.every for series in verdict.series] == ["1h"]
