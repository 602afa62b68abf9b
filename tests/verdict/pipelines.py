"""More logs of which it is known what is wrong, from pipelines with planted faults; a seed makes the same again."""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from support.labelled import LabelledLog, Told, WrongCell

from benchmarks.verdict import calendars
from benchmarks.verdict.faults import Cell, Fault, Kind
from benchmarks.verdict.pipelines import PIPELINES, Delay, Pipeline, Series, Stage, chain, hourly
from benchmarks.verdict.story import Story, tell

_BERLIN = ZoneInfo("Europe/Berlin")
_HOUR = timedelta(hours=1)
_DAY = timedelta(days=1)
_THREE = ("Loaded", "Saved", "Reconciled")

_BY_NAME = {pipeline.name: pipeline for pipeline in PIPELINES}


@dataclass(frozen=True)
class Recipe:
    """A log to be made: so many days of a pipeline, with faults of these kinds, judged soon after the last of them, or
    at the end. Those of `days` after which it is known hold no fault."""

    name: str
    pipeline: Pipeline
    days: float
    kinds: Sequence[Kind] = ()

    def log(self, seed: int = 1) -> LabelledLog:
        """The log."""
        apart = max(0.2, (self.days - self.pipeline.learning) / (2 * len(self.kinds) + 1))
        story = tell(self.pipeline, self.days, seed, self.kinds, apart)
        return labelled(self.name, story, _moment(story, random.Random(f"{self.name}/{seed}")))


def _moment(story: Story, chance: random.Random) -> datetime:
    """When the log is judged: while the last fault lasts, if there is any."""
    end = story.end - timedelta(minutes=chance.uniform(1, 59))
    faults = [fault for fault in story.faults if fault.limits]
    if faults:
        fault = faults[-1]
        sets = chance.randrange(len(fault.windows))
        length = fault.windows[0].end - fault.windows[0].start
        known = datetime.fromtimestamp(max(_known(fault, cell) for cell in fault.cells.values()), UTC)
        end = min(end, known + sets * length + timedelta(minutes=chance.uniform(1, 9)))
    return end.replace(second=0, microsecond=0)


def labelled(name: str, story: Story, now: datetime) -> LabelledLog:
    """The log as it is at `now`, and what is wrong of it: what is planted, and had to be told by then."""
    moment = now.timestamp()
    events: list[Told] = [_told(arrival.event) for arrival in story.arrivals if arrival.at <= moment]
    wrong, doubtful = set(), set()
    for (every, stage), cells in story.faulty().items():
        for cell in cells:
            fault = cell.fault
            assert fault is not None
            place = (story.pipeline.category, stage, cell.window.start)
            if not cell.is_wrong(fault.called, moment):
                if cell.behind and cell.is_wrong("absent", moment):
                    doubtful.add(place)
            elif cell.behind or moment < _known(fault, cell):
                doubtful.add(place)
            else:
                wrong.add(WrongCell(*place, fault.called, every))
    faults = "; ".join(map(str, story.faults)) or "nothing wrong"
    return LabelledLog(
        name,
        f"{story.pipeline.name}: {faults}",
        now,
        story.pipeline.zone,
        events,
        frozenset(wrong),
        frozenset(doubtful),
    )


def _known(fault: Fault, cell: Cell) -> float:
    """From when on a cell has to be told. What is absent gets twice the time that the simulation allows: until then one
    may see it either way."""
    if fault.called == "absent":
        first = fault.cells[cell.stage]
        return cell.reference + 2 * (fault.limits[cell.stage] - first.reference)
    return (cell.failed if fault.called == "failed" else cell.done) or cell.natural


def _told(event: Any) -> Told:
    start, end = event.window or (None, None)
    return event.kind, start, end, event.time, event.size, event.error


def _pipeline(name: str, learning: float, **changes: Any) -> Pipeline:
    """One of the pipelines that are simulated, known sooner."""
    return replace(_BY_NAME[name], learning=learning, **changes)


def _of(name: str, series: Sequence[Series] | Series, learning: float, **options: Any) -> Pipeline:
    return Pipeline(name, [series] if isinstance(series, Series) else series, learning=learning, **options)


_MONTHS = Series("1mo", calendars.months, chain(12, 0.5, "Loaded", "Saved", "Aggregated"), size=290_000)
_LATE_MONTHS = replace(_MONTHS, stages=(Stage("Loaded", Delay(3 * 86_400, 0.3)), Stage("Saved", Delay(3600, 0.5))))
_DAYS = Series("1d", calendars.days(), chain(40, 0.5, *_THREE), size=9600)
_WEEKLY = replace(_DAYS, stages=(Stage("Loaded", Delay(1800, 0.4), (time(3),), 0), Stage("Saved", Delay(20, 0.5))))
_DAYS_OF_UTC = replace(_DAYS, calendar=calendars.fixed(_DAY), every="24h")
_AT_HALF_PAST = replace(hourly(), calendar=calendars.fixed(_HOUR, timedelta(minutes=30)))
_BEFORE_WINTER = datetime(2026, 10, 20, tzinfo=UTC)

