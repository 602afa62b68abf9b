"""Backing off from a store that refuses or is unreachable: growing pauses, and one log line at each end."""

import logging
import random
from collections.abc import Callable
from time import monotonic

import redis

from etlog_events.errors import StoreError

#: Seconds between attempts: doubled from the first to the last, with jitter, so that many processes do not come back
#: at the same instant.
FIRST_RETRY, LAST_RETRY = 0.05, 3.0


class Backoff:
    """What one thread or task knows of its failed attempts; others may read it.

    `logger` gets `failing` when an outage begins, with the error, and `recovered` when it has ended, with its seconds.
    No pause is longer than `longest` seconds. An error that a store does not cause is logged with its trace, once per
    outage: it is a bug in etlog.
    """

    def __init__(
        self,
        logger: logging.Logger,
        *,
        failing: str,
        recovered: str,
        longest: float = LAST_RETRY,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self.retries = 0
        self.since: float | None = None  # when the outage began, by `clock`
        self.error: Exception | None = None  # of the last attempt, None after one that succeeded
        self._logger = logger
        self._failing = failing
        self._recovered = recovered
        self._longest = longest
        self._clock = clock
        self._pause = FIRST_RETRY
        self._traced = False

    def failed(self, error: Exception) -> float:
        """Note that an attempt failed. Returns the seconds to wait before the next one."""
        self.retries += 1
        self.error = error
        if self.since is None:
            self.since = self._clock()
            self._logger.warning("%s: %s", self._failing, self.reason, extra={"action": "store_away"})
        if not self._traced and not isinstance(error, redis.RedisError | OSError | StoreError):
            self._traced = True
            self._logger.error("Unexpected error", exc_info=error, extra={"action": "unexpected_error"})
        pause = self._pause * random.uniform(0.5, 1.0)  # noqa: S311
        self._pause = min(self._pause * 2, self._longest)
        return pause

    def succeeded(self) -> None:
        """Note that the store has done all that was asked of it."""
        self.error = None
        self._pause = FIRST_RETRY
        if self.since is not None:
            seconds = self._clock() - self.since
            self.since, self._traced = None, False
            self._logger.warning("%s after %.1f s", self._recovered, seconds, extra={"action": "store_back"})

    @property
    def reason(self) -> str | None:
        """The error of the last attempt in words."""
        error = self.error  # read once: another thread may set it meanwhile
        return None if error is None else str(error) or type(error).__name__
