"""Loading the ledger of a log, and putting right what does not add up: for each kind, counter = sum of `n` + unrowed.

What may not: rows that someone else removed or wrote, and a log that has no ledger yet. Where a category has no rows,
they are made from its capped list; all other events are counted in `unrowed`.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from etlog_events import scripts, timestamps
from etlog_events.errors import InvalidEvent
from etlog_events.keys import Keys
from etlog_events.kinds import Kinds
from etlog_events.scripts import Script
from etlog_events.sequence import number_of
from etlog_events.validation import NO_WINDOW, Note, noter
from etlog_ledger.fold import fold
from etlog_ledger.retention import Retention
from etlog_ledger.row import Row, add_events, decode, encode, merge

from etlog_consumer.batch import REPORTED

logger = logging.getLogger("etlog.consumer")

SCRIPT = Script.load(
    *("etlog_consumer:head.lua", "etlog_events:contract.lua"),
    *("etlog_consumer:ledger.lua", "etlog_consumer:rebuild.lua"),
)

#: Rows that are read or put in one step: one to three milliseconds of the store's time.
AT_ONCE = 1000

#: Events of a list that are read in one step; each may have 64 KiB.
EVENTS_AT_ONCE = 200


@dataclass(slots=True)
class _Found:
    """What the store holds of one category: its rows, the fields that hold none, how many events the rows tell of by
    kind, and how many fields are `listed` as changed."""

    texts: dict[str, bytes] = field(default_factory=dict)
    broken: list[bytes] = field(default_factory=list)
    events: dict[str, int] = field(default_factory=dict)
    listed: int = 0


def load(client: Any, keys: Keys, kinds: Kinds, *, keep: int, cursor: bytes) -> dict[str, dict[str, bytes]] | None:
    """The rows of each category, interval -> text, of a log at `cursor`, put right where they do not add up.

    Where rows are made from lists, the `keep` newest sets of each length have one. Returns None where the log or its
    ledger has moved meanwhile. Raises the driver's errors.
    """
    found = {category: _read(client, keys, prefix, category) for category, prefix in kinds.categories.items()}
    commands = [("GET", keys.cursor), ("HGETALL", keys.counters), ("HGETALL", keys.unrowed)]
    for category in kinds.categories:
        commands += [("HLEN", keys.sets(category)), ("ZCARD", keys.changes(category))]
    at, counters, unrowed, *sizes = scripts.run(client, *commands)
    if (at or b"0-0") != cursor:
        return None
    for of_category, rows, listed in zip(found.values(), sizes[::2], sizes[1::2], strict=True):
        if rows != len(of_category.texts) + len(of_category.broken):
            return None
        of_category.listed = listed
    counters, unrowed = _numbers(counters), _numbers(unrowed)
    for category, of_category in found.items():
        wanted = {
            name: max(0, counters.get(name, 0) - of_category.events.get(name, 0))
            for name, kind in kinds.by_name.items()
            if kind.category == category
        }
        rows = len(of_category.texts)
        if of_category.broken or of_category.listed != rows or any(unrowed.get(k, 0) != n for k, n in wanted.items()):
            repair = _Repair(client, keys, category, kinds.categories[category], cursor)
            if not repair.run(of_category, wanted, _from_list(client, keys, kinds, category, keep) if not rows else {}):
                return None
    return {category: of_category.texts for category, of_category in found.items()}


def _read(client: Any, keys: Keys, prefix: str, category: str) -> _Found:
    found = _Found()
    place = b"0"
    while True:
        [(place, fields)] = scripts.run(client, ("HSCAN", keys.sets(category), place, "COUNT", AT_ONCE))
        for name, text in zip(fields[::2], fields[1::2], strict=True):
            interval = _interval(name)
            if interval in found.texts or name in found.broken:
                continue  # the store may name a field twice
            try:
                row = decode(text)
            except ValueError:
                row = None
            if interval is None or row is None:
                found.broken.append(name)
            else:
                found.texts[interval] = text
                add_events(found.events, row, prefix)
        if place == b"0":
            return found


def _interval(name: bytes) -> str | None:
    """The interval that a field names, None where it names none."""
    text = name.decode(errors="replace")
    start, slash, end = text.partition("/")
    is_one = slash and timestamps.is_canonical(start) and timestamps.is_canonical(end)
    return text if is_one or text == NO_WINDOW else None


def _from_list(client: Any, keys: Keys, kinds: Kinds, category: str, keep: int) -> dict[str, Row]:
    """The rows that the events in the list of a category make."""
    note = noter(kinds)
    rows: dict[str, Row] = {}
    for texts in _slices(client, keys.log(category)):
        notes: dict[tuple[str, str], list[Note]] = {}
        for text in texts:
            try:
                kind, _, interval, noted = note(text)
            except InvalidEvent:
                continue
            notes.setdefault((kind.name, interval), []).append(noted)
        for interval, row in fold(notes, kinds).get(category, {}).items():
            merge(rows.setdefault(interval, {}), row)
    refused = Retention(keep).place([interval for interval in rows if interval != NO_WINDOW]).refused
    return {interval: row for interval, row in rows.items() if interval not in refused}


def _slices(client: Any, key: str) -> Iterator[Sequence[bytes]]:
    first = 0
    while True:
        [texts] = scripts.run(client, ("LRANGE", key, first, first + EVENTS_AT_ONCE - 1))
        if not texts:
            return
        yield texts
        first += len(texts)


@dataclass(frozen=True, slots=True)
class _Repair:
    """The steps that put right the ledger of one category of a log at `cursor`. After each of them it adds up."""

    client: Any
    keys: Keys
    category: str
    prefix: str
    cursor: bytes

    def run(self, found: _Found, unrowed: dict[str, int], rows: Mapping[str, Row]) -> bool:
        """Remove what is no row, set `unrowed`, and put `rows` where there are none. Returns False where the log or its
        ledger has moved."""
        texts = found.texts
        is_listed = found.listed == len(texts) + len(found.broken)
        if not self._step(len(texts) + len(found.broken), unrowed, relist=not is_listed, dropped=found.broken):
            return False
        for names in _chunks([] if is_listed else list(texts)):
            if not self._step(len(texts), listed=names):
                return False
        for name in found.broken[:REPORTED]:
            logger.warning(
                "Removed the field %s of %s: it held no row of the ledger",
                *(name.decode(errors="backslashreplace"), self.keys.sets(self.category)),
                extra={"action": "row_removed"},
            )
        if not self._fill(texts, unrowed, rows):
            return False
        logger.warning(
            "The ledger of category %s of log %s did not add up, as before the first one or after others wrote to it: "
            "%d sets were taken from the list, %d events are in no row",
            *(self.category, self.keys.name, len(rows), sum(unrowed.values())),
            extra={"action": "ledger_repaired"},
        )
        return True

    def _fill(self, texts: dict[str, bytes], unrowed: dict[str, int], rows: Mapping[str, Row]) -> bool:
        """Move events from `unrowed` into rows, unless these hold more than all that were counted."""
        events: dict[str, int] = {}
        for row in rows.values():
            add_events(events, row, self.prefix)
        if any(number > unrowed.get(name, 0) for name, number in events.items()):
            return True
        for intervals in _chunks(list(rows)):
            for interval in intervals:
                for name, number in _events(rows[interval], self.prefix).items():
                    unrowed[name] -= number
            put = {interval: encode(rows[interval]) for interval in intervals}
            if not self._step(len(texts), unrowed, put=put):
                return False
            texts.update(put)
        return True

    def _step(
        self,
        rows: int,
        unrowed: Mapping[str, int] = MappingProxyType({}),
        *,
        relist: bool = False,
        dropped: Sequence[bytes] = (),
        put: Mapping[str, bytes] = MappingProxyType({}),
        listed: Sequence[str] = (),
    ) -> bool:
        keys, of_category = self.keys, (self.keys.sets(self.category), self.keys.changes(self.category))
        arguments: list[Any] = [self.cursor, rows, "1" if relist else "", len(unrowed)]
        for pair in unrowed.items():
            arguments += pair
        arguments += (len(dropped), *dropped, len(put))
        for row in put.items():
            arguments += row
        arguments += (len(listed), *listed)
        names = (keys.contract, keys.cursor, keys.stats, keys.unrowed, *of_category)
        return SCRIPT.run(self.client, names, arguments) is not None


def _events(row: Row, prefix: str) -> dict[str, int]:
    events: dict[str, int] = {}
    add_events(events, row, prefix)
    return events


def _chunks(names: Sequence[str]) -> Iterator[Sequence[str]]:
    for first in range(0, len(names), AT_ONCE):
        yield names[first : first + AT_ONCE]


def _numbers(fields: Sequence[bytes]) -> dict[str, int]:
    """What a hash of numbers holds, by name."""
    return {
        name.decode(errors="replace"): number_of(text) for name, text in zip(fields[::2], fields[1::2], strict=True)
    }
