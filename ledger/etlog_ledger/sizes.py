"""Sizes: whether the number of records of a set is unusual for its stage.

1. A size is compared with the last `LAST` sets, with those of the same time of the day, and of the same time of the
   week. It is unusual only if it stands out from all of these, as far as there are enough of them.
2. It stands out if it is three times what is usual, or a third, or nothing; more than 20 records away; and further than
   such sizes vary: six standard deviations, as their median deviation tells, in logarithms. Of weeks there are too few
   for that: it is three times the greatest, or a third of the least.
3. What came on three occasions before is not unusual, nor what comes again at the same time of later days.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import log

#: Sets before this one, and those of the same time on earlier days and in earlier weeks, that it is compared with.
LAST, DAYS, WEEKS = 24, 14, 4

#: Of those, how many there must be.
_ENOUGH, _ENOUGH_TIMES, _ENOUGH_WEEKS = 8, 3, 2

#: Sets before this one among which sizes like it are looked for.
_LONG = 200

_TIMES = 3
_RECORDS = 20
_DEVIATIONS = 6.0

_DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class Sizes:
    """The sizes of a stage by place, None where there is none; and where they are `unusual`, what was usual there.

    `once` are those that were unusual when they came, before it was known what comes at that time of later days.
    """

    sizes: Sequence[int | None]
    once: dict[int, int]
    unusual: dict[int, int]


NO_SIZES = Sizes((), {}, {})


def learn(sizes: Sequence[int | None], step: float, before: Sizes = NO_SIZES) -> Sizes:
    """Which sizes are unusual. What is known from `before` is kept up to the first size that changed."""
    known = [size for size in sizes if size is not None]
    if not known or max(known) + 1 < _TIMES * (min(known) + 1):
        return Sizes(sizes, {}, {})
    same = 0
    if before.sizes:
        most = min(len(sizes), len(before.sizes))
        same = most if sizes[:most] == before.sizes[:most] else _first_change(sizes, before.sizes, most)
    once = {place: usual for place, usual in before.once.items() if place < same}
    day = round(_DAY / step) if _DAY % step == 0 and step < _DAY else 0
    week = round(7 * _DAY / step) if (7 * _DAY) % step == 0 and step < 7 * _DAY else 0
    last = [size for size in sizes[:same] if size is not None][-LAST:]
    low, high = (min(last), max(last)) if last else (0, 0)
    for place in range(same, len(sizes)):
        size = sizes[place]
        if size is None:
            continue
        # Most sizes are like one of the last: only the others are worth the medians.
        if not (low <= size <= high and low * 3 >= high) and len(last) >= _ENOUGH:
            usual = _usual(sizes, place, size, last, day, week)
            if usual is not None:
                once[place] = usual
        last.append(size)
        if len(last) > LAST:
            gone = last.pop(0)
            if gone in (low, high):
                low, high = min(last), max(last)
        low, high = (min(low, size), max(high, size)) if len(last) > 1 else (size, size)
    return Sizes(sizes, once, {place: usual for place, usual in once.items() if not _comes_again(sizes, place, day)})


def _first_change(sizes: Sequence[int | None], before: Sequence[int | None], most: int) -> int:
    return next(place for place in range(most) if sizes[place] != before[place])


def _usual(sizes: Sequence[int | None], place: int, size: int, last: Sequence[int], day: int, week: int) -> int | None:
    """The usual size where this one stands out from all that it is compared with, else None."""
    usual = _stands_out(size, last)
    if usual is None:
        return None
    if day:
        days = _at(sizes, place, day, DAYS)
        if len(days) >= _ENOUGH_TIMES:
            usual = _stands_out(size, days)
            if usual is None:
                return None
        elif size or min(last) <= _RECORDS:
            return None  # too young to know what a day looks like, but for a set of nothing
    if week:
        weeks = _at(sizes, place, week, WEEKS)
        if len(weeks) >= _ENOUGH_WEEKS and not _exceeds(size, weeks):
            return None
    return None if _often(size, sizes[max(place - _LONG, 0) : place]) else usual


def _often(size: int, before: Sequence[int | None]) -> bool:
    """Whether sizes like this one came now and then before: a run of them is one time, and the last may be this one."""
    alike = [abs(other - size) <= max(_RECORDS, size / 2) for other in before if other is not None]
    return sum(one and not following for one, following in pairwise(alike)) >= _ENOUGH_TIMES


def _comes_again(sizes: Sequence[int | None], place: int, day: int) -> bool:
    """Whether sets of the same time of later days are like this one."""
    size = sizes[place]
    later = [other for other in sizes[place + day :: day][:DAYS] if other is not None] if day else []
    return size is not None and len(later) >= _ENOUGH_TIMES and _stands_out(size, later) is None


def _at(sizes: Sequence[int | None], place: int, period: int, most: int) -> list[int]:
    found = (sizes[place - back * period] for back in range(1, most + 1) if place >= back * period)
    return [size for size in found if size is not None]


def _exceeds(size: int, others: Sequence[int]) -> bool:
    """Whether a size is three times the greatest of some others, or a third of the least: so few tell no deviation."""
    least, greatest = min(others), max(others)
    return size + 1 >= _TIMES * (greatest + 1) or (size + 1) * _TIMES <= least + 1


def _stands_out(size: int, others: Sequence[int]) -> int | None:
    """The usual one of the other sizes, if this one stands out from them."""
    usual = sorted(others)[len(others) // 2]
    if abs(size - usual) <= _RECORDS:
        return None
    middle, logarithm = log(usual + 1), log(size + 1)
    distance = abs(logarithm - middle)
    if distance < log(_TIMES):
        return None
    deviations = sorted(abs(log(other + 1) - middle) for other in others)
    return usual if distance > _DEVIATIONS * 1.4826 * deviations[len(deviations) // 2] else None
