"""A time without the store: one log line when it begins and one when it ends, and growing pauses between."""

import logging
import random
from collections.abc import Callable
from time import monotonic

import redis

logger = logging.getLogger("etlog.consumer")

#: Seconds between attempts while the store says no: doubled from the first to the last, with jitter, so that many
#: consumers do not come back at the same instant.
FIRST_RETRY, LAST_RETRY = 0.1, 3.0


class Outage:
    """Is not there, until an error comes; then it lasts until something has worked."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._since: float | None = None
        self._retry = FIRST_RETRY
        self._traced = False

    def failed(self, error: Exception) -> float:
        """Note an error. Returns the seconds to wait before the next attempt."""
        if self._since is None:
            self._since = self._clock()
            logger.warning("Cannot apply, will keep trying: %s", error, extra={"action": "store_away"})
        if not self._traced and not isinstance(error, redis.RedisError | OSError):
            self._traced = True
            logger.error("This was not expected of the store", exc_info=error, extra={"action": "unexpected_error"})
        pause = self._retry * random.uniform(0.5, 1.0)  # noqa: S311
        self._retry = min(self._retry * 2, LAST_RETRY)
        return pause

    def worked(self) -> None:
        """Note that the store has done all that was asked of it."""
        if self._since is not None:
            seconds = self._clock() - self._since
            logger.warning("The store answers again after %.1f s", seconds, extra={"action": "store_back"})
            self._since, self._retry, self._traced = None, FIRST_RETRY, False
