"""The lines of a spool file: events under their numbers, and notes of what the store has."""

import re
from datetime import UTC, datetime
from typing import NamedTuple
from zlib import crc32

import orjson

#: The longest number: 2^53-1 has 16 digits.
MOST_DIGITS = 16

DELIVERED = b"# delivered "

_MARK = re.compile(rb"# delivered (?P<number>\d{1,16})(?: at (?P<at>\S{20,30}), last written (?P<written>\S{20,30}))?")

#: How a line with an event begins.
_START = re.compile(rb"\d{1,16} [0-9a-f]{8} \{")

#: So many beginnings may stand in an event, as text, for it to be found behind a damaged line.
_MOST_STARTS = 8


class Line(NamedTuple):
    """A line of a file: an event and its number, or a damaged line, which has the number 0; `place` is where in the
    file it begins, in bytes."""

    number: int
    event: bytes
    place: int = 0


class Mark(NamedTuple):
    """A note that the store has everything up to `number`. One of a process that sends what another left says when
    that was, and when the owner of the file last wrote to it, in seconds since 1970."""

    number: int
    at: float | None = None
    written: float | None = None

    def encode(self) -> bytes:
        """The line."""
        if self.at is None or self.written is None:
            return b"%b%d\n" % (DELIVERED, self.number)
        times = f" at {_shown(self.at)}, last written {_shown(self.written)}\n"
        return b"%b%d%b" % (DELIVERED, self.number, times.encode())

    @classmethod
    def decode(cls, text: bytes) -> "Mark | None":
        """The note that a line is, None if it is none."""
        found = _MARK.fullmatch(text)
        if not found:
            return None
        if found["at"] is None:
            return cls(int(found["number"]))
        try:
            return cls(int(found["number"]), _seconds(found["at"]), _seconds(found["written"]))
        except ValueError:
            return None


def encode(number: int, event: bytes) -> bytes:
    """The line of an event."""
    return b"%d %08x %b\n" % (number, crc32(b"%d %b" % (number, event)), event)


def decode(text: bytes, place: int) -> Line | None:
    """The event that a line with a checksum is, None if it is none, or damaged."""
    parts = text.split(b" ", 2)
    if len(parts) < 3:
        return None
    number, checksum, event = parts
    if checksum != b"%08x" % crc32(event, crc32(number + b" ")):
        return None
    return Line(int(number), event, place) if number.isdigit() and len(number) <= MOST_DIGITS else None


def decode_unchecked(text: bytes, place: int) -> Line | None:
    """The event that a line of an earlier release is, None if it is none."""
    number, _, event = text.partition(b" ")
    if not number.isdigit() or len(number) > MOST_DIGITS or not _is_object(event):
        return None
    return Line(int(number), event, place)


def rescue(text: bytes, place: int) -> list[Line]:
    """The events in a damaged line: where the end of a line is damaged, the next one stands inside it."""
    starts = [found.start() for found in _START.finditer(text)]
    ends = [*starts[1:], len(text)]
    found: list[Line] = []
    at = 0
    while at < len(starts):
        for i in range(at, min(at + _MOST_STARTS, len(ends))):
            piece = text[starts[at] : ends[i]]
            line = decode(piece, place + starts[at]) or decode(piece[:-1], place + starts[at])
            if line:
                found.append(line)
                at = i
                break
        at += 1
    return found


def has_checksums(head: bytes) -> bool:
    """Whether the lines after a header that cannot be read have checksums."""
    return any(decode(text, 0) for text in head.splitlines())


def _is_object(text: bytes) -> bool:
    try:
        return isinstance(orjson.loads(text), dict)
    except ValueError:
        return False


def _shown(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _seconds(text: bytes) -> float:
    return datetime.fromisoformat(text.decode()).timestamp()
