"""Cadence: how often sets come, and how long their windows are.

Windows that follow one another form a series. Their length is fixed, or a unit of the calendar in the pipeline's zone:
days of 23 to 25 hours, weeks, months of 28 to 31 days. Which of both is meant is what most windows agree upon.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import pairwise
from typing import Literal

from etlog_events import schedule

#: Seconds of each unit of fixed length.
_SECONDS = {"m": 60, "h": 3600}

_HOUR, _DAY = 3600, 86_400

#: The share of the steps from one set to the next that must fit the cadence of a series.
_REGULAR = 0.94

#: Phases from which windows are taken to overlap; fewer are series that know nothing of one another.
_PHASES = 3

#: Steps from which a cadence that is longer than the windows is believed.
_BELIEVED = 4

_EPOCH = datetime(1970, 1, 1)

#: The calendar but for its first and its last day, in seconds since 1970: no offset leads beyond it.
_FIRST, _LAST = -62_135_510_400.0, 253_402_214_400.0
_LAST_DAY_OF_EVERY_MONTH = 28

#: Days from 1 January 1970 to the first Monday.
_MONDAY = 4


@dataclass(frozen=True, slots=True)
class Every:
    """A length of time: so many seconds, or days or months of the calendar in the pipeline's zone.

    It is spelled in the largest unit that divides it: `10s`, `15m`, `1h`, `90m`, `24h` (a fixed length), `1d` (a day of
    the calendar: 23 to 25 hours), `1w`, `1mo`, `1y`.
    """

    number: float
    unit: Literal["s", "d", "mo"]

    @classmethod
    def parse(cls, text: str) -> "Every":
        """The length that a text spells. Raises `ValueError`."""
        return cls(*schedule.length(text))

    def __str__(self) -> str:
        if self.unit == "s":
            for unit in ("h", "m"):
                if self.number % _SECONDS[unit] == 0:
                    return f"{self.number // _SECONDS[unit]:.0f}{unit}"
            return f"{self.number:.9g}s"
        larger, name, unit = (7, "w", "d") if self.unit == "d" else (12, "y", "mo")
        return f"{self.number:.0f}{unit}" if self.number % larger else f"{self.number / larger:.0f}{name}"


@dataclass(frozen=True, slots=True)
class Window:
    """The window of a set: `start` and `end` in seconds since 1970, and as the clocks of the pipeline's zone showed
    them: seconds from 1970 to the same date and time in UTC."""

    start: float
    end: float
    local_start: float
    local_end: float

    @classmethod
    def of(cls, start: float, end: float, zone: tzinfo) -> "Window":
        """The window with these ends."""
        return cls(start, end, local_of(start, zone), local_of(end, zone))


def local_of(moment: float, zone: tzinfo) -> float:
    """A moment as the clocks of a zone show it: seconds from 1970 to the same date and time in UTC."""
    return moment if zone is UTC else moment + _offset(moment, zone)


def instant_of(local: float, zone: tzinfo) -> float:
    """The moment at which the clocks of a zone show this, the first of two; they stand still beyond the calendar."""
    if zone is UTC:
        return local
    return (_EPOCH + timedelta(seconds=min(max(local, _FIRST), _LAST))).replace(tzinfo=zone).timestamp()


def _offset(moment: float, zone: tzinfo) -> float:
    """Seconds that the clocks of a zone are ahead of UTC."""
    try:
        offset = datetime.fromtimestamp(moment, zone).utcoffset()
    except (OverflowError, ValueError):  # the first and the last day of the calendar
        return 0.0
    return offset.total_seconds() if offset is not None else 0.0


@dataclass(frozen=True, slots=True)
class Grid:
    """The places that the windows of a series take, numbered without a gap.

    They are counted in seconds, or in months from the day and time of day in `phase`, on the clocks of `zone`.
    """

    unit: Literal["s", "mo"]
    zone: tzinfo
    length: float
    step: float
    phase: float
    is_calendar: bool = field(compare=False)

    def place(self, window: Window) -> int:
        """The number of the place that a window of the series takes."""
        start = window.local_start if self.zone is not UTC else window.start
        if self.unit == "mo":
            return math.floor(_month(start) / self.step)
        return round((start - self.phase) / self.step)

    def window(self, place: int) -> tuple[float, float]:
        """The ends of the window at a place, seconds since 1970. Raises `OverflowError` beyond the calendar."""
        if self.unit == "mo":
            remainder = self.phase // (31 * _DAY)
            first = place * self.step + remainder
            within = self.phase % (31 * _DAY)
            return (
                instant_of(_of_month(first) + within, self.zone),
                instant_of(_of_month(first + self.length) + within, self.zone),
            )
        start = self.phase + place * self.step
        return instant_of(start, self.zone), instant_of(start + self.length, self.zone)

    def last_ended(self, now: float) -> int:
        """The last place whose window has ended by `now`."""
        local = local_of(now, self.zone)
        if self.unit == "mo":
            place = math.floor(_month(local) / self.step)
        else:
            place = math.floor((local - self.phase - self.length) / self.step) + 1
        while self.window(place)[1] > now:
            place -= 1
        return place

    def first_from(self, moment: float) -> int:
        """The first place whose window does not begin before a moment."""
        place = self.last_ended(moment)
        while self.window(place)[0] < moment:
            place += 1
        return place

    @classmethod
    def of(cls, every: Every, zone: tzinfo) -> "Grid":
        """The grid of windows that follow one another, as the calendar has them: weeks begin on Monday."""
        if every.unit == "mo":
            return cls("mo", zone, every.number, every.number, 0.0, True)
        if every.unit == "d":
            phase = _MONDAY * _DAY if every.number % 7 == 0 else 0.0
            return cls("s", zone, every.number * _DAY, every.number * _DAY, phase, True)
        return cls("s", UTC, every.number, every.number, 0.0, zone is UTC)

    @property
    def every(self) -> Every:
        """The step."""
        return self._spelled(self.step)

    @property
    def window_length(self) -> Every:
        """The length of a window."""
        return self._spelled(self.length)

    @property
    def seconds(self) -> float:
        """About how long a step takes."""
        return self.step * 30.4375 * _DAY if self.unit == "mo" else self.step

    def _spelled(self, length: float) -> Every:
        if self.unit == "mo":
            return Every(length, "mo")
        if self.is_calendar and length % _DAY == 0:
            return Every(length / _DAY, "d")
        return Every(length, "s")


#: What a window may be counted in: the unit, whether by the clocks of the pipeline's zone, its length, and its phase.
_Key = tuple[Literal["s", "mo"], bool, float, float]


def group(windows: Sequence[Window], zone: tzinfo) -> list[tuple[Grid, list[int]]]:
    """The series that windows form: the grid of each, and which windows are on it, by their place among `windows`."""
    steps = _steps(windows, zone)
    possible = [_keys(window, zone, steps) for window in windows]
    counts = Counter(key for keys in possible for key in keys)
    members: defaultdict[_Key, list[int]] = defaultdict(list)
    for number, keys in enumerate(possible):
        members[max(keys, key=lambda key: counts[key]) if len(keys) > 1 else keys[0]].append(number)
    series: list[tuple[Grid, list[int]]] = []
    for (unit, by_zone, length, phase), numbers in members.items():
        base = steps.get((by_zone, length), length) if unit == "s" else length
        grid = Grid(unit, zone if by_zone else UTC, length, base, phase, by_zone or zone is UTC)
        series += _spread(grid, numbers, windows)
    return series


def _steps(windows: Iterable[Window], zone: tzinfo) -> dict[tuple[bool, float], float]:
    """The step of windows that overlap, such as seven days every day, by whether they are counted by the clocks of the
    zone, and by their length."""
    starts: defaultdict[tuple[bool, float], set[float]] = defaultdict(set)
    for window in windows:
        starts[False, _length(window.start, window.end)].add(window.start)
        if zone is not UTC:
            starts[True, _length(window.local_start, window.local_end)].add(window.local_start)
    steps = {}
    for (by_zone, length), of_length in starts.items():
        if length <= 0 or len({_phase(start, length) for start in of_length}) < _PHASES:
            continue
        gaps = Counter(later - earlier for earlier, later in pairwise(sorted(of_length)))
        gap, number = max(gaps.items(), key=lambda item: (item[1], -item[0]))
        if gap < length and number > _BELIEVED and number * 2 > gaps.total():
            steps[by_zone, length] = gap
    return steps


def _keys(window: Window, zone: tzinfo, steps: dict[tuple[bool, float], float]) -> list[_Key]:
    """All that a window may be counted in, the likelier one first."""
    keys: list[_Key] = []
    views = [(False, window.start, window.end)]
    if zone is not UTC and window.end - window.start > _HOUR and window.local_end > window.local_start:
        views.insert(0, (True, window.local_start, window.local_end))
    for by_zone, start, end in views:
        if end - start >= _LAST_DAY_OF_EVERY_MONTH * _DAY and (months := _months(start, end)):
            within = start - _of_month(_month(start))
            keys.append(("mo", by_zone or zone is UTC, months, (_month(start) % months) * 31 * _DAY + within))
    for by_zone, start, end in views:
        length = _length(start, end)
        keys.append(("s", by_zone, length, _phase(start, steps.get((by_zone, length), length))))
    return keys


def _length(start: float, end: float) -> float:
    """The length of a window, to the microsecond."""
    return round(end - start, 6)


def _phase(start: float, step: float) -> float:
    """What is left of a start beside whole steps, to the microsecond: steps below a second have no exact floats."""
    left = round(start % step, 6)
    return 0.0 if left >= step else left


def _spread(grid: Grid, numbers: Sequence[int], windows: Sequence[Window]) -> list[tuple[Grid, list[int]]]:
    """A series whose windows are further apart than they are long, such as an hour every fourth hour, has the longer
    step; windows that do not fit it are a series of their own."""
    places = {number: grid.place(windows[number]) for number in numbers}
    taken = sorted(set(places.values()))
    gaps = Counter(later - earlier for earlier, later in pairwise(taken))
    if gaps.total() >= _BELIEVED:
        gap, number = max(gaps.items(), key=lambda item: (item[1], -item[0]))
        fitting = sum(count for other, count in gaps.items() if other % gap == 0)
        if gap > 1 and number * 2 > gaps.total() and fitting >= _REGULAR * gaps.total():
            [(remainder, _)] = Counter(place % gap for place in taken).most_common(1)
            phase = grid.phase + remainder * (31 * _DAY if grid.unit == "mo" else grid.step)
            wide = Grid(grid.unit, grid.zone, grid.length, grid.step * gap, phase, grid.is_calendar)
            fit = [number for number in numbers if places[number] % gap == remainder]
            others = [number for number in numbers if places[number] % gap != remainder]
            return [(wide, fit), *([(grid, others)] if others else [])]
    return [(grid, list(numbers))]


def _months(start: float, end: float) -> int:
    """How many months of the calendar lie between two moments; 0 unless these are the same time of the same day."""
    first, last = _month(start), _month(end)
    within = start - _of_month(first)
    if within >= _LAST_DAY_OF_EVERY_MONTH * _DAY or within != end - _of_month(last):
        return 0
    return last - first


def _month(moment: float) -> int:
    date = _EPOCH + timedelta(seconds=moment)
    return date.year * 12 + date.month - 1


def _of_month(month: float) -> float:
    year, of_year = divmod(int(month), 12)
    if not 1 <= year <= 9999:
        raise OverflowError("the calendar has no such month")
    return (datetime(year, of_year + 1, 1) - _EPOCH).total_seconds()
