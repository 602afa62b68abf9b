"""The story of a set: its events among those of the log, and what of it the lists do not show."""

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set

import msgspec
from etlog_events.kinds import Kinds
from etlog_events.validation import NO_WINDOW
from etlog_ledger.row import Row, action_of

#: Start and end of a span in canonical spelling.
Span = tuple[str, str]


class _Window(msgspec.Struct, gc=False):
    start: str
    end: str


class _Metadata(msgspec.Struct, gc=False):
    window: _Window | None = None


class _Event(msgspec.Struct, gc=False):
    metadata: _Metadata
    kind: str


_decode = msgspec.json.Decoder(_Event).decode


def overlaps(start: str, end: str, span: Span) -> bool:
    """Whether a window overlaps a span; all are in canonical spelling, which orders as it should without the `Z`."""
    return start[:-1] < span[1][:-1] and span[0][:-1] < end[:-1]


def of_sets(events: Iterable[bytes], span: Span) -> Iterator[bytes]:
    """Those of the events, stored texts, that name a window which overlaps the span."""
    return (event for event in events if _kind_in(event, span) is not None)


def not_listed(
    rows: Mapping[str, Mapping[str, Row]],
    logs: Mapping[str, Sequence[bytes]],
    span: Span,
    kinds: Kinds,
    asked: Set[str],
) -> list[str]:
    """A warning for each category of whose sets in the span more events are in `rows` of the ledger than in its list.

    `asked` are the names of the kinds that count.
    """
    found = []
    for category, prefix in kinds.categories.items():
        counted = 0
        for interval, row in rows.get(category, {}).items():
            start, _, end = interval.partition("/")
            if interval != NO_WINDOW and overlaps(start, end, span):
                counted += sum(cell.n for name, cell in row.items() if prefix + action_of(name) in asked)
        listed = len([event for event in logs.get(category, ()) if _kind_in(event, span) in asked]) if counted else 0
        if listed < counted:
            found.append(f"{category} still holds {listed} of the {counted} events of these sets")
    return found


def _kind_in(event: bytes, span: Span) -> str | None:
    """The kind of an event whose window overlaps the span; None for any other, and for what is not an event."""
    try:
        found = _decode(event)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return None
    window = found.metadata.window
    return found.kind if window is not None and overlaps(window.start, window.end, span) else None
