"""Lateness: how long after the end of its window a stage is usually done with a set, and from when on it is overdue.

1. Sets are done on occasions: those that are done within a quarter of a step of one another are done together. Three or
   more are a catch-up, from which nothing is learned, unless most occasions are such.
2. The delays of the newest `NEWEST` sets are taken as log-normal, as waiting times are. A set is overdue when its delay
   would come to pass once in five years, no earlier than five minutes, or a third of a step, after the longest of them.
   While fewer than `FEW` are known, it is overdue half a step after the longest of them.
3. Sets of a time of day, or of the week, that were later the last times are given that time again: what a nightly batch
   takes along, or what a weekend leaves for Monday.
4. After sets that came late, the next one may be as late, up to one step: delays change gradually, and all at once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from math import exp, log, sqrt
from statistics import NormalDist
from typing import TypeAlias

#: Sets from which delays are learned, and below which too little is known of them.
NEWEST, FEW = 200, 5

#: Sets that are done together from which an occasion is a catch-up.
_MANY = 3

#: Seconds and share of a step that are always granted: clocks differ, and so do schedules.
_GRACE, _SHARE = 300.0, 1 / 3

#: Seconds in which a stage may be called overdue by chance once.
_CHANCE = 5 * 365 * 86_400.0

_DAY = 86_400.0

#: Quantiles from which the spread is taken, with how many standard deviations they lie above the median.
_SPREADS = ((0.75, 0.6745), (0.9, 1.2816), (0.975, 1.96))

#: Of a place: when the window ended, when the set was done, and both on the clocks of the zone.
Done: TypeAlias = Sequence[float | None]


@dataclass(frozen=True, slots=True)
class Lateness:
    """What is known of the delays of a stage, in seconds: the median, what 95 of 100 do not exceed, and the `limit`
    from which on a set is overdue; None without any. `occasions` are counted up to a few, `is_batch` means that most
    are catch-ups."""

    median: float | None
    p95: float | None
    limit: float | None
    occasions: int
    is_batch: bool
    step: float

    @property
    def grace(self) -> float:
        """What is granted in any case."""
        return min(_GRACE, self.step * _SHARE)


@lru_cache(maxsize=256)
def _deviations(step: float) -> float:
    """Standard deviations beyond which one set falls within `_CHANCE`, of those that come every `step` seconds."""
    return NormalDist().inv_cdf(1 - min(step / _CHANCE, 0.05))


def learn(done: Sequence[tuple[float, float]], step: float) -> Lateness:
    """What the newest sets tell: for each, by time, when its window ended and when it was done."""
    newest = done[-NEWEST:]
    if not newest:
        return Lateness(None, None, None, 0, False, step)
    occasions = _occasions(newest, step / 4)
    many = sum(len(occasion) >= _MANY for occasion in occasions)
    is_batch = many * 2 > len(occasions)
    if many and not is_batch:
        live = [delay for occasion in occasions if len(occasion) < _MANY for delay in occasion]
    else:
        live = [moment - end for end, moment in newest]
    delays = sorted(live)
    return Lateness(quantile(delays, 0.5), quantile(delays, 0.95), _limit(delays, step), len(occasions), is_batch, step)


def _occasions(done: Sequence[tuple[float, float]], gap: float) -> list[list[float]]:
    """The delays of sets that were done together."""
    by_moment = sorted((moment, moment - end) for end, moment in done)
    occasions = [[by_moment[0][1]]]
    for (before, _), (moment, delay) in pairwise(by_moment):
        if moment - before < gap:
            occasions[-1].append(delay)
        else:
            occasions.append([delay])
    return occasions


def _limit(delays: Sequence[float], step: float) -> float:
    """The delay from which on a set is overdue, of sorted delays."""
    number = len(delays)
    grace = min(_GRACE, step * _SHARE)
    if number < FEW:
        return delays[-1] + max(step / 2, grace)
    shift = 0.0 if delays[0] > 0 else step + max(-delays[0] - step, 0.0) + 1.0
    middle = log(quantile(delays, 0.5) + shift)
    spread = max(
        (log(quantile(delays, share) + shift) - middle) / deviations
        for share, deviations in _SPREADS
        if number * (1 - share) >= 1
    )
    spread *= 1 + 1 / sqrt(number)
    tail = exp(min(middle + _deviations(step) * spread, 40.0)) - shift
    usual = delays[-2] if number >= 20 else delays[-1]
    return max(tail, usual + grace)


def quantile(values: Sequence[float], share: float) -> float:
    """The value that this share of sorted values does not exceed."""
    return values[min(int(len(values) * share), len(values) - 1)]


def due(
    lateness: Lateness,
    place: int,
    delay_at: Callable[[int], float | None],
    recent: Sequence[float],
) -> float:
    """After how many seconds the set at a place is overdue. Raises `ValueError` where nothing is known.

    `delay_at` gives the delay of a set that was done, by its place; `recent` are the delays of the last ones.
    """
    if lateness.limit is None:
        raise ValueError("no set was done")
    limit, grace, step = lateness.limit, lateness.grace, lateness.step
    if lateness.is_batch:
        limit = _same_time(place, _DAY, step, delay_at, None, grace) or limit
    else:
        limit = _same_time(place, _DAY, step, delay_at, limit, grace) or limit
    limit = _same_time(place, 7 * _DAY, step, delay_at, limit, grace) or limit
    if recent and not lateness.is_batch:
        limit = max(limit, min(max(recent) * 1.25 + grace, limit + step))
    return limit


def _same_time(
    place: int,
    period: float,
    step: float,
    delay_at: Callable[[int], float | None],
    limit: float | None,
    grace: float,
) -> float | None:
    """The limit for a time of the day or week whose last sets all exceeded the usual one; None where they did not."""
    steps = round(period / step)
    if period % step or steps < 1 or (steps == 1 and period == _DAY):
        return None
    delays: list[float] = []
    for back in range(1, 6):
        delay = delay_at(place - back * steps)
        if delay is None:
            continue
        if limit is not None and delay <= limit:
            break
        if delays and period + delays[-1] - delay < period / 2:
            break  # done together with the one before: that was one occasion, not a habit
        delays.append(delay)
    if len(delays) < 2:
        return None
    last = delays[:3]
    return max(last) + max((max(last) - min(last)) / 2, grace)
