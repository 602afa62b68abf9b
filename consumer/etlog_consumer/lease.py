"""The lease of the active consumer. It keeps the others from useless work; the fenced cursor keeps them from harm."""

from collections.abc import Callable
from importlib.resources import files
from time import monotonic
from typing import Any

SCRIPT = files(__package__).joinpath("lease.lua").read_text()

#: Seconds. Longer than a pause of a busy machine, shorter than anyone waits for a failover.
DURATION = 4.0

#: Seconds after which the holder renews it.
RENEW_AFTER = 1.0


class Lease:
    """The lease under the key `key`, sought by the consumer `name`."""

    def __init__(self, client: Any, key: str, name: str, clock: Callable[[], float] = monotonic) -> None:
        self._script = client.register_script(SCRIPT)
        self._key = key
        self._name = name
        self._clock = clock
        self._renew_at: float | None = None

    def hold(self) -> bool:
        """Take the lease if it is free, renew it if it is time to. Returns whether this consumer holds it."""
        if self._renew_at is not None and self._clock() < self._renew_at:
            return True
        holder = self._script(keys=[self._key], args=[self._name, int(DURATION * 1000)])
        self._renew_at = self._clock() + RENEW_AFTER if holder == self._name.encode() else None
        return self._renew_at is not None

    def doubt(self) -> None:
        """Ask the store at the next `hold`: somebody else was seen at work, or the connection was lost."""
        self._renew_at = None

    def release(self) -> None:
        """Let the next one in at once."""
        if self._renew_at is not None:
            self._renew_at = None
            self._script(keys=[self._key], args=[self._name, 0])
