"""Habit: for which windows a stage is expected, learned from those for which it was done.

1. A stage has a habit once it was done on `OCCASIONS` occasions; one that is done once in a while has none.
2. The habit is the coarsest that explains the windows between the first and the last one done: always, by the time of
   day, by weekend and time, or by weekday and time. It may fail to explain 6 of 100, or two.
3. Outages are no habit: if none explains all, the longest holes are left out, one and another for every two weeks.
4. If still none does, the habit changed: the later half is explained alone, and the earlier one, too.
5. What is left out at the same time of three days, or of three weeks, in a row, while the stage went on in between, is
   not expected any more: that is how a new habit begins.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import time
from typing import TypeAlias

from etlog_events.schedule import Hours

#: Occasions on which a stage must have been done to have a habit.
OCCASIONS = 3

#: The share of windows that a habit need not explain, and how many there may be in any case.
_MISFITS, _FEW = 0.06, 2

#: Observations from which a part of the week is judged by itself.
_EVIDENCE = 2

#: Sets that must be done before a hole may be an outage.
_KNOWN = 10

#: Days that are explained together at most, and places of a span that is not split any more.
_MEMORY, _SHORT = 42, 16

_DAY = 86_400.0
_SATURDAY = 5

#: When each stage was done, by place; None where it was not.
Column: TypeAlias = Sequence[float | None]

#: The weekday and the time of day, in seconds, at which the window of a place begins.
Clock: TypeAlias = Callable[[int], tuple[int, float]]

#: A part of the week: some days, and a time of the day.
_Part: TypeAlias = tuple[int, float]


def _by_time(_: int, time: float) -> _Part:
    return 0, time


#: By time, by weekend and time, by weekday and time.
_PARTINGS: tuple[Callable[[int, float], _Part], ...] = (
    _by_time,
    lambda weekday, time: (weekday // _SATURDAY, time),
    lambda weekday, time: (weekday, time),
)


@dataclass(frozen=True, slots=True)
class Rule:
    """Which windows are expected: all, or those in the parts of the week for which `parts` has True."""

    part_of: Callable[[int, float], _Part] | None = None
    parts: dict[_Part, bool] | None = None

    def __call__(self, weekday: int, time: float) -> bool:
        """Whether a window is expected that begins then."""
        if self.part_of is None or self.parts is None:
            return True
        return self.parts.get(self.part_of(weekday, time), False)


_ALWAYS = Rule()


@dataclass(frozen=True, slots=True)
class Habit:
    """The rules of a stage, each from a place on; None where it has no habit there."""

    starts: Sequence[int]
    rules: Sequence[Rule | None]

    @property
    def now(self) -> Rule | None:
        """The rule for windows to come."""
        return self.rules[-1] if self.rules else None

    def expects(self, place: int, clock: Clock) -> bool:
        """Whether the window at a place is expected."""
        number = bisect_right(self.starts, place) - 1
        if number < 0:
            return False
        rule = self.rules[number]
        return rule is not None and (rule.part_of is None or rule(*clock(place)))


def learn(column: Column, clock: Clock, step: float) -> Habit:
    """The habit of a stage with sets every `step` seconds. `column` begins with the first set of the series."""
    done = [place for place, moment in enumerate(column) if moment is not None]
    if not done:
        return Habit((), ())
    first, last = done[0], done[-1]
    misfits, _ = _misfits(column, first, last, _ALWAYS, clock)
    if misfits <= _most(len(done)):
        return Habit((first,), (_weekdays(column, first, last, clock) or _ALWAYS if misfits else _ALWAYS,))
    spans: list[tuple[int, Rule | None]] = []
    until = last
    memory = max(int(_MEMORY * _DAY / step), _SHORT)
    while until >= first:
        start = max(first, until - memory + 1)
        rule = _explained(column, start, until, clock, step)
        while rule is None and until - start >= 2 * _SHORT and (until - start) * step > 7 * _DAY:
            start = (start + until + 1) // 2
            rule = _explained(column, start, until, clock, step)
        if rule is None:
            start = max(first, until - memory + 1)
        elif start - first <= _SHORT:
            start = first
        spans.append((start, rule))
        until = start - 1
    spans.reverse()
    return Habit([start for start, _ in spans], [rule for _, rule in spans])


def is_dropped(column: Column, place: int, last: int, step: float, same_time: Callable[[int], int]) -> bool:
    """Whether it is one of three windows in a row, of the same time of day or week, that were left out, while the stage
    went on between them.

    `last` is the last window done: those behind it may yet come. `same_time` gives the place near another one that is
    of that time, as clocks change.
    """
    return any(
        _left_out(column, place, last, round(period / step), same_time)
        for period in (_DAY, 7 * _DAY)
        if step < period and period % step == 0
    )


def _left_out(column: Column, place: int, last: int, period: int, same_time: Callable[[int], int]) -> bool:
    """Whether the windows one and two periods away, before or behind, were left out, and the stage went on between."""
    for first in (place - 2 * period, place - period, place):
        holes = tuple(same_time(first + number * period) for number in range(3))
        if holes[0] < 0 or any(hole != place and (hole > last or column[hole] is not None) for hole in holes):
            continue
        between = (column[holes[0] + 1 : holes[1]], column[holes[1] + 1 : holes[2]])
        if all(any(moment is not None for moment in some) for some in between):
            return True
    return False


def _most(done: int) -> float:
    """How many windows a habit need not explain, by the number of those that were done."""
    return min(max(_FEW, _MISFITS * done), done / 2)


def _weekdays(column: Column, first: int, last: int, clock: Clock) -> Rule | None:
    """The rule that nothing is done at weekends, if that explains all: what is missing then is no hole."""
    holes = [place for place in range(first, last + 1) if column[place] is None]
    days = {clock(place)[0] for place in holes}
    if min(days) < _SATURDAY or len(days) < 2:
        return None
    _, weekend, _ = _parted(column, first, last, clock)
    return weekend if _misfits(column, first, last, weekend, clock)[0] == 0 else None


def _explained(column: Column, first: int, last: int, clock: Clock, step: float) -> Rule | None:
    """The coarsest rule that explains a span, None if none does."""
    done = sum(column[place] is not None for place in range(first, last + 1))
    if not done:
        return None
    most = _most(done)
    outages = 1 + int((last - first) * step / (14 * _DAY))
    found = []
    rules = [_ALWAYS, *_parted(column, first, last, clock)] if step < 7 * _DAY else [_ALWAYS]
    for rule in rules:
        misfits, holes = _misfits(column, first, last, rule, clock)
        if misfits <= most:
            if rule.parts is None or not any(rule.parts.values()):
                return rule if rule.parts is None else None
            return rule if rule.part_of is not _by_time or _sees_weekend(first, last, clock) else rules[2]
        longest = sum(sorted(holes, reverse=True)[:outages])
        if longest <= done >= _KNOWN:
            found.append((rule, misfits - longest))
    return next(
        (rule for rule, misfits in found if misfits <= most and (rule.parts is None or any(rule.parts.values()))), None
    )


def _sees_weekend(first: int, last: int, clock: Clock) -> bool:
    """Whether a window of a span is at a weekend. Who has hours has weekends, too, until one was seen."""
    return any(clock(place)[0] >= _SATURDAY for place in range(first, last + 1))


def _parted(column: Column, first: int, last: int, clock: Clock) -> list[Rule]:
    """The rules that part the week, the coarser first. What was observed too seldom follows the coarser rule."""
    seen: defaultdict[tuple[int, float], list[int]] = defaultdict(lambda: [0, 0])
    for place in range(first, last + 1):
        observed = seen[clock(place)]
        observed[0] += 1
        observed[1] += column[place] is not None
    rules: list[Rule] = []
    coarser: Rule = _ALWAYS
    for part_of in _PARTINGS:
        sums: defaultdict[_Part, list[int]] = defaultdict(lambda: [0, 0])
        example: dict[_Part, tuple[int, float]] = {}
        for moment, (number, done) in seen.items():
            part = part_of(*moment)
            sums[part][0] += number
            sums[part][1] += done
            example[part] = moment
        parts = {
            part: done * 2 > number if number >= _EVIDENCE and done * 2 != number else coarser(*example[part])
            for part, (number, done) in sums.items()
        }
        coarser = Rule(part_of, parts)
        rules.append(coarser)
    return rules


def _misfits(column: Column, first: int, last: int, rule: Rule, clock: Clock) -> tuple[int, list[int]]:
    """How many windows a rule does not explain, and how long the holes in what it expects are."""
    holes: list[int] = []
    odd = hole = 0
    for place in range(first, last + 1):
        is_done = column[place] is not None
        if rule.part_of is not None and not rule(*clock(place)):
            odd += is_done
        elif is_done:
            if hole:
                holes.append(hole)
            hole = 0
        else:
            hole += 1
    return odd + sum(holes) + hole, [*holes, hole] if hole else holes


def hours(rule: Rule | None, step: float) -> tuple[Hours, ...]:
    """The hours of the days in which a rule expects windows to begin; none for always."""
    if rule is None or rule.parts is None:
        return ()
    times = sorted({moment for _, moment in rule.parts})
    days: defaultdict[tuple[time, time], set[int]] = defaultdict(set)
    for weekday in range(7):
        for first, last in _spans([moment for moment in times if rule(weekday, moment)], min(step, _DAY)):
            days[_clock(first), _clock(last)].add(weekday)
    return tuple(Hours(frozenset(weekdays), first, last) for (first, last), weekdays in days.items())


def _spans(times: Sequence[float], step: float) -> list[list[float]]:
    """The spans that windows make which begin at these times of a day, and follow one another."""
    spans: list[list[float]] = []
    for moment in times:
        if spans and moment - spans[-1][1] < 1:
            spans[-1][1] = moment + step
        else:
            spans.append([moment, moment + step])
    return spans


def _clock(seconds: float) -> time:
    return time(int(seconds % _DAY // 3600), int(seconds % 3600 // 60))
