"""Putting right the ledger of one category that does not add up: for each kind, counter = sum of `n` + unrowed.

What may not: rows that someone else removed or wrote, counters that were reset, and a log that has no ledger yet.
Where a category has no rows, they are made from its capped list; all other events are counted in `unrowed`.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeVar

from etlog_events import scripts
from etlog_events.errors import InvalidEvent
from etlog_events.keys import Keys
from etlog_events.kinds import Kinds
from etlog_events.scripts import Script
from etlog_events.validation import NO_WINDOW, Note, noter
from etlog_ledger.fold import fold
from etlog_ledger.retention import Retention
from etlog_ledger.row import Row, add_events, encode, merge

logger = logging.getLogger("etlog.consumer")

T = TypeVar("T")

SCRIPT = Script.load(
    *("etlog_consumer:head.lua", "etlog_events:contract.lua"),
    *("etlog_consumer:ledger.lua", "etlog_consumer:rebuild.lua"),
)

#: Rows that are read or put in one step: a few milliseconds of the store's time.
AT_ONCE = 500

#: Events of a list that are read in one step; each may have 64 KiB.
EVENTS_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class Rebuild:
    """What was done to the ledger of one category: the number of sets that got a row from its list, of fields that were
    removed because they held no row, and of events that are in no row now. `is_first` where it had no ledger before."""

    category: str
    sets: int
    removed: int
    unrowed: int
    is_first: bool


def log_rebuild(rebuild: Rebuild, log: str) -> None:
    """Log what was done."""
    extra = {"action": "ledger_rebuilt", "category": rebuild.category}
    if rebuild.is_first:
        logger.info(
            "Built the ledger of category %s of log %s from its list: %d sets; %d older events are in no row",
            *(rebuild.category, log, rebuild.sets, rebuild.unrowed),
            extra=extra,
        )
    else:
        logger.warning(
            "Rebuilt the ledger of category %s of log %s, because it did not add up, as when others write to its keys: "
            "%d sets are taken from the list, %d fields that were not rows are removed, %d events are in no row now",
            *(rebuild.category, log, rebuild.sets, rebuild.removed, rebuild.unrowed),
            extra=extra,
        )


@dataclass(slots=True)
class Rows:
    """The rows of one category: the intervals of all, and the texts of those that there was room for, of `size` bytes
    together."""

    names: set[str] = field(default_factory=set)
    texts: dict[str, bytes] = field(default_factory=dict)
    size: int = 0

    def add(self, interval: str, text: bytes, room: int) -> None:
        """Add one; its text is kept if all that are take no more than `room` bytes."""
        self.names.add(interval)
        if self.size + len(text) <= room:
            self.texts[interval] = text
            self.size += len(text)


@dataclass(slots=True)
class Found:
    """What the store holds of one category: its rows, the fields that hold none, and how many events the rows tell of,
    by kind."""

    rows: Rows = field(default_factory=Rows)
    broken: set[bytes] = field(default_factory=set)
    events: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Due:
    """What is to be put right beside fields that hold no row: numbers to set, and the keys that are made `anew`, see
    `rebuild.lua`. `is_first` where there was no ledger."""

    counters: dict[str, int]
    unrowed: dict[str, int]
    anew: str
    is_first: bool


def rows_of_list(
    client: Any, keys: Keys, kinds: Kinds, category: str, keep: int, go_on: Callable[[], bool]
) -> dict[str, Row] | None:
    """The rows that the events in the list of a category make; None where `go_on` is False."""
    note, retention = noter(kinds), Retention(keep)
    rows: dict[str, Row] = {}
    for texts in _slices(client, keys.log(category)):
        if not go_on():
            return None
        notes: dict[tuple[str, str], list[Note]] = {}
        for text in texts:
            try:
                kind, _, interval, noted = note(text)
            except InvalidEvent:
                continue
            notes.setdefault((kind.name, interval), []).append(noted)
        folded = fold(notes, kinds).get(category, {})
        placement = retention.place([interval for interval in folded if interval not in rows and interval != NO_WINDOW])
        retention.apply(placement)
        for interval, row in folded.items():
            rows[interval] = merge(rows.get(interval, {}), row)
        for interval in (*placement.refused, *placement.dropped):
            del rows[interval]
    return rows


def _slices(client: Any, key: str) -> Iterator[Sequence[bytes]]:
    first = 0
    while True:
        [texts] = scripts.run(client, ("LRANGE", key, first, first + EVENTS_AT_ONCE - 1))
        if not texts:
            return
        yield texts
        first += len(texts)


class Steps:
    """The steps that put right the ledger of one category of a log at `cursor`, which was `rebuilt` so often; its kinds
    begin with `prefix`. After each step the ledger adds up."""

    def __init__(
        self,
        client: Any,
        keys: Keys,
        category: str,
        prefix: str,
        cursor: bytes,
        rebuilt: int,
        go_on: Callable[[], bool],
    ) -> None:
        self._client = client
        self._go_on = go_on
        of_log = (keys.contract, keys.cursor, keys.stats, keys.counters, keys.unrowed)
        self._keys = (*of_log, keys.sets(category), keys.changes(category))
        self._category = category
        self._prefix = prefix
        self._cursor = cursor
        self.rebuilt = rebuilt
        self.filled = 0

    def run(
        self, rows: int, found: Found, due: Due, made: Mapping[str, Row], unrowed: dict[str, int], room: int
    ) -> bool:
        """Of so many `rows`, remove those that are none, set the numbers, list the others in `changes`; where none is
        left, put those that were `made`. Returns False where the log or its ledger has moved."""
        names, broken = found.rows.names, list(found.broken)
        events = self._events(made.values())
        if any(number > unrowed.get(name, 0) for name, number in events.items()):
            made = {}  # they tell of more than was counted
        filling = "1" if made else ""
        if due.anew == "sets":  # all fields go
            broken = []
        first = broken[:AT_ONCE]
        if not self._step(rows, due.counters, due.unrowed, anew=due.anew, filling=filling, dropped=first):
            return False
        left = len(names) + len(broken[AT_ONCE:])
        for fields in _chunks(broken[AT_ONCE:]):
            if not self._step(left, filling=filling, dropped=fields):
                return False
            left -= len(fields)
        listed = _chunks(list(names) if due.anew else [])
        if not all(self._step(left, filling=filling, listed=intervals) for intervals in listed):
            return False
        for intervals in _chunks(list(made)):
            moved = self._events(made[interval] for interval in intervals)
            unrowed |= {name: unrowed[name] - number for name, number in moved.items()}
            put = {interval: encode(made[interval]) for interval in intervals}
            filling = "1" if len(names) + len(put) < len(made) else ""
            if not self._step(len(names), {}, {name: unrowed[name] for name in moved}, filling=filling, put=put):
                return False
            for interval, text in put.items():
                found.rows.add(interval, text, room)
        self.filled = len(made)
        return True

    def _events(self, rows: Iterable[Row]) -> dict[str, int]:
        events: dict[str, int] = {}
        for row in rows:
            add_events(events, row, self._prefix)
        return events

    def _step(
        self,
        rows: int,
        counters: Mapping[str, int] = MappingProxyType({}),
        unrowed: Mapping[str, int] = MappingProxyType({}),
        *,
        anew: str = "",
        filling: str = "",
        dropped: Sequence[bytes] = (),
        put: Mapping[str, bytes] = MappingProxyType({}),
        listed: Sequence[str] = (),
    ) -> bool:
        if not self._go_on():
            return False
        arguments: list[Any] = [self._cursor, self.rebuilt, rows, self._category, anew, filling]
        for pairs in (counters, unrowed):
            arguments += (len(pairs), *(part for pair in pairs.items() for part in pair))
        arguments += (len(dropped), *dropped)
        arguments += (len(put), *(part for row in put.items() for part in row))
        arguments += (len(listed), *listed)
        rebuilt = SCRIPT.run(self._client, self._keys, arguments)
        self.rebuilt = rebuilt or self.rebuilt
        return rebuilt is not None


def _chunks(names: Sequence[T]) -> Iterator[Sequence[T]]:
    for first in range(0, len(names), AT_ONCE):
        yield names[first : first + AT_ONCE]
