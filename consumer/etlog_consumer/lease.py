"""The lease of the active consumer. It keeps the others from useless work; the fenced cursor keeps them from harm."""

from collections.abc import Callable
from time import monotonic
from typing import Any

from etlog_events.keys import Keys
from etlog_events.scripts import Script

SCRIPT = Script.load("etlog_consumer:head.lua", "etlog_events:contract.lua", "etlog_consumer:lease.lua")

#: Seconds. Longer than a pause of a busy machine, shorter than anyone waits for a failover.
DURATION = 4.0

#: Seconds after which the holder renews it.
RENEW_AFTER = 1.0


class Lease:
    """The lease of a log, sought by the consumer `name`."""

    def __init__(self, client: Any, keys: Keys, name: str, clock: Callable[[], float] = monotonic) -> None:
        self._client = client
        self._keys = (keys.contract, keys.lease)
        self._name = name
        self._clock = clock
        self._renew_at: float | None = None

    def hold(self) -> bool:
        """Take the lease if it is free, renew it if it is time to. Returns whether this consumer holds it."""
        if self._renew_at is not None and self._clock() < self._renew_at:
            return True
        holder = self._ask(DURATION)
        self._renew_at = self._clock() + RENEW_AFTER if holder == self._name.encode() else None
        return self._renew_at is not None

    def doubt(self) -> None:
        """Ask the store at the next `hold`: another consumer was seen at work, or the connection was lost."""
        self._renew_at = None

    def release(self) -> None:
        """Let the next one in at once."""
        if self._renew_at is not None:
            self._renew_at = None
            self._ask(0)

    def _ask(self, seconds: float) -> Any:
        """Who holds the lease, once this consumer has asked for so many seconds."""
        return SCRIPT.run(self._client, self._keys, [self._name, int(seconds * 1000)])
