"""Lateness: how long after the end of its window a stage is usually done with a set, and from when on it is overdue.

1. Sets are done on occasions: those that are done within a quarter of a step of one another are done together. Of three
   or more, those that are a step late were caught up, and so was one of two that is twice as late as usual, too; that
   tells nothing of how late sets usually are, unless most occasions are of three or more: such a stage works in
   batches. Nor does a set that failed, or came after the next one.
2. Of the newest `NEWEST` sets only those since delays last changed for good count: that is when the middle one of a
   week or more lies outside the middle half of those before.
3. Their delays are taken as log-normal above a least one, as waiting times are. A set is overdue when its delay would
   come to pass by chance once a year, or for one of 500 sets, whichever is rarer, and five minutes, or a sixth of a
   step, on top of that: clocks differ. That is at most the longest delay and twice as much as they differ, or as much
   as those of one time of day. While fewer than `FEW` are known, it is overdue half a step after the longest of them.
4. Sets of a time of day, or of the week, that were later the last times are given that time again: what a nightly batch
   takes along, or what a weekend leaves for Monday.
5. After a set that came late, the next one may be as late, up to one step: delays change gradually, and all at once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from math import exp, inf, log
from statistics import NormalDist

_DAY = 86_400.0

#: Sets from which delays are learned, and below which too little is known of them.
NEWEST, FEW = 1000, 5

#: Sets that are done together from which an occasion is a batch or a catch-up.
_MANY = 3

#: Sets, and seconds, of which the middle delay shows whether delays have changed for good.
_SOME, _WEEK = 64, 7 * 86_400.0

#: Seconds and share of a step that are always granted: clocks differ.
_GRACE, _SHARE = 300.0, 1 / 6

#: Seconds in which a set may be called overdue by chance once, and the least number of sets.
_CHANCE, _SETS = 365 * 86_400.0, 500

#: The least delay is somewhat shorter than the shortest ones seen.
_LEAST, _BELOW = 0.02, 0.2

#: The share of the delays that the limit is never below; times that must have been late to be so again.
_USUAL, _AGAIN = 0.98, 2

#: Seconds: sets that wait for a batch of the week do not wait for two.
_LONGEST = 16 * _DAY

#: The share that decides where the stage has stopped with the set before.
_FEW_EXCEED = 0.9

#: How much longer than the longest delay the tail may be, in ranges of the delays: few sets tell little of a tail. Of
#: those of one time of the day or week there are the fewest.
_RANGES, _RANGES_AGAIN = 2.0, 1.0

#: Days or weeks of which the sets of a time are looked at.
_BACK = 28

#: How much slower than the last set the next one may be.
_SLOWER = 1.25

#: The share of the grace by which the least delay is below the shortest in any case, and the logarithm of ten years.
_CLOSE, _MOST = 0.1, 19.6

#: Quantiles from which the spread is taken, with how many standard deviations they lie above the median.
_SPREADS = ((0.75, 0.6745), (0.9, 1.2816), (0.975, 1.96))


def grace(step: float) -> float:
    """Seconds that are granted in any case where sets come every `step` seconds."""
    return min(_GRACE, step * _SHARE)


@dataclass(frozen=True, slots=True)
class Lateness:
    """What is known of the delays of a stage, in seconds: all, the shortest first, from which something is learned, and
    that of the `last` set, if it came alone. `is_batch` means that most of the `occasions` are those of many sets."""

    delays: Sequence[float]
    last: float | None
    occasions: int
    is_batch: bool
    step: float
    limit: float | None = field(init=False)

    def __post_init__(self) -> None:
        """Work out the limit, from which on a set is overdue; None while nothing is known."""
        object.__setattr__(self, "limit", _limit(self.delays, self.step, self.step) if self.delays else None)

    @property
    def median(self) -> float | None:
        """The delay that half of the sets do not exceed."""
        return quantile(self.delays, 0.5) if self.delays else None

    @property
    def longest(self) -> float:
        """Seconds after which a set is overdue in any case: to work out when it was is worth less than it takes."""
        return max((self.limit or 0.0) + 2 * self.step, _LONGEST)

    @property
    def grace(self) -> float:
        """What is granted in any case."""
        return grace(self.step)

    def due(self, place: int, delay_at: Callable[[int], float | None], has_stopped: bool = False) -> float:
        """After how many seconds the set at a place is overdue. Raises `ValueError` where nothing is known.

        `delay_at` gives the delay of a set that was done, by its place. Where the stage `has_stopped` with the set
        before, there is no reason to wait for a set that is just late: the delay that few exceed is enough.
        """
        if self.limit is None:
            raise ValueError("no set was done")
        limit, step, delays = self.limit, self.step, self.delays
        same_day = self._same_time(place, _DAY, delay_at, None if self.is_batch else limit)
        if same_day:
            limit, delays = _limit(same_day, step, _DAY), same_day
        same_week = self._same_time(place, _WEEK, delay_at, limit)
        if same_week:
            limit, delays = _limit(same_week, step, _WEEK), same_week
        if has_stopped and len(delays) >= FEW:
            return min(limit, quantile(delays, _FEW_EXCEED) + self.grace)
        if self.last is not None and self.last <= limit + step:  # else that was an outage
            limit = max(limit, min(self.last * _SLOWER + self.grace, limit + step))
        return limit

    def _same_time(
        self, place: int, period: float, delay_at: Callable[[int], float | None], limit: float | None
    ) -> list[float]:
        """The delays, sorted, of a time of the day or week whose last sets all exceeded the limit; none where they did
        not."""
        steps = round(period / self.step)
        if period % self.step or steps < 1 or (steps == 1 and period == _DAY):
            return []
        delays: list[float] = []
        for back in range(1, _BACK + 1):
            delay = delay_at(place - back * steps)
            if delay is None:
                continue
            if limit is not None and delay <= limit:
                break
            if delays and period + delays[-1] - delay < period / 2:
                continue  # done together with the one behind it: caught up
            delays.append(delay)
        delays.sort()
        if len(delays) < FEW and delays:  # of a few, one that was late by itself would decide
            middle = delays[(len(delays) - 1) // 2]
            delays = [delay for delay in delays if delay <= 2 * middle + self.step]
        return delays if len(delays) >= _AGAIN else []


@lru_cache(maxsize=256)
def _deviations(period: float) -> float:
    """Standard deviations beyond which one set falls within `_CHANCE`, of those that come every `period` seconds."""
    return NormalDist().inv_cdf(1 - min(period / _CHANCE, 1 / _SETS))


def learn(done: Sequence[tuple[float, float]], step: float) -> Lateness:
    """What the newest sets tell: for each, by time, when its window ended and when it was done."""
    newest = done[-NEWEST:]
    if not newest:
        return Lateness((), None, 0, False, step)
    crowds = _occasions(newest, step / 4)
    with_others = {moment: len(crowd) for crowd in crowds for _, moment in crowd}
    # Live sets may come while others are caught up: a set that is done before the next window ends is one.
    occasions = sum(
        1 if len(crowd) == 1 else max(1, sum(moment - end < step for end, moment in crowd)) for crowd in crowds
    )
    is_batch = sum(len(crowd) >= _MANY for crowd in crowds) * 2 > occasions
    regular = newest
    if not is_batch:
        regular = [
            (end, moment)
            for (end, moment), (_, following) in zip(newest, [*newest[1:], (0.0, inf)], strict=True)
            if (with_others[moment] < _MANY or moment - end < step) and moment <= following
        ] or newest
        late = max(step, 2 * quantile(sorted(moment - end for end, moment in regular), 0.5))
        regular = [one for one in regular if with_others[one[1]] == 1 or one[1] - one[0] < late] or regular
    end, moment = regular[-1]
    last = moment - end if not is_batch and with_others[moment] == 1 else None
    delays = _since_change([moment - end for end, moment in regular], step)
    return Lateness(sorted(delays), last, occasions, is_batch, step)


def _since_change(delays: Sequence[float], step: float) -> Sequence[float]:
    """The delays, by time, from when on they last changed for good, or somewhat before."""
    number = max(_SOME, round(_WEEK / step))
    while len(delays) - number >= _SOME:
        newest, before = sorted(delays[-number:]), sorted(delays[:-number])
        if not quantile(before, 0.25) <= quantile(newest, 0.5) <= quantile(before, 0.75):
            return delays[-number:]
        number *= 2
    return delays


def _occasions(done: Sequence[tuple[float, float]], gap: float) -> list[list[tuple[float, float]]]:
    """The sets by the occasion on which they were done."""
    ordered = sorted(done, key=lambda one: one[1])
    occasions = [[ordered[0]]]
    for before, one in pairwise(ordered):
        if one[1] - before[1] < gap:
            occasions[-1].append(one)
        else:
            occasions.append([one])
    return occasions


def _limit(delays: Sequence[float], step: float, period: float) -> float:
    """The delay from which on a set is overdue, by sorted delays of others, which come every `period` seconds."""
    number = len(delays)
    if number < FEW:
        return delays[-1] + step / 2
    median, shortest = quantile(delays, 0.5), quantile(delays, _LEAST)
    least = shortest - max(_BELOW * (median - shortest), grace(step) * _CLOSE)
    middle = log(median - least)
    spread = max(
        (log(quantile(delays, share) - least) - middle) / deviations
        for share, deviations in _SPREADS
        if number * (1 - share) >= 1
    )
    spread *= 1 + 1 / number
    tail = exp(min(middle + _deviations(period) * spread, _MOST)) + least
    tail = min(tail, delays[-1] + (_RANGES if period == step else _RANGES_AGAIN) * (delays[-1] - delays[0]))
    return max(tail, quantile(delays, _USUAL)) + grace(step)


def quantile(values: Sequence[float], share: float) -> float:
    """The value that this share of sorted values does not exceed."""
    return values[min(int(len(values) * share), len(values) - 1)]
