"""How many entries to read at once: many small ones, few large ones."""

from collections.abc import Sequence

from etlog_consumer.batch import Entry

#: Entries in one batch; a limit of Lua's stack allows no more. The store does nothing else while it applies one: some
#: milliseconds. Of a batch that is longer than a list may be, only the newest travel back to the store.
MOST_ENTRIES = 4000

#: Bytes that a batch should hold at the most. So many events of the usual size take half of it.
BYTES = 2 * 1024 * 1024

#: Entries of the first read, before their size is known.
FIRST = 64


class Intake:
    """The number of entries to read next, by the bytes of those before.

    The store is asked for entries, not for bytes: a run of huge ones after small ones is noticed only when it has
    arrived. So the number drops at once, and grows no more than twofold a batch.
    """

    def __init__(self) -> None:
        self.count = FIRST

    def took(self, entries: Sequence[Entry]) -> None:
        """`entries` were read."""
        size = sum(map(len, map(b"".join, [fields for _, fields in entries])))
        if size > BYTES:
            self.count = max(1, min(self.count, len(entries) * BYTES // size))
        elif len(entries) >= self.count:
            self.count = min(self.count * 2, MOST_ENTRIES)
