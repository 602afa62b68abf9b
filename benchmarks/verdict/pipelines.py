"""Pipelines as they are in life: when their sets come, how long that takes, and what happens to them besides faults."""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

from benchmarks.verdict import calendars
from benchmarks.verdict.calendars import Calendar, Only

_HOUR = timedelta(hours=1)

#: The zone of a pipeline that needs none.
_UTC = ZoneInfo("UTC")
_BERLIN = ZoneInfo("Europe/Berlin")

#: Berlin's clock goes back on October 25, New York's on November 1, within 90 days.
AUTUMN = datetime(2026, 9, 14, tzinfo=UTC)

#: New York's clock goes forward on March 14, Berlin's on March 28.
SPRING = datetime(2027, 2, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Delay:
    """Seconds that a stage takes: log-normal. A `sigma` of 0.5 makes one of a thousand last 5 times the median, a
    `sigma` of 1 makes it 22 times."""

    median: float
    sigma: float

    def draw(self, chance: random.Random) -> float:
        """Seconds of one set."""
        return self.median * math.exp(chance.gauss(0, self.sigma))


@dataclass(frozen=True)
class Stage:
    """A stage, which begins when the one before it is done, or at these times of the day for all sets that wait then.

    `only` are the windows of which it does a set.
    """

    name: str
    delay: Delay
    batch: tuple[time, ...] = ()
    weekday: int | None = None
    only: Only = calendars.always


@dataclass(frozen=True)
class Series:
    """Sets of one length: `every` is how the verdict spells their step."""

    every: str
    calendar: Calendar
    stages: Sequence[Stage]
    only: Only = calendars.always
    size: float = 400


@dataclass(frozen=True)
class Pipeline:
    """A pipeline, one category of one log.

    `learning` are the days after which it is known; it begins with `caught_up` sets, one every `pace` seconds. A `live`
    one does windows that have not ended, too. From day `changes` on its sets come `later` seconds later, or only those
    of `only_then`, which is known `settling` days later. `ahead` is by how many seconds the producer's clock is wrong.
    Of `retries`, a share, the first try fails. `restarts` load the newest sets once more, `reruns` do old ones again.
    Sizes grow by `growth`, a share, in 90 days. `names_stage` is whether its errors do.
    """

    name: str
    series: Sequence[Series]
    zone: ZoneInfo = _UTC
    begin: datetime = AUTUMN
    learning: float = 7
    caught_up: int = 0
    pace: float = 3.0
    live: bool = False
    changes: float | None = None
    later: float = 0
    only_then: Only | None = None
    settling: float = 0
    ahead: float = 0
    retries: float = 0.0
    restarts: bool = False
    reruns: bool = False
    growth: float = 0.5
    names_stage: bool = False

    @property
    def category(self) -> str:
        """The category of its sets."""
        return "allocation"


def chain(minutes: float, sigma: float, *names: str) -> tuple[Stage, ...]:
    """Stages that follow each other: the first takes so many minutes in the median, each other one a fifth of it."""
    names = names or ("Loaded", "Saved", "Aggregated", "Totaled", "Reconciled")
    first, *others = names
    return (
        Stage(first, Delay(60 * minutes, sigma)),
        *(Stage(name, Delay(12 * minutes, sigma)) for name in others),
    )


def hourly(minutes: float = 4, sigma: float = 0.5, only: Only = calendars.always) -> Series:
    """Sets of an hour."""
    return Series("1h", calendars.fixed(_HOUR), chain(minutes, sigma), only)


def nightly(at: time, *names: str) -> tuple[Stage, ...]:
    """Stages that do all sets of the day before at a time of the night."""
    first, *others = chain(10, 0.5, *names)
    return replace(first, batch=(at,)), *(replace(stage, delay=Delay(20, 0.5)) for stage in others)


_QUARTERS = calendars.fixed(timedelta(minutes=15))
_THREE = ("Loaded", "Saved", "Reconciled")

_HOURS_DAYS_WEEKS = (
    hourly(),
    Series("1d", calendars.days(), chain(8, 0.5, "Saved", "Aggregated", "Totaled"), size=9600),
    Series("1w", calendars.days(7), chain(20, 0.5, "Saved", "Aggregated"), size=67_000),
)

#: Loaded as each hour ends, reconciled once a night.
_LIVE_AND_NIGHTLY = Series(
    "1h",
    calendars.fixed(_HOUR),
    (*chain(4, 0.5, "Loaded", "Saved"), Stage("Reconciled", Delay(600, 0.5), batch=(time(2),))),
)

_FOURTH_HOURS = Series(
    "1h",
    calendars.fixed(_HOUR),
    (*chain(4, 0.5, "Loaded", "Saved"), Stage("Aggregated", Delay(200, 0.5), only=calendars.every_fourth_hour)),
)

PIPELINES = (
    Pipeline("hourly", [hourly()]),
    Pipeline("hourly, long tail", [hourly(sigma=1.0)], names_stage=True),
    Pipeline("hourly, many retries", [hourly()], retries=0.03),
    Pipeline("hourly, re-runs of old sets", [hourly()], caught_up=120, reruns=True, names_stage=True),
    Pipeline("hourly, clock 5 min ahead", [hourly()], ahead=300),
    Pipeline("hourly, clock 5 min behind", [hourly()], ahead=-300),
    Pipeline("hourly, 20 min later from a day on", [hourly()], changes=40, later=1200),
    Pipeline(
        "hourly, office hours from a day on",
        [hourly()],
        zone=_BERLIN,
        changes=40,
        only_then=calendars.office_hours,
        settling=15,
    ),
    Pipeline(
        "hourly and restarts",
        [replace(hourly(), stages=chain(4, 0.5, "Saved", "Aggregated", "Totaled"))],
        restarts=True,
    ),
    Pipeline("hourly, a stage every fourth hour", [_FOURTH_HOURS]),
    Pipeline("hourly, growing fast", [hourly(sigma=0.7)], growth=8.0),
    Pipeline("quarter-hourly", [Series("15m", _QUARTERS, chain(2, 0.5, *_THREE))]),
    Pipeline("quarter-hourly, long tail", [Series("15m", _QUARTERS, chain(2, 1.0, *_THREE))]),
    Pipeline("daily", [Series("1d", calendars.days(), chain(40, 0.5))], learning=14),
    Pipeline("daily, long tail, Berlin", [Series("1d", calendars.days(), chain(30, 1.0))], zone=_BERLIN, learning=14),
    Pipeline(
        "daily, New York, spring",
        [Series("1d", calendars.days(), chain(40, 0.5))],
        zone=ZoneInfo("America/New_York"),
        begin=SPRING,
        learning=14,
    ),
    Pipeline(
        "weekdays, Kathmandu",
        [Series("1d", calendars.days(), chain(40, 0.5), calendars.weekdays)],
        zone=ZoneInfo("Asia/Kathmandu"),
        learning=21,
    ),
    Pipeline("7 days, every day", [Series("1d", calendars.days(1, 7), chain(40, 0.5, *_THREE))], learning=14),
    Pipeline("hours, days and weeks", _HOURS_DAYS_WEEKS, learning=28),
    Pipeline(
        "nightly batch", [Series("1h", calendars.fixed(_HOUR), nightly(time(2), *_THREE))], zone=_BERLIN, learning=7
    ),
    Pipeline(
        "nightly batch, spring",
        [Series("1h", calendars.fixed(_HOUR), nightly(time(4, 30), *_THREE))],
        zone=_BERLIN,
        begin=SPRING,
        learning=7,
    ),
    Pipeline("live, reconciled at night", [_LIVE_AND_NIGHTLY], zone=_BERLIN, learning=7),
    Pipeline("office hours", [hourly(only=calendars.office_hours)], zone=_BERLIN, learning=21),
    Pipeline(
        "office hours, spring, long tail",
        [hourly(sigma=1.0, only=calendars.office_hours)],
        zone=_BERLIN,
        begin=SPRING,
        learning=21,
    ),
    Pipeline("nights only", [hourly(only=calendars.nights)], zone=_BERLIN, learning=14),
)
