"""What the active consumer does beside applying: it repairs what others broke, closes the accounts of producers, and
sees that the store has the function that publishes."""

import logging
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from itertools import islice
from time import monotonic
from typing import Any

from etlog_events import scripts
from etlog_events.entry import contents
from etlog_events.keys import GROUP, Keys
from etlog_events.publishing import FUNCTION
from etlog_events.scripts import Script
from etlog_events.sequence import REMEMBERED, Record
from redis.exceptions import ResponseError

from etlog_consumer.batch import Entry, Gap, report_losses

logger = logging.getLogger("etlog.consumer")

REPAIR = Script.load("etlog_consumer:head.lua", "etlog_events:contract.lua", "etlog_consumer:repair.lua")
PRUNE = Script.load("etlog_consumer:head.lua", "etlog_events:contract.lua", "etlog_consumer:prune_producers.lua")

#: Seconds between two looks at the log, the longest that a loss at the end of the stream stays unnoticed.
EVERY = 10.0

#: The cursor of a log to which nothing was applied yet.
START = b"0-0"

_REPAIRS = {
    "cursor-gone": "The cursor was gone; it is taken from the group that mirrors it, %s",
    "cursor-ahead": "The cursor was ahead of the stream, as after a restored backup; continuing from %s; "
    "numbered entries are recognized as duplicates",
    "stream-gone": "The stream was deleted; a new one goes on from %s",
    "group-gone": "The group that mirrors the cursor was destroyed; it is made again at %s",
    "log-gone": "The log was emptied, as by FLUSHALL; starting again from what is there, at %s",
}


#: Slices of the producers' records in one look, of some hundred records each: a millisecond of the store's time.
SLICES = 20

#: Producers whose last numbers are kept in memory: many times as many as one step has events.
MOST_NUMBERS = 100_000


