"""The numbers of a producer's events, by which a log knows what it has: their bounds, and how long they are remembered.

A producer has an id and numbers its events 1, 2, 3 … What is not above the last number that the store remembers is
there already; what does not follow on tells of a loss.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

#: The largest number: what Lua's numbers hold exactly.
MAX_SEQ = 2**53 - 1

#: Bytes of a producer's id. The ids of etlog take some seventy; each is a field of a hash.
MAX_PRODUCER_BYTES = 256

_DAY = 24 * 3600.0

#: Seconds for which the store remembers a producer that has not closed, after its last event.
REMEMBERED = 90 * _DAY

#: Seconds after which events that lie on a disk are no longer sent, because the store may soon forget which of them it
#: has. A third less than it remembers: clocks differ, and the producer may have been idle before it wrote them.
SENT_WITHIN = 60 * _DAY

#: Seconds without an event after which a producer begins anew under another id.
RENEWED_AFTER = 7 * _DAY


def number_of(text: bytes) -> int:
    """The number that the field `seq` of an entry spells, or a field of a hash; 0 if it is none up to `MAX_SEQ`."""
    number = int(text) if text.isdigit() and len(text) < 17 else 0
    return number if number <= MAX_SEQ else 0


def repeated(first: int, last: int) -> int:
    """How many of the events numbered from `first` on are duplicates, where `last` is the last number known."""
    return max(0, last + 1 - first)


def events_waiting(stats: Mapping[str, int], entries_added: int) -> int | None:
    """How many events wait to be applied, while some do: from the stats of a log, and the number of entries ever added
    to its stream. None where the numbers do not tell: others than the function for publishing appended entries since
    nothing waited last, or removed keys."""
    if entries_added != stats.get("entries", 0):
        return None
    applied, dead, lost, unnumbered = (stats.get(name, 0) for name in ("applied", "dead", "lost", "unnumbered"))
    waiting = stats.get("published", 0) - (applied + dead + lost - unnumbered)
    return waiting if waiting >= 1 else None


#: What the scripts write and read: the same pattern stands in `publish.lua` and in the head of the consumer's.
_RECORD = re.compile(rb"published=(\d+) applied=(\d+) dead=(\d+) lost=(\d+) seen=(\d+) token=(\S*)(?P<closed> closed)?")


class Record(NamedTuple):
    """What the store knows of a producer: the last number in the stream, the last one accounted for, how many of those
    are dead and lost; milliseconds since 1970 when it was last seen; its process's token, and whether it has closed."""

    published: int
    applied: int
    dead: int
    lost: int
    seen: int
    token: bytes
    closed: bool

    @classmethod
    def decode(cls, text: bytes | None) -> "Record | None":
        """The record that a field of the hash `producers` spells; None if it is none, which counts as no record."""
        found = _RECORD.fullmatch(text or b"")
        if found is None:
            return None
        published, applied, dead, lost, seen = (int(found[group]) for group in range(1, 6))
        return cls(published, applied, dead, lost, seen, found[6], found["closed"] is not None)

    def encode(self) -> bytes:
        """The text of the field."""
        return b"published=%d applied=%d dead=%d lost=%d seen=%d token=%b%b" % (
            *self[:6],
            b" closed" if self.closed else b"",
        )
