"""The live summary of `etlog dev`: what was applied, what waits, what failed."""

from collections import deque
from dataclasses import dataclass
from time import monotonic
from typing import Any

import redis
from etlog_events.keys import GROUP, Keys
from etlog_events.kinds import Kinds
from etlog_events.sequence import events_waiting, number_of


@dataclass(frozen=True, slots=True)
class Summary:
    """One look at the log. `waiting` counts events or, where only those can be counted, entries, as `in_entries` says;
    None where the store cannot tell."""

    applied: int
    per_minute: int
    errors: int
    dead: int
    lost: int
    waiting: int | None
    in_entries: bool

    def __str__(self) -> str:
        waiting = "?" if self.waiting is None else f"{self.waiting:,}"
        if self.in_entries:
            waiting += " entry" if self.waiting == 1 else " entries"
        return (
            f"applied {self.applied:,} ({self.per_minute:,} in the last minute) · waiting {waiting} · "
            f"errors {self.errors:,} · dead {self.dead:,} · lost {self.lost:,}"
        )


#: Seconds over which the rate is measured.
SPAN = 60.0


class Summarizer:
    """Reads the log repeatedly, and knows the rate."""

    def __init__(self, client: Any, keys: Keys, kinds: Kinds) -> None:
        self._client = client
        self._keys = keys
        self._errors = [name for name, kind in kinds.by_name.items() if kind.action.is_error]
        self._seen: deque[tuple[float, int]] = deque()

    def look(self) -> Summary | None:
        """The log now, or None while the store does not answer."""
        try:
            with self._client.pipeline(transaction=True) as pipe:
                pipe.hgetall(self._keys.stats)
                pipe.hmget(self._keys.counters, self._errors)
                pipe.xinfo_stream(self._keys.events)
                pipe.xinfo_groups(self._keys.events)
                found, errors, stream, groups = pipe.execute()
        except redis.RedisError:
            return None
        stats = {name.decode(errors="backslashreplace"): number_of(number) for name, number in found.items()}
        applied = stats.get("applied", 0)
        now = monotonic()
        self._seen.append((now, applied))
        while self._seen[0][0] < now - SPAN:
            self._seen.popleft()
        entries = next((group["lag"] for group in groups if group["name"] == GROUP.encode()), None)
        events = events_waiting(stats, stream["entries-added"]) if entries != 0 else None
        return Summary(
            applied=applied,
            per_minute=applied - self._seen[0][1],
            errors=sum(int(number or 0) for number in errors),
            dead=stats.get("dead", 0),
            lost=stats.get("lost", 0),
            waiting=entries if events is None else events,
            in_entries=bool(entries) and events is None,
        )
