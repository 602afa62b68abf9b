"""Walking the clock through a story: events become rows as they arrive, and every minute has a verdict."""

import random
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from typing import NamedTuple, Protocol

from etlog_events.kinds import KUBECOST_KINDS
from etlog_events.validation import noter
from etlog_ledger.fold import fold
from etlog_ledger.judge import Judge
from etlog_ledger.marks import Mark
from etlog_ledger.retention import Retention
from etlog_ledger.row import Row, decode, encode, merge
from etlog_ledger.verdict import Problem, Verdict

from benchmarks.verdict.faults import Called, Cell, Fault
from benchmarks.verdict.story import Arrival, Story

_MINUTE = 60

#: Sets of each length that a log keeps unless it is said otherwise; and those of which all is known that was before
#: them, as what is usual: sets are dropped in lots, and days are compared.
_KEEP, _KEPT = 2000, 1600

#: The share of the minutes that are skipped in which a verdict is given nonetheless, to be compared.
_SAMPLED = 0.002

_CALLED: Mapping[str, Called] = {
    "failed": "failed",
    "missing": "absent",
    "stopped": "absent",
    "unusual": "unusual",
}


class Judges(Protocol):
    """Who gives the verdicts: a `Judge`, or another one that is tried out."""

    def judge(self, rows: Mapping[str, Mapping[str, Row]], marks: Sequence[Mark], now: datetime) -> Verdict:
        """The verdict on these rows."""


class Told(NamedTuple):
    """What a problem says of sets, in seconds since 1970."""

    category: str
    every: str
    state: str
    stages: tuple[str, ...]
    first: float
    last: float
    sets: int
    text: str

    @classmethod
    def of(cls, problem: Problem) -> "Told":
        """What a problem says."""
        first, last = (datetime.fromisoformat(text).timestamp() for text in (problem.from_, problem.to))
        stages = tuple(problem.stages)
        return cls(problem.category, problem.every, problem.state, stages, first, last, problem.sets, problem.text)


class FalseAlarm(NamedTuple):
    """A problem that was told and was none: when it was opened, and when it was gone."""

    at: float
    until: float
    text: str
    detail: str


@dataclass
class Outcome:
    """How a judge did: `judged` are the verdicts given, `differing` those of minutes that were skipped, sampled and
    different from the verdict before them."""

    alarms: list[FalseAlarm] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    judged: int = 0
    sampled: int = 0
    differing: int = 0
    seconds: float = 0.0


