"""Loading the ledger of a log, and putting right what does not add up: for each kind, counter = sum of `n` + unrowed.

What may not: rows that someone else removed or wrote, counters that were reset, and a log that has no ledger yet.
Where a category has no rows, they are made from its capped list; all other events are counted in `unrowed`.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeVar

from etlog_events import scripts
from etlog_events.errors import InvalidEvent
from etlog_events.event import canonical_window
from etlog_events.keys import Keys
from etlog_events.kinds import Kinds
from etlog_events.scripts import Script
from etlog_events.sequence import number_of
from etlog_events.validation import NO_WINDOW, Note, noter
from etlog_ledger.fold import fold
from etlog_ledger.retention import Retention
from etlog_ledger.row import Row, add_events, decode, encode, is_sound, merge
from redis.exceptions import ResponseError

logger = logging.getLogger("etlog.consumer")

T = TypeVar("T")

SCRIPT = Script.load(
    *("etlog_consumer:head.lua", "etlog_events:contract.lua"),
    *("etlog_consumer:ledger.lua", "etlog_consumer:rebuild.lua"),
)

#: Rows that are read or put in one step: one to three milliseconds of the store's time.
AT_ONCE = 1000

#: Events of a list that are read in one step; each may have 64 KiB.
EVENTS_AT_ONCE = 200


@dataclass(frozen=True, slots=True)
class Repair:
    """What was done to the ledger of one category: so many `sets` got a row from its list, so many fields that held no
    row were `removed`, and so many events are in no row now."""

    category: str
    sets: int
    removed: int
    unrowed: int


@dataclass(frozen=True, slots=True)
class Loaded:
    """The ledger as the store holds it: the rows of each category, interval -> text, the events that are in none, by
    kind, how often it was rebuilt, and what was put right just now."""

    texts: Mapping[str, dict[str, bytes]]
    unrowed: Mapping[str, int]
    rebuilt: int
    repairs: Sequence[Repair]


def load(client: Any, keys: Keys, kinds: Kinds, *, keep: int, cursor: bytes) -> Loaded | None:
    """The ledger of a log at `cursor`, put right where it does not add up.

    Where rows are made from lists, the `keep` newest sets of each length have one. Returns None where the log or its
    ledger has moved meanwhile. Raises the driver's errors.
    """
    _require_types(client, keys, kinds)
    found = {category: _read(client, keys, prefix, category) for category, prefix in kinds.categories.items()}
    commands: list[tuple[str, ...]] = [("HGETALL", keys.counters), ("HGETALL", keys.unrowed)]
    for category in kinds.categories:
        commands += [("HLEN", keys.sets(category)), ("ZCARD", keys.changes(category))]
    of_log = ("GET", keys.cursor), ("HMGET", keys.stats, "applied", "rebuilt")
    at, stats, counters, unrowed, *sizes = scripts.run(client, *of_log, *commands)
    if (at or b"0-0") != cursor:
        return None
    applied, rebuilt = (number_of(number or b"") for number in stats)
    counters, unrowed = numbers(counters), numbers(unrowed)
    counters_are_whole = sum(counters.values()) >= applied
    repairs = []
    for (category, of_category), rows, listed in zip(found.items(), sizes[::2], sizes[1::2], strict=True):
        if rows != len(of_category.texts) + len(of_category.broken):
            return None
        due = _Due({}, {}, relist=listed != rows)
        for name in (name for name, kind in kinds.by_name.items() if kind.category == category):
            counted, without_row, in_rows = counters.get(name, 0), unrowed.get(name, 0), of_category.events.get(name, 0)
            # The ledger is a second account of what was counted. Of two that differ, the stats say which is right.
            total = max(counted, in_rows if counters_are_whole else in_rows + without_row)
            if total != counted:
                due.counters[name] = total
            if total - in_rows != without_row:
                due.unrowed[name] = unrowed[name] = total - in_rows
        if of_category.broken or due.relist or due.counters or due.unrowed:
            steps = _Steps(client, keys, category, cursor, rebuilt)
            if not steps.put_right(of_category, due):
                return None
            if not of_category.texts and due.unrowed:
                made = _from_list(client, keys, kinds, category, keep)
                if not steps.fill(of_category.texts, made, kinds.categories[category], unrowed):
                    return None
            rebuilt = steps.rebuilt
            of_kinds = (unrowed.get(name, 0) for name, kind in kinds.by_name.items() if kind.category == category)
            repairs.append(Repair(category, steps.filled, len(of_category.broken), sum(of_kinds)))
    return Loaded({category: of_category.texts for category, of_category in found.items()}, unrowed, rebuilt, repairs)


def report(repairs: Sequence[Repair], log: str) -> None:
    """Log what was put right."""
    for repair in repairs:
        logger.warning(
            "The ledger of category %s of log %s did not add up, as before the first one or after others wrote to it: "
            "%d sets are taken from the list, %d fields that held no row are removed, %d events are in no row now",
            *(repair.category, log, repair.sets, repair.removed, repair.unrowed),
            extra={"action": "ledger_repaired", "category": repair.category},
        )


@dataclass(slots=True)
class _Found:
    """What the store holds of one category: its rows, the fields that hold none, and how many events the rows tell of,
    by kind."""

    texts: dict[str, bytes] = field(default_factory=dict)
    broken: set[bytes] = field(default_factory=set)
    events: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Due:
    """What is to be put right beside fields that hold no row: numbers to set, and whether `changes` is made anew."""

    counters: dict[str, int]
    unrowed: dict[str, int]
    relist: bool


def _require_types(client: Any, keys: Keys, kinds: Kinds) -> None:
    """Raise an error that names a key of another type; that of a command which meets it does not."""
    expected = {keys.counters: "hash", keys.unrowed: "hash", keys.stats: "hash"}
    for category in kinds.categories:
        expected |= {keys.log(category): "list", keys.sets(category): "hash", keys.changes(category): "zset"}
    types = scripts.run(client, *(("TYPE", key) for key in expected))
    for (key, type_), found in zip(expected.items(), types, strict=True):
        if found.decode() not in {type_, "none"}:
            raise ResponseError(f"WRONGTYPE {key} should be a {type_}, it is a {found.decode()}")


def _read(client: Any, keys: Keys, prefix: str, category: str) -> _Found:
    found = _Found()
    place = b"0"
    while True:
        [(place, fields)] = scripts.run(client, ("HSCAN", keys.sets(category), place, "COUNT", AT_ONCE))
        for name, text in zip(fields[::2], fields[1::2], strict=True):
            interval, row = _interval(name), _row(text)
            if interval is None or row is None:
                found.broken.add(name)
            elif interval not in found.texts:  # the store may name a field twice
                found.texts[interval] = text
                add_events(found.events, row, prefix)
        if place == b"0":
            return found


def _interval(name: bytes) -> str | None:
    """The interval that a field names, None where it names none."""
    text = name.decode(errors="replace")
    start, _, end = text.partition("/")
    try:
        return text if text == NO_WINDOW or canonical_window(start, end) == (start, end) else None
    except ValueError:
        return None


def _row(text: bytes) -> Row | None:
    """The row that a field holds, None where it holds none."""
    try:
        row = decode(text)
    except ValueError:
        return None
    return row if is_sound(row) else None


def _from_list(client: Any, keys: Keys, kinds: Kinds, category: str, keep: int) -> dict[str, Row]:
    """The rows that the events in the list of a category make."""
    note, retention = noter(kinds), Retention(keep)
    rows: dict[str, Row] = {}
    for texts in _slices(client, keys.log(category)):
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


class _Steps:
    """The steps that put right the ledger of one category of a log at `cursor`, which was `rebuilt` so often. After
    each of them it adds up. They return False where the log or its ledger has moved."""

    def __init__(self, client: Any, keys: Keys, category: str, cursor: bytes, rebuilt: int) -> None:
        self._client = client
        of_log = (keys.contract, keys.cursor, keys.stats, keys.counters, keys.unrowed)
        self._keys = (*of_log, keys.sets(category), keys.changes(category))
        self._cursor = cursor
        self.rebuilt = rebuilt
        self.filled = 0

    def put_right(self, found: _Found, due: _Due) -> bool:
        """Remove what is no row, set the numbers, and list the rows in `changes`."""
        texts, broken = found.texts, list(found.broken)
        first = broken[:AT_ONCE]
        if not self._step(len(texts) + len(broken), due.counters, due.unrowed, relist=due.relist, dropped=first):
            return False
        left = len(texts) + len(broken) - len(first)
        for names in _chunks(broken[AT_ONCE:]):
            if not self._step(left, dropped=names):
                return False
            left -= len(names)
        return all(self._step(left, listed=names) for names in _chunks(list(texts) if due.relist else []))

    def fill(self, texts: dict[str, bytes], rows: Mapping[str, Row], prefix: str, unrowed: dict[str, int]) -> bool:
        """Move events from `unrowed` into `rows`, unless these hold more than all that were counted."""
        events: dict[str, int] = {}
        for row in rows.values():
            add_events(events, row, prefix)
        if any(number > unrowed.get(name, 0) for name, number in events.items()):
            return True
        for intervals in _chunks(list(rows)):
            moved: dict[str, int] = {}
            for interval in intervals:
                add_events(moved, rows[interval], prefix)
            unrowed |= {name: unrowed[name] - number for name, number in moved.items()}
            put = {interval: encode(rows[interval]) for interval in intervals}
            if not self._step(len(texts), unrowed={name: unrowed[name] for name in moved}, put=put):
                return False
            texts.update(put)
            self.filled += len(put)
        return True

    def _step(
        self,
        rows: int,
        counters: Mapping[str, int] = MappingProxyType({}),
        unrowed: Mapping[str, int] = MappingProxyType({}),
        *,
        relist: bool = False,
        dropped: Sequence[bytes] = (),
        put: Mapping[str, bytes] = MappingProxyType({}),
        listed: Sequence[str] = (),
    ) -> bool:
        arguments: list[Any] = [self._cursor, self.rebuilt, rows, "1" if relist else ""]
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


def numbers(fields: Sequence[bytes]) -> dict[str, int]:
    """What a hash of numbers holds, by name; the driver's answer to HGETALL lists name, value, name, value …"""
    return {
        name.decode(errors="replace"): number_of(text) for name, text in zip(fields[::2], fields[1::2], strict=True)
    }
