"""The ledger of one log as its consumer knows it: which sets have a row, and what the rows hold.

Rows change only where a batch is applied, and only if the log is where the consumer left it, so what is in memory is
what the store holds. What others did to the rows is noticed by their number, and put right when they are loaded.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from etlog_events import scripts
from etlog_events.keys import Keys
from etlog_events.kinds import Kinds
from etlog_events.scripts import Command
from etlog_events.sequence import number_of
from etlog_events.validation import NO_WINDOW
from etlog_ledger.fold import Notes, fold
from etlog_ledger.retention import Placement, Retention
from etlog_ledger.row import Row, add_events, decode, encode, merge
from redis.exceptions import ResponseError

from etlog_consumer.loading import load, numbers
from etlog_consumer.rebuild import AT_ONCE, Rebuild, Rows, log_rebuild

#: Bytes of rows that the consumers of a process keep in memory: those of 100,000 sets as they usually are. Other rows
#: are asked for.
MOST_BYTES = 64 * 1024 * 1024


#: Rows of all categories that a batch drops at most, when `keep` has become smaller: the store does nothing else
#: meanwhile.
MOST_DROPPED = 4_000


@dataclass(frozen=True, slots=True)
class CategoryChange:
    """What a batch changes in the ledger of one category, where there were that many `rows` before: the intervals of
    the rows that are `dropped`, and the rows to `put`."""

    rows: int
    dropped: Sequence[str] = ()
    put: Mapping[str, bytes] = field(default_factory=dict)
    placement: Placement | None = None


@dataclass(frozen=True, slots=True)
class Changes:
    """What a batch changes in the ledger; `unrowed` counts the events that are in no row afterwards, by kind. `applied`
    and `rebuilt` are those of the stats before it."""

    of_category: dict[str, CategoryChange]
    unrowed: dict[str, int]
    applied: int
    rebuilt: int


class _Rows:
    """The rows of one category: which there are, and the texts of those used last, as far as `room` bytes go."""

    def __init__(self, keep: int, room: int, rows: Rows) -> None:
        self._room = room
        self.texts, self._bytes = rows.texts, rows.size
        self.retention = Retention(keep, rows.names)
        self.has_apart = NO_WINDOW in rows.names

    def __contains__(self, interval: str) -> bool:
        return interval in self.retention or (interval == NO_WINDOW and self.has_apart)

    def __len__(self) -> int:
        return len(self.retention) + self.has_apart

    def apply(self, change: CategoryChange) -> None:
        """Take over a change that was applied."""
        if change.placement is not None:
            self.retention.apply(change.placement)
        for interval in (*change.dropped, *change.put):
            self._bytes -= len(self.texts.pop(interval, b""))
        self.texts.update(change.put)  # at the end: the first ones are forgotten first
        self._bytes += sum(map(len, change.put.values()))
        self.has_apart = self.has_apart or NO_WINDOW in change.put
        self._make_room()

    def _make_room(self) -> None:
        while self._bytes > self._room:
            self._bytes -= len(self.texts.pop(next(iter(self.texts))))


class Ledger:
    """The ledger of the log with these `keys`: the newest `keep` sets of each category and length of window."""

    def __init__(self, client: Any, keys: Keys, kinds: Kinds, *, keep: int, most_bytes: int = MOST_BYTES) -> None:
        self._client = client
        self._keys = keys
        self._kinds = kinds
        self._keep = keep
        self._room = most_bytes // len(kinds.categories)
        #: Where the log held the rows in memory; None: they are worth nothing.
        self._cursor: bytes | None = None
        self._rows: dict[str, _Rows] = {}
        self._unrowed: dict[str, int] = {}
        self._applied = self._rebuilt = 0

    def load(self, cursor: bytes, go_on: Callable[[], bool] = lambda: True) -> bool:
        """Know the rows of the log at `cursor`, reading them unless they are known. Returns False where it has moved,
        or where `go_on`, which is asked again and again meanwhile, is False.

        Raises the driver's errors.
        """
        if self._cursor != cursor or not self.holds():
            self.forget()

            def tell(rebuild: Rebuild) -> None:
                log_rebuild(rebuild, self._keys.name)

            log = self._client, self._keys, self._kinds
            found = load(*log, keep=self._keep, cursor=cursor, room=self._room, go_on=go_on, tell=tell)
            if found is None:
                return False
            self._rows = {category: _Rows(self._keep, self._room, rows) for category, rows in found.rows.items()}
            self._unrowed = dict(found.unrowed)
            self._applied, self._rebuilt = found.applied, found.rebuilt
            self._cursor = cursor
        return True

    def forget(self) -> None:
        """Rely on nothing in memory: someone else is at work on the log, or was."""
        self._cursor = None
        self._rows = {}

    def holds(self) -> bool:
        """Whether the store has as many rows as are known here, and the same numbers of events."""
        commands: list[Command] = [("HGETALL", self._keys.unrowed), ("HMGET", self._keys.stats, "applied", "rebuilt")]
        expected: list[int] = []
        for category, rows in self._rows.items():
            commands += [("HLEN", self._keys.sets(category)), ("ZCARD", self._keys.changes(category))]
            expected += [len(rows), len(rows)]
        try:
            unrowed, stats, *sizes = scripts.run(self._client, *commands)
        except ResponseError:  # a key of another type, which loading names
            return False
        known = ([self._applied, self._rebuilt], self._unrowed, expected)
        return ([number_of(number or b"") for number in stats], numbers(unrowed), sizes) == known

    def changes(self, notes: Notes) -> Changes | None:
        """What a batch with these notes changes; nothing is changed yet. None where the rows in the store are others
        than those known here, because the log has moved. Raises the driver's errors.
        """
        changes = Changes({}, {}, self._applied, self._rebuilt)
        folded = fold(notes, self._kinds)
        try:
            for category in self._kinds.categories:
                rows = folded.get(category, {})
                changes.of_category[category] = self._changed(category, rows, changes.unrowed)
        except LookupError:
            return None
        return changes

    def apply(self, changes: Changes, cursor: bytes, events: int) -> None:
        """The changes made last were applied, with that many events; the log is at `cursor` now."""
        for category, change in changes.of_category.items():
            self._rows[category].apply(change)
        for kind, number in changes.unrowed.items():
            self._unrowed[kind] = self._unrowed.get(kind, 0) + number
        self._applied += events
        self._cursor = cursor

    def _changed(self, category: str, folded: Mapping[str, Row], unrowed: dict[str, int]) -> CategoryChange:
        rows = self._rows[category]
        if not folded and not rows.retention.is_crowded:
            return CategoryChange(len(rows))
        known = {interval for interval in folded if interval in rows}
        new = [interval for interval in folded if interval not in known and interval != NO_WINDOW]
        placement = rows.retention.place(new, max(len(new), MOST_DROPPED // len(self._kinds.categories)))
        held = self._held(category, known.union(placement.dropped))
        put: dict[str, bytes] = {}
        gone = [held[interval] for interval in placement.dropped]
        dropped = set(placement.dropped)
        for interval, row in folded.items():
            if interval in placement.refused or interval in dropped:
                gone.append(row)
            elif interval in known:
                put[interval] = encode(merge(held[interval], row))
            else:
                put[interval] = encode(row)
        for row in gone:
            add_events(unrowed, row, self._kinds.categories[category])
        return CategoryChange(len(rows), placement.dropped, put, placement)

    def _held(self, category: str, intervals: Iterable[str]) -> dict[str, Row]:
        """The rows of these sets, from memory or else from the store."""
        texts = self._rows[category].texts
        found = {interval: texts.get(interval) for interval in intervals}
        unknown = [interval for interval, text in found.items() if text is None]
        for first in range(0, len(unknown), AT_ONCE):
            some = unknown[first : first + AT_ONCE]
            [answers] = scripts.run(self._client, ("HMGET", self._keys.sets(category), *some))
            found.update(zip(some, answers, strict=True))
        try:
            return {interval: decode(text or b"") for interval, text in found.items()}
        except ValueError as e:
            raise LookupError(f"someone else has written to {self._keys.sets(category)}") from e
