"""The records of a log's producers, taken in one by one: their sums, and those that are worth a look."""

import re
from heapq import heappush, heapreplace
from typing import TypeAlias

from etlog_events.sequence import Record

#: What records are summed up by; `applied` is the last number accounted for.
SUMS = ("published", "applied", "dead", "lost")

#: Records with events in flight that are kept; a log with more has a lag that cannot be counted.
MOST_OPEN = 100_000

#: A record with nothing to tell, as nearly all are. It is recognized at a third of what decoding it costs.
_QUIET = re.compile(rb"published=(\d+) applied=\1 dead=0 lost=0 seen=(\d+) token=\S*(?: closed)?")

#: When a producer was seen, its name and its record as it is spelled.
_Seen: TypeAlias = tuple[int, bytes, bytes]


class Records:
    """What is kept of all records: `sums`; `waiting`, the events published and not accounted for; in `open` the records
    of producers that have some; of the others the `most` seen last, with dead or lost events and without.

    `broken` names the first `most` fields that hold no record, `broken_total` counts them, `total` all fields, and
    `notable_total` the producers that are open, or have dead or lost events.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self.sums = dict.fromkeys(SUMS, 0)
        self.waiting = 0
        self.total = self.notable_total = self.broken_total = 0
        self.open: dict[bytes, Record] = {}
        self.are_all_open_kept = True
        self.broken: list[bytes] = []
        self._notable: list[_Seen] = []
        self._others: list[_Seen] = []

    def add(self, fields: dict[bytes, bytes]) -> None:
        """Take in some fields of the hash, each producer and its record."""
        published = 0
        for producer, text in fields.items():
            if found := _QUIET.fullmatch(text):
                number, seen = found.groups()
                published += int(number)
                self._keep(self._others, (int(seen), producer, text))
            else:
                self._add_notable(producer, text)
        self.sums["published"] += published
        self.sums["applied"] += published
        self.total += len(fields)

    def find(self, producer: bytes, record: Record) -> None:
        """This producer, which is among the others, has events in flight, too."""
        self.notable_total += not (record.dead or record.lost)
        self._open(producer, record)

    def replace(self, producer: bytes, record: Record | None) -> None:
        """The record of an open producer was read again; None: it is gone, because all of it was applied."""
        before = self.open[producer]
        after = record or before._replace(applied=before.published)
        for name in SUMS:
            self.sums[name] += getattr(after, name) - getattr(before, name)
        self.waiting += max(0, after.published - after.applied) - max(0, before.published - before.applied)
        self.open[producer] = after

    def not_open(self) -> dict[bytes, Record]:
        """The records of those that are kept and not open: with dead or lost events, then without; seen last first."""
        kept = [*sorted(self._notable, reverse=True), *sorted(self._others, reverse=True)]
        found = {producer: Record.decode(text) for _, producer, text in kept if producer not in self.open}
        return {producer: record for producer, record in found.items() if record}

    def _add_notable(self, producer: bytes, text: bytes) -> None:
        record = Record.decode(text)
        if record is None:
            self.broken_total += 1
            self.broken += [producer][: self._most - len(self.broken)]
            return
        self.notable_total += 1
        for name in SUMS:
            self.sums[name] += getattr(record, name)
        if record.published != record.applied:
            self._open(producer, record)
        else:
            self._keep(self._notable, (record.seen, producer, text))

    def _open(self, producer: bytes, record: Record) -> None:
        self.waiting += max(0, record.published - record.applied)
        if len(self.open) < MOST_OPEN:
            self.open[producer] = record
        else:
            self.are_all_open_kept = False

    def _keep(self, heap: list[_Seen], row: _Seen) -> None:
        if len(heap) < self._most:
            heappush(heap, row)
        elif row > heap[0]:
            heapreplace(heap, row)
