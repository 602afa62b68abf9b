"""A snapshot: everything that queries are answered from, as the log stood at one cursor."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from etlog_events import contract
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


async def read_snapshot(client: Any, keys: Keys, kinds: Kinds) -> Snapshot:
    """All of the log in one consistent read. Raises `NewerContract` for a log that is not understood."""
    async with client.pipeline(transaction=True) as pipe:
        pipe.get(keys.contract)
        pipe.get(keys.cursor)
        pipe.hgetall(keys.counters)
        for key in keys.logs(kinds.categories):
            pipe.lrange(key, 0, -1)
        version, cursor, counters, *logs = await pipe.execute()
    contract.check(version, keys.name, "etlog-api")
    return Snapshot(
        cursor=cursor,
        logs=dict(zip(kinds.categories, logs, strict=True)),
        counters={name.decode(): int(number) for name, number in sorted(counters.items())},
    )
