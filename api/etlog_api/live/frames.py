"""Frames: events that follow one another in the stream, spelled as Server-Sent Events for any number of clients."""

import re
from dataclasses import dataclass, field

from etlog_events.entry import MOST_EVENTS, event_id

from etlog_api.errors import BadQuery

#: Milliseconds and number of an event's entry, and its place in there; they order as the events do. Everything after a
#: position is what a client at it has not got.
Position = tuple[int, int, int]

#: Before all events.
START: Position = (0, 0, 0)

#: The largest place that an event can have. Behind it nothing of an entry is left, however many events that holds.
_LAST_PLACE = MOST_EVENTS - 1

#: What `Last-Event-ID` may hold: the id of an event.
_EVENT_ID = re.compile(r"([0-9]{1,19})-([0-9]{1,19})(?:\.([1-9][0-9]{0,2}))?")


def end_of(entry_id: bytes | None) -> Position:
    """The position behind all events of an entry; without an id, the start of the stream."""
    if not entry_id:
        return START
    milliseconds, _, number = entry_id.partition(b"-")
    return int(milliseconds), int(number), _LAST_PLACE


def is_end(position: Position) -> bool:
    """Whether nothing of its entry comes after `position`, whatever that holds."""
    return position[2] >= _LAST_PLACE


def parse_position(text: str) -> Position:
    """The position that a `Last-Event-ID` names. Raises `BadQuery`."""
    found = _EVENT_ID.fullmatch(text)
    if found is None:
        example = "1654276074092-0 or 1654276074092-0.12"
        raise BadQuery(f"Last-Event-ID must be the id of an event such as {example}, not {text[:60]!r}")
    milliseconds, number, place = (int(part or 0) for part in found.groups())
    return (milliseconds, number, place) if milliseconds or number else START


def entry_of(position: Position) -> bytes:
    """The id of the entry at `position`."""
    return b"%d-%d" % position[:2]


def id_of(position: Position) -> bytes:
    """The id of the event at `position`. That of the end of an entry names its largest possible place: there need not
    be an event, and whoever resumes from it gets nothing of that entry again."""
    return event_id(entry_of(position), position[2])


def connected(at: Position | None) -> bytes:
    """The first message to a client; with `at`, a client that leaves before its first event can resume from there."""
    return b": connected\n\n" if at is None else b": connected\n" + _mark(at)


def resync(reason: str, at: Position) -> bytes:
    """The message that tells a client to read the log again, because some events will not reach it here."""
    return b"event: resync\nid: %b\ndata: %b\n\n" % (id_of(at), reason.encode())


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
        b"id: %b\ndata: %b\n\n" % (id_of(position), text)
        for position, kind, text in events
        if kinds is None or kind in kinds
    ]
    # The mark names the event that was left out, not the end of its entry: the rest of that may be in the next frames.
    if events and kinds is not None and events[-1][1] not in kinds:
        wanted.append(_mark(events[-1][0]))
    return b"".join(wanted)


def _mark(at: Position) -> bytes:
    """An id without an event: browsers remember it for `Last-Event-ID`."""
    return b"id: %b\n\n" % id_of(at)
