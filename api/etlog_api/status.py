"""The status of a log: how far it is applied, what waits, and who is at work."""

import time
from dataclasses import dataclass
from functools import partial
from typing import Any

from etlog_events import contract
from etlog_events.keys import GROUP, Keys
from etlog_events.sequence import number_of
from etlog_events.store.health import store_warnings

from etlog_api.log.connection import pipelined, read_consistently
from etlog_api.log.replication_link import down_since, staleness

#: Seconds without progress, although events wait, after which a replica calls itself not ready.
STUCK_AFTER = 30.0


@dataclass(frozen=True, slots=True)
class Status:
    """What the store says of the log: of its progress first, and a moment later of its stream.

    `lag` counts the entries not applied yet, None where the store cannot tell; `oldest_unapplied` is the age of the
    oldest of them in seconds, None when nothing waits. `warnings` are sentences about what endangers the log.
    """

    cursor: str | None
    last_entry: str | None
    entries: int
    lag: int | None
    oldest_unapplied: float | None
    stats: dict[str, int]
    active_consumer: str | None
    store: dict[str, str]
    warnings: list[str]


#: What a reader of the status wants to know of `INFO`.
_STORE_FACTS = ("redis_version", "valkey_version", "role", "aof_enabled", "maxmemory_policy", "used_memory_human")


async def read_status(client: Any, keys: Keys) -> Status:
    """The current status. Raises the driver's errors, and `OtherContract` for a log that is not understood."""
    cursor, found = await read_consistently(
        partial(pipelined, client),
        keys,
        *(("GET", keys.contract), ("HGETALL", keys.stats), ("GET", keys.lease), ("EXISTS", keys.events)),
        *(("TIME",), ("INFO",)),
    )
    version, stats, holder, exists, (seconds, microseconds), info = found
    contract.check(version, keys.name, "etlog-api")
    behind = down_since(info)
    entries, last, oldest = 0, None, None
    lag: int | None = 0
    if exists:
        at = cursor or b"0-0"
        async with client.pipeline(transaction=False) as pipe:
            pipe.xinfo_stream(keys.events)
            pipe.xinfo_groups(keys.events)
            pipe.xrange(keys.events, min=b"(" + at, count=1)
            stream, groups, waiting = await pipe.execute()
        entries, last = stream["length"], stream["last-generated-id"].decode()
        group: dict[str, Any] = next((group for group in groups if group["name"] == GROUP.encode()), {})
        lag = group.get("lag") if waiting else 0
        if waiting:
            oldest = max(0.0, seconds + microseconds / 1e6 - int(waiting[0][0].split(b"-")[0]) / 1000)
    return Status(
        cursor=cursor.decode() if cursor else None,
        last_entry=last,
        entries=entries,
        lag=lag,
        oldest_unapplied=round(oldest, 3) if oldest is not None else None,
        stats={name.decode(errors="backslashreplace"): number_of(number) for name, number in sorted(stats.items())},
        active_consumer=holder.decode() if holder else None,
        store={fact: str(info[fact]) for fact in _STORE_FACTS if fact in info},
        warnings=[*store_warnings(info), *([] if behind is None else [staleness(behind)])],
    )


class Readiness:
    """Remembers when the log last made progress or had nothing to do."""

    def __init__(self) -> None:
        self._cursor: str | None = None
        self._since = time.monotonic()

    def problem(self, status: Status) -> str | None:
        """What keeps this replica from being ready according to `status`, or None."""
        now = time.monotonic()
        if status.cursor != self._cursor or status.oldest_unapplied is None:
            self._cursor, self._since = status.cursor, now
        standing = now - self._since
        if standing >= STUCK_AFTER and (status.oldest_unapplied or 0) >= STUCK_AFTER:
            who = f"{status.active_consumer} is active" if status.active_consumer else "no consumer is active"
            return f"nothing has been applied for {standing:.0f} s although events wait; {who}"
        return None
