"""The check of the ledger: whether it tells of every event that was applied, once.

For each kind, counter = sum of `n` over the rows + unrowed; each row is one of a set, and listed as changed. A batch
changes all of that in one step, so it is compared as it was at one moment: small ledgers are read in one step, larger
ones slice by slice, until one reading finds the log where it began.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from time import sleep
from typing import Any, NamedTuple

from etlog_events import scripts
from etlog_events.keys import Keys
from etlog_events.kinds import Kinds
from etlog_events.scripts import Command
from etlog_events.sequence import number_of
from etlog_events.validation import NO_WINDOW
from etlog_ledger.row import add_events, decode_foreign, is_interval

from etlog.connection import one_connection

#: Rows that are read in one step: a few milliseconds of the store's time.
AT_ONCE = 5_000

#: Rows in one slice.
SLICE = 1_000

#: Attempts to read a log that stands still.
READINGS = 5

#: Seconds for which a ledger that was rebuilt may be about to be, and how long to wait before it is looked at again.
RECENT, SETTLE = 2.0, 0.5

#: Fields of a category that a fault names, and the characters of each.
NAMED, SHOWN = 10, 100


@dataclass(frozen=True, slots=True)
class LedgerCheck:
    """What the ledger holds: so many `sets` of each category, so many `events` in rows and `unrowed` in none.

    `stood_still` tells whether the log did while it was read: if not, these numbers do not belong together, and nothing
    of it could be compared.
    """

    sets: dict[str, int]
    events: int
    unrowed: int
    stood_still: bool


class _State(NamedTuple):
    """All of the ledger but its rows, at one moment, with what changes whenever a row does. `sizes` are the numbers of
    rows and of changes, of one category after the other."""

    cursor: bytes
    rebuilt: bytes
    counters: dict[str, bytes]
    unrowed: dict[str, bytes]
    sizes: list[int]


@dataclass(slots=True)
class _Rows:
    """What one category holds: the names of its rows, by kind the events that they tell of, and what is wrong."""

    names: set[bytes] = field(default_factory=set)
    events: dict[str, int] = field(default_factory=dict)
    not_intervals: list[bytes] = field(default_factory=list)
    no_rows: list[bytes] = field(default_factory=list)
    listed: set[bytes] = field(default_factory=set)

    def add(self, fields: Sequence[bytes], prefix: str) -> None:
        """Take in some fields of the hash: name, row, name, row …; the store may name one twice."""
        for name, text in zip(fields[::2], fields[1::2], strict=True):
            if name in self.names:
                continue
            self.names.add(name)
            row = decode_foreign(text)
            if row is None:
                self.no_rows.append(name)
                continue
            add_events(self.events, row, prefix)
            if not is_interval(name.decode(errors="replace")):
                self.not_intervals.append(name)

    @property
    def sets(self) -> int:
        """How many sets have a row."""
        return len(self.names) - (NO_WINDOW.encode() in self.names)


def check(client: Any, keys: Keys, kinds: Kinds) -> tuple[LedgerCheck, list[str]]:
    """What the ledger of a log holds, and a sentence for each thing that does not hold.

    Raises the driver's errors.
    """
    with one_connection(client) as connected:
        for _ in range(READINGS):
            state, found = _read(connected, keys, kinds)
            unrowed = {name: number_of(number) for name, number in state.unrowed.items()}
            faults = _faults(keys, kinds, state, unrowed, found) if found else []
            if not faults or not _is_being_rebuilt(connected, state):
                break
            sleep(SETTLE)
    checked = LedgerCheck(
        sets={category: rows.sets for category, rows in found.items()}
        if found
        else dict(zip(kinds.categories, state.sizes[::2], strict=True)),
        events=sum(sum(rows.events.values()) for rows in found.values()),
        unrowed=sum(unrowed.get(name, 0) for name in kinds.by_name),
        stood_still=bool(found),
    )
    return checked, faults


def _is_being_rebuilt(connected: Any, state: _State) -> bool:
    """Whether a consumer was at it just now: between two of its steps, rows may be missing from `changes`."""
    [(seconds, microseconds)] = scripts.run(connected, ("TIME",))
    return int(seconds) * 1000 + int(microseconds) // 1000 - number_of(state.rebuilt or b"") < 1000 * RECENT


def _read(connected: Any, keys: Keys, kinds: Kinds) -> tuple[_State, dict[str, _Rows]]:
    """The state, and the rows of each category at the same moment: nothing where the log never stood still."""
    for _ in range(READINGS):
        state, at_once = _state(connected, keys, kinds)
        if at_once:
            return state, at_once
        found = {category: _scan(connected, keys, category, prefix) for category, prefix in kinds.categories.items()}
        if _state(connected, keys, kinds)[0] == state:
            return state, found
    return state, {}


def _state(connected: Any, keys: Keys, kinds: Kinds) -> tuple[_State, dict[str, _Rows]]:
    """The state, and the rows, too, where they are few."""
    sizes: list[Command] = []
    rows: list[Command] = []
    for category in kinds.categories:
        sizes += (("HLEN", keys.sets(category)), ("ZCARD", keys.changes(category)))
        rows += (("HGETALL", keys.sets(category)), ("ZRANGE", keys.changes(category), 0, -1))
    few = sum(scripts.run(connected, *sizes)) <= 2 * AT_ONCE
    numbers = (("HGETALL", keys.counters), ("HGETALL", keys.unrowed))
    commands = (("GET", keys.cursor), ("HGET", keys.stats, "rebuilt"), *numbers, *sizes, *(rows if few else ()))
    *_, answers = scripts.run(connected, ("MULTI",), *commands, ("EXEC",))
    cursor, rebuilt, counters, unrowed, *rest = scripts.without_errors(answers)
    state = _State(cursor, rebuilt, _named(counters), _named(unrowed), rest[: len(sizes)])
    found = {}
    for (category, prefix), place in zip(kinds.categories.items(), range(len(sizes), len(rest), 2), strict=False):
        found[category] = of_category = _Rows(listed=set(rest[place + 1]))
        of_category.add(rest[place], prefix)
    return state, found


def _scan(connected: Any, keys: Keys, category: str, prefix: str) -> _Rows:
    found = _Rows()
    place = b"0"
    while True:
        [(place, fields)] = scripts.run(connected, ("HSCAN", keys.sets(category), place, "COUNT", SLICE))
        found.add(fields, prefix)
        if place == b"0":
            break
    first = 0
    while True:
        [names] = scripts.run(connected, ("ZRANGE", keys.changes(category), first, first + SLICE - 1))
        if not names:
            return found
        found.listed.update(names)
        first += len(names)


def _faults(keys: Keys, kinds: Kinds, state: _State, unrowed: dict[str, int], found: dict[str, _Rows]) -> list[str]:
    counters = {name: number_of(number) for name, number in state.counters.items()}
    faults = [f"{name} holds no number in {keys.unrowed}" for name, text in state.unrowed.items() if not text.isdigit()]
    without = []
    for category, rows in found.items():
        of_category = [name for name, kind in kinds.by_name.items() if kind.category == category]
        if not (rows.names or rows.listed or any(name in state.unrowed for name in of_category)):
            if any(counters.get(name) for name in of_category):
                without.append(category)
            continue
        for name in of_category:
            in_rows, in_none, counted = rows.events.get(name, 0), unrowed.get(name, 0), counters.get(name, 0)
            if in_rows + in_none != counted:
                faults.append(
                    f"the rows of the ledger tell of {in_rows} {name} and {in_none} are in no row, "
                    f"but the counters say {counted}"
                )
        sets, changes = keys.sets(category), keys.changes(category)
        faults += _about(rows.no_rows, f"holds no row in {sets}", f"fields of {sets} hold no row")
        faults += _about(
            rows.not_intervals, f"in {sets} is not the interval of a window", f"fields of {sets} are not intervals"
        )
        faults += _about(rows.names - rows.listed, f"has a row, but is not in {changes}", f"rows are not in {changes}")
        faults += _about(
            rows.listed - rows.names, f"is in {changes}, but has no row", f"names in {changes} have no row"
        )
    if without:
        faults.append(
            f"there is no ledger of {' and '.join(without)} yet, as where an earlier release wrote the log: "
            "start a consumer of this release, which builds it"
        )
    return faults


def _about(names: Sequence[bytes] | set[bytes], fault: str, more: str) -> list[str]:
    """A sentence for each of the first of these fields, and one for the others."""
    told = sorted(names)[:NAMED]
    rest = len(names) - len(told)
    return [f"{_shown(name)} {fault}" for name in told] + ([f"{rest} more {more}"] if rest else [])


def _named(fields: Sequence[bytes]) -> dict[str, bytes]:
    return {_shown(name): text for name, text in zip(fields[::2], fields[1::2], strict=True)}


def _shown(name: bytes) -> str:
    return name[:SHOWN].decode(errors="backslashreplace")
