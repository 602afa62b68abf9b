"""How many entries to ask the store for in one read of the stream."""

from collections.abc import Sequence

from etlog_events.entry import MOST_BYTES

#: Entries of one read while entries hold several events: the next ones may hold 64 KiB each.
MOST_BATCHES = 256

#: Bytes that an entry of the script for publishing takes at most, with names and numbers.
USUAL_BYTES = MOST_BYTES + 16 * 1024


class ReadSize:
    """How many entries are to be asked for: `count`, which is `first` before anything is known of them.

    A read should bring at most so many `entries`, `events` and bytes (`size`); without `events` these are not limited.
    The store is asked for entries, not for bytes or events, so `count` follows what the last read brought: many small
    entries, few large ones. A run of large ones is noticed only when it has arrived, so `count` falls at once, and at
    most doubles from a full read to the next. After an entry that is larger than etlog itself makes them, it is one.
    """

    def __init__(self, first: int, *, entries: int, size: int, events: int | None = None) -> None:
        self._entries = entries
        self._size = size
        self._events = events
        self.count = min(first, entries)

    def follow(self, events: Sequence[int], sizes: Sequence[int]) -> None:
        """Choose the next `count`, after a read that brought entries of so many events and bytes, see `measured`."""
        found, held = len(sizes), sum(events)
        if not found:
            return
        most = 1 if max(sizes) > USUAL_BYTES else min(self._entries, MOST_BATCHES) if held > found else self._entries
        fits = min(most, found * self._size // max(1, sum(sizes)))
        if self._events is not None:
            fits = min(fits, found * self._events // max(1, held))
        fits = max(1, fits)
        if fits < self.count:
            self.count = fits
        elif found >= self.count:
            self.count = min(self.count * 2, fits)


def measured(entries: Sequence[tuple[bytes, Sequence[bytes]]]) -> tuple[list[int], list[int]]:
    """Of each entry: how many events it holds at most, those included that will become dead letters; and its bytes."""
    return [_most_events(fields) for _, fields in entries], [len(b"".join(fields)) for _, fields in entries]


def _most_events(fields: Sequence[bytes]) -> int:
    if fields[:3:2] == [b"producer", b"seq"]:
        return len(fields) // 2 - 2 or 1
    return sum(name.startswith(b"event") for name in fields[::2]) or 1
