"""Loading the ledger of a log, and putting right what does not add up: for each kind, counter = sum of `n` + unrowed.

What may not: rows that someone else removed or wrote, counters that were reset, and a log that has no ledger yet.
Where a category has no rows, they are made from its capped list; all other events are counted in `unrowed`.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeVar

from etlog_events import scripts
from etlog_events.errors import InvalidEvent
from etlog_events.keys import Keys
from etlog_events.kinds import Kinds
from etlog_events.scripts import Command, Script
from etlog_events.sequence import number_of
from etlog_events.validation import NO_WINDOW, Note, noter
from etlog_ledger.fold import fold
from etlog_ledger.retention import Retention
from etlog_ledger.row import Row, add_events, decode, decode_foreign, encode, is_interval, merge
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
class Rebuild:
    """What was done to the ledger of one category: the number of sets that got a row from its list, of fields that were
    removed because they held no row, and of events that are in no row now. `is_first` where it had no ledger before."""

    category: str
    sets: int
    removed: int
    unrowed: int
    is_first: bool


@dataclass(frozen=True, slots=True)
class Loaded:
    """The ledger as the store holds it: the rows of each category, the events that are in none, by kind, how many
    events are applied, and when it was rebuilt last, in milliseconds since 1970; 0: never."""

    rows: Mapping[str, "Rows"]
    unrowed: Mapping[str, int]
    applied: int
    rebuilt: int


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


def load(
    client: Any,
    keys: Keys,
    kinds: Kinds,
    *,
    keep: int,
    cursor: bytes,
    room: int = 0,
    go_on: Callable[[], bool] = lambda: True,
    tell: Callable[[Rebuild], None] | None = None,
) -> Loaded | None:
    """The ledger of a log at `cursor`, put right where it does not add up.

    Where rows are made from lists, the `keep` newest sets of each length have one. Of each category, texts of `room`
    bytes are kept. `go_on` is asked between two steps;
    `tell` is told what was rebuilt, as soon as it is. Returns None where `go_on` is False, or the log or its ledger has
    moved meanwhile. Raises the driver's errors.
    """
    _require_types(client, keys, kinds)
    found: dict[str, _Found] = {}
    for category, prefix in kinds.categories.items():
        of_category = _read(client, keys.sets(category), prefix, room, go_on)
        if of_category is None:
            return None
        found[category] = of_category
    state = _State.read(client, keys, kinds)
    if state.cursor != cursor:
        return None
    for (category, of_category), (rows, listed) in zip(found.items(), state.sizes, strict=True):
        if rows != len(of_category.rows.names) + len(of_category.broken):
            return None
        due = _due(of_category, state, category, kinds, is_listed=listed == rows)
        if due is None:
            continue
        steps = _Steps(client, keys, category, kinds.categories[category], cursor, state.rebuilt, go_on)
        made = {} if of_category.rows.names else _from_list(client, keys, kinds, category, keep, go_on)
        if made is None or not steps.run(rows, of_category, due, made, state.unrowed, room):
            return None
        state.rebuilt = steps.rebuilt
        if tell is not None:
            unrowed = sum(state.unrowed.get(name, 0) for name in _names(kinds, category))
            tell(Rebuild(category, steps.filled, len(of_category.broken), unrowed, due.is_first))
    found_rows = {category: of_category.rows for category, of_category in found.items()}
    return Loaded(found_rows, state.unrowed, state.applied, state.rebuilt)


@dataclass(slots=True)
class _Found:
    """What the store holds of one category: its rows, the fields that hold none, and how many events the rows tell of,
    by kind."""

    rows: Rows = field(default_factory=Rows)
    broken: set[bytes] = field(default_factory=set)
    events: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class _State:
    """What the store holds of a log beside its rows. `sizes` are, for each category, the number of rows and of those
    that are listed in `changes`; `newest` is the highest score there. `filling` names categories whose rows were being
    made when someone was interrupted."""

    cursor: bytes
    applied: int
    rebuilt: int
    counters: Mapping[str, int]
    unrowed: dict[str, int]
    sizes: Sequence[tuple[int, int]]
    newest: int
    filling: Set[str]

    @classmethod
    def read(cls, client: Any, keys: Keys, kinds: Kinds) -> "_State":
        commands: list[Command] = [("GET", keys.cursor), ("HGETALL", keys.stats)]
        commands += [("HGETALL", keys.counters), ("HGETALL", keys.unrowed)]
        for category in kinds.categories:
            changes = keys.changes(category)
            commands += [("HLEN", keys.sets(category)), ("ZCARD", changes), ("ZRANGE", changes, -1, -1, "WITHSCORES")]
        cursor, stats, counters, unrowed, *rest = scripts.run(client, *commands)
        of_log = numbers(stats)
        return cls(
            cursor=cursor or b"0-0",
            applied=max(0, of_log.get("applied", 0)),
            rebuilt=max(0, of_log.get("rebuilt", 0)),
            counters=numbers(counters),
            unrowed=numbers(unrowed),
            sizes=list(zip(rest[::3], rest[1::3], strict=True)),
            newest=max((int(float(top[1])) for top in rest[2::3] if top), default=0),
            filling={name.partition(":")[2] for name in of_log if name.startswith("filling:")},
        )


@dataclass(frozen=True, slots=True)
class _Due:
    """What is to be put right beside fields that hold no row: numbers to set, and the keys that are made `anew`, see
    `rebuild.lua`. `is_first` where there was no ledger."""

    counters: dict[str, int]
    unrowed: dict[str, int]
    anew: str
    is_first: bool


def _due(found: _Found, state: _State, category: str, kinds: Kinds, *, is_listed: bool) -> _Due | None:
    """What is to be put right in a category, noted in `state` as done; None where it adds up.

    The ledger is a second account of what the counters hold. If it says more than they do, they are raised; but if they
    agree with the stats, it is the greatest rows that others have written.
    """
    names = _names(kinds, category)
    counted = sum(number for number in state.counters.values() if number > 0)
    if counted == state.applied >= state.newest:
        _remove_excess(found, {name: max(0, state.counters.get(name, 0)) for name in names}, kinds.categories[category])
    # A score that is not reached yet is from before the stats were removed: it would hide later changes.
    anew = "" if is_listed and state.newest <= state.applied else "changes"
    if category in state.filling:  # interrupted: it is done again
        anew = "sets"
        found.rows = Rows()
        found.events.clear()
    is_first = not found.rows.names and not found.broken and not any(name in state.unrowed for name in names)
    due = _Due({}, {}, anew, is_first)
    for name in names:
        in_rows, without_row = found.events.get(name, 0), state.unrowed.get(name, 0)
        held = in_rows + max(0, without_row) if state.applied > counted else in_rows
        total = max(state.counters.get(name, 0), held)
        if total != state.counters.get(name, 0):
            due.counters[name] = total
        if total - in_rows != without_row:
            due.unrowed[name] = state.unrowed[name] = total - in_rows
    return due if found.broken or due.anew or due.counters or due.unrowed else None


def _remove_excess(found: _Found, counters: Mapping[str, int], prefix: str) -> None:
    """Take the greatest rows for none, until the others do not tell of more events than were counted. Only those in
    memory are looked at."""

    def more() -> list[str]:
        return [name for name, number in counters.items() if found.events.get(name, 0) > number]

    if not more():
        return
    events: dict[str, dict[str, int]] = {}
    for interval, text in found.rows.texts.items():
        add_events(events.setdefault(interval, {}), decode(text), prefix)
    while events and (kinds := more()):
        greatest = max(events, key=lambda interval: events[interval].get(kinds[0], 0))
        for kind, number in events.pop(greatest).items():
            found.events[kind] -= number
        found.rows.names.discard(greatest)
        del found.rows.texts[greatest]
        found.broken.add(greatest.encode())


def _names(kinds: Kinds, category: str) -> list[str]:
    return [name for name, kind in kinds.by_name.items() if kind.category == category]


def _require_types(client: Any, keys: Keys, kinds: Kinds) -> None:
    """Raise an error that names a key of another type; that of a command which meets it does not."""
    expected = {keys.counters: "hash", keys.unrowed: "hash", keys.stats: "hash"}
    for category in kinds.categories:
        expected |= {keys.log(category): "list", keys.sets(category): "hash", keys.changes(category): "zset"}
    types = scripts.run(client, *(("TYPE", key) for key in expected))
    for (key, type_), found in zip(expected.items(), types, strict=True):
        if found.decode() not in {type_, "none"}:
            raise ResponseError(f"WRONGTYPE {key} should be a {type_}, it is a {found.decode()}")


def _read(client: Any, key: str, prefix: str, room: int, go_on: Callable[[], bool]) -> _Found | None:
    found = _Found()
    place = b"0"
    while go_on():
        [(place, fields)] = scripts.run(client, ("HSCAN", key, place, "COUNT", AT_ONCE))
        for name, text in zip(fields[::2], fields[1::2], strict=True):
            interval, row = name.decode(errors="replace"), decode_foreign(text)
            if row is None or not is_interval(interval):
                found.broken.add(name)
            elif interval not in found.rows.names:  # the store may name a field twice
                found.rows.add(interval, text, room)
                add_events(found.events, row, prefix)
        if place == b"0":
            return found
    return None


def _from_list(
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


class _Steps:
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
        self, rows: int, found: _Found, due: _Due, made: Mapping[str, Row], unrowed: dict[str, int], room: int
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


def numbers(fields: Sequence[bytes]) -> dict[str, int]:
    """What a hash of numbers holds, by name, -1 where that is no number. `fields` is the answer to HGETALL as it comes:
    name, value, name, value …"""
    return {
        name.decode(errors="replace"): number_of(text) if text == b"%d" % number_of(text) else -1
        for name, text in zip(fields[::2], fields[1::2], strict=True)
    }
