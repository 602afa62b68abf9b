"""The story of a pipeline: the events that arrive, and the truth on each cell."""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from etlog_events.event import Event

from benchmarks.verdict.calendars import Window, next_at
from benchmarks.verdict.faults import Cell, Fault, Kind, planted, set_limits
from benchmarks.verdict.pipelines import Pipeline, Series, Stage

#: Seconds that an event takes to the log, at most.
_LATENCY = 2.0

#: Seconds between two sets that are done in one burst.
_BURST = 3.0

#: Seconds after the last set that did not come until what stopped runs again.
_UNTIL_REPAIRED = 2700.0

#: Days between two re-runs of old sets.
_RERUN_EVERY = 12

_SIZED = {"Loaded", "Saved", "Aggregated"}


class Arrival(NamedTuple):
    """An event, and when it arrives, in seconds since 1970."""

    at: float
    event: Event


@dataclass
class Story:
    """What happens in the log of a pipeline, in order of arrival; `cells` are those of each series (its `every`) and
    stage, by the start of their windows."""

    pipeline: Pipeline
    begin: datetime
    end: datetime
    arrivals: list[Arrival] = field(default_factory=list)
    cells: dict[tuple[str, str], dict[datetime, Cell]] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    def faulty(self) -> Mapping[tuple[str, str], list[Cell]]:
        """The cells that a fault hits, by series and stage, in order of time."""
        hit = {key: [cell for cell in cells.values() if cell.fault is not None] for key, cells in self.cells.items()}
        return {key: sorted(cells, key=lambda cell: cell.first) for key, cells in hit.items()}


def tell(
    pipeline: Pipeline, days: float, seed: int, kinds: Sequence[Kind] | None = None, apart: float | None = None
) -> Story:
    """The story of so many days of a pipeline; a seed tells the same again.

    Faults of these `kinds` are planted, in that order, or of all in turns if it is None; `apart` are the days between
    them.
    """
    return _Teller(pipeline, days, seed).story(kinds, apart)


