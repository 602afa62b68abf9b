"""Positions in the stream, between two events: where the live log stands, and where a client resumes."""

import re

from etlog_events.entry import MOST_EVENTS, event_id

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
    """The position of an event's id. Raises `ValueError` for a text that is not one."""
    found = _EVENT_ID.fullmatch(text)
    if found is None:
        example = "1654276074092-0 or 1654276074092-0.12"
        raise ValueError(f"must be the id of an event such as {example}, not {text[:60]!r}")
    milliseconds, number, place = (int(part or 0) for part in found.groups())
    return (milliseconds, number, place) if milliseconds or number else START


def entry_of(position: Position) -> bytes:
    """The id of the entry at `position`."""
    return b"%d-%d" % position[:2]


def id_of(position: Position) -> bytes:
    """The id of the event at `position`. That of the end of an entry names its largest possible place: there need not
    be an event, and whoever resumes from it gets nothing of that entry again."""
    return event_id(entry_of(position), position[2])
