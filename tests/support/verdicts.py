"""Verdicts made by hand, for what shows or tells them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from etlog_ledger.verdict import (
    STATES,
    Fault,
    Habit,
    MarkShown,
    Problem,
    Quantiles,
    SetVerdict,
    Verdict,
    WindowlessErrors,
)

#: The moment that they speak of: 2026-11-18T14:37:10Z.
NOW = 1_795_012_630.0


@dataclass
class Series:
    """The sets of a category, as a judge would give them."""

    category: str = "asset"
    every: str = "1h"
    counts: Mapping[str, Mapping[str, int]] = field(default_factory=lambda: {"Saved": {"done": 48}})
    delay: Mapping[str, Quantiles] = field(default_factory=dict)
    duration: Mapping[str, Quantiles] = field(default_factory=dict)
    length: str | None = None
    is_expected: bool = True
    begins: str = "2026-11-01T00:00:00Z"
    stages: Sequence[str] = ()
    habits: Mapping[str, Habit] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """The stages are those that have counts, and all of them are expected, or none."""
        self.stages = tuple(self.counts)
        self.habits = {stage: Habit(due=100.0) for stage in self.counts} if self.is_expected else {}

    def sets(
        self, *, newest: int | None = None, start: float | None = None, end: float | None = None
    ) -> list[SetVerdict]:
        """None of them."""
        return []


def problem(
    state: Fault, category: str = "asset", *, stages: Sequence[str] = ("Saved",), marked: bool = False
) -> Problem:
    """A problem of one hour."""
    mark = MarkShown("m1", "acknowledged", "we know", "sam", "2026-11-18T14:00:00Z", None) if marked else None
    return Problem(
        id="p1",
        category=category,
        every="1h",
        stages=stages,
        state=state,
        from_="2026-11-18T12:00:00Z",
        to="2026-11-18T13:00:00Z",
        sets=1,
        since="2026-11-18T13:02:00Z",
        text=f"{category} {stages[0]} {state}",
        last_done=None,
        usual_delay=None,
        mark=mark,
    )


def verdict(
    *series: Series,
    problems: Sequence[Problem] = (),
    errors: Sequence[WindowlessErrors] = (),
    heard: Mapping[str, str] | None = None,
    now: float = NOW,
) -> Verdict:
    """A verdict on these series, whose summary is not looked at."""
    return Verdict(now, dict.fromkeys((*STATES, "unusual"), 0), problems, errors, series, heard or {})
