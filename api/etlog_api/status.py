"""The status of a log: how far it is applied, what waits, and who is at work."""

import time
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import msgspec
from etlog_events import contract
from etlog_events.keys import GROUP, Keys
from etlog_events.kinds import Kinds
from etlog_events.positions import end_of
from etlog_events.scripts import without_errors
from etlog_events.sequence import events_waiting, number_of
from etlog_events.store.health import store_warnings
from etlog_ledger.marks import DEAD_LETTERS, LOST_EVENTS, Mark, acknowledgement, marks_of
from etlog_ledger.reading.connection import Command, read_consistently
from etlog_ledger.reading.replication_link import down_since, staleness
from etlog_ledger.verdict import MarkShown
from redis.exceptions import ResponseError

from etlog_api.heard import last_heard

#: Seconds without progress, although events wait, after which a replica calls itself not ready.
STUCK_AFTER = 30.0


@dataclass(frozen=True, slots=True)
class Status:
    """What the store says of the log. `id` is the log's, None before the first event.

    `lag` counts the events not applied yet or, where only those can be counted, the entries, as `lag_unit` says;
    `lag_entries` counts these in any case. Both are None where the store cannot tell. `oldest_unapplied` is the age of
    the oldest of them in seconds, None when nothing waits. `acknowledged` is how many of the `lost` and of the `dead`
    events are, and `acknowledgements` are the marks that say so, None where none does. `warnings` are sentences about
    what endangers the log.
    `heard` is when the latest event of a set happened, by category, None where none is in the list.
    """

    id: str | None
    cursor: str | None
    last_entry: str | None
    entries: int
    lag: int | None
    lag_unit: Literal["events", "entries"]
    lag_entries: int | None
    oldest_unapplied: float | None
    stats: dict[str, int]
    acknowledged: dict[str, int]
    acknowledgements: dict[str, dict[str, Any] | None]
    active_consumer: str | None
    store: dict[str, str]
    warnings: list[str]
    heard: dict[str, str | None]


#: What a reader of the status wants to know of `INFO`.
_STORE_FACTS = ("redis_version", "valkey_version", "role", "aof_enabled", "maxmemory_policy", "used_memory_human")

#: What may be acknowledged: its name in the stats, and what a mark calls it.
_LOSSES = {"lost": LOST_EVENTS, "dead": DEAD_LETTERS}


async def read_status(client: Any, keys: Keys, kinds: Kinds) -> Status:
    """The current status. Raises the driver's errors, and `OtherContract` for a log that is not understood."""
    marks, refusal = await _read_marks(client, keys)  # before the stats, which only grow
    cursor, found = await read_consistently(
        partial(_answers, client),
        keys,
        *(("GET", keys.contract), ("GET", keys.id), ("GET", keys.lease), ("TIME",), ("INFO",)),
        # Side by side, because each publish changes them together.
        *(("HGETALL", keys.stats), ("XINFO STREAM", keys.events), ("XINFO GROUPS", keys.events)),
    )
    version, log_id, holder, (seconds, microseconds), info, stats, stream, groups = found
    contract.check(version, keys.name, "etlog-api")
    counted = {name.decode(errors="backslashreplace"): number_of(number) for name, number in sorted(stats.items())}
    last, oldest = None, None
    if stream is not None:
        last = stream["last-generated-id"]
        after = b"(" + (cursor or b"0-0")
        waiting = await client.xrange(keys.events, min=after, max=last, count=1)  # what came since does not count
        if waiting:
            oldest = max(0.0, seconds + microseconds / 1e6 - int(waiting[0][0].split(b"-")[0]) / 1000)
    entries: int | None = 0
    events: int | None = 0
    if oldest is not None:
        group: dict[str, Any] = next((group for group in groups if group["name"] == GROUP.encode()), {})
        entries = group.get("lag") or None  # one waits at least: 0 is of a time before the cursor was set back
        # Where something was deleted that waited, nothing tells how many events it held.
        whole = end_of(stream["max-deleted-entry-id"]) <= end_of(cursor or b"0-0")
        events = events_waiting(counted, stream["entries-added"]) if whole else None
    behind = down_since(info)
    of_losses = {
        name: acknowledgement(marks, losses, counted.get(name, 0), seconds) for name, losses in _LOSSES.items()
    }
    return Status(
        id=log_id.decode(errors="backslashreplace") if log_id else None,
        cursor=cursor.decode() if cursor else None,
        last_entry=last.decode() if last else None,
        entries=stream["length"] if stream else 0,
        lag=entries if events is None else events,
        lag_unit="entries" if events is None else "events",
        lag_entries=entries,
        oldest_unapplied=round(oldest, 3) if oldest is not None else None,
        stats=counted,
        acknowledged={name: 0 if mark is None else mark.count or 0 for name, mark in of_losses.items()},
        acknowledgements={name: None if mark is None else _shown(mark) for name, mark in of_losses.items()},
        active_consumer=holder.decode() if holder else None,
        store={fact: str(info[fact]) for fact in _STORE_FACTS if fact in info},
        warnings=[*store_warnings(info), *([] if behind is None else [staleness(behind)]), *refusal],
        heard=await last_heard(client, keys, kinds),
    )


async def _read_marks(client: Any, keys: Keys) -> tuple[list[Mark], list[str]]:
    """The marks, and a warning if the store refuses them: they are no part of what is known of the log."""
    try:
        return marks_of(await client.hgetall(keys.marks)), []
    except ResponseError as e:
        return [], [f"the marks of the log, {keys.marks}, cannot be read: {e}"]


def _shown(mark: Mark) -> dict[str, Any]:
    shown = MarkShown(mark.id, mark.kind, mark.reason, mark.by, mark.at, mark.until)
    found: dict[str, Any] = msgspec.to_builtins(shown)
    return found


async def _answers(client: Any, *commands: Command) -> list[Any]:
    """The answers to `commands`, sent together; None to a question about a stream that is not there."""
    async with client.pipeline(transaction=False) as pipe:
        for command in commands:
            pipe.execute_command(*command)
        answers = await pipe.execute(raise_on_error=False)
    return without_errors([None if "no such key" in str(answer) else answer for answer in answers])


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
