"""The numbers of a producer's events, by which a log knows what it has: their bounds, and how long they are remembered.

A producer has an id and numbers its events 1, 2, 3 … What is not above the last number that the store remembers is
there already; what does not follow on tells of a loss.
"""

#: The largest number: what Lua's numbers hold exactly.
MAX_SEQ = 2**53 - 1

#: Bytes of a producer's id. The ids of etlog take some fifty; each is a field of a hash that is read as a whole.
MAX_PRODUCER_BYTES = 256

_DAY = 24 * 3600.0

#: Seconds without an event after which a producer's record leaves those that are read all the time.
RETIRE_AFTER = 1 * _DAY

#: Seconds for which the store remembers the last number of a producer after its last event.
REMEMBERED = 90 * _DAY

#: Seconds after which events that lie on a disk are no longer sent, because the store may soon forget which of them it
#: has. A third less than it remembers: clocks differ, and the producer may have been idle before it wrote them.
SENT_WITHIN = 60 * _DAY

#: Seconds without an event after which a producer begins anew under another id.
RENEWED_AFTER = 7 * _DAY


def number_of(seq: bytes) -> int:
    """The number that the field `seq` of an entry spells; 0 if it is none from 1 to `MAX_SEQ`."""
    number = int(seq) if seq.isdigit() and len(seq) < 17 else 0
    return number if number <= MAX_SEQ else 0


def numbers_of(producers: dict[bytes, bytes]) -> dict[bytes, int]:
    """The last applied number of each producer, by the hash `producers`; a field that holds no number is as none."""
    return {
        name.removesuffix(b":applied"): number_of(value)
        for name, value in producers.items()
        if name.endswith(b":applied")
    }
