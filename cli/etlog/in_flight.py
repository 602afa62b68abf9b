"""Events in flight: what the stream holds after the cursor, counted event by event within bounds."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from etlog_events import scripts
from etlog_events.entry import contents, first_number
from etlog_events.keys import Keys
from etlog_events.read_size import ReadSize, measured
from etlog_events.sequence import MAX_SEQ, Record, repeated

#: Events that are counted; beyond that the sequence numbers of the producers are trusted.
COUNTED_EVENTS = 100_000

#: Bytes of the entries that are counted.
COUNTED_BYTES = 256 * 1024 * 1024

#: Bytes that one read should bring, the entries that it asks for at most, and those of the first one.
READ_BYTES, READ_ENTRIES, FIRST_READ = 2 * 1024 * 1024, 1000, 64


class Waiting(NamedTuple):
    """Of one producer: events in flight up to the number that its record calls published, and those above it, of a
    client that numbers its events by plain XADD."""

    published: int
    above: int


@dataclass(slots=True)
class InFlight:
    """What was found: `runs` of numbers, first and last, of each producer in stream order; how many events came without
    a number; how many there are in all; and whether these are all that wait."""

    runs: dict[bytes, list[tuple[int, int]]] = field(default_factory=dict)
    unnumbered: int = 0
    events: int = 0
    complete: bool = False

    def of(self, producer: bytes, record: Record) -> Waiting:
        """What waits of a producer with this record. A number that was there before counts once."""
        published = above = 0
        highest = record.applied
        for first, last in self.runs.get(producer, ()):
            fresh = first + repeated(first, highest)
            if fresh <= last:
                known = max(0, min(last, record.published) + 1 - fresh)
                published += known
                above += last + 1 - fresh - known
                highest = last
        return Waiting(published, above)

    def without_number(self, producer: bytes) -> None:
        """The numbers of this producer mean nothing: its events count among those without one."""
        self.unnumbered += sum(last + 1 - first for first, last in self.runs.pop(producer))

    def _add(self, fields: list[bytes]) -> None:
        held = contents(fields)
        producer, _, events, strays = held
        found = len(events) + len(strays) or 1  # an entry without any is one dead letter
        self.events += found
        first = first_number(held)
        if not first:
            self.unnumbered += found
            return
        runs = self.runs.setdefault(producer, [])
        if events or not strays:
            runs.append((first, first + max(len(events), 1) - 1))
        for place, _ in strays:
            if first + place <= MAX_SEQ:
                runs.append((first + place, first + place))
            else:
                self.unnumbered += 1


def in_flight(client: Any, keys: Keys, cursor: bytes, last: bytes = b"+") -> InFlight:
    """What the stream holds after the entry `cursor` and up to `last`. Raises the driver's errors."""
    found = InFlight()
    after, counted = cursor, 0
    size = ReadSize(FIRST_READ, entries=READ_ENTRIES, size=READ_BYTES)
    while found.events < COUNTED_EVENTS and counted < COUNTED_BYTES:
        [entries] = scripts.run(client, ("XRANGE", keys.events, b"(" + after, last, "COUNT", size.count))
        if not entries:
            found.complete = True
            break
        for _, fields in entries:
            found._add(fields)
        events, sizes = measured(entries)
        after, counted = entries[-1][0], counted + sum(sizes)
        size.follow(events, sizes)
    return found
