"""The ledger of one log as its consumer knows it: which sets have a row, and what the rows hold.

Rows change only where a batch is applied, and only if the log is where the consumer left it, so what is in memory is
what the store holds. What others did to the rows is noticed by their number, and put right when they are loaded.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
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

from etlog_consumer.rebuild import AT_ONCE, load, numbers, report

#: Rows whose texts the consumers of a process keep in memory: about 100 MB. Others are asked for.
MOST_TEXTS = 100_000


@dataclass(frozen=True, slots=True)
class CategoryChange:
    """What a batch changes in the ledger of one category, which had so many `rows`: intervals whose rows are `dropped`,
    and the texts of those to `put`."""

    rows: int
    dropped: Sequence[str] = ()
    put: Mapping[str, bytes] = field(default_factory=dict)
    placement: Placement | None = None


@dataclass(frozen=True, slots=True)
class Changes:
    """What a batch changes in the ledger, which was `rebuilt` so often; `unrowed` counts events that are in no row
    afterwards, by kind."""

    of_category: Mapping[str, CategoryChange]
    unrowed: Mapping[str, int]
    rebuilt: int


class _Rows:
    """The rows of one category: which there are, and the texts of the `room` that were used last."""

    def __init__(self, keep: int, room: int, texts: dict[str, bytes] | None = None) -> None:
        self._room = room
        self.texts = texts or {}
        self.retention = Retention(keep, self.texts)
        self.has_apart = NO_WINDOW in self.texts
        self._make_room()

    def __contains__(self, interval: str) -> bool:
        return interval in self.retention or (interval == NO_WINDOW and self.has_apart)

    def __len__(self) -> int:
        return len(self.retention) + self.has_apart

    def apply(self, change: CategoryChange) -> None:
        """Take over a change that was applied."""
        if change.placement is not None:
            self.retention.apply(change.placement)
        for interval in change.dropped:
            self.texts.pop(interval, None)
        for interval, text in change.put.items():
            self.texts.pop(interval, None)  # to the end: the first ones are forgotten first
            self.texts[interval] = text
        self.has_apart = self.has_apart or NO_WINDOW in change.put
        self._make_room()

    def _make_room(self) -> None:
        surplus = len(self.texts) - self._room
        if surplus > 0:
            for interval in list(islice(self.texts, surplus)):
                del self.texts[interval]


class Ledger:
    """The ledger of the log with these `keys`: the newest `keep` sets of each category and length of window."""

    def __init__(self, client: Any, keys: Keys, kinds: Kinds, *, keep: int, most_texts: int = MOST_TEXTS) -> None:
        self._client = client
        self._keys = keys
        self._kinds = kinds
        self._keep = keep
        self._room = max(1, most_texts // len(kinds.categories))
        #: Where the log held the rows in memory; None: they are worth nothing.
        self._cursor: bytes | None = None
        self._rows: dict[str, _Rows] = {}
        self._unrowed: dict[str, int] = {}
        self._rebuilt = 0

    def load(self, cursor: bytes) -> bool:
        """Know the rows of the log at `cursor`, reading them unless they are known. Returns False where it has moved.

        Raises the driver's errors.
        """
        if self._cursor != cursor or not self.holds():
            self.forget()
            found = load(self._client, self._keys, self._kinds, keep=self._keep, cursor=cursor)
            if found is None:
                return False
            self._rows = {category: _Rows(self._keep, self._room, texts) for category, texts in found.texts.items()}
            self._unrowed, self._rebuilt = dict(found.unrowed), found.rebuilt
            report(found.repairs, self._keys.name)
            self._cursor = cursor
        return True

    def forget(self) -> None:
        """Rely on nothing in memory: someone else is at work on the log, or was."""
        self._cursor = None
        self._rows = {}

    def holds(self) -> bool:
        """Whether the store has as many rows as are known here, and the same numbers of events that are in none."""
        commands: list[Command] = [("HGETALL", self._keys.unrowed), ("HGET", self._keys.stats, "rebuilt")]
        expected: list[int] = []
        for category, rows in self._rows.items():
            commands += [("HLEN", self._keys.sets(category)), ("ZCARD", self._keys.changes(category))]
            expected += [len(rows), len(rows)]
        try:
            unrowed, rebuilt, *sizes = scripts.run(self._client, *commands)
        except ResponseError:  # a key of another type, which loading names
            return False
        known = (self._rebuilt, self._unrowed, expected)
        return (number_of(rebuilt or b""), numbers(unrowed), sizes) == known

    def changes(self, notes: Notes) -> Changes:
        """What a batch with these notes changes. Nothing is changed yet.

        Raises the driver's errors, and `RuntimeError` where someone else has written to the rows.
        """
        unrowed: dict[str, int] = {}
        folded = fold(notes, self._kinds)
        of_category = {
            category: self._changed(category, folded.get(category, {}), unrowed) for category in self._kinds.categories
        }
        return Changes(of_category, unrowed, self._rebuilt)

    def apply(self, changes: Changes, cursor: bytes) -> None:
        """The changes made last were applied; the log is at `cursor` now."""
        for category, change in changes.of_category.items():
            self._rows[category].apply(change)
        for kind, events in changes.unrowed.items():
            self._unrowed[kind] = self._unrowed.get(kind, 0) + events
        self._cursor = cursor

    def _changed(self, category: str, folded: Mapping[str, Row], unrowed: dict[str, int]) -> CategoryChange:
        rows = self._rows[category]
        if not folded and not rows.retention.is_crowded:
            return CategoryChange(len(rows))
        known = {interval for interval in folded if interval in rows}
        placement = rows.retention.place([i for i in folded if i not in known and i != NO_WINDOW])
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
            self.forget()
            raise RuntimeError(f"someone else has written to {self._keys.sets(category)}") from e