@dataclass(slots=True)
class Progress:
    """How far a log is applied: where the next batch begins, and what it must follow on from.

    `cursor` is the id of the last applied entry; `entries_read` counts the stream's entries up to it, None where
    unknown. `numbers` holds the last sequence number of the producers seen last, by what is applied or in hand; that of
    another is 0, or the store says what it is when a batch is applied. `ahead` is where the stream ended when the
    cursor was set back, None where it was not: entries up to there may have been applied before.
    """

    cursor: bytes = START
    entries_read: int | None = None
    numbers: dict[bytes, int] = field(default_factory=dict)
    ahead: bytes | None = None

    def note(self, numbers: Mapping[bytes, int]) -> None:
        """These are the last numbers of some producers."""
        for producer, number in numbers.items():
            self.numbers.pop(producer, None)  # to the end: the first ones are forgotten first
            self.numbers[producer] = number
        if len(self.numbers) > MOST_NUMBERS:
            for producer in list(islice(self.numbers, MOST_NUMBERS // 2)):
                del self.numbers[producer]


class Recovery:
    """Looks after one log, every `EVERY` seconds; `retain` events stay in its stream."""

    def __init__(self, client: Any, keys: Keys, retain: int, clock: Callable[[], float] = monotonic) -> None:
        self._client = client
        self._keys = keys
        self._clock = clock
        self._due = 0.0
        self._place, self._scan = b"0", b"0"  # how far the records of producers are looked through
        self._repair = REPAIR.call((keys.contract, keys.events, keys.cursor, keys.stats, keys.trim), (GROUP, retain))
        self._cannot_load = False

    @property
    def is_due(self) -> bool:
        """Whether it is time for the next look."""
        return self._clock() >= self._due

    def load(self, progress: Progress) -> None:
        """Repair the log, and read into `progress` where it stands. The next look is due at once."""
        [repaired] = scripts.run(self._client, self._repair)
        progress.entries_read = None
        self._repaired(progress, repaired)
        progress.numbers.clear()
        self._due = 0.0

    def look(self, progress: Progress, *, idle: bool = True) -> Sequence[Gap]:
        """Look after the log, and note in `progress` what changed; `idle` says that the caller has no entries in hand.
        Returns the losses.

        Where the cursor is another one afterwards, the log is not where the consumer left it.
        """
        keys = self._keys
        prune_keys = (
            *(keys.contract, keys.events, keys.cursor),
            *(keys.producers, keys.producers_seen, keys.producers_ended, keys.stats),
        )
        self._keep_function()
        [repaired] = scripts.run(self._client, self._repair)
        gaps = []
        for _ in range(SLICES):  # not before the repair, which they trust
            place = self._place if idle else b""
            arguments = (progress.cursor, int(REMEMBERED * 1000), place, self._scan)
            self._place, self._scan, *lost = PRUNE.run(self._client, prune_keys, arguments)
            for producer, first, last in zip(lost[::3], lost[1::3], lost[2::3], strict=True):
                gaps.append(Gap(producer.decode(errors="backslashreplace"), int(first), int(last)))
                progress.note({producer: int(last)})
            if self._place == b"0" and self._scan == b"0":
                break
        report_losses(gaps)
        self._repaired(progress, repaired)
        self._due = self._clock() + (EVERY if self._place == b"0" else 0.0)  # a search for losses goes on at once
        return gaps

    def ended_among(self, progress: Progress, entries: Sequence[Entry]) -> Set[bytes]:
        """The producers of `entries` whose record is gone, if these were applied before the cursor was set back.

        Their events are duplicates, as every one of them was applied before the record went. The numbers of the others
        are noted in `progress`.
        """
        if progress.ahead is None:
            return frozenset()
        ahead = _order(progress.ahead)
        before = {contents(fields).producer for entry_id, fields in entries if _order(entry_id) <= ahead}
        unknown = list(before - progress.numbers.keys() - {b""})
        if not unknown:
            return frozenset()
        [texts] = scripts.run(self._client, ("HMGET", self._keys.producers, *unknown))
        records = {producer: Record.decode(text) for producer, text in zip(unknown, texts, strict=True)}
        progress.note({producer: record.applied for producer, record in records.items() if record})
        return {producer for producer, record in records.items() if record is None}

    def _keep_function(self) -> None:
        """Load the function that publishes where the store lacks it, or has another text of it."""
        try:
            [libraries] = scripts.run(self._client, ("FUNCTION", "LIST", "LIBRARYNAME", FUNCTION.library, "WITHCODE"))
            if not any(FUNCTION.text.encode() in library for library in libraries):
                scripts.run(self._client, ("FUNCTION", "LOAD", "REPLACE", FUNCTION.text))
                logger.info("Loaded the function %s", FUNCTION.name, extra={"action": "function_loaded"})
        except ResponseError as e:  # producers may load it themselves, or use the script
            if not self._cannot_load:
                logger.warning("Cannot load the function %s: %s", FUNCTION.name, e, extra={"action": "no_function"})
            self._cannot_load = True
        else:
            self._cannot_load = False

    def _repaired(self, progress: Progress, answer: Sequence[bytes]) -> None:
        """Take in what `repair.lua` answered, and report what was repaired."""
        cursor, entries_read, ahead, *findings = answer
        progress.ahead = ahead or None
        if entries_read:
            progress.entries_read = int(entries_read)
        repairs = [finding.decode() for finding in findings]
        if not repairs and cursor == START != progress.cursor:
            repairs = ["log-gone"]
        report_repairs(repairs, cursor)
        progress.cursor = cursor


def report_repairs(repairs: Sequence[str], cursor: bytes) -> None:
    """Log what was done to the keys of the log, and how the work goes on."""
    for repair in repairs:
        logger.warning(_REPAIRS[repair], cursor.decode(), extra={"action": repair.replace("-", "_")})


def _order(entry_id: bytes) -> tuple[int, int]:
    milliseconds, _, place = entry_id.partition(b"-")
    return int(milliseconds), int(place)
