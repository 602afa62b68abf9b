"""A snapshot: everything that queries are answered from, as the log stood at one cursor."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from etlog_events import contract
from etlog_events.keys import Keys
from etlog_events.kinds import Kinds

from etlog_api.link import Link


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """The log at `cursor`, None while nothing is applied yet.

    `logs` holds the stored JSON text of each category's newest events, oldest first; every category is there.
    """

    cursor: bytes | None
    logs: Mapping[str, Sequence[bytes]]
    counters: Mapping[str, int]


async def read_cursor(client: Any, keys: Keys, link: Link | None = None) -> bytes | None:
    """The one question a request asks: where is the log now? A replica is asked for its `link` in the same breath."""
    cursor: bytes | None
    if link is None:
        cursor = await client.get(keys.cursor)
        return cursor
    async with client.pipeline(transaction=False) as pipe:
        pipe.get(keys.cursor)
        pipe.info("replication")
        cursor, info = await pipe.execute()
    link.note(info)
    return cursor


async def read_counters(client: Any, keys: Keys, kinds: Kinds) -> dict[str, int]:
    """Events applied since the log began, of every kind, also of those that never came."""
    return dict.fromkeys(kinds.by_name, 0) | _numbers(await client.hgetall(keys.counters))


async def read_snapshot(client: Any, keys: Keys, kinds: Kinds, link: Link | None = None) -> Snapshot:
    """All of the log in one consistent read; with it, a replica is asked for its `link`.

    Raises `NewerContract` for a log that is not understood.
    """
    async with client.pipeline(transaction=True) as pipe:
        pipe.get(keys.contract)
        pipe.get(keys.cursor)
        pipe.hgetall(keys.counters)
        for key in keys.logs(kinds.categories):
            pipe.lrange(key, 0, -1)
        if link is not None:
            pipe.info("replication")
        version, cursor, counters, *logs = await pipe.execute()
    contract.check(version, keys.name, "etlog-api")
    if link is not None:
        link.note(logs.pop())
    return Snapshot(
        cursor=cursor,
        logs=dict(zip(kinds.categories, logs, strict=True)),
        counters=_numbers(counters),
    )


def _numbers(counters: Mapping[bytes, bytes]) -> dict[str, int]:
    return {name.decode(): int(number) for name, number in sorted(counters.items())}
