"""Loading the ledger of a log, and putting right what does not add up: for each kind, counter = sum of `n` + unrowed.

What may not: rows that someone else removed or wrote, counters that were reset, and a log that has no ledger yet.
Where a category has no rows, they are made from its capped list; all other events are counted in `unrowed`.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeVar

from etlog_events import scripts
from etlog_events.errors import InvalidEvent
from etlog_events.keys import Keys
from etlog_events.kinds import Kinds
from etlog_events.scripts import Script
from etlog_events.sequence import number_of
from etlog_events.validation import NO_WINDOW, Note, noter
from etlog_ledger.fold import fold
from etlog_ledger.retention import Retention
from etlog_ledger.row import Row, add_events, decode_foreign, encode, is_interval, merge
from redis.exceptions import ResponseError

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
    of_log = ("GET", keys.cursor), ("HMGET", keys.stats, "applied", "rebuilt", "filling")
    at, (applied, rebuilt, filling), counters, unrowed, *sizes = scripts.run(client, *of_log, *commands)
    if (at or b"0-0") != cursor:
        return None
    applied, rebuilt = number_of(applied or b""), number_of(rebuilt or b"")
    counters, unrowed = numbers(counters), numbers(unrowed)
    missing = applied - sum(counters.values())  # in the counters: the ledger is a second account of the same
    repairs = []
    for (category, of_category), rows, listed in zip(found.items(), sizes[::2], sizes[1::2], strict=True):
        if rows != len(of_category.texts) + len(of_category.broken):
            return None
        names = [name for name, kind in kinds.by_name.items() if kind.category == category]
        anew = "" if listed == rows else "changes"
        more = any(of_category.events.get(name, 0) > counters.get(name, 0) for name in names)
        # A fill that was interrupted is done again; rows that tell of more than was counted are not the consumer's.
        if filling == category.encode() or (more and applied and not missing):
            anew = "sets"
            of_category.texts.clear()
            of_category.events.clear()
        due = _Due({}, {}, anew)
        for name in names:
            counted, without_row, in_rows = counters.get(name, 0), unrowed.get(name, 0), of_category.events.get(name, 0)
            total = max(counted, in_rows + without_row if missing > 0 else in_rows)
            if total != counted:
                due.counters[name] = total
            if total - in_rows != without_row:
                due.unrowed[name] = unrowed[name] = total - in_rows
        if of_category.broken or due.anew or due.counters or due.unrowed:
            steps = _Steps(client, keys, category, kinds.categories[category], cursor, rebuilt)
            made = {} if of_category.texts else _from_list(client, keys, kinds, category, keep)
            if not steps.run(rows, of_category, due, made, unrowed):
                return None
            rebuilt = steps.rebuilt
            without_row = sum(unrowed.get(name, 0) for name in names)
            repairs.append(Repair(category, steps.filled, len(of_category.broken), without_row))
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
    """What is to be put right beside fields that hold no row: numbers to set, and which keys are made `anew`."""

    counters: dict[str, int]
    unrowed: dict[str, int]
    anew: str


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
            interval, row = name.decode(errors="replace"), decode_foreign(text)
            if row is None or not is_interval(interval):
                found.broken.add(name)
            elif interval not in found.texts:  # the store may name a field twice
                found.texts[interval] = text
                add_events(found.events, row, prefix)
        if place == b"0":
            return found


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
    """The steps that put right the ledger of one category of a log at `cursor`, which was `rebuilt` so often; its kinds
    begin with `prefix`. After each step the ledger adds up."""

    def __init__(self, client: Any, keys: Keys, category: str, prefix: str, cursor: bytes, rebuilt: int) -> None:
        self._client = client
        of_log = (keys.contract, keys.cursor, keys.stats, keys.counters, keys.unrowed)
        self._keys = (*of_log, keys.sets(category), keys.changes(category))
        self._category = category
        self._prefix = prefix
        self._cursor = cursor
        self.rebuilt = rebuilt
        self.filled = 0

    def run(self, rows: int, found: _Found, due: _Due, made: Mapping[str, Row], unrowed: dict[str, int]) -> bool:
        """Of so many `rows`, remove those that are none, set the numbers, list the others in `changes`; where none is
        left, put those that were `made`. Returns False where the log or its ledger has moved."""
        texts, broken = found.texts, list(found.broken)
        events = self._events(made.values())
        if any(number > unrowed.get(name, 0) for name, number in events.items()):
            made = {}  # they tell of more than was counted
        filling = self._category if made else ""
        numbers = due.counters, due.unrowed
        if due.anew == "sets":
            broken = []
        if not self._step(rows, *numbers, anew=due.anew, filling=filling, dropped=broken[:AT_ONCE]):
            return False
        left = len(texts) + len(broken[AT_ONCE:])
        for names in _chunks(broken[AT_ONCE:]):
            if not self._step(left, filling=filling, dropped=names):
                return False
            left -= len(names)
        if not all(self._step(left, listed=names) for names in _chunks(list(texts) if due.anew else [])):
            return False
        for intervals in _chunks(list(made)):
            moved = self._events(made[interval] for interval in intervals)
            unrowed |= {name: unrowed[name] - number for name, number in moved.items()}
            put = {interval: encode(made[interval]) for interval in intervals}
            filling = self._category if len(texts) + len(put) < len(made) else ""
            if not self._step(len(texts), {}, {name: unrowed[name] for name in moved}, filling=filling, put=put):
                return False
            texts.update(put)
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
        arguments: list[Any] = [self._cursor, self.rebuilt, rows, anew, filling]
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
