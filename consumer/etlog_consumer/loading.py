"""Loading the ledger of a log: all of its rows, and whether they add up with the counters."""

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from etlog_events import scripts
from etlog_events.keys import Keys
from etlog_events.kinds import Kinds
from etlog_events.scripts import Command
from etlog_events.sequence import number_of
from etlog_ledger.row import add_events, decode, decode_foreign, is_interval
from redis.exceptions import ResponseError

from etlog_consumer import rebuild
from etlog_consumer.rebuild import Due, Found, Rebuild, Rows, Steps, rows_of_list


@dataclass(frozen=True, slots=True)
class Loaded:
    """The ledger as the store holds it: the rows of each category, the events that are in none, by kind, how many
    events are applied, and when it was rebuilt last, in milliseconds since 1970; 0: never."""

    rows: Mapping[str, "Rows"]
    unrowed: Mapping[str, int]
    applied: int
    rebuilt: int


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
    bytes are kept. `go_on` is asked between two steps; `tell` is told what was rebuilt, as soon as it is. Returns None
    where `go_on` is False, or the log or its ledger has moved meanwhile. Raises the driver's errors.
    """
    _require_types(client, keys, kinds)
    found: dict[str, Found] = {}
    for category, prefix in kinds.categories.items():
        of_category = _read(client, keys.sets(category), prefix, room, go_on)
        if of_category is None:
            return None
        found[category] = of_category
    state = _State.read(client, keys, kinds)
    if state.cursor != cursor:
        return None
    for category, of_category in found.items():
        rows = state.sizes[category][0]
        if rows != len(of_category.rows.names) + len(of_category.broken):
            return None
        due = _due(of_category, state, category, kinds)
        if due is None:
            continue
        steps = Steps(client, keys, category, kinds.categories[category], cursor, state.rebuilt, go_on)
        made = {} if of_category.rows.names else rows_of_list(client, keys, kinds, category, keep, go_on)
        if made is None or not steps.run(rows, of_category, due, made, state.unrowed, room):
            return None
        state.rebuilt = steps.rebuilt
        if tell is not None:
            unrowed = sum(state.unrowed.get(name, 0) for name in _names(kinds, category))
            tell(Rebuild(category, steps.filled, len(of_category.broken), unrowed, due.is_first))
    found_rows = {category: of_category.rows for category, of_category in found.items()}
    return Loaded(found_rows, state.unrowed, state.applied, state.rebuilt)


@dataclass(slots=True)
class _State:
    """What the store holds of a log beside its rows. `sizes` are, of each category, the number of rows and of those
    that are listed in `changes`, and the highest score there. `filling` names categories whose rows were being made
    when someone was interrupted."""

    cursor: bytes
    applied: int
    rebuilt: int
    counters: Mapping[str, int]
    unrowed: dict[str, int]
    sizes: Mapping[str, tuple[int, int, float]]
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
            sizes={
                category: (rows, listed, float(top[1]) if top else 0.0)
                for category, rows, listed, top in zip(kinds.categories, rest[::3], rest[1::3], rest[2::3], strict=True)
            },
            filling={name.partition(":")[2] for name in of_log if name.startswith("filling:")},
        )


def _due(found: Found, state: _State, category: str, kinds: Kinds) -> Due | None:
    """What is to be put right in a category, noted in `state` as done; None where it adds up.

    The ledger is a second account of what the counters hold. If it says more than they do, they are raised; but if they
    agree with the stats, it is the greatest rows that others have written.
    """
    names = _names(kinds, category)
    counted = sum(number for number in state.counters.values() if number > 0)
    rows, listed, newest = state.sizes[category]
    if counted == state.applied >= newest:
        _remove_excess(found, {name: max(0, state.counters.get(name, 0)) for name in names}, kinds.categories[category])
    # A score that is not reached yet is from before the stats were removed: it would hide later changes.
    anew = "" if listed == rows and newest <= state.applied else "changes"
    if category in state.filling:  # interrupted: it is done again
        anew = "sets"
        found.rows = Rows()
        found.events.clear()
    is_first = not found.rows.names and not found.broken and not any(name in state.unrowed for name in names)
    due = Due({}, {}, anew, is_first)
    for name in names:
        in_rows, without_row = found.events.get(name, 0), state.unrowed.get(name, 0)
        held = in_rows + max(0, without_row) if state.applied > counted else in_rows
        total = max(state.counters.get(name, 0), held)
        if total != state.counters.get(name, 0):
            due.counters[name] = total
        if total - in_rows != without_row:
            due.unrowed[name] = state.unrowed[name] = total - in_rows
    return due if found.broken or due.anew or due.counters or due.unrowed else None


def _remove_excess(found: Found, counters: Mapping[str, int], prefix: str) -> None:
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


def _read(client: Any, key: str, prefix: str, room: int, go_on: Callable[[], bool]) -> Found | None:
    found = Found()
    place = b"0"
    while go_on():
        [(place, fields)] = scripts.run(client, ("HSCAN", key, place, "COUNT", rebuild.AT_ONCE))
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


def numbers(fields: Sequence[bytes]) -> dict[str, int]:
    """What a hash of numbers holds, by name, -1 where that is no number. `fields` is the answer to HGETALL as it comes:
    name, value, name, value …"""
    return {
        name.decode(errors="replace"): number_of(text) if text == b"%d" % number_of(text) else -1
        for name, text in zip(fields[::2], fields[1::2], strict=True)
    }