class _Teller:
    def __init__(self, pipeline: Pipeline, days: float, seed: int) -> None:
        self._pipeline = pipeline
        self._days = days
        self._seed = f"{pipeline.name}/{seed}"
        self._chance = random.Random(self._seed)
        self._story = Story(pipeline, pipeline.begin, pipeline.begin + timedelta(days=days))
        self._in_batch: dict[str, int] = {}
        self._changes: float | None = None
        if pipeline.changes is not None:
            self._changes = (pipeline.begin + timedelta(days=pipeline.changes)).timestamp()

    def story(self, kinds: Sequence[Kind] | None, apart: float | None) -> Story:
        """All of it."""
        story, pipeline = self._story, self._pipeline
        windows = [list(self._windows(series)) for series in pipeline.series]
        chance = random.Random(self._seed + "/faults")
        options = {} if apart is None else {"apart": apart}
        story.faults = planted(pipeline, windows, self._days, chance, kinds, **options)
        for series, of_series in zip(pipeline.series, windows, strict=True):
            self._tell_series(series, of_series)
        for fault in story.faults:
            self._set_limits(fault)
        if pipeline.restarts:
            self._restart()
        if pipeline.reruns:
            self._rerun()
        story.arrivals.sort(key=lambda arrival: arrival.at)
        story.arrivals = [arrival for arrival in story.arrivals if arrival.at < story.end.timestamp()]
        return story

    def _windows(self, series: Series) -> Iterator[Window]:
        pipeline = self._pipeline
        begin = pipeline.begin
        if pipeline.caught_up:
            length = next(series.calendar(begin, begin + timedelta(days=400), pipeline.zone))
            begin -= pipeline.caught_up * (length.end - length.start)
        for window in series.calendar(begin, self._story.end, pipeline.zone):
            only = series.only
            if pipeline.only_then is not None and self._is_changed(window):
                only = pipeline.only_then
            if window.start >= begin and only(window.start.astimezone(pipeline.zone)):
                yield window

    def _is_changed(self, window: Window) -> bool:
        return self._changes is not None and window.end.timestamp() > self._changes

    def _tell_series(self, series: Series, windows: list[Window]) -> None:
        hit = {
            (window, stage): fault
            for fault in self._story.faults
            if fault.series is series
            for window in fault.windows
            for stage in fault.stages
        }
        burst = self._story.begin.timestamp()
        for window in windows:
            faults = {stage.name: hit[window, stage.name] for stage in series.stages if (window, stage.name) in hit}
            if not faults and self._chance.random() < self._pipeline.retries:
                faults = self._retry(series, window)
            begin = window.end.timestamp()
            if self._pipeline.live and not faults and window.start >= self._story.begin:
                self._run_early(series, window)
            if window.end <= self._story.begin:
                burst += self._pipeline.pace
                begin = burst
            elif self._is_changed(window):
                begin += self._pipeline.later
            self._tell_set(series, window, begin, faults)

    def _run_early(self, series: Series, window: Window) -> None:
        """A window that has not ended is done already, as far as it goes."""
        half = (window.end - window.start).total_seconds() / 2
        for later, stage in enumerate(series.stages):
            self._arrive(
                window.start.timestamp() + half + 5 * later, stage.name, window, self._size(series, window) // 2
            )

    def _retry(self, series: Series, window: Window) -> dict[str, Fault]:
        local = window.start.astimezone(self._pipeline.zone)
        name = self._chance.choice([stage.name for stage in series.stages if stage.only(local)])
        fault = Fault("retry", series, [window], [name], 60 * self._chance.uniform(10, 20))
        self._story.faults.append(fault)
        return {name: fault}

    def _tell_set(self, series: Series, window: Window, begin: float, faults: Mapping[str, Fault]) -> None:
        """Walk a set through its stages: `natural` is how it would go, `ready` how it goes, None if it never does."""
        natural, ready, base = begin, begin, window.end.timestamp()
        held: Fault | None = None  # whose failure the stages behind it wait for
        size = self._size(series, window)
        for stage in series.stages:
            if not stage.only(window.start.astimezone(self._pipeline.zone)):
                continue
            fault = faults.get(stage.name)
            reference, lasts = self._takes(stage, natural, window)
            natural = reference + lasts
            base = reference if stage.batch else base
            cell = Cell(window, stage.name, base, natural, natural)
            self._story.cells.setdefault((series.every, stage.name), {})[window.start] = cell
            if held is not None:
                cell.fault, cell.behind = held, True
                cell.done = None if ready == float("inf") else ready + lasts
            if fault is not None:
                cell.fault, cell.behind = fault, False
                fault.cells.setdefault(stage.name, cell)
                held = self._strike(fault, cell) or held
            if cell.done is not None:
                told = round(size * fault.factor) if fault is not None and fault.kind == "size" else size
                cell.done = self._arrive(cell.done, stage.name, window, told)
            if held is not None:
                ready = float("inf") if cell.done is None else cell.done
                if fault is not None and fault.called == "absent":
                    held, ready = None, natural  # the stages behind it do not need it

    def _strike(self, fault: Fault, cell: Cell) -> Fault | None:
        """What a fault does to a cell. Returns the fault if the stages behind it wait for it."""
        match fault.called:
            case "failed":
                cell.done = None if fault.repaired is None else cell.natural + fault.repaired
                cell.failed = self._arrive_error(cell.natural, cell.stage, cell.window)
                return fault
            case "absent":
                cell.done = None
                if fault.repaired is not None:
                    number = fault.windows.index(cell.window)
                    repaired = self._begin(fault.series, cell.stage, fault.windows[-1]) + _UNTIL_REPAIRED
                    cell.done = max(repaired + _BURST * number + self._chance.uniform(0, 2), cell.natural)
                return fault
            case _:
                return None

    def _begin(self, series: Series, name: str, window: Window) -> float:
        """When the first of the stages up to one of that name begins with a set, in a batch or as its window ends."""
        begin = window.end
        for stage in series.stages:
            if stage.batch:
                begin = next_at(stage.batch, begin, self._pipeline.zone, stage.weekday)
            if stage.name == name:
                break
        return begin.timestamp()

    def _takes(self, stage: Stage, ready: float, window: Window) -> tuple[float, float]:
        """When a stage begins with a set that is ready, and how long it takes."""
        if not stage.batch:
            return ready, stage.delay.draw(self._chance)
        moment = next_at(
            stage.batch, datetime.fromtimestamp(ready, UTC), self._pipeline.zone, stage.weekday
        ).timestamp()
        batch = f"{stage.name}/{moment}"
        number = self._in_batch[batch] = self._in_batch.get(batch, 0) + 1
        return moment, stage.delay.draw(random.Random(f"{self._seed}/{batch}")) + _BURST * number

    def _size(self, series: Series, window: Window) -> int:
        """Sizes swing over the day, grow over the days, and vary a little."""
        hour = window.start.astimezone(self._pipeline.zone).hour
        swing = 1 + 0.5 * (1 - abs(hour - 12) / 12) if series.every in {"1h", "15m"} else 1
        day = (window.start - self._story.begin) / timedelta(days=90)
        grown = max(0.2, 1 + self._pipeline.growth * day)
        return round(max(series.size > 0, series.size * swing * grown * (1 + 0.1 * self._chance.gauss(0, 1))))

    def _arrive(self, at: float, stage: str, window: Window, size: int | None) -> float:
        return self._note(at, f"AllocationSet{stage}", window, size=size if stage in _SIZED else None)

    def _arrive_error(self, at: float, stage: str, window: Window) -> float:
        if stage == "Reconciled":
            return self._note(at, "AllocationSetReconcileError", window, error="totals differ by 3 %")
        named = {"stage": stage} if self._pipeline.names_stage else None
        return self._note(at, "AllocationSetComputeError", window, error="connection reset", metadata=named)

    def _note(
        self,
        at: float,
        kind: str,
        window: Window,
        *,
        size: int | None = None,
        error: str | None = None,
        metadata: dict[str, str] | None = None,
    ) -> float:
        """Let an event arrive, a little later than it happens by the producer's clock. Returns when."""
        time = datetime.fromtimestamp(at + self._pipeline.ahead, UTC)
        event = Event.new(kind, size=size, window=window, error=error, time=time, metadata=metadata)
        arrives = at + self._chance.uniform(0, _LATENCY)
        self._story.arrivals.append(Arrival(arrives, event))
        return arrives

    def _restart(self) -> None:
        """A process that starts loads the newest day once more: now and then, at any time."""
        at = self._story.begin.timestamp() + 86_400
        series = self._pipeline.series[0]
        while at < self._story.end.timestamp():
            at += self._chance.expovariate(1 / (5 * 86_400))
            cells = self._story.cells[series.every, series.stages[0].name].values()
            ended = [cell for cell in cells if cell.window.end.timestamp() < at][-24:]
            for number, cell in enumerate(ended):
                self._arrive(at + number, "Loaded", cell.window, self._size(series, cell.window))

    def _rerun(self) -> None:
        """Old sets are done once more, in one burst or one every two minutes."""
        series = self._pipeline.series[0]
        faulty = {
            start
            for stage in series.stages
            for start, cell in self._story.cells[series.every, stage.name].items()
            if cell.fault is not None
        }
        at, slowly = self._story.begin.timestamp() + 5 * 86_400, True
        while at < self._story.end.timestamp():
            cells = self._story.cells[series.every, series.stages[0].name].values()
            ended = [cell for cell in cells if cell.window.end.timestamp() < at - 86_400][-72:-24]
            for number, cell in enumerate(cell for cell in ended if cell.window.start not in faulty):
                for later, stage in enumerate(series.stages):
                    after = at + (120 if slowly else _BURST) * number + later
                    self._arrive(after, stage.name, cell.window, self._size(series, cell.window))
            at, slowly = at + _RERUN_EVERY * 86_400, not slowly

    def _set_limits(self, fault: Fault) -> None:
        delays, next_done = {}, {}
        for stage, cell in fault.cells.items():
            cells = list(self._story.cells[fault.series.every, stage].values())
            later = cells[cells.index(cell) + 1 :]
            live = [each for each in cells if each.window.end > self._story.begin]
            same = [each for each in live if self._is_changed(each.window) == self._is_changed(cell.window)]
            delays[stage] = sorted(each.natural - each.reference for each in same)
            next_done[stage] = next((each.done for each in later if each.done is not None), None)
        set_limits(fault, delays, next_done)
