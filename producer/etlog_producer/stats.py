"""What a producer tells about itself."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Stats:
    """A look at a producer's books: `emitted == delivered + waiting + spooled + lost`, at every moment.

    `emitted` counts what `emit` accepted. `waiting` is undelivered in memory, `spooled` undelivered in the spool.
    `dropped` was never accepted: there was no room. `lost` was accepted and is gone: a store that forgot more than is
    kept for it, or a disk that failed at `close`. `retries` counts attempts that failed. `last_error` is None while
    the store takes what it is given.
    """

    emitted: int
    delivered: int
    waiting: int
    spooled: int
    dropped: int
    lost: int
    retries: int
    last_error: str | None
