"""Reading ahead: while a batch is applied, the entries of the next one are on their way."""

from collections import deque
from collections.abc import Sequence

from etlog_events.read_size import ReadSize, measured
from etlog_events.scripts import Command

from etlog_consumer.batch import Entry

#: Events in one step: the store does nothing else while it applies one, some milliseconds.
STEP_EVENTS = 4000

#: Bytes that one read should bring at most. That many events of the usual size take half of it.
BYTES = 2 * 1024 * 1024

#: Entries of the first read, before anything is known of them.
FIRST = 64


class ReadAhead:
    """Reads the stream `events`, and holds the entries that were read and not yet taken.

    - Every entry is read once, in stream order: a read begins behind the last entry of the one before.
    - What is in hand is given out in steps, each of at most `STEP_EVENTS` events and `BYTES` bytes, or a single entry.
    - Nothing is read while more than one step is in hand, nor while the stream is known to hold nothing behind it.
    - A read waits in the store for an entry only where the caller has nothing to do before it comes.
    - How many entries are asked for follows the events and bytes of those before, see `ReadSize`: many small ones, few
      large ones.
    """

    def __init__(self, events: str) -> None:
        self.size = ReadSize(FIRST, entries=STEP_EVENTS, events=STEP_EVENTS, size=BYTES)
        self._events = events
        self._last = b"0-0"
        self._steps: deque[list[Entry]] = deque()
        self._more = True  # whether entries wait behind those in hand, as far as is known

    @property
    def oldest(self) -> bytes | None:
        """Id of the oldest entry in hand."""
        return self._steps[0][0][0] if self._steps else None

    def start(self, cursor: bytes) -> None:
        """Read on behind `cursor`, with nothing in hand."""
        self._last = cursor
        self.drop()

    def drop(self) -> None:
        """Have nothing in hand."""
        self._steps.clear()
        self._more = True

    def command(self, block_ms: int | None) -> Command | None:
        """The read to send now, if there is to be one. It waits up to `block_ms` milliseconds for an entry, None: not
        at all; nor does it with entries in hand."""
        if len(self._steps) > 1 or (self._steps and not self._more):
            return None
        block = () if self._steps or block_ms is None else ("BLOCK", block_ms)
        return ("XREAD", "COUNT", self.size.count, *block, "STREAMS", self._events, self._last)

    def take(self) -> Sequence[Entry]:
        """The entries of the next step, which are the caller's from now on."""
        return self._steps.popleft() if self._steps else ()

    def give_back(self, *steps: Sequence[Entry]) -> None:
        """Take back steps that were taken, the oldest first."""
        self._steps.extendleft(list(step) for step in reversed(steps) if step)

    def put(self, answer: Sequence[tuple[bytes, Sequence[Entry]]] | None) -> None:
        """Take in what the store answered to `command`: the stream with its entries, or None."""
        entries = answer[0][1] if answer else ()
        self._more = len(entries) >= self.size.count
        if not entries:
            return
        self._last = entries[-1][0]
        events, sizes = measured(entries)
        self._split(entries, events, sizes)
        self.size.follow(events, sizes)

    def _split(self, entries: Sequence[Entry], events: Sequence[int], sizes: Sequence[int]) -> None:
        if sum(events) <= STEP_EVENTS and sum(sizes) <= BYTES:
            self._steps.append(list(entries))
            return
        step: list[Entry] = []
        held = size = 0
        for entry, more, longer in zip(entries, events, sizes, strict=True):
            if step and (held + more > STEP_EVENTS or size + longer > BYTES):
                self._steps.append(step)
                step, held, size = [], 0, 0
            step.append(entry)
            held, size = held + more, size + longer
        self._steps.append(step)
