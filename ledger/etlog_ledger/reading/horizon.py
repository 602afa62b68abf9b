"""The horizon of a log: as of when its ledger can be judged, because nothing older waits to be applied."""

import math
from dataclasses import dataclass
from typing import Any

from etlog_events.keys import Keys
from etlog_events.positions import Position, end_of
from etlog_events.sequence import number_of

from etlog_ledger.reading.connection import Command, Connection
from etlog_ledger.reading.replication_link import ReplicationLink

#: Seconds. Verdicts are as of multiples of this, so that replicas judge as of the same moments.
STEP = 10

#: Seconds by which the clocks of this process and of the store may differ and still count as the same: what an answer
#: takes, and what synchronized clocks differ by.
SAME_CLOCK = 1.0


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a log stands by the store's clock, in seconds since 1970.

    `asked` is that clock. `oldest` is when the oldest entry was published that a ledger at `cursor` does not hold, None
    when there is none; all that was published before `caught_up` is in that ledger.
    """

    log_id: bytes | None
    cursor: bytes | None
    asked: float
    caught_up: float
    oldest: float | None


async def read_standing(
    connection: Connection, keys: Keys, cursor: bytes | None, link: ReplicationLink | None = None
) -> Standing:
    """What waits for a ledger that was read at `cursor`; a replica is asked for its `link` as well.

    The clock is read first: what is published later than that may be missing. `caught_up` counts only where the log is
    still at that cursor, which is read after it. Raises the driver's errors.
    """
    after = "-" if cursor is None else b"(" + cursor
    of_log: list[Command] = [
        *(("TIME",), ("HGET", keys.stats, "caught_up"), ("GET", keys.cursor), ("GET", keys.id)),
        ("XRANGE", keys.events, after, "+", "COUNT", 1),
    ]
    if link is not None:
        of_log.append(("INFO", "replication"))
    (seconds, microseconds), caught_up, cursor_now, log_id, waiting, *info = await connection.ask(*of_log)
    if link is not None:
        link.note(info[0])
    return Standing(
        log_id=log_id,
        cursor=cursor,
        asked=seconds + microseconds / 1e6,
        caught_up=number_of(caught_up or b"") / 1000 if cursor_now == cursor else 0.0,
        oldest=_published(waiting[0]) if waiting else None,
    )


def _published(entry: Any) -> float:
    milliseconds: int = int(entry[0].partition(b"-")[0])
    return milliseconds / 1000


def floored(seconds: float) -> int:
    """The last moment that a verdict may be of."""
    return math.floor(seconds / STEP) * STEP


class Horizon:
    """As of when one log is judged: now by the clock of this process, or the moment before the oldest event that waits.

    The events of a busy log always wait for some milliseconds, and clocks differ a little. So the moment never goes
    back, unless the clock or the log does: a store without this log, or with an older copy of it.
    """

    def __init__(self) -> None:
        self._of: tuple[bytes | None, Position] | None = None
        self._latest: int | None = None
        self._ahead = 0.0  # seconds that the clock of this process is ahead of the store's

    def now(self, clock: float, standing: Standing, since: float = 0.0) -> int:
        """As of when the ledger can be judged whose `standing` was read when `clock` was the time of this process, from
        a replica of the store that has not heard of its primary for so many seconds, `since`.

        By how much two clocks differ that are not the same is learned when nothing waits, or where the log has moved:
        a clock that is set while no one applies what waits must not make anything overdue.
        """
        before, at = self._of, end_of(standing.cursor)
        continues = before is not None and before[0] == standing.log_id and before[1] <= at
        if not continues:
            self._latest = None
        if standing.oldest is None or (continues and before != (standing.log_id, at)):
            ahead = clock - standing.asked
            self._ahead = ahead if abs(ahead) > SAME_CLOCK else 0.0
        self._of = standing.log_id, at
        known = clock - since
        if standing.oldest is not None:
            complete = max(min(standing.oldest, standing.asked), min(standing.caught_up, standing.asked))
            known = min(known, complete + self._ahead)
        now = floored(known)
        if self._latest is not None:
            now = min(max(now, self._latest), floored(clock))
        self._latest = now
        return now
