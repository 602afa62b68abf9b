"""The stream of one log, as the live log reads it: what was applied, in frames, without dead letters and duplicates."""

import logging
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import redis
from etlog_events import contract
from etlog_events.errors import InvalidEvent
from etlog_events.keys import Keys
from etlog_events.kinds import Kinds
from etlog_events.sequence import MAX_PRODUCER_BYTES, number_of, numbers_of
from etlog_events.validation import validator

from etlog_api.live.frames import Frames, Position, id_of, position_of
from etlog_api.log.connection import pipelined, read_consistently

logger = logging.getLogger("etlog.api")

#: Entries read at a time.
ENTRIES = 500

#: Bytes of events in one `Frames`, unless one event is longer: what a client that reads nothing keeps in memory beside
#: what waits for it.
FRAMES_BYTES = 64 * 1024

Entry = tuple[bytes, dict[bytes, bytes]]


class Stream:
    """The stream of the log with these keys.

    What asks a client of the store raises the driver's errors, and `OtherContract` where it checks the contract.
    """

    def __init__(self, keys: Keys, kinds: Kinds) -> None:
        self.keys = keys
        self._validate = validator(kinds)
        self._failed = False  # on an entry, by a bug in etlog

    async def cursor(self, store: Any) -> Position:
        """Up to where the log is applied."""
        return position_of(await store.get(self.keys.cursor))

    async def now(self, store: Any) -> tuple[Position, dict[bytes, int]]:
        """The cursor, and there the last applied number of each producer."""
        cursor, (version, producers) = await read_consistently(
            partial(pipelined, store), self.keys, ("GET", self.keys.contract), ("HGETALL", self.keys.producers)
        )
        contract.check(version, self.keys.name, "etlog-api")
        return position_of(cursor), numbers_of(producers)

    async def duplicates(self, store: Any) -> int:
        """How many duplicates the log has seen since it began."""
        return number_of(await store.hget(self.keys.stats, "duplicate") or b"")

    async def entries(self, store: Any, after: Position, until: Position) -> list[Entry]:
        """The first entries after `after` up to `until` that the stream holds."""
        found: list[Entry] = await store.xrange(self.keys.events, *_span(after, until), count=ENTRIES)
        return found

    async def complete_entries(self, store: Any, after: Position, until: Position) -> list[Entry] | None:
        """The same, or None when some that were there may have left the stream.

        Raises `redis.ConnectionError` when the store has not come as far as `until`: another replica than before, or
        one that was promoted without the last entries.
        """
        async with store.pipeline(transaction=False) as pipe:  # what leaves the stream in between, the last one tells
            pipe.get(self.keys.contract)
            pipe.xrange(self.keys.events, *_span(after, until), count=ENTRIES)
            pipe.xinfo_stream(self.keys.events)
            try:
                version, entries, info = await pipe.execute()
            except redis.ResponseError as e:
                if "no such key" in str(e):
                    return None
                raise
        contract.check(version, self.keys.name, "etlog-api")
        if position_of(info["last-generated-id"]) < until:
            raise redis.ConnectionError("this replica of the store is behind another one")
        return None if _has_lost(info, after) else entries

    def frames(self, entries: Iterable[Entry], numbers: dict[bytes, int]) -> Iterator[Frames]:
        """The events of `entries` that the consumer applied, by its rules; `numbers` is carried on."""
        frames = Frames()
        for entry_id, fields in without_duplicates(entries, numbers):
            try:
                kind, text = self._validate(fields.get(b"event", b""))
            except InvalidEvent:
                continue
            except Exception:  # a bug in etlog, for which the consumer dead-letters the entry
                if not self._failed:
                    self._failed = True
                    logger.exception(
                        "The live log leaves out entry %s, and any other that it fails on; see the dead letters",
                        entry_id.decode(),
                        extra={"action": "live_entry_failed"},
                    )
                continue
            if frames.events and frames.size + len(text) > FRAMES_BYTES:
                yield frames
                frames = Frames()
            frames.add(position_of(entry_id), kind.name, text)
        if frames.events:
            yield frames


def without_duplicates(entries: Iterable[Entry], numbers: dict[bytes, int]) -> Iterator[Entry]:
    """The entries whose number is new for its producer, or that have no number; `numbers` is carried on."""
    for entry_id, fields in entries:
        producer, seq = fields.get(b"producer"), fields.get(b"seq")
        if producer and seq:
            number = number_of(seq)
            if number <= numbers.get(producer, 0) or len(producer) > MAX_PRODUCER_BYTES:
                continue
            numbers[producer] = number
        yield entry_id, fields


def _span(after: Position, until: Position) -> tuple[str, str]:
    return f"({id_of(after)}", id_of(until)


def _has_lost(info: dict[str, Any], after: Position) -> bool:
    """Whether entries after `after` may have left the stream, by its `XINFO`."""
    if info["entries-added"] == info["length"]:
        return False
    first = info["first-entry"]
    return first is None or after < position_of(first[0])
