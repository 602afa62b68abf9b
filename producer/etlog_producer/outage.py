"""A store that says no: how long to wait, and one log line at each end, however many attempts lie between."""

import logging
import random
from time import monotonic

logger = logging.getLogger("etlog.producer")

#: Seconds between attempts: doubled from the first to the last.
FIRST_RETRY, LAST_RETRY = 0.05, 3.0


class Outage:
    """The books of failed attempts. Used by the sender's thread; others may read."""

    def __init__(self) -> None:
        self.retries = 0
        self.last_error: str | None = None
        self.refusal: Exception | None = None  # the error of the last attempt
        self._since: float | None = None
        self._retry = FIRST_RETRY

    def failed(self, error: Exception) -> float:
        """An attempt failed. Returns the seconds to wait, with jitter: many producers must not come back at once."""
        self.retries += 1
        self.last_error = str(error) or type(error).__name__
        self.refusal = error
        if self._since is None:
            self._since = monotonic()
            logger.warning("Cannot publish, will keep trying: %s", self.last_error, extra={"action": "publish_failed"})
        wait = self._retry * random.uniform(0.5, 1.0)  # noqa: S311
        self._retry = min(self._retry * 2, LAST_RETRY)
        return wait

    def ended(self) -> None:
        """An attempt succeeded."""
        self._retry = FIRST_RETRY
        if self._since is not None:
            seconds = monotonic() - self._since
            self._since = self.last_error = self.refusal = None
            logger.warning("Publishing again after %.1f s", seconds, extra={"action": "publish_recovered"})
