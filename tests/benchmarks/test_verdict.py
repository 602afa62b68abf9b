"""The walk through days of pipelines: it finds each false alarm and each fault that a judge misses, or tells late."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from etlog_ledger.marks import Mark
from etlog_ledger.row import Row
from etlog_ledger.verdict import Problem, Verdict

from benchmarks.verdict import report
from benchmarks.verdict.faults import Cell
from benchmarks.verdict.pipelines import PIPELINES
from benchmarks.verdict.report import Run
from benchmarks.verdict.story import Story, tell
from benchmarks.verdict.walk import Walk

BY_NAME = {pipeline.name: pipeline for pipeline in PIPELINES}
NAMES = ("hourly, many retries", "nightly batch", "hours, days and weeks")
STATES = {"failed": "failed", "absent": "missing", "unusual": "unusual"}


class Knowing:
    """A judge that knows what was planted, and tells each cell that is wrong as a problem: `later` seconds later, only
    those `told`, and `more` that are not wrong."""

    def __init__(
        self, story: Story, later: float = 0, told: Any = lambda _: True, more: Sequence[Problem] = ()
    ) -> None:
        self._cells = [
            (cell, problem(every, cell, STATES[cell.fault.called]))
            for (every, _), cells in story.faulty().items()
            for cell in cells
            if cell.fault is not None and not cell.behind
        ]
        self._later = later
        self._told = told
        self._more = more

    def judge(self, rows: Mapping[str, Mapping[str, Row]], marks: Sequence[Mark], now: datetime) -> Verdict:
        """What is wrong now."""
        problems = [*self._problems(now.timestamp()), *(each for each in self._more if _is_open(each, now))]
        return Verdict(now.timestamp(), {}, problems, (), (), {})

    def _problems(self, now: float) -> Iterator[Problem]:
        for cell, found in self._cells:
            if cell.first > now or cell.fault is None or not self._told(cell.fault):
                continue
            called = cell.fault.called
            due = cell.natural if called == "absent" else now - self._later
            if cell.is_wrong(called, now) and now >= due + self._later and cell.is_wrong(called, now - self._later):
                yield found


def problem(every: str, cell: Cell, state: Any) -> Problem:
    """A problem that tells of one cell."""
    first, last = (moment.strftime("%Y-%m-%dT%H:%M:%SZ") for moment in cell.window)
    return Problem(
        "id", "allocation", every, [cell.stage], state, first, last, 1, last, f"{state} {cell.stage}", None, None, None
    )


def _is_open(each: Problem, now: datetime) -> bool:
    since = datetime.fromisoformat(each.since)
    return since <= now < since + timedelta(minutes=30)


def walked(story: Story, judge: Knowing) -> Run:
    """What the walk finds of a judge."""
    return report.summed_up(story, Walk(story, judge=judge).run(), 1)


@pytest.mark.parametrize("name", NAMES)
def test_a_judge_who_knows_is_right(name: str) -> None:
    """Of each fault it is told in time, and nothing else."""
    story = tell(BY_NAME[name], 40 if "weeks" in name else 25, 1)

    found = walked(story, Knowing(story))

    assert list(found.broken) == []
    assert found.faults > 1
    assert len(found.told) == found.faults


def test_what_is_not_told_is_missed() -> None:
    """Each fault of that kind."""
    story = tell(BY_NAME["hourly"], 30, 1)

    found = walked(story, Knowing(story, told=lambda fault: fault.kind != "hole"))

    assert [sentence.split()[0] for sentence in found.missed] == ["hole"]


def test_what_is_told_hours_later_is_late() -> None:
    """Later than twice the usual delay and all of its spread."""
    story = tell(BY_NAME["hourly"], 30, 1)

    found = walked(story, Knowing(story, later=4 * 3600))

    assert "hole" in {sentence.split()[0] for sentence in found.late}


def test_a_problem_that_was_not_planted_is_a_false_alarm() -> None:
    """One, however long it lasts, and it says when and what, to be made a case."""
    story = tell(BY_NAME["hourly"], 20, 1)
    cell = next(
        cell
        for cell in story.cells["1h", "Saved"].values()
        if cell.fault is None and cell.window.start > story.begin + timedelta(days=10)
    )

    found = walked(story, Knowing(story, more=[problem("1h", cell, "missing")]))

    [alarm] = found.alarms
    assert datetime.fromtimestamp(alarm.at, UTC) == cell.window.end
    assert 29 * 60 <= alarm.until - alarm.at <= 31 * 60
    assert alarm.text == "missing Saved"


def test_a_seed_tells_the_same_story_again() -> None:
    """So that a false alarm can be looked at."""
    first, again, another = (tell(BY_NAME["daily"], 30, seed).arrivals for seed in (1, 1, 2))

    assert first == again
    assert first != another
