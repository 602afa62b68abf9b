"""The numbered events in memory: those to be sent, and those sent a moment ago, which the store may still lose."""

from collections import deque
from collections.abc import Callable, Iterable
from itertools import islice
from time import monotonic

from etlog_events.publishing import CALL_EVENTS

#: Bytes in one call of the script, for batches of large events.
BATCH_BYTES = 1024 * 1024

#: Seconds for which delivered events are kept. A store that syncs its file every second can lose two.
KEEP_SECONDS = 10.0

#: At most so many delivered events and bytes are kept.
KEEP_EVENTS = 100_000
KEEP_BYTES = 16 * 1024 * 1024


class Unacked:
    """The events of one producer, numbered 1, 2, 3 … in the order in which they were added.

    Used by the sender's thread alone.
    """

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._waiting: deque[bytes] = deque()
        self._kept: deque[tuple[float, bytes]] = deque()  # delivered: when, and the event
        self._kept_bytes = 0
        self._delivered = 0

    def __len__(self) -> int:
        """Events that wait to be delivered."""
        return len(self._waiting)

    @property
    def delivered(self) -> int:
        """Number of the last event that the store holds, or held when it was told."""
        return self._delivered

    def extend(self, events: Iterable[bytes]) -> None:
        """Add events at the end."""
        self._waiting.extend(events)

    @property
    def kept(self) -> int:
        """Delivered events that can be sent again, those up to `delivered`."""
        return len(self._kept)

    @property
    def waiting(self) -> list[bytes]:
        """The events that wait, the first numbered `delivered + 1`."""
        return list(self._waiting)

    def batch(self, most: int = CALL_EVENTS) -> list[bytes]:
        """The next events to deliver, the first numbered `delivered + 1`; empty when all are delivered."""
        events = list(islice(self._waiting, most))
        size = 0
        for index, event in enumerate(events):
            size += len(event)
            if size > BATCH_BYTES * -(-most // CALL_EVENTS) and index > 0:
                return events[:index]
        return events

    def deliver(self, number: int) -> None:
        """The store holds all events up to `number`."""
        now = self._clock()
        while self._delivered < number and self._waiting:
            event = self._waiting.popleft()
            self._kept.append((now, event))
            self._kept_bytes += len(event)
            self._delivered += 1
        while self._kept and (
            self._kept[0][0] < now - KEEP_SECONDS or len(self._kept) > KEEP_EVENTS or self._kept_bytes > KEEP_BYTES
        ):
            self._kept_bytes -= len(self._kept.popleft()[1])

    def give_up(self, number: int) -> None:
        """The events up to `number` are gone: what is added next follows on from it. Only when nothing waits."""
        self._delivered = number
        self._kept.clear()
        self._kept_bytes = 0

    def rewind(self, number: int) -> bool:
        """The store holds only the events up to `number`: those after it wait again, as far as they are kept.

        Returns whether all of them are; if not, the first that waits is not `number + 1`.
        """
        while self._delivered > number and self._kept:
            event = self._kept.pop()[1]
            self._waiting.appendleft(event)
            self._kept_bytes -= len(event)
            self._delivered -= 1
        return self._delivered <= number
