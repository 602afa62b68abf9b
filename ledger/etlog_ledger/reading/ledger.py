"""The ledger of one log in a replica: all of its rows in memory, of which only those that changed are read again."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import redis
from etlog_events import contract
from etlog_events.keys import Keys
from etlog_events.kinds import Kinds
from etlog_events.sequence import number_of

from etlog_ledger.reading.connection import ATTEMPTS, Command, Connection
from etlog_ledger.row import Row, decode_foreign, is_interval

#: Rows that one command reads: a millisecond of the store's time.
AT_ONCE = 1000

#: Rows that are parsed before other requests get their turn: some milliseconds.
TURN = 200


@dataclass(frozen=True, slots=True, eq=False)
class Ledger:
    """The rows of every category, interval -> row, at `cursor`; None while nothing is applied yet.

    It never changes. The next one holds the same objects for rows that did not change.
    """

    cursor: bytes | None
    rows: Mapping[str, Mapping[str, Row]]


@dataclass(frozen=True, slots=True)
class _Head:
    """How far a log is, as read over a connection before and after the answers to a question. Two that are equal mean
    that its rows did not change in between.

    `sizes` are, for each category, how many rows it has and how many of them are listed as changed.
    """

    connection: int
    replication: str | None
    log_id: bytes | None
    cursor: bytes | None
    cursor_after: bytes | None
    applied: int
    rebuilt: bytes | None
    sizes: Sequence[tuple[int, int]]

    @property
    def stood_still(self) -> bool:
        """Whether the answers belong to one cursor."""
        return self.cursor == self.cursor_after

    @property
    def adds_up(self) -> bool:
        """Whether every row is listed, as far as one can tell."""
        return not self.stood_still or all(rows == listed for rows, listed in self.sizes)

    def continues(self, last: "_Head") -> bool:
        """Whether every row that changed since `last` is listed with a number above its `applied`."""
        return (
            self.connection == last.connection  # else it may be a store that lost what was read there
            and self.replication == last.replication  # so may one that a replica took all data from since
            and self.log_id == last.log_id
            and self.rebuilt == last.rebuilt
            and self.applied >= last.applied
            and self.adds_up
        )


class _Rows:
    """What is known of a category: its rows, and the fields that hold none, because someone else wrote them."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = {}
        self._others: set[bytes] = set()

    def __len__(self) -> int:
        return len(self.rows) + len(self._others)

    def __contains__(self, name: bytes) -> bool:
        return name.decode(errors="replace") in self.rows or name in self._others

    def copy(self) -> "_Rows":
        """The same, to be changed."""
        copy = _Rows()
        copy.rows, copy._others = self.rows.copy(), self._others.copy()
        return copy

    def put(self, name: bytes, text: bytes | None) -> None:
        """This is what a field holds now, None where it is gone."""
        interval = name.decode(errors="replace")
        row = None if text is None else decode_foreign(text)
        if row is not None and (interval in self.rows or is_interval(interval)):
            self.rows[interval] = row
            self._others.discard(name)
        else:
            self.rows.pop(interval, None)
            (self._others.discard if text is None else self._others.add)(name)

    def keep(self, names: Sequence[bytes]) -> None:
        """Drop all but these."""
        self._others.intersection_update(names)
        for interval in self.rows.keys() - {name.decode(errors="replace") for name in names}:
            del self.rows[interval]


@dataclass(frozen=True, slots=True)
class _Held:
    """What is known of a log that was at `head` before it was read. What changed since may be in it, or not."""

    head: _Head
    known: Mapping[str, _Rows]
    ledger: Ledger

    @classmethod
    def of(cls, head: _Head, known: Mapping[str, _Rows]) -> "_Held":
        """Nothing of `known` is changed any more."""
        return cls(head, known, Ledger(head.cursor, {category: of.rows for category, of in known.items()}))


