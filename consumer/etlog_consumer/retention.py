"""Which applied entries may leave the stream: all but the newest `retain`, and never one that is not applied."""

from collections import deque
from collections.abc import Sequence
from typing import Any

from etlog_events.scripts import Script

SCRIPT = Script.load("etlog_consumer:trim_points.lua")  # it only reads, and does not begin with the head

#: Every how many entries an id is remembered: as many as a node of the stream has, by the store's default.
STEP = 100

#: Entries that one call scans when the marks are set anew; a few milliseconds of the store's time.
SCAN = 2000


class Retention:
    """Marks along the applied entries. Only ids of applied entries are ever marked, so trimming to a mark cannot
    take one that is not applied."""

    def __init__(self, retain: int) -> None:
        self._retain = retain
        self._marks: deque[tuple[int, bytes]] = deque()  # (place, id); places count applied entries
        self._place = 0

    def start(self, client: Any, events: str, cursor: bytes) -> None:
        """Set the marks along the entries up to `cursor` that the stream holds, newest to oldest."""
        self._marks.clear()
        self._place = place = 0
        before = cursor
        while place > -self._retain:
            scanned, last, *ids = SCRIPT.run(client, [events], [before, SCAN, STEP])
            self._marks.extendleft((place - i * STEP, entry_id) for i, entry_id in enumerate(ids))
            if scanned < SCAN:
                return
            place -= scanned
            before = b"(" + last

    def applied(self, ids: Sequence[bytes]) -> None:
        """The entries `ids` were applied, in this order."""
        self._marks.extend((self._place + i + 1, ids[i]) for i in range(0, len(ids), STEP))
        self._place += len(ids)

    def trim(self) -> bytes | None:
        """The id before which entries may go, or None."""
        found = None
        while self._marks and self._marks[0][0] <= self._place - self._retain + 1:
            found = self._marks.popleft()[1]
        return found