RECIPES = (
    Recipe("months", _of("months", _MONTHS, 300), 520),
    Recipe("months, a stage stopped", _of("months", _MONTHS, 400), 560, ["stage stops"]),
    Recipe("months, days late", _of("late months", _LATE_MONTHS, 300), 500),
    Recipe("days of 25 hours", _of("days", _DAYS, 30, zone=_BERLIN, begin=datetime(2026, 9, 30, tzinfo=UTC)), 40),
    Recipe("days of 25 hours, a hole", _of("days", _DAYS, 26, zone=_BERLIN, begin=datetime(2026, 9, 30, tzinfo=UTC)),
           40, ["hole"]),
    Recipe("days of 23 hours, New York", _pipeline("daily, New York, spring", 42), 50, ["stop"]),
    Recipe("days of UTC in another zone", _of("days of UTC", _DAYS_OF_UTC, 20, zone=_BERLIN,
                                             begin=_BEFORE_WINTER), 30, ["hole of a stage"]),
    Recipe("weekdays", _pipeline("weekdays, Kathmandu", 24), 40),
    Recipe("weekdays, a hole", _pipeline("weekdays, Kathmandu", 24), 40, ["hole"]),
    Recipe("seven days every day", _pipeline("7 days, every day", 14), 26, ["stage stops"]),
    Recipe("hours, days, weeks", _pipeline("hours, days and weeks", 35), 44),
    Recipe("weekly batch", _of("weekly batch", _WEEKLY, 35), 54),
    Recipe("quarter hours", _pipeline("quarter-hourly", 2), 4, ["retry", "hole", "stage stops"]),
    Recipe("office hours, first day of a week", _pipeline("office hours", 14), 21.4),
    Recipe("office hours, stopped", _pipeline("office hours", 16), 24, ["stop"]),
    Recipe("nights only", _pipeline("nights only", 7), 12, ["hole"]),
    Recipe("nightly batch", _pipeline("nightly batch", 6), 9.05),
    Recipe("nightly batch did not come", _pipeline("nightly batch", 7), 12, ["stop"]),
    Recipe("reconciled at night", _pipeline("live, reconciled at night", 6), 9.5),
    Recipe("reconciled at night, a hole", _pipeline("live, reconciled at night", 6), 12, ["hole"]),
    Recipe("backfill in a burst", _pipeline("hourly", 1, caught_up=120), 2.5),
    Recipe("backfill in a burst, then a stop", _pipeline("hourly", 1, caught_up=120), 3, ["stage stops"]),
    Recipe("slow backfill", _pipeline("hourly", 1.5, caught_up=200, pace=120), 2.5),
    Recipe("slow backfill, then a hole", _pipeline("hourly", 1.5, caught_up=200, pace=120), 4, ["hole"]),
    Recipe("old sets again", _pipeline("hourly, re-runs of old sets", 5, caught_up=0), 8),
    Recipe("old sets again, a stop", _pipeline("hourly, re-runs of old sets", 6, caught_up=0), 10, ["stop"]),
    Recipe("every fourth hour", _pipeline("hourly, a stage every fourth hour", 4), 7, ["retry"]),
    Recipe("restarts", _pipeline("hourly and restarts", 6), 9, ["stage stops"]),
    Recipe("daily roll-up did not come", _of("hours and days", [hourly(), _DAYS], 12), 20, ["hole", "stop"]),
    Recipe("empty sets are usual", _of("empty", replace(hourly(), size=0), 3), 5),
    Recipe("sizes", _pipeline("hourly", 3), 6, ["size", "size"]),
    Recipe("growing", _pipeline("hourly, growing fast", 5), 10, ["size"]),
    Recipe("20 minutes later since yesterday", _pipeline("hourly, 20 min later from a day on", 7, changes=6), 7.5),
    Recipe("office hours since two weeks", _pipeline("hourly, office hours from a day on", 30, changes=14), 32),
    Recipe("hours at half past", _of("hours at half past", _AT_HALF_PAST, 4), 7, ["hole"]),
    Recipe("saved while it runs", _pipeline("hourly", 3, live=True), 6, ["retry", "stage stops"]),
    Recipe("failures", _pipeline("hourly", 3), 8, ["repaired failure", "failure", "retry", "hole of a stage"]),
    Recipe("long tail", _pipeline("hourly, long tail", 7), 14, ["hole", "stage stops"]),
    Recipe("clock behind", _pipeline("hourly, clock 5 min behind", 5), 8, ["stop"]),
    Recipe("clock ahead", _pipeline("hourly, clock 5 min ahead", 5), 8, ["stage stops"]),
    Recipe("young", _of("young", hourly(), 1), 0.2),
    Recipe("young days", _of("young days", _DAYS, 1), 3.3),
)  # fmt: skip


def logs(seed: int = 1, wanted: Sequence[str] = ()) -> Iterator[LabelledLog]:
    """The logs of all recipes, or of those whose names hold one of the `wanted` parts."""
    for recipe in RECIPES:
        if not wanted or any(part in recipe.name for part in wanted):
            yield recipe.log(seed)
