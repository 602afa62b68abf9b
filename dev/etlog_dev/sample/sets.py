"""Sets of records, and the folders that hold them as JSON."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
import orjson
from etlog_events.errors import EtlogError

from etlog_dev.sample.schedule import Resolution, Window

#: How long a set is kept.
KEEP = timedelta(hours=1)


class SetUnreadable(EtlogError):
    """Raised when a file that should hold a set does not."""


class SetOverlap(EtlogError, ValueError):
    """Raised when a window would count twice in a set."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What one asset offered or one allocation used in the window of its set, and its cost in US dollars."""

    name: str
    core_hours: float
    memory_gib_hours: float
    disk_gib_hours: float
    cost: float

    @property
    def amounts(self) -> tuple[float, float, float]:
        """Hours of cores, of GiB of memory, of GiB of disk."""
        return self.core_hours, self.memory_gib_hours, self.disk_gib_hours


@dataclass(frozen=True, slots=True)
class RecordSet:
    """The records of one category in one window; `parts` holds the starts of the 10 s windows in it."""

    start: datetime
    end: datetime
    parts: Sequence[datetime]
    records: Sequence[Record]

    @property
    def window(self) -> Window:
        """The window of the set; `parts` may cover less of it."""
        return Window(self.start, self.end)

    def total(self) -> Record:
        """The sum of all records."""
        return _sum("__total__", self.records)


def merge(records: Iterable[Record]) -> list[Record]:
    """One record per name, the most expensive first."""
    by_name: dict[str, list[Record]] = {}
    for record in records:
        by_name.setdefault(record.name, []).append(record)
    merged = (_sum(name, same) for name, same in by_name.items())
    return sorted(merged, key=lambda record: (-record.cost, record.name))


def aggregate(window: Window, sets: Iterable[RecordSet]) -> RecordSet:
    """The set of `window`, made of sets of windows in it. Raises `SetOverlap` if two of them share a part."""
    sets = list(sets)
    parts = sorted(part for each in sets for part in each.parts)
    if len(set(parts)) < len(parts):
        raise SetOverlap("a 10 s window would count twice")
    return RecordSet(window.start, window.end, parts, merge(record for each in sets for record in each.records))


def _sum(name: str, records: Sequence[Record]) -> Record:
    return Record(
        name=name,
        core_hours=math.fsum(record.core_hours for record in records),
        memory_gib_hours=math.fsum(record.memory_gib_hours for record in records),
        disk_gib_hours=math.fsum(record.disk_gib_hours for record in records),
        cost=math.fsum(record.cost for record in records),
    )


class Shelf:
    """The folder of one category's sets of one resolution: one file per window, named after its start."""

    def __init__(self, data: Path, category: str, resolution: Resolution) -> None:
        self._data = data
        self._folder = data / category / resolution.name

    def path(self, window: Window) -> Path:
        """The file for the set of `window`, whether it exists or not."""
        return self._folder / f"{window.start:%Y-%m-%dT%H-%M-%SZ}.json"

    def save(self, records: RecordSet) -> Path:
        """Write the set atomically, so that no reader sees a part of it. Returns its file; raises `OSError`."""
        path = self.path(records.window)
        self._folder.mkdir(parents=True, exist_ok=True)
        written = path.with_suffix(".tmp")
        written.write_bytes(orjson.dumps(records, option=orjson.OPT_UTC_Z | orjson.OPT_APPEND_NEWLINE))
        written.replace(path)
        return path

    def load(self, window: Window) -> RecordSet:
        """The set of `window`. Raises `SetUnreadable`, which names the file and what is wrong with it."""
        path = self.path(window)
        name = path.relative_to(self._data)
        try:
            return _decode(path.read_bytes())
        except OSError as e:
            raise SetUnreadable(f"cannot read {name}: {e.strerror}") from e
        except (msgspec.MsgspecError, UnicodeDecodeError) as e:
            raise SetUnreadable(f"{name} does not hold a set: {e}") from e

    def prune(self, now: datetime) -> None:
        """Remove sets older than `KEEP`. Raises `OSError`."""
        oldest = self.path(Window(now - KEEP, now)).name
        for path in self._folder.glob("*.json"):
            if path.name < oldest:  # names sort like times
                path.unlink(missing_ok=True)


_decode = msgspec.json.Decoder(RecordSet).decode
