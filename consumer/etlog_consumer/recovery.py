"""What the active consumer does beside applying: it repairs what others broke, and closes the accounts of producers."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from etlog_events import scripts
from etlog_events.keys import GROUP, Keys
from etlog_events.scripts import Script
from etlog_events.sequence import REMEMBERED, RETIRE_AFTER, numbers_of

from etlog_consumer.batch import Gap, report_losses

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


@dataclass(slots=True)
class Progress:
    """How far a log is applied: where the next batch begins, and what it must follow on from.

    `cursor` is the id of the last applied entry; `entries_read` counts the stream's entries up to it, None where
    unknown; `numbers` holds the last sequence number of each producer, by what is applied or in hand.
    """

    cursor: bytes = START
    entries_read: int | None = None
    numbers: dict[bytes, int] = field(default_factory=dict)


class Recovery:
    """Looks after one log, every `EVERY` seconds."""

    def __init__(self, client: Any, keys: Keys, clock: Callable[[], float] = monotonic) -> None:
        self._client = client
        self._keys = keys
        self._clock = clock
        self._due = 0.0
        self._scan = b"0"  # how far the retired records are looked through
        self._repair = REPAIR.call((keys.contract, keys.events, keys.cursor), [GROUP])

    @property
    def is_due(self) -> bool:
        """Whether it is time for the next look."""
        return self._clock() >= self._due

    def load(self, progress: Progress) -> None:
        """Repair the log, and read into `progress` where it stands. The next look is due at once.

        This is not one transaction, because a full store refuses those: if a batch is applied between the two reads,
        the next one will be refused, and the consumer starts over.
        """
        repaired, producers = scripts.run(self._client, self._repair, ("HGETALL", self._keys.producers))
        self._repaired(progress, repaired)
        progress.entries_read = int(repaired[1]) if repaired[1] else None
        progress.numbers = numbers_of(dict(zip(producers[::2], producers[1::2], strict=True)))
        self._due = 0.0

    def look(self, progress: Progress, trim: bytes | None = None) -> Sequence[Gap]:
        """Look after the log, and note in `progress` what changed; entries before `trim` may go. Returns the losses.

        Where the cursor is another one afterwards, the log is not where the consumer left it.
        """
        keys = self._keys
        prune = PRUNE.call(
            (keys.contract, keys.events, keys.cursor, keys.producers, keys.stats, keys.retired),
            (progress.cursor, int(RETIRE_AFTER * 1000), int(REMEMBERED * 1000), trim or "", self._scan),
        )
        [repaired] = scripts.run(self._client, self._repair)
        [(lost, retired, self._scan)] = scripts.run(self._client, prune)  # not before: it trusts what was repaired
        gaps = []
        for producer, first, last in zip(lost[::3], lost[1::3], lost[2::3], strict=True):
            gaps.append(Gap(producer.decode(errors="backslashreplace"), int(first), int(last)))
            progress.numbers[producer] = int(last)
        for producer in retired:
            progress.numbers.pop(producer, None)
        report_losses(gaps)
        self._repaired(progress, repaired)
        self._due = self._clock() + EVERY
        return gaps

    def _repaired(self, progress: Progress, answer: Sequence[bytes]) -> None:
        """Take the cursor from what `repair.lua` answered, and report what was repaired."""
        cursor, _, *findings = answer
        repairs = [finding.decode() for finding in findings]
        if not repairs and cursor == START != progress.cursor:
            repairs = ["log-gone"]
        report_repairs(repairs, cursor)
        progress.cursor = cursor


def report_repairs(repairs: Sequence[str], cursor: bytes) -> None:
    """Log what was done to the keys of the log, and how the work goes on."""
    for repair in repairs:
        logger.warning(_REPAIRS[repair], cursor.decode(), extra={"action": repair.replace("-", "_")})
