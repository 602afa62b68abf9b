"""The stream of one log, as the live log reads it: what was applied, in frames, without dead letters and duplicates."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import redis
from etlog_events import contract, scripts
from etlog_events.entry import contents, first_number
from etlog_events.errors import InvalidEvent
from etlog_events.keys import Keys
from etlog_events.kinds import Kinds
from etlog_events.positions import Position, end_of, entry_of, id_of, is_end
from etlog_events.read_size import ReadSize, measured
from etlog_events.sequence import number_of
from etlog_events.validation import validator
from etlog_ledger.reading.connection import pipelined, read_consistently

from etlog_api.live.frames import Frames
from etlog_api.live.numbers import Numbers

logger = logging.getLogger("etlog.api")

#: Entries of one read at most, and of the first one.
MOST_ENTRIES, FIRST_ENTRIES = 256, 32

#: Bytes that one read should bring at most. Entries have 64 KiB of events, so the first one brings no more.
READ_BYTES = 2 * 1024 * 1024

#: Bytes of events in one `Frames`, unless one event is longer: what a client that reads nothing keeps in memory beside
#: what waits for it.
FRAMES_BYTES = 64 * 1024

#: An entry as the store gives it: id, then field, value, field, value …
Entry = tuple[bytes, Sequence[bytes]]


def read_size() -> ReadSize:
    """How many entries one who reads the stream asks for. Events are passed on in `Frames`, which are bounded, so a
    read may bring any number of them."""
    return ReadSize(FIRST_ENTRIES, entries=MOST_ENTRIES, size=READ_BYTES)


class Read(NamedTuple):
    """Entries that were read, and the position up to which there are no others."""

    entries: Sequence[Entry]
    reached: Position


class Stream:
    """The stream of the log with these keys.

    What asks a client of the store raises the driver's errors, and `OtherContract` where it checks the contract.
    """

    def __init__(self, keys: Keys, kinds: Kinds) -> None:
        self.keys = keys
        self._validate = validator(kinds)
        self._failed = False  # on an event, by a bug in etlog

    async def now(self, store: Any) -> tuple[Position, int]:
        """Up to where the log is applied, and how many duplicates it has seen up to there."""
        cursor, (version, duplicates) = await read_consistently(
            partial(pipelined, store),
            self.keys,
            ("GET", self.keys.contract),
            ("HGET", self.keys.stats, "duplicate"),
        )
        contract.check(version, self.keys.name, "etlog-api")
        return end_of(cursor), number_of(duplicates or b"")

    async def duplicates(self, store: Any, until: Position) -> int:
        """How many duplicates the log has seen since it began, up to `until` at least.

        Raises `redis.ConnectionError` when the store has not come as far as `until`.
        """
        applied, duplicates = await self.now(store)
        if applied < until:
            raise _behind()
        return duplicates

    async def entries(self, store: Any, after: Position, until: Position, size: ReadSize) -> Read:
        """The first entries with events after `after` that the stream holds. Where `until` is in the middle of one, it
        is left out."""
        [entries] = await scripts.run_async(store, self._range(after, until, size))
        return _read(entries, until, size)

    async def complete_entries(self, store: Any, after: Position, until: Position, size: ReadSize) -> Read | None:
        """The same, or None when some that were there may have left the stream.

        Raises `redis.ConnectionError` when the store has not come as far as `until`: another replica than before, or
        one that was promoted without the last entries.
        """
        try:
            version, entries, answer = await scripts.run_async(
                store,
                ("GET", self.keys.contract),
                self._range(after, until, size),  # what leaves the stream in between, the last one tells
                ("XINFO", "STREAM", self.keys.events),
            )
        except redis.ResponseError as e:
            if "no such key" in str(e):
                return None
            raise
        contract.check(version, self.keys.name, "etlog-api")
        info = dict(zip(answer[::2], answer[1::2], strict=True))
        if end_of(info[b"last-generated-id"]) < until:
            raise _behind()
        return None if _has_lost(info, after) else _read(entries, until, size)

    def frames(self, entries: Iterable[Entry], numbers: Numbers | None, *, repeats: bool) -> Iterator[Frames]:
        """The events of `entries` that the consumer applied, by its rules. `repeats` says whether there are duplicates
        among them, which `numbers` tells. It is carried on; without any there are none."""
        frames = Frames()
        for entry_id, fields in entries:
            held = contents(fields)
            first = first_number(held)
            if first is None:
                continue
            skipped = numbers.carry(held, first, repeats=repeats) if first and numbers is not None else 0
            milliseconds, number, _ = end_of(entry_id)
            for place, raw in enumerate(held.events[skipped:], skipped):
                position = (milliseconds, number, place)
                try:
                    kind, text = self._validate(raw)
                except InvalidEvent:
                    continue
                except Exception:  # a bug in etlog, for which the consumer dead-letters the event
                    self._report_bug(position)
                    continue
                if frames.events and frames.size + len(text) > FRAMES_BYTES:
                    yield frames
                    frames = Frames()
                frames.add(position, kind.name, text)
        if frames.events:
            yield frames

    def _range(self, after: Position, until: Position, size: ReadSize) -> scripts.Command:
        first = (b"(" if is_end(after) else b"") + entry_of(after)
        last = (b"" if is_end(until) else b"(") + entry_of(until)
        return ("XRANGE", self.keys.events, first, last, "COUNT", size.count)

    def _report_bug(self, position: Position) -> None:
        if not self._failed:
            self._failed = True
            logger.exception(
                "The live log leaves out event %s, and any other that it fails on; see the dead letters",
                id_of(position).decode(),
                extra={"action": "live_event_failed"},
            )


def carry(entries: Iterable[Entry], numbers: Numbers) -> None:
    """Carry `numbers` on past `entries`, among which there may be duplicates."""
    for _, fields in entries:
        held = contents(fields)
        if first := first_number(held):
            numbers.carry(held, first, repeats=True)


def _behind() -> redis.ConnectionError:
    return redis.ConnectionError("this replica of the store is behind another one")


def _read(entries: Sequence[Entry], until: Position, size: ReadSize) -> Read:
    reached = end_of(entries[-1][0]) if len(entries) >= size.count else until
    size.follow(*measured(entries))
    return Read(entries, reached)


def _has_lost(info: dict[bytes, Any], after: Position) -> bool:
    """Whether events after `after` may have left the stream, by its `XINFO`."""
    if info[b"entries-added"] == info[b"length"]:
        return False
    first = info[b"first-entry"]
    return first is None or after[:2] < end_of(first[0])[:2]
