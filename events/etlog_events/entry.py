"""The entry of the stream: the events of one publish, and how its fields name them.

    1654275474092-0   producer host-17-…   seq 41   event {…}   event.1 {…}   event.2 {…}

`seq` is the number of the first event; the others follow on. Names differ because most clients turn the fields of an
entry into a map. Any client may add an entry: only `event` is required, the order of the fields and fields of other
names mean nothing, and of two fields with one name the last one counts.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

from etlog_events.sequence import MAX_PRODUCER_BYTES, MAX_SEQ, number_of

#: Events in one entry.
MOST_EVENTS = 500

#: Bytes of the events in one entry, unless it holds a single one. The script for publishing has the same numbers.
MOST_BYTES = 64 * 1024

#: The names of the events in an entry, by their places.
NAMES = [b"event", *(b"event.%d" % place for place in range(1, MOST_EVENTS))]

_FURTHER = NAMES[1:]
_PLACE = re.compile(rb"event\.([1-9][0-9]{0,14})")


class Contents(NamedTuple):
    """What an entry holds: the events of the places 0, 1, 2 …, and `strays`, the places and bytes of those that stand
    behind a gap in the names or beyond `MOST_EVENTS`. `producer` and `seq` are as spelled, empty where absent."""

    producer: bytes
    seq: bytes
    events: Sequence[bytes]
    strays: Sequence[tuple[int, bytes]] = ()


def contents(fields: Sequence[bytes]) -> Contents:
    """What an entry with these fields (name, value, name, value …) holds."""
    # What the script for publishing writes is recognized by its names, everything else is looked at in detail.
    if fields[:5:2] == [b"producer", b"seq", b"event"] and fields[6::2] == _FURTHER[: len(fields) // 2 - 3]:
        return Contents(fields[1], fields[3], fields[5::2])
    named = dict(zip(fields[::2], fields[1::2], strict=False))
    places = {int(found[1]): raw for name, raw in named.items() if (found := _PLACE.fullmatch(name))}
    if b"event" in named:
        places[0] = named[b"event"]
    events: list[bytes] = []
    while len(events) in places and len(events) < MOST_EVENTS:
        events.append(places.pop(len(events)))
    return Contents(named.get(b"producer", b""), named.get(b"seq", b""), events, sorted(places.items()))


def first_number(held: Contents) -> int | None:
    """The number of an entry's first event: 0 where its events have none, None where they are refused because they
    cannot have these."""
    if not (held.producer and held.seq):
        return 0
    number = number_of(held.seq)
    last = number + len(held.events or (b"",)) - 1
    return number if number and last <= MAX_SEQ and len(held.producer) <= MAX_PRODUCER_BYTES else None


def event_id(entry_id: bytes, place: int) -> bytes:
    """The id of one event: that of its entry, and the place behind it unless it is the first."""
    return b"%b.%d" % (entry_id, place) if place else entry_id