class LedgerReader:
    """Reads the ledger of the log with these `keys` over a connection of its own, one read at a time.

    The client of the connection bounds the time of each answer; all rows are read by many questions. `part` is who
    reads.
    """

    def __init__(self, connection: Connection, keys: Keys, kinds: Kinds, part: str = "api") -> None:
        self._package = f"etlog-{part}"
        self._connection = connection
        self._keys = keys
        self._categories = tuple(kinds.categories)
        self._held: _Held | None = None

    async def read(self) -> Ledger:
        """The ledger as it stands now; the same object as before where nothing changed.

        What changed is read in two questions. All rows are read at first, over another connection, from another log or
        history of it, after a repair, and where there are not as many rows as there should be.

        A log that moves during every attempt is read nonetheless: then some rows are as they were at the cursor, or
        dropped since, and some as they were later. The next read begins at that cursor, so it finds all of this.

        Raises the driver's errors, and `OtherContract` for a log that is not understood.
        """
        held = self._held
        for _ in range(ATTEMPTS):
            head, changed = await self._look(held)
            if held is not None and head == held.head:
                break
            if held is None or not head.continues(held.head):
                held = await self._scanned(head)
            else:
                held, is_settled = await self._continued(held, head, changed)
                if is_settled:
                    break
        if held is None:
            raise redis.ConnectionError("the connection is lost before all rows are read")
        self._held = held
        return held.ledger

    async def _look(self, held: _Held | None) -> tuple[_Head, Sequence[Sequence[bytes]]]:
        """Where the log is, and the names of the rows that changed since `held`, of each category."""
        if held is None:
            return (await self._ask())[0], ()
        since = f"({held.head.applied}"
        return await self._ask(
            *(("ZRANGEBYSCORE", self._keys.changes(category), since, "+inf") for category in self._categories)
        )

    async def _scanned(self, head: _Head) -> _Held | None:
        """All rows of a log that was at `head` before; None where the connection was lost meanwhile."""
        found: dict[str, _Rows] = {}
        for category in self._categories:
            rows = found[category] = _Rows()
            place: int | None = None
            while place != 0:
                question: Command = ("HSCAN", self._keys.sets(category), place or 0, "COUNT", AT_ONCE)
                [(place, fields)] = await self._connection.ask(question)
                if self._connection.made != head.connection:
                    return None  # a scan goes on only on the server where it began
                await _put(rows, fields.items())
        return _Held.of(head, found)

    async def _continued(
        self, held: _Held, head: _Head, changed: Sequence[Sequence[bytes]]
    ) -> tuple[_Held | None, bool]:
        """What is known once the rows with the names in `changed` are read, of a log that was at `head` before; and
        whether all of it belongs to one cursor. None where there are not as many rows as there should be."""
        questions: list[Command] = []
        asked: list[tuple[str, Sequence[bytes] | None]] = []  # of which category, and its fields or None: all names
        for category, names, (number, _) in zip(self._categories, changed, head.sizes, strict=True):
            for first in range(0, len(names), AT_ONCE):
                some = names[first : first + AT_ONCE]
                questions.append(("HMGET", self._keys.sets(category), *some))
                asked.append((category, some))
            # A new row is among those that changed. So if there are as many as there should be, none was dropped.
            known = held.known[category]
            if len(known) + sum(name not in known for name in names) != number:
                questions.append(("ZRANGE", self._keys.changes(category), 0, -1))
                asked.append((category, None))
        after, answers = await self._ask(*questions) if questions else (head, ())
        found = dict(held.known)
        for (category, fields), answer in zip(asked, answers, strict=True):
            if found[category] is held.known[category]:
                found[category] = held.known[category].copy()
            if fields is None:
                found[category].keep(answer)
            else:
                await _put(found[category], zip(fields, answer, strict=True))
        is_settled = after == head and head.stood_still
        if is_settled and [len(found[category]) for category in self._categories] != [rows for rows, _ in head.sizes]:
            return None, False
        return _Held.of(head, found), is_settled

    async def _ask(self, *questions: Command) -> tuple[_Head, Sequence[Any]]:
        """Where the log is, and the answers to more questions. Rows that change after it was there change after
        `applied` of it, too, because that is read first."""
        keys = self._keys
        of_log: list[Command] = [
            *(("GET", keys.cursor), ("GET", keys.contract), ("GET", keys.id), ("INFO", "replication")),
            ("HMGET", keys.stats, "applied", "rebuilt"),
        ]
        for category in self._categories:
            of_log += (("HLEN", keys.sets(category)), ("ZCARD", keys.changes(category)))
        *answers, cursor_after = await self._connection.ask(*of_log, *questions, ("GET", keys.cursor))
        cursor, version, log_id, info, (applied, rebuilt), *sizes = answers[: len(of_log)]
        contract.check(version, keys.name, self._package)
        head = _Head(
            connection=self._connection.made,
            replication=info.get("master_replid"),
            log_id=log_id,
            cursor=cursor,
            cursor_after=cursor_after,
            applied=number_of(applied or b""),
            rebuilt=rebuilt,
            sizes=tuple(zip(sizes[::2], sizes[1::2], strict=True)),
        )
        return head, answers[len(of_log) :]


async def _put(rows: _Rows, fields: Iterable[tuple[bytes, bytes | None]]) -> None:
    for number, (name, text) in enumerate(fields):
        if number % TURN == 0:
            await asyncio.sleep(0)
        rows.put(name, text)
