"""The work of one category: readings become sets of ten seconds, which become sets of a minute."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from etlog_events.errors import EtlogError
from etlog_events.kinds import CATEGORIES
from etlog_producer import Producer

from etlog_dev.sample.meter import Level, Meter
from etlog_dev.sample.prices import Prices
from etlog_dev.sample.schedule import MINUTE, TEN_SECONDS, Window
from etlog_dev.sample.sets import RecordSet, Shelf, aggregate, merge

logger = logging.getLogger("etlog.sample")

#: Called with the file of each saved set of ten seconds, before it is loaded again.
OnSaved = Callable[[Path], None]


class NothingRead(EtlogError):
    """Raised when nothing was metered for a set."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The levels that held from `start` to `end`."""

    start: datetime
    end: datetime
    levels: Mapping[str, Level]


def build(window: Window, readings: Sequence[Reading], prices: Prices, *, stretch: bool) -> RecordSet:
    """The set of `window` from the readings in it; with `stretch`, as if they covered the whole window.

    Raises `NothingRead` if there is none.
    """
    hours = [window.hours_shared(reading.start, reading.end) for reading in readings]
    if not any(hours):
        raise NothingRead("no meter reading in this window")
    factor = window.hours / sum(hours) if stretch else 1.0
    records = merge(
        prices.record(name, level, shared * factor)
        for reading, shared in zip(readings, hours, strict=True)
        if shared
        for name, level in reading.levels.items()
    )
    return RecordSet(window.start, window.end, [window.start], records)


class Category:
    """The stages of the category `name`, `allocation` or `asset`, with its sets under the folder `data`.

    An asset costs money for the whole window, even before the first reading; an allocation only while it is seen.
    """

    def __init__(
        self,
        name: str,
        *,
        meter: Meter,
        data: Path,
        producer: Producer,
        prices: Prices | None = None,
        on_saved: OnSaved = lambda _: None,
    ) -> None:
        self._name = name
        self._prefix = CATEGORIES[name]
        self._meter = meter
        self._producer = producer
        self._prices = prices or Prices()
        self._on_saved = on_saved
        self._sets = Shelf(data, name, TEN_SECONDS)
        self._minutes = Shelf(data, name, MINUTE)
        self._readings: list[Reading] = []
        self._read_at: datetime | None = None

    def tick(self, now: datetime) -> None:
        """Read the meter; when the window of the last reading is over, build its set. Does not raise a failure."""
        start, self._read_at = self._read_at, now
        window = TEN_SECONDS.window(start or now)
        with self._going_on(window):
            with self._producer.stage(self._prefix, window=window):
                levels = self._meter()
            if start is None or start >= now:  # the first reading, or the clock was set back
                self._readings.clear()
            else:
                self._readings.append(Reading(start, now, levels))
        if window.end <= now:
            with self._going_on(window):
                self._roll_up(self._set_of(window))
                self._sets.prune(now)
                self._minutes.prune(now)
            self._readings = [reading for reading in self._readings if reading.end > window.end]

    def _set_of(self, window: Window) -> RecordSet:
        """Build the set of `window` and save it. Returns the set as loaded from the disk."""
        with self._producer.stage(self._prefix, window=window) as stage:
            built = build(window, self._readings, self._prices, stretch=self._name == "asset")
            with stage.saving():
                path = self._sets.save(built)
                stage.saved(size=len(built.records))
            self._on_saved(path)
            with stage.loading():
                loaded = self._sets.load(window)
                stage.loaded(size=len(loaded.records))
        return loaded

    def _roll_up(self, part: RecordSet) -> None:
        """Add `part` to the set of its minute."""
        minute = MINUTE.window(part.start)
        with self._producer.stage(self._prefix, window=minute) as stage:
            sets = [part]
            if self._minutes.path(minute).exists():
                with stage.loading():
                    sets.append(self._minutes.load(minute))
                    stage.loaded(size=len(sets[-1].records))
            with stage.aggregating():
                aggregated = aggregate(minute, sets)
                stage.aggregated(size=len(aggregated.records), parts=len(aggregated.parts))
            with stage.totaling():
                total = aggregated.total()
                stage.totaled(
                    cost=round(total.cost, 9),
                    core_hours=round(total.core_hours, 9),
                    memory_gib_hours=round(total.memory_gib_hours, 9),
                    disk_gib_hours=round(total.disk_gib_hours, 9),
                )
            with stage.saving():
                self._minutes.save(aggregated)
                stage.saved(size=len(aggregated.records))

    @contextmanager
    def _going_on(self, window: Window) -> Iterator[None]:
        """A failure in the block is already an event, and must not stop the work on the next window."""
        try:
            yield
        except Exception as e:
            logger.warning(
                "The %s set of %s failed: %s",
                self._name,
                window.start.time(),
                e,
                extra={"action": "set_failed", "category": self._name},
            )
