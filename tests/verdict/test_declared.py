"""What the configuration declares is judged by it, whatever the log tells."""

from datetime import UTC, datetime, timedelta

import pytest
from etlog_events.kinds import KUBECOST_KINDS
from etlog_ledger.cadence import Every
from etlog_ledger.expectations import Expectation
from etlog_ledger.judge import Judge
from etlog_ledger.row import Cell, Row

HOUR = timedelta(hours=1)
FIRST = datetime(2026, 11, 18, tzinfo=UTC)


def hours(number: int, stage: str = "Saved") -> dict[str, Row]:
    """So many hours from the first one on, each done a minute after its end."""
    found: dict[str, Row] = {}
    for start in (FIRST + number * HOUR for number in range(number)):
        time = f"{start + HOUR + timedelta(minutes=1):%FT%TZ}"
        found[f"{start:%FT%TZ}/{start + HOUR:%FT%TZ}"] = {stage: Cell(1, time, time, time, size=97)}
    return found


def declared(*stages: str, since: datetime | None = None) -> Expectation:
    """Hours of assets with these stages, due after 20 minutes."""
    return Expectation("asset", stages, timedelta(minutes=20), Every.parse("1h"), since=since)


def test_a_series_too_young_for_a_habit_is_told_when_it_is_declared() -> None:
    """And goes on to be told, hour by hour, by a judge that remembers."""
    judge = Judge(KUBECOST_KINDS, UTC, [declared("Saved")])
    rows = {"asset": hours(1)}

    found = [judge.judge(rows, (), FIRST + number * HOUR + timedelta(minutes=21)) for number in (1, 2, 3)]

    assert [verdict.summary["stopped"] for verdict in found] == [0, 1, 2]
    assert [verdict.summary["due"] for verdict in found] == [0, 0, 0]


def test_a_declared_stage_is_due_when_it_is_declared() -> None:
    """Not when it usually was."""
    judge = Judge(KUBECOST_KINDS, UTC, [declared("Saved")])
    rows = {"asset": hours(5)}

    before, after = (judge.judge(rows, (), FIRST + 6 * HOUR + timedelta(minutes=m)) for m in (19, 21))

    assert (before.summary["due"], before.summary["stopped"]) == (1, 0)
    assert (after.summary["due"], after.summary["stopped"]) == (0, 1)


def test_what_never_came_is_told_from_since_on() -> None:
    """A series of which the log knows nothing begins there, and one that came late is not excused."""
    now = FIRST + 5 * HOUR + timedelta(minutes=30)
    expectations = [declared("Saved", "Loaded", since=FIRST - 2 * HOUR)]

    never = Judge(KUBECOST_KINDS, UTC, expectations).judge({}, (), now)
    late = Judge(KUBECOST_KINDS, UTC, expectations).judge({"asset": hours(5)}, (), now)

    assert [(p.stages, p.state, p.sets) for p in never.problems] == [(["Loaded", "Saved"], "stopped", 7)]
    assert never.problems[0].text.startswith("asset Loaded, Saved stopped: never done, 7 sets, 17 Nov 22:00")
    assert [(p.stages, p.state, p.sets) for p in late.problems] == [
        (["Saved"], "missing", 2),
        (["Loaded"], "stopped", 7),
    ]


def test_sets_that_the_ledger_dropped_are_not_missed() -> None:
    """It keeps the newest: what is older may have come."""
    rows = {"asset": dict(list(hours(30).items())[-10:])}
    expectations = [declared("Saved", since=FIRST)]

    verdict = Judge(KUBECOST_KINDS, UTC, expectations, keep=10).judge(
        rows, (), FIRST + 30 * HOUR + timedelta(minutes=5)
    )

    assert verdict.is_sound
    assert verdict.summary["done"] == 10


def test_until_since_a_stage_is_judged_by_its_habit() -> None:
    """The sets before are not those that were meant."""
    now = FIRST + 12 * HOUR + timedelta(minutes=5)
    rows = {"asset": hours(12)}
    del rows["asset"][f"{FIRST + 5 * HOUR:%FT%TZ}/{FIRST + 6 * HOUR:%FT%TZ}"]

    verdict = Judge(KUBECOST_KINDS, UTC, [declared("Saved", since=FIRST + 8 * HOUR)]).judge(rows, (), now)

    assert [(p.state, p.sets, p.from_) for p in verdict.problems] == [("missing", 1, "2026-11-18T05:00:00Z")]


@pytest.mark.parametrize("cadence", [Every.parse("1h"), None], ids=["hours", "any"])
def test_a_rerun_of_an_odd_span_is_not_declared(cadence: Every | None) -> None:
    """One set of another phase among the hours, and one of another length: no more of them are expected."""
    rows = hours(72)
    for length in (HOUR, 5 * HOUR):
        start = FIRST + 30 * HOUR + HOUR / 2
        end = f"{start + length:%FT%TZ}"
        rows[f"{start:%FT%TZ}/{end}"] = {"Saved": Cell(1, end, end, end, size=97)}
    expectation = Expectation("asset", ["Saved"], timedelta(minutes=20), cadence)

    verdict = Judge(KUBECOST_KINDS, UTC, [expectation]).judge(
        {"asset": rows}, (), FIRST + 72 * HOUR + timedelta(minutes=19)
    )

    assert verdict.problems == []
    assert verdict.summary["done"] == 74


def test_what_is_declared_ends_with_the_configuration_alone() -> None:
    """Hours are declared, and half hours follow them: what was declared does not come."""
    rows = hours(72)
    for number in range(20):
        start = FIRST + 72 * HOUR + number * HOUR / 2
        time = f"{start + HOUR / 2 + timedelta(minutes=1):%FT%TZ}"
        rows[f"{start:%FT%TZ}/{start + HOUR / 2:%FT%TZ}"] = {"Saved": Cell(1, time, time, time, size=97)}
    now = FIRST + 82 * HOUR + timedelta(minutes=5)

    def stopped(*expectations: Expectation) -> list[tuple[str, str, int]]:
        verdict = Judge(KUBECOST_KINDS, UTC, expectations).judge({"asset": rows}, (), now)
        return [(problem.state, problem.every, problem.sets) for problem in verdict.problems]

    assert stopped() == []
    assert stopped(declared("Saved")) == [("stopped", "1h", 9)]
