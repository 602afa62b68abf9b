"""Reading ahead: while a batch is applied, the entries of the next one are on their way."""

from collections.abc import Sequence

from etlog_events.scripts import Command

from etlog_consumer.batch import Entry

#: Entries in one read, and so in one batch; a limit of Lua's stack allows no more. The store does nothing else while it
#: applies one: some milliseconds.
MOST_ENTRIES = 4000

#: Bytes that one read should bring at most. That many events of the usual size take half of it.
BYTES = 2 * 1024 * 1024

#: Entries of the first read, before their size is known.
FIRST = 64


class ReadAhead:
    """Reads the stream `events`, and holds the entries that were read and not yet taken.

    - Every entry is read once, in stream order: a read begins behind the last entry of the one before.
    - At most one read is in hand. What is in hand is taken before the answer to the next read is put in its place.
    - Nothing is read while the stream is known to hold nothing behind what is in hand.
    - A read waits in the store for an entry only where the caller has nothing to do before it comes.
    - How many entries are asked for follows the bytes of those before: many small ones, few large ones. The store is
      asked for entries, not for bytes, so a run of large ones is noticed only when it has arrived. So the number drops
      at once, and at most doubles from a full read to the next.
    """

    def __init__(self, events: str) -> None:
        self.count = FIRST
        self._events = events
        self._last = b"0-0"
        self._entries: Sequence[Entry] = ()
        self._more = True  # whether entries wait behind those in hand, as far as is known

    @property
    def oldest(self) -> bytes | None:
        """Id of the oldest entry in hand."""
        return self._entries[0][0] if self._entries else None

    def start(self, cursor: bytes) -> None:
        """Read on behind `cursor`, with nothing in hand."""
        self._last = cursor
        self._entries, self._more = (), True

    def command(self, block_ms: int | None) -> Command | None:
        """The read to send now, if there is to be one. It waits up to `block_ms` milliseconds for an entry, None: not
        at all; nor does it with entries in hand."""
        if self._entries and not self._more:
            return None
        block = () if self._entries or block_ms is None else ("BLOCK", block_ms)
        return ("XREAD", "COUNT", self.count, *block, "STREAMS", self._events, self._last)

    def take(self) -> Sequence[Entry]:
        """The entries in hand, which are the caller's from now on."""
        entries, self._entries = self._entries, ()
        return entries

    def put(self, answer: Sequence[tuple[bytes, Sequence[Entry]]] | None) -> None:
        """Take in what the store answered to `command`: the stream with its entries, or None."""
        entries = answer[0][1] if answer else ()
        self._more = len(entries) >= self.count
        if entries:
            self._entries, self._last = entries, entries[-1][0]
            self._follow(sum(map(len, map(b"".join, [fields for _, fields in entries]))))

    def _follow(self, size: int) -> None:
        """Choose the next `count`, after a read that brought so many bytes."""
        if size > BYTES:
            self.count = max(1, min(self.count, len(self._entries) * BYTES // size))
        elif self._more:
            self.count = min(self.count * 2, MOST_ENTRIES)
