"""Schedules as the configuration file spells them: how often sets come, in which hours, and when they are due."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Literal

#: What a unit of length is: so many seconds, or days or months of the calendar.
_UNITS: dict[str, tuple[int, Literal["s", "d", "mo"]]] = {
    **{"s": (1, "s"), "m": (60, "s"), "h": (3600, "s")},
    **{"d": (1, "d"), "w": (7, "d"), "mo": (1, "mo"), "y": (12, "mo")},
}
_LENGTH = re.compile(r"([1-9][0-9]{0,8})(mo|[smhdwy])")

#: Seconds of the units that a span has. A day is 24 hours: it is added to an instant, not to a date.
_SPAN_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_SPAN = re.compile(r"([0-9]{1,6})([smhd])")

_TIME = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])")

#: The days of the week, Monday first, as `datetime.weekday` numbers them.
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
EVERY_DAY = frozenset(range(7))
MIDNIGHT = time(0)

_DAY = "|".join(DAYS)
_DAYS = rf"(?:{_DAY})(?:-(?:{_DAY}))?(?:\+(?:{_DAY})(?:-(?:{_DAY}))?)*"
_HOURS = r"[0-9]{1,2}:[0-9]{2} ?- ?[0-9]{1,2}:[0-9]{2}"
_PART = re.compile(rf"(?:({_DAYS})(?: +|$))?({_HOURS})?")


@dataclass(frozen=True, slots=True)
class Hours:
    """Some hours of some days, as `only` spells them: `mon-fri 06:00-18:00`. `days` are 0 for Monday to 6.

    An `end` that is not after `start` is on the next day; such a night belongs to the day on which it begins. From
    midnight to midnight is a whole day. Times are those of the clock, in the zone of the pipeline.
    """

    days: frozenset[int]
    start: time
    end: time

    def __contains__(self, start: datetime) -> bool:
        """Whether a window that starts then, in the zone of the pipeline, is one of those."""
        clock = start.time()
        if self.start < self.end:
            return self.start <= clock < self.end and start.weekday() in self.days
        if clock >= self.start:
            return start.weekday() in self.days
        return clock < self.end and (start.weekday() - 1) % 7 in self.days

    def day_of(self, start: datetime) -> date:
        """The day to which a window that starts then belongs, which is the day before for the hours of a night that
        are after midnight."""
        is_after_midnight = self.end <= self.start and start.time() < self.start
        return start.date() - timedelta(days=1) if is_after_midnight and start.date() > date.min else start.date()

    def __str__(self) -> str:
        """The part of `only` that spells it."""
        if self.start == self.end == MIDNIGHT:
            return _days(self.days)
        hours = f"{self.start:%H:%M}-{'24:00' if self.end == MIDNIGHT else f'{self.end:%H:%M}'}"
        return hours if self.days == EVERY_DAY else f"{_days(self.days)} {hours}"


def length(text: str) -> tuple[int, Literal["s", "d", "mo"]]:
    """The seconds, or the days or months of the calendar, that a text such as `15m`, `1d` or `1mo` spells.

    Raises `ValueError`, as all of these do, with what follows the name of the key in a sentence.
    """
    match = _LENGTH.fullmatch(text)
    if match is None:
        raise ValueError(f"must be a length such as 15m, 1h, 1d, 1w or 1mo, not {text!r}")
    number, unit = _UNITS[match[2]]
    return int(match[1]) * number, unit


def parse_span(text: str) -> timedelta:
    """The time that a text such as `90s`, `20m`, `2h` or `1d` spells; a day is 24 hours. Raises `ValueError`."""
    match = _SPAN.fullmatch(text)
    if match is None:
        raise ValueError(f"must be a time such as 90s, 20m, 24h or 2d, not {text!r}")
    return timedelta(seconds=int(match[1]) * _SPAN_UNITS[match[2]])


def parse_time(text: str) -> time:
    """The time of the day that a text such as `06:00` spells. Raises `ValueError`."""
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError(f"must be a time of the day such as 06:00, not {text!r}")
    return time(int(match[1]), int(match[2]))


def parse_due(text: str) -> timedelta | time:
    """When a set is due: a time after the end of its window, or a time of the day. Raises `ValueError`."""
    for parse in (parse_span, parse_time):
        try:
            return parse(text)
        except ValueError:
            pass
    raise ValueError(
        f"must be a time after the end of the window such as 20m, or a time of the day such as 06:00, not {text!r}"
    )


def parse_only(text: str) -> tuple[Hours, ...]:
    """The hours that a text such as `mon-fri 06:00-18:00, sat+sun` spells. Raises `ValueError`."""
    return tuple(_part(part.strip(), text) for part in text.lower().split(","))


def spell_only(only: Sequence[Hours]) -> str:
    """The text that `parse_only` reads as these hours."""
    return ", ".join(map(str, only))


def _part(part: str, text: str) -> Hours:
    match = _PART.fullmatch(part)
    try:
        if not part or match is None:
            raise ValueError(part)
        days, hours = match.groups()
        first, last = (bound.strip() for bound in hours.split("-")) if hours else ("00:00", "24:00")
        end = MIDNIGHT if last == "24:00" else parse_time(last)
        return Hours(frozenset(_numbers(days)) if days else EVERY_DAY, parse_time(first), end)
    except ValueError:
        raise ValueError(
            "must be days, hours or both, such as mon-fri 06:00-18:00 or sat+sun, separated by commas, "
            f"not {text if len(text) <= 60 else text[:60] + '…'!r}"
        ) from None


def _numbers(days: str) -> set[int]:
    """The days that a text such as `mon-wed+sat` names. A range may go round the end of the week."""
    numbers: set[int] = set()
    for item in days.split("+"):
        first, _, last = item.partition("-")
        start = DAYS.index(first)
        numbers |= {(start + days) % 7 for days in range((DAYS.index(last or first) - start) % 7 + 1)}
    return numbers


def _days(numbers: frozenset[int]) -> str:
    """The text that names these days, three in a row or more as a range."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and runs[-1][-1] == number - 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    items = [
        f"{DAYS[run[0]]}-{DAYS[run[-1]]}" if len(run) > 2 else "+".join(DAYS[number] for number in run) for run in runs
    ]
    return "+".join(items)
