"""Faults that are planted: what happens to which sets, and by when it is to be told."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

from benchmarks.verdict.calendars import Window
from benchmarks.verdict.pipelines import Pipeline, Series

#: What is planted: everything stops or one stage does, a set does not come or one stage of it does not, a stage fails
#: (for good, for hours, or until it is tried again), a set is empty or ten times as large as usual.
Kind = Literal["stop", "stage stops", "hole", "hole of a stage", "failure", "repaired failure", "retry", "size"]

#: What a cell is called that is wrong; a hole and the end of the series are both `absent`.
Called = Literal["failed", "absent", "unusual"]

CALLED: dict[Kind, Called] = {
    "stop": "absent",
    "stage stops": "absent",
    "hole": "absent",
    "hole of a stage": "absent",
    "failure": "failed",
    "repaired failure": "failed",
    "retry": "failed",
    "size": "unusual",
}

#: In which order they are planted, some more often than others.
_KINDS: tuple[Kind, ...] = (
    "stop", "hole", "failure", "retry", "stage stops", "size", "hole of a stage", "repaired failure", "retry",
)  # fmt: skip

#: Days between two faults, at least.
_APART = 5.0

#: Seconds that may pass until a verdict on an event is given: it is given once a minute.
_ONCE_A_MINUTE = 120.0

#: How much longer than delays differ what is absent may wait.
_DIFFER = 1.5


@dataclass(eq=False)
class Fault:
    """A fault of some sets of a series, adjacent ones, in some stages.

    It is over `repaired` seconds after it began, or never. `factor` is by what sizes are multiplied. `cells` are the
    first of each stage, once they are known; `limits` is when each is to be told at the latest, and `told` when it was.
    """

    kind: Kind
    series: Series
    windows: Sequence[Window]
    stages: Sequence[str]
    repaired: float | None = None
    factor: float = 1.0
    began: float = 0.0
    usual: float = 0.0
    cells: dict[str, "Cell"] = field(default_factory=dict)
    limits: dict[str, float] = field(default_factory=dict)
    told: dict[str, float] = field(default_factory=dict)
    forgotten: set[str] = field(default_factory=set)

    @property
    def called(self) -> Called:
        """What its cells are called."""
        return CALLED[self.kind]

    def __str__(self) -> str:
        first = self.windows[0].start
        return (
            f"{self.kind} of {', '.join(self.stages)}, {self.series.every}, {len(self.windows)} from {first:%F %H:%M}Z"
        )


@dataclass(eq=False)
class Cell:
    """The truth on a stage of a set, in seconds since 1970: its delay counts from `reference` (the end of the window,
    or the batch), `natural` is when it would be done. `failed` and `done` are when the log is told of its error, and of
    its end."""

    window: Window
    stage: str
    reference: float
    natural: float
    done: float | None
    fault: Fault | None = None
    behind: bool = False
    failed: float | None = None
    first: float = field(init=False)
    last: float = field(init=False)

    def __post_init__(self) -> None:
        self.first, self.last = self.window.start.timestamp(), self.window.end.timestamp()

    def is_wrong(self, called: Called, now: float) -> bool:
        """Whether it may be called so."""
        if self.fault is None:
            return False
        if called == "failed":
            return self.failed is not None and self.failed <= now and (self.done is None or now < self.done)
        if called == "absent":
            return self.fault.called != "unusual" and (self.done is None or now < self.done)
        return self.fault.called == "unusual" and self.done is not None and now >= self.done


def planted(
    pipeline: Pipeline,
    windows: Sequence[Sequence[Window]],
    days: float,
    chance: random.Random,
    kinds: Sequence[Kind] | None = None,
    apart: float = _APART,
) -> list[Fault]:
    """Faults for a pipeline, at least `apart` days from each other, each in one of its series; `windows` are theirs.

    They are of these `kinds`, one of each; or else of all kinds in turns, as many as there is time for.
    """
    faults: list[Fault] = []
    turns = [0] * len(windows)
    order = chance.sample(_KINDS, len(_KINDS)) if kinds is None else kinds
    free, last = (pipeline.begin + timedelta(days=number) for number in (pipeline.learning, days))
    while free < last and (kinds is None or len(faults) < len(kinds)):
        free += timedelta(days=chance.uniform(0, 1))
        if _is_settling(pipeline, free):
            free += timedelta(days=1)
            continue
        place = min(range(len(windows)), key=lambda each: turns[each] * _length(windows[each]))
        turns[place] += 1
        ahead = [window for window in windows[place] if window.start >= free]
        if len(ahead) < 2:
            break
        fault = _fault(order[len(faults) % len(order)], pipeline.series[place], ahead, chance)
        faults.append(fault)
        free = fault.windows[-1].end + timedelta(days=apart, seconds=fault.repaired or 0)
    return faults


def _length(windows: Sequence[Window]) -> float:
    return (windows[0].end - windows[0].start).total_seconds() if windows else 1e12


def _is_settling(pipeline: Pipeline, moment: datetime) -> bool:
    if pipeline.changes is None:
        return False
    since = (moment - pipeline.begin) / timedelta(days=1) - pipeline.changes
    return -8 <= since < max(pipeline.settling, 7)


def _fault(kind: Kind, series: Series, ahead: Sequence[Window], chance: random.Random) -> Fault:
    names = [stage.name for stage in series.stages]
    one = [chance.choice([stage.name for stage in series.stages if _is_regular(stage.only)])]
    lasts = (ahead[0].end - ahead[0].start).total_seconds()
    hours = chance.uniform(6, 30)
    number = max(2, min(int(hours * 3600 / lasts), len(ahead) // 2)) if lasts < 86_400 else chance.choice((1, 2, 2))
    later = None if chance.random() < 0.3 else 0.0  # 0: when it runs again, it catches up
    match kind:
        case "stop":
            return Fault(kind, series, ahead[:number], names, later)
        case "stage stops":
            return Fault(kind, series, ahead[:number], one, later)
        case "hole":
            return Fault(kind, series, ahead[:1], names)
        case "hole of a stage":
            return Fault(kind, series, ahead[:1], one)
        case "failure":
            return Fault(kind, series, ahead[:1], one)
        case "repaired failure":
            return Fault(kind, series, ahead[:1], one, 3600 * chance.uniform(2, 8))
        case "retry":
            return Fault(kind, series, ahead[:1], one, 60 * chance.uniform(10, 20))
        case "size":
            sized = [name for name in names if name in {"Loaded", "Saved", "Aggregated"}]
            return Fault(kind, series, ahead[: chance.randint(1, 3)], sized, factor=chance.choice((0.0, 10.0)))


def _is_regular(only: object) -> bool:
    return getattr(only, "__name__", "") == "always"


def set_limits(fault: Fault, delays: Mapping[str, Sequence[float]], next_done: Mapping[str, float | None]) -> None:
    """By when a fault is to be told.

    `delays` are those of each stage, the shortest first, over all days of the story, and `next_done` is when the stage
    did the set after the first one. What is absent may take twice the usual delay and a grace: half as much again as
    delays differ in all of the story, of which the judge has seen a part, and five minutes, by which clocks may. Less
    would alarm for nothing when the longest one comes. A hole may also wait until the next set is done.
    """
    for stage, cell in fault.cells.items():
        known = (cell.failed if fault.called == "failed" else cell.done) or cell.natural
        fault.limits[stage] = known + _ONCE_A_MINUTE
        if fault.called == "absent":
            known, usual = cell.reference, delays[stage][len(delays[stage]) // 2]
            clocks = min(300.0, (cell.window.end - cell.window.start).total_seconds() / 6)
            grace = _DIFFER * (delays[stage][-1] - delays[stage][0]) + clocks
            next_one = next_done[stage] or 0.0 if fault.kind.startswith("hole") else 0.0
            fault.usual = max(fault.usual, usual)
            fault.limits[stage] = max(known + 2 * usual + grace, next_one) + _ONCE_A_MINUTE
        fault.began = min(fault.began or known, known)
