"""Frames: events that follow one another in the stream, spelled as Server-Sent Events for any number of clients."""

from dataclasses import dataclass, field

from etlog_events.positions import Position, id_of


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
