"""Calendars: the windows of a pipeline's sets, and the hours in which it has any."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, time, timedelta
from typing import NamedTuple, TypeAlias
from zoneinfo import ZoneInfo

_DAY = timedelta(days=1)


class Window(NamedTuple):
    """What a set covers, in UTC."""

    start: datetime
    end: datetime


#: Gives the windows that start between two times, in a zone.
Calendar: TypeAlias = Callable[[datetime, datetime, ZoneInfo], Iterator[Window]]

#: Whether a window that starts then, in the pipeline's zone, is one that the pipeline has.
Only: TypeAlias = Callable[[datetime], bool]


def fixed(step: timedelta, phase: timedelta = timedelta(0)) -> Calendar:
    """Windows of one length, one after the other, the first of them so much later."""

    def windows(begin: datetime, end: datetime, _: ZoneInfo) -> Iterator[Window]:
        start = begin + phase
        while start < end:
            yield Window(start, start + step)
            start += step

    return windows


def days(number: int = 1, length: int | None = None) -> Calendar:
    """Windows of so many days of the zone (23 to 25 hours each), beginning every `number` days, on a Monday if 7."""

    def windows(begin: datetime, end: datetime, zone: ZoneInfo) -> Iterator[Window]:
        day = begin.astimezone(zone).date()
        if number == 7:
            day -= timedelta(days=day.weekday())
        while (start := datetime.combine(day, time(), zone).astimezone(UTC)) < end:
            last = day + timedelta(days=length or number)
            yield Window(start, datetime.combine(last, time(), zone).astimezone(UTC))
            day += timedelta(days=number)

    return windows


def months(begin: datetime, end: datetime, zone: ZoneInfo) -> Iterator[Window]:
    """Windows of a month of the zone."""
    day = begin.astimezone(zone).date().replace(day=1)
    while (start := datetime.combine(day, time(), zone).astimezone(UTC)) < end:
        day = (day + 31 * _DAY).replace(day=1)
        yield Window(start, datetime.combine(day, time(), zone).astimezone(UTC))


def always(_: datetime) -> bool:
    """Every window."""
    return True


def weekdays(start: datetime) -> bool:
    """Monday to Friday."""
    return start.weekday() < 5


def office_hours(start: datetime) -> bool:
    """Monday to Friday, from 6 to 18 o'clock."""
    return start.weekday() < 5 and 6 <= start.hour < 18


def nights(start: datetime) -> bool:
    """From 22 to 6 o'clock."""
    return start.hour >= 22 or start.hour < 6


def every_fourth_hour(start: datetime) -> bool:
    """The windows that start at 3, 7, 11 o'clock and so on."""
    return start.hour % 4 == 3


def next_at(times: tuple[time, ...], after: datetime, zone: ZoneInfo, weekday: int | None = None) -> datetime:
    """The next of these times of the day in the zone that is not before `after`, perhaps of one day of the week."""
    day = after.astimezone(zone).date()
    while True:
        for each in times:
            moment = datetime.combine(day, each, zone).astimezone(UTC)
            if moment >= after and weekday in (None, day.weekday()):
                return moment
        day += _DAY
