"""The judgement of one series: a state for each stage of each set, and the problems among them."""

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, tzinfo
from functools import partial

from etlog_events.schedule import spell_only

from etlog_ledger import habit, problems
from etlog_ledger.expectations import NOT_EXPECTED, Expectation, declared
from etlog_ledger.marks import Mark, SeriesMarks
from etlog_ledger.problems import Words, text_of
from etlog_ledger.row import STAGES, Cell
from etlog_ledger.series import Failure, Learned, Series, moment_of
from etlog_ledger.verdict import CellVerdict, Fault, Habit, MarkShown, Problem, SetVerdict, Span, State

#: States that are problems.
_FAULTS: dict[State, Fault] = {"failed": "failed", "missing": "missing", "stopped": "stopped"}


@dataclass(frozen=True, slots=True)
class _Found:
    """What is to be said of a stage of a set beyond that it is done. `due` is when it is overdue, seconds since 1970;
    `behind` is the stage whose failure it waits for."""

    state: State
    due: float | None = None
    failure: Failure | None = None
    behind: str | None = None


class JudgedSeries:
    """A `SeriesVerdict`, and the problems of its sets.

    `ends` is when another series took its place, from which on its sets are not expected.
    """

    def __init__(
        self,
        category: str,
        series: Series,
        expectations: Sequence[Expectation],
        marks: SeriesMarks,
        words: Words,
        zone: tzinfo,
        now: float,
        ends: float | None,
    ) -> None:
        self.category = category
        self.every = str(series.grid.every)
        length = str(series.grid.window_length)
        self.length = None if length == self.every else length
        self._series = series
        self._marks = marks
        self._words = words
        self._zone = zone
        self._now = now
        self._ends = ends
        self._declared = {
            stage: of_stage
            for stage in STAGES
            if (of_stage := declared(expectations, category, series.grid.every, stage)) is not None
        }
        self._found: dict[str, dict[int, _Found]] = {}
        self._fail()
        known = {*series.learned, *self._declared, *self._found}
        self.stages = [*series.stages, *(stage for stage in STAGES if stage in known and stage not in series.learned)]
        for stage in self.stages:
            self._await(stage)
        self._unusual = {stage: self._odd(stage) for stage in self.stages}
        self.counts = {stage: self._count(stage) for stage in self.stages}
        self.delay = {stage: found for stage in series.learned if (found := series.delays(stage)) is not None}
        self.duration = {stage: found for stage in series.learned if (found := series.durations(stage)) is not None}
        self.problems = self._problems()

    # What the configuration declares, or else the habit.

    def _is_expected(self, stage: str, learned: Learned | None, place: int) -> bool | float:
        """Whether a stage is expected for the set of a place; if it is declared, when it is due."""
        start, end = self._series.window(place)
        if self._ends is not None and end > self._ends:
            return False
        if (of_stage := self._declared.get(stage)) is not None:
            due = of_stage.due(datetime.fromtimestamp(start, self._zone), datetime.fromtimestamp(end, self._zone))
            if due is not None:
                return False if due is NOT_EXPECTED else due.timestamp()
        return (
            learned is not None
            and learned.is_habitual
            and learned.habit.expects(place, self._series.clock)
            and not habit.is_dropped(
                learned.past, place, learned.last, self._series.step, partial(self._series.same_time, place)
            )
        )

    # What failed.

    def _fail(self) -> None:
        """Find what failed, and whether it was done since."""
        for place, facts in self._series.failed.items():
            owned: dict[str, Failure] = {}
            for failure in facts.failures:
                stage = failure.stage or self._owner(place, failure)
                if stage not in owned or owned[stage].moment < failure.moment:
                    owned[stage] = failure
            for stage, failure in owned.items():
                cell = facts.row.get(stage)
                recovered = cell is not None and moment_of(cell.last) >= failure.moment
                state = self._waived(stage, place, "recovered" if recovered else "failed")
                self._found.setdefault(stage, {})[place] = _Found(state, failure=failure)

    def _owner(self, place: int, failure: Failure) -> str:
        """The stage that an error is of that names none: the first that was not done before it, or else the last."""
        series = self._series
        row = series.sets[place].row
        habitual = [stage for stage in series.stages if series.learned[stage].is_habitual]
        before = [stage for stage in STAGES if stage in row and moment_of(row[stage].first) <= failure.moment]
        for stage in [*habitual, *(stage for stage in STAGES if stage in self._declared), *series.stages]:
            if stage not in before:
                return stage
        return max(before, key=lambda stage: moment_of(row[stage].first), default=STAGES[0])

    # What was not done.

    def _await(self, stage: str) -> None:
        """Find what is expected of a stage, and was not done."""
        series = self._series
        learned = series.learned.get(stage)
        found = self._found.setdefault(stage, {})
        column: Sequence[float | None] = learned.column if learned is not None else ()
        first = 0
        if stage not in self._declared:
            if learned is None or not learned.is_habitual:
                return
            first = learned.habit.starts[0]
        absent = [place for place in range(first, min(len(column), series.ended + 1)) if column[place] is None]
        absent += range(max(len(column), first), series.ended + 1)
        last = -1 if learned is None else learned.last
        unreached = range(0) if learned is None or stage in self._declared else learned.unreached
        has_stopped = False
        for place in absent:
            if place in unreached or place in found or not (expected := self._is_expected(stage, learned, place)):
                continue
            due = expected if expected is not True else None
            if due is None and (learned is None or not self._is_long_ago(learned, place)):
                due = series.due(stage, place, has_stopped)
            if due is not None and self._now < due:
                one = _Found("due", due)
            elif behind := self._failed_before(stage, place):
                one = _Found("due", due, behind=behind)
            else:
                one = _Found("missing" if place < last else "stopped", due)
            has_stopped = one.state == "stopped"
            found[place] = replace(one, state=self._waived(stage, place, one.state)) if self._marks else one
        if learned is not None:
            for place in learned.begun:
                if place > series.ended:
                    found.setdefault(place, _Found("due"))

    def _is_long_ago(self, learned: Learned, place: int) -> bool:
        """Whether the set of a place is overdue in any case: it ended long ago, and nothing was done with it lately."""
        facts = self._series.sets.get(place)
        latest = max(facts.done.values(), default=0.0) if facts is not None else 0.0
        return self._now - max(self._series.window(place)[1], latest) >= learned.lateness.longest

    def _failed_before(self, stage: str, place: int) -> str | None:
        """The stage before this one that failed for the set of a place."""
        for other in self.stages:
            if other == stage:
                return None
            one = self._found.get(other, {}).get(place)
            if one is not None and one.failure is not None and one.state != "recovered":
                return other
        return None

    def _waived(self, stage: str, place: int, state: State) -> State:
        if not self._marks or state == "recovered":
            return state
        return "waived" if self._marks.waiver(stage, *self._series.window(place)) else state

    # What is unusual.

    def _odd(self, stage: str) -> dict[int, int]:
        """The places whose size is unusual, with the usual one."""
        learned = self._series.learned.get(stage)
        if learned is None or not learned.sizes.unusual:
            return {}
        return {
            place: usual
            for place, usual in learned.sizes.unusual.items()
            if place <= self._series.ended
            and self._state(stage, place) in {"done", "recovered"}
            and not (self._marks and self._marks.waiver(stage, *self._series.window(place)))
        }

    def _state(self, stage: str, place: int) -> State | None:
        """The state of a stage of the set of a place; None where nothing is expected, and nothing came."""
        found = self._found.get(stage, {}).get(place)
        if found is not None:
            return found.state
        return "done" if self._came(stage, place) else None

    def _came(self, stage: str, place: int) -> bool:
        facts = self._series.sets.get(place)
        return facts is not None and stage in facts.row

    def _count(self, stage: str) -> dict[str, int]:
        learned = self._series.learned.get(stage)
        found = self._found.get(stage, {})
        counts: Counter[str] = Counter(one.state for one in found.values())
        if learned is not None:
            came = len(learned.column) - learned.column.count(None) + len(learned.begun)
            counts["done"] += came - sum(self._came(stage, place) for place in found)
        if self._unusual[stage]:
            counts["unusual"] = len(self._unusual[stage])
        return {state: number for state, number in counts.items() if number}

    # Problems.

    def _problems(self) -> list[Problem]:
        of_stages: dict[str, dict[Fault, list[tuple[int, ...]]]] = {}
        for stage in self.stages:
            places: dict[Fault, list[int]] = {}
            for place, one in self._found.get(stage, {}).items():
                if (fault := _FAULTS.get(one.state)) is not None:
                    places.setdefault(fault, []).append(place)
            if self._unusual[stage]:
                places["unusual"] = list(self._unusual[stage])
            parts = partial(self._is_settled, stage)
            of_stages[stage] = {
                # Nothing is done behind the begin of a stop: what failed there does not end it.
                fault: [tuple(sorted(some))] if fault == "stopped" else problems.runs(sorted(some), parts)
                for fault, some in places.items()
            }
        merged = problems.merged(of_stages, self.stages, lambda stage, place: self._state(stage, place) == "due")
        return [self._problem(fault, places, stages) for (fault, places), stages in merged.items()]

    def _is_settled(self, stage: str, place: int) -> bool:
        """Whether a stage of the set of a place is known to be right or wrong."""
        return self._state(stage, place) not in {None, "due", "waived"}

    def _problem(self, fault: Fault, places: Sequence[int], stages: Sequence[str]) -> Problem:
        series = self._series
        span = series.window(places[0])[0], series.window(places[-1])[1]
        known = [learned for stage in stages if (learned := series.learned.get(stage)) is not None]
        last = max((learned.last for learned in known), default=-1)
        cells = [series.sets[last].row[stage] for stage in stages if last >= 0 and stage in series.sets[last].row]
        medians = [learned.lateness.median for learned in known if learned.lateness.median is not None]
        failure = max(
            (failure for stage in stages for place in places if (failure := self._failure(stage, place)) is not None),
            key=lambda failure: failure.moment,
            default=None,
        )
        error = failure.cell.error if failure is not None and fault == "failed" else None
        size = usual = None
        if fault == "unusual":
            size = series.sets[places[-1]].row[stages[0]].size
            usual = self._unusual[stages[0]][places[-1]]
        before = series.window(last) if last >= 0 else None
        start = text_of(span[0])
        mark = self._marks.silencer(stages, [series.window(place) for place in places]) if self._marks else None
        return Problem(
            id=problems.id_of(self.category, self.every, self.length, fault, stages[0], start),
            category=self.category,
            every=self.every,
            length=self.length,
            stages=stages,
            state=fault,
            from_=start,
            to=text_of(span[1]),
            sets=len(places),
            since=text_of(min(self._since(fault, stage, places[0]) for stage in stages)),
            last_done=max((cell.last for cell in cells), key=lambda text: text[:-1], default=None),
            usual_delay=round(max(medians), 3) if medians else None,
            size=size,
            usual=usual,
            error=error,
            mark=None if mark is None else _shown(mark),
            text=problems.sentence(
                self._words, self.category, stages, fault, len(places), span, before, error, size, usual
            ),
        )

    def _failure(self, stage: str, place: int) -> Failure | None:
        one = self._found.get(stage, {}).get(place)
        return None if one is None else one.failure

    def _since(self, fault: Fault, stage: str, place: int) -> float:
        """When a stage of a set became wrong."""
        one = self._found.get(stage, {}).get(place)
        if one is not None and fault == "failed" and one.failure is not None:
            return one.failure.moment
        if fault == "unusual":
            return self._series.sets[place].done[stage]
        if one is not None and one.due is not None:
            return one.due
        return self._series.due(stage, place)

    # What is shown.

    @property
    def begins(self) -> str:
        """When the window of its oldest set starts, RFC 3339 in UTC."""
        return text_of(self._series.window(0)[0])

    @property
    def habits(self) -> Mapping[str, Habit]:
        """When each stage is expected, as far as it is."""
        found = {}
        for stage in self.stages:
            learned = self._series.learned.get(stage)
            if (of_stage := self._declared.get(stage)) is not None:
                one = of_stage.expectations[-1]
                due = one.due.total_seconds() if isinstance(one.due, timedelta) else f"{one.due:%H:%M}"
                found[stage] = Habit(due, spell_only(one.only) or None, declared=True)
            elif learned is not None and learned.is_habitual:
                found[stage] = self._series.habit_of(stage)
        return found

    def sets(
        self, *, newest: int | None = None, start: float | None = None, end: float | None = None
    ) -> list[SetVerdict]:
        """Sets by time, the oldest first: the `newest`, and those that overlap the span from `start` to `end`, which
        are seconds since 1970."""
        series = self._series
        places = sorted(series.sets.keys() | {place for found in self._found.values() for place in found})
        if start is not None:
            places = places[bisect_right(places, start, key=lambda place: series.window(place)[1]) :]
        if end is not None:
            places = places[: bisect_left(places, end, key=lambda place: series.window(place)[0])]
        if newest is not None:
            places = places[-newest:] if newest else []
        return [self._set(place) for place in places]

    def _set(self, place: int) -> SetVerdict:
        facts = self._series.sets.get(place)
        start, end = self._series.window(place)
        stages = {}
        for stage in self.stages:
            cell = facts.row.get(stage) if facts is not None else None
            one = self._found.get(stage, {}).get(place)
            if one is not None or cell is not None:
                stages[stage] = self._cell(stage, place, cell, one or _DONE)
        return SetVerdict(Span(text_of(start), text_of(end)), stages)

    def _cell(self, stage: str, place: int, cell: Cell | None, one: _Found) -> CellVerdict:
        learned = self._series.learned.get(stage)
        due = one.due
        if due is None and stage in self._declared:
            expected = self._is_expected(stage, learned, place)
            due = expected if isinstance(expected, float) else None
        elif due is None and learned is not None and learned.is_habitual:
            due = self._series.due(stage, place)
        usual = self._unusual[stage].get(place)
        failed = one.failure
        return CellVerdict(
            state=one.state,
            count=0 if cell is None else cell.n,
            first=None if cell is None else cell.first,
            last=None if cell is None else cell.last,
            size=None if cell is None else cell.size,
            seconds=None if cell is None else cell.seconds,
            error=None if failed is None else failed.cell.error,
            failed=None if failed is None else failed.cell.last,
            unusual=usual is not None,
            usual=usual,
            due=None if due is None else text_of(due),
            behind=one.behind,
        )


_DONE = _Found("done")


def _shown(mark: Mark) -> MarkShown:
    return MarkShown(mark.id, mark.kind, mark.reason, mark.by, mark.at, mark.until)