class Rows:
    """The rows of a log as a replica holds them: those that do not change stay the same objects."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, Row]] = {category: {} for category in KUBECOST_KINDS.categories}
        self._kept = {category: Retention(_KEEP) for category in self.rows}
        self._note = noter(KUBECOST_KINDS)

    def add(self, arrivals: Sequence[Arrival]) -> None:
        """Apply events, as the consumer does."""
        for _, event in arrivals:
            kind, _, interval, note = self._note(event.encode())
            row = fold({(kind.name, interval): [note]}, KUBECOST_KINDS)[kind.category][interval]
            rows = self.rows[kind.category].copy()
            held = rows.get(interval)
            if held is not None:
                row = merge(decode(encode(held)), row)
            rows[interval] = row
            kept = self._kept[kind.category]
            if held is None and interval != "-":
                placement = kept.place([interval])
                kept.apply(placement)
                for gone in (*placement.refused, *placement.dropped):
                    del rows[gone]
            self.rows = {**self.rows, kind.category: rows}


class Walk:
    """The walk through a story, from its begin to its end."""

    def __init__(self, story: Story, *, every_minute: bool = False, seed: int = 0, judge: Judges | None = None) -> None:
        self._story = story
        self._judge = judge or Judge(KUBECOST_KINDS, story.pipeline.zone)
        self._every_minute = every_minute
        self._chance = random.Random(seed)
        self._rows = Rows()
        self._faulty = story.faulty()
        self._open: dict[tuple[str, str, Called], tuple[float, Told]] = {}
        self._faults: list[Fault] = []
        self.outcome = Outcome(faults=story.faults)

    def run(self) -> Outcome:
        """Walk."""
        begin, end = (int(moment.timestamp()) // _MINUTE for moment in (self._story.begin, self._story.end))
        arrivals = self._story.arrivals
        self._faults = sorted((fault for fault in self._story.faults if fault.cells), key=lambda fault: fault.began)
        place, minute = 0, begin
        while minute <= end:
            first = place
            while place < len(arrivals) and arrivals[place].at <= minute * _MINUTE:
                place += 1
            self._rows.add(arrivals[first:place])
            then = int(-(-arrivals[place].at // _MINUTE)) if place < len(arrivals) else end + 1
            self._stand_still(minute, min(then, end + 1) - 1)
            minute = then
        for key in list(self._open):
            self._close(key, end * _MINUTE)
        self.outcome.alarms.sort()
        return self.outcome

    def _stand_still(self, first: int, last: int) -> None:
        """See the verdicts of the minutes from `first` to `last`, while nothing arrives."""
        if self._every_minute:
            for minute in range(first, last + 1):
                self._see(minute, self._problems(minute))
            return
        self._see(first, at_first := self._problems(first))
        for minute, problems in self._changes(
            first, at_first, last, self._problems(last) if last > first else at_first
        ):
            self._see(minute, problems)

    def _changes(
        self, first: int, before: Sequence[Told], last: int, after: Sequence[Told]
    ) -> Iterator[tuple[int, Sequence[Told]]]:
        """The minutes after `first` up to `last` in which the problems change, and how.

        While nothing arrives nothing gets better: problems only begin and grow. So where they are the same in two
        minutes, they are so between them; a sample is looked at.
        """
        if before == after:
            if last - first > 1 and self._chance.random() < _SAMPLED * (last - first):
                self.outcome.sampled += 1
                self.outcome.differing += self._problems(self._chance.randrange(first + 1, last)) != before
            return
        if last - first == 1:
            yield last, after
            return
        middle = (first + last) // 2
        between = self._problems(middle)
        yield from self._changes(first, before, middle, between)
        yield from self._changes(middle, between, last, after)

    def _problems(self, minute: int) -> Sequence[Told]:
        self.outcome.judged += 1
        verdict = self._judge.judge(self._rows.rows, (), datetime.fromtimestamp(minute * _MINUTE, UTC))
        return [Told.of(problem) for problem in verdict.problems]

    def _see(self, minute: int, problems: Sequence[Told]) -> None:
        now = float(minute * _MINUTE)
        false: dict[tuple[str, str, Called], Told] = {}
        for told in problems:
            if not self._is_true(told, now):
                false.setdefault((told.category, told.every, _CALLED[told.state]), told)
        for key in self._open.keys() - false.keys():
            self._close(key, now)
        for key, told in false.items():
            self._open.setdefault(key, (now, told))
        self._note_told(problems, now)

    def _close(self, key: tuple[str, str, Called], now: float) -> None:
        at, told = self._open.pop(key)
        span = " to ".join(f"{datetime.fromtimestamp(each, UTC):%F %H:%M}Z" for each in (told.first, told.last))
        detail = f"{told.state} {told.every} {', '.join(told.stages)}, {told.sets} sets from {span}"
        self.outcome.alarms.append(FalseAlarm(at, now, told.text, detail))

    def _is_true(self, told: Told, now: float) -> bool:
        """Whether all that a problem tells of is so: as many cells are wrong as it says."""
        called = _CALLED[told.state]
        return told.category == self._story.pipeline.category and all(
            sum(cell.is_wrong(called, now) for cell in self._within(told, stage)) >= told.sets for stage in told.stages
        )

    def _within(self, told: Told, stage: str) -> Iterator[Cell]:
        """The cells that a fault hits, in the span of a problem."""
        cells = self._faulty.get((told.every, stage), ())
        for cell in islice(cells, bisect_left(cells, told.first, key=lambda cell: cell.first), None):
            if cell.first >= told.last:
                return
            if cell.last <= told.last:
                yield cell

    def _note_told(self, problems: Sequence[Told], now: float) -> None:
        for fault in self._faults:
            if fault.began > now:
                break
            for stage, cell in fault.cells.items():
                is_wrong = cell.is_wrong(fault.called, now)
                if not is_wrong or (stage in fault.told and stage in fault.forgotten):
                    continue
                is_told = any(
                    _CALLED[told.state] == fault.called
                    and told.every == fault.series.every
                    and stage in told.stages
                    and _is_within(cell, told)
                    for told in problems
                )
                if is_told:
                    fault.told.setdefault(stage, now)
                elif stage in fault.told and now - fault.began < _KEPT * (cell.last - cell.first):
                    fault.forgotten.add(stage)


def _is_within(cell: Cell, told: Told) -> bool:
    return told.first <= cell.first and cell.last <= told.last
