"""The schedule: windows aligned to the clock, and the ticks of a process."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

_UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_HOUR = timedelta(hours=1)


class Window(NamedTuple):
    """The window of a set, from `start` up to but not including `end`; both are aware datetimes in UTC."""

    start: datetime
    end: datetime

    @property
    def hours(self) -> float:
        """Its length."""
        return (self.end - self.start) / _HOUR

    def hours_shared(self, start: datetime, end: datetime) -> float:
        """Hours of the span from `start` to `end` that lie in this window."""
        return max((min(self.end, end) - max(self.start, start)) / _HOUR, 0.0)


@dataclass(frozen=True, slots=True)
class Resolution:
    """A length of windows; `name` is also the name of their folder."""

    name: str
    length: timedelta

    def window(self, moment: datetime) -> Window:
        """The window that holds `moment`."""
        start = moment - (moment - _UNIX_EPOCH) % self.length
        return Window(start, start + self.length)


#: Short enough to show something soon after the start.
TEN_SECONDS = Resolution("10s", timedelta(seconds=10))

#: Sets of ten seconds are rolled up into these.
MINUTE = Resolution("1m", timedelta(minutes=1))

#: Time between two meter readings. To read every process of a busy desktop takes about ten milliseconds.
TICK = Resolution("2s", timedelta(seconds=2))


def now() -> datetime:
    """The present moment in UTC."""
    return datetime.now(UTC)


def ticks(
    wait: Callable[[float], bool], clock: Callable[[], datetime] = now, every: Resolution = TICK
) -> Iterator[datetime]:
    """The present moment at once, then again at each boundary of `every`; missed boundaries are skipped.

    `wait` waits for that many seconds and returns False, or returns True as soon as there is to be no further tick.
    """
    moment = clock()
    while True:
        yield moment
        due = every.window(moment).end
        if wait(max((due - clock()).total_seconds(), 0.0)):
            return
        moment = max(clock(), due)
