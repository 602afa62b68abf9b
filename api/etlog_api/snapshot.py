"""A snapshot: everything that queries are answered from, as the log stood at one cursor."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from etlog_events.keys import Keys
from etlog_events.kinds import Kinds


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """The log at `cursor`, None while nothing is applied yet.

    `logs` holds the stored JSON text of each category's newest events, oldest first; every category is there.
    """

    cursor: bytes | None
    logs: Mapping[str, Sequence[bytes]]
    counters: Mapping[str, int]


async def read_cursor(client: Any, keys: Keys) -> bytes | None:
    """The one question a request asks: where is the log now?"""
    cursor: bytes | None = await client.get(keys.cursor)
    return cursor


async def read_counters(client: Any, keys: Keys, kinds: Kinds) -> dict[str, int]:
    """Events applied since the log began, of every kind, also of those that never came."""
    return dict.fromkeys(kinds.by_name, 0) | _numbers(await client.hgetall(keys.counters))


async def read_snapshot(client: Any, keys: Keys, kinds: Kinds) -> Snapshot:
    """All of the log in one consistent read."""
    async with client.pipeline(transaction=True) as pipe:
        pipe.get(keys.cursor)
        pipe.hgetall(keys.counters)
        for key in keys.logs(kinds.categories):
            pipe.lrange(key, 0, -1)
        cursor, counters, *logs = await pipe.execute()
    return Snapshot(
        cursor=cursor,
        logs=dict(zip(kinds.categories, logs, strict=True)),
        counters=_numbers(counters),
    )


def _numbers(counters: Mapping[bytes, bytes]) -> dict[str, int]:
    return {name.decode(): int(number) for name, number in sorted(counters.items())}
