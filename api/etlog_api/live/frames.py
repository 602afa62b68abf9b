"""Frames: events that follow one another in the stream, spelled as Server-Sent Events for any number of clients."""

import re
from dataclasses import dataclass, field

from etlog_api.errors import BadQuery

#: Milliseconds and number of an entry's id; they order as the entries do.
Position = tuple[int, int]

#: What `Last-Event-ID` may hold: the id of an entry.
_ENTRY_ID = re.compile(r"[0-9]{1,19}-[0-9]{1,19}")


def position_of(entry_id: bytes | None) -> Position:
    """The position of an entry; without an id, the start of the stream."""
    if not entry_id:
        return (0, 0)
    milliseconds, _, number = entry_id.partition(b"-")
    return int(milliseconds), int(number)


def parse_position(text: str) -> Position:
    """The position that a `Last-Event-ID` names. Raises `BadQuery`."""
    if not _ENTRY_ID.fullmatch(text):
        raise BadQuery(f"Last-Event-ID must be the id of an entry such as 1654276074092-0, not {text[:60]!r}")
    return position_of(text.encode())


def id_of(position: Position) -> str:
    """The id of the entry at `position`."""
    return f"{position[0]}-{position[1]}"


def connected(at: Position | None) -> bytes:
    """The first message to a client; with `at`, a client that leaves before its first event can resume from there."""
    return b": connected\n\n" if at is None else b": connected\n" + _mark(at)


def resync(reason: str, at: Position) -> bytes:
    """The message that tells a client to read the log again, because some events will not reach it here."""
    return b"event: resync\nid: %d-%d\ndata: %b\n\n" % (*at, reason.encode())


@dataclass(slots=True)
class Frames:
    """Events with their position and kind, and their spelling, made once for all clients with the same filter."""

    events: list[tuple[Position, str, bytes]] = field(default_factory=list)
    size: int = 0  # bytes
    _spelled: dict[frozenset[str] | None, bytes] = field(default_factory=dict)

    def add(self, position: Position, kind: str, text: bytes) -> None:
        """Append an event. Only before the frames are spelled."""
        self.events.append((position, kind, text))
        self.size += len(text)

    def spell(self, kinds: frozenset[str] | None, after: Position) -> bytes:
        """The events of `kinds` after the position `after`."""
        if self.events[0][0] <= after:
            return _spell([event for event in self.events if event[0] > after], kinds)
        if kinds not in self._spelled:
            self._spelled[kinds] = _spell(self.events, kinds)
        return self._spelled[kinds]


def _spell(events: list[tuple[Position, str, bytes]], kinds: frozenset[str] | None) -> bytes:
    wanted = [
        b"id: %d-%d\ndata: %b\n\n" % (*position, text)
        for position, kind, text in events
        if kinds is None or kind in kinds
    ]
    if events and kinds is not None and events[-1][1] not in kinds:
        wanted.append(_mark(events[-1][0]))
    return b"".join(wanted)


def _mark(at: Position) -> bytes:
    """An id without an event: browsers remember it for `Last-Event-ID`."""
    return b"id: %d-%d\n\n" % at
