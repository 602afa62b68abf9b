"""The live summary of `etlog dev`: what was applied, what waits, what failed."""

from collections import deque
from dataclasses import dataclass
from time import monotonic
from typing import Any

import redis
from etlog_events.keys import GROUP, Keys
from etlog_events.kinds import Kinds


@dataclass(frozen=True, slots=True)
class Summary:
    """One look at the log."""

    applied: int
    per_minute: int
    errors: int
    dead: int
    lost: int
    lag: int | None

    def __str__(self) -> str:
        lag = "?" if self.lag is None else f"{self.lag:,}"
        return (
            f"applied {self.applied:,} ({self.per_minute:,} in the last minute) · waiting {lag} · "
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
                pipe.xinfo_groups(self._keys.events)
                stats, errors, groups = pipe.execute()
        except redis.RedisError:
            return None
        applied = int(stats.get(b"applied", 0))
        now = monotonic()
        self._seen.append((now, applied))
        while self._seen[0][0] < now - SPAN:
            self._seen.popleft()
        return Summary(
            applied=applied,
            per_minute=applied - self._seen[0][1],
            errors=sum(int(number or 0) for number in errors),
            dead=int(stats.get(b"dead", 0)),
            lost=int(stats.get(b"lost", 0)),
            lag=next((group["lag"] for group in groups if group["name"] == GROUP.encode()), None),
        )
