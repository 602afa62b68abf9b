"""Expectations: what the configuration declares of the sets of one log, in the zone of its pipeline."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta

from etlog_ledger.cadence import Every


@dataclass(frozen=True, slots=True)
class Hours:
    """Some hours of some days, as `only` spells them: `mon-fri 06:00-18:00`. `days` are 0 for Monday to 6.

    An `end` that is not after `start` is on the next day; such a night belongs to the day on which it begins.
    """

    days: frozenset[int]
    start: time
    end: time

    def __contains__(self, start: datetime) -> bool:
        """Whether a window that starts then, in the zone of the pipeline, is one of those."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class Expectation:
    """One `[[expect]]`: these stages of a category, of one cadence or of any (None), are expected.

    They are due a length of time after the end of the window, or at the first such time of the day after it, in the
    pipeline's zone. `only` are the hours in which windows start that are expected, none of them meaning always;
    `excepted` are dates on which none is. Windows that start before `since` are judged by habit.
    """

    category: str
    stages: Sequence[str]
    due: timedelta | time
    every: Every | None = None
    only: Sequence[Hours] = ()
    excepted: frozenset[date] = field(default_factory=frozenset)
    since: datetime | None = None

    def covers(self, start: datetime) -> bool:
        """Whether it speaks of a window that starts then (aware, in the pipeline's zone): by `since` and `only`."""
        raise NotImplementedError

    def excepts(self, start: datetime) -> bool:
        """Whether windows of that day are excepted."""
        return start.date() in self.excepted

    def due_at(self, end: datetime) -> datetime:
        """When a set is due whose window ends then; both are aware, in the pipeline's zone."""
        raise NotImplementedError
