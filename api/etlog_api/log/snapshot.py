"""A snapshot: everything that queries are answered from, as the log stood at one cursor."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from etlog_events import contract
from etlog_events.keys import Keys
from etlog_events.kinds import Kinds
from etlog_events.sequence import number_of
from etlog_ledger.reading.connection import Command, Connection, read_consistently
from etlog_ledger.reading.replication_link import ReplicationLink

_OF_LINK: Command = ("INFO", "replication")

#: Newest events of each list that are read to continue a snapshot: more than arrive between two answers.
TAIL = 100

#: Seconds for which snapshots continue one that was read as a whole. Replacing the store by another one, whose log only
#: seems to continue, takes longer; and reading everything this rarely costs next to nothing.
WHOLE_AFTER = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """The log at `cursor`, None while nothing is applied yet.

    `logs` holds the stored JSON text of each category's newest events, oldest first; every category is there.
    """

    cursor: bytes | None
    logs: Mapping[str, Sequence[bytes]]
    counters: Mapping[str, int]
    whole_at: float = 0.0  # by `time.monotonic`, when all of it was read; the rest was added since


async def read_cursor(connection: Connection, keys: Keys, link: ReplicationLink | None = None) -> bytes | None:
    """The one question that a request asks: where is the log now? A replica is asked for its `link` as well."""
    cursor: bytes | None
    if link is None:
        (cursor,) = await connection.ask(("GET", keys.cursor))
        return cursor
    cursor, info = await connection.ask(("GET", keys.cursor), _OF_LINK)
    link.note(info)
    return cursor


async def read_counters(client: Any, keys: Keys, kinds: Kinds) -> dict[str, int]:
    """Events applied since the log began, by kind; every kind is there."""
    return dict.fromkeys(kinds.by_name, 0) | _numbers(await client.hgetall(keys.counters))


async def read_snapshot(
    connection: Connection, keys: Keys, kinds: Kinds, link: ReplicationLink | None = None, last: Snapshot | None = None
) -> Snapshot:
    """All of the log, as it stood at one cursor; a replica is asked for its `link` as well.

    Where the `last` snapshot is fresh, only what was added to it is read. Raises the driver's errors, and
    `OtherContract` for a log that is not understood.
    """
    if last is not None and time.monotonic() - last.whole_at < WHOLE_AFTER:
        tails = await _read(connection, keys, kinds, link, TAIL)
        grown = _continued(last, tails, kinds)
        if grown is not None:
            return Snapshot(tails.cursor, grown, tails.counters, last.whole_at)
    began = time.monotonic()
    whole = await _read(connection, keys, kinds, link)
    return Snapshot(whole.cursor, whole.logs, whole.counters, began)


@dataclass(frozen=True, slots=True)
class _Found:
    """What the store holds: the lists, or the ends of them that were asked for, and their lengths."""

    cursor: bytes | None
    logs: Mapping[str, list[bytes]]
    lengths: Mapping[str, int]
    counters: Mapping[str, int]


async def _read(
    connection: Connection, keys: Keys, kinds: Kinds, link: ReplicationLink | None, newest: int = 0
) -> _Found:
    """The log, with at most `newest` events of each list, 0 for all."""

    commands: list[Command] = [("GET", keys.contract), ("HGETALL", keys.counters)]
    for key in keys.logs(kinds.categories):
        commands += [("LLEN", key), ("LRANGE", key, -newest, -1)]
    if link is not None:
        commands.append(_OF_LINK)
    cursor, (version, counters, *logs) = await read_consistently(connection.ask, keys, *commands)
    contract.check(version, keys.name, "etlog-api")
    if link is not None:
        link.note(logs.pop())
    return _Found(
        cursor=cursor,
        logs=dict(zip(kinds.categories, logs[1::2], strict=True)),
        lengths=dict(zip(kinds.categories, logs[::2], strict=True)),
        counters=_numbers(counters),
    )


def _continued(last: Snapshot, found: _Found, kinds: Kinds) -> dict[str, Sequence[bytes]] | None:
    """The logs of `last` with what was added, or None where `found` does not tell.

    The counters tell how many events were added. Those found before them must be the end of what `last` holds.
    """
    logs: dict[str, Sequence[bytes]] = {}
    for category, newest in found.logs.items():
        held, length = last.logs[category], found.lengths[category]
        added = _counted(found.counters, category, kinds) - _counted(last.counters, category, kinds)
        common = len(newest) - added
        if len(newest) == length:
            logs[category] = newest
        elif added >= 0 and common > 0 and held[-common:] == newest[:common] and len(held) + added >= length:
            logs[category] = [*held, *newest[common:]][-length:]
        else:
            return None
    return logs


def _counted(counters: Mapping[str, int], category: str, kinds: Kinds) -> int:
    """Events of a category that were ever applied."""
    return sum(
        number
        for name, number in counters.items()
        if name in kinds.by_name and kinds.by_name[name].category == category
    )


def _numbers(counters: Mapping[bytes, bytes]) -> dict[str, int]:
    """What the hash counts, by name. A field that does not hold a number counts as 0, as it does for the consumer."""
    return {name.decode(errors="backslashreplace"): number_of(number) for name, number in sorted(counters.items())}
