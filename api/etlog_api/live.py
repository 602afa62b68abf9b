"""The live log: one reader of the stream a process, and any number of clients that listen to it.

Only what is applied is shown, in stream order, once: entries up to the cursor, without dead letters and duplicates.
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator
from typing import Any

import redis
from etlog_events.errors import InvalidEvent, StoreError, StoreUnavailable
from etlog_events.keys import Keys
from etlog_events.kinds import Kinds
from etlog_events.store import BLOCK_MS
from etlog_events.validation import validator

from etlog_api.connections import QUESTION_TIMEOUT, Connections
from etlog_api.listener import Listener
from etlog_api.page import Page, Position, connected, id_of, position_of, resync

logger = logging.getLogger("etlog.api")

#: Entries read at a time.
PAGE_ENTRIES = 500

#: Bytes of one page, or one event: what a client that reads nothing makes us hold beyond its queue.
PAGE_BYTES = 64 * 1024

#: Clients for which the stream is read again at a time. All clients of a failed replica come to the others at once.
REPLAYS = 4

#: Seconds between looks at the cursor while entries wait to be applied: from the first to the last, doubled.
FIRST_LOOK, LAST_LOOK = 0.002, 0.05

#: Seconds between attempts while the store is away.
RETRY = 0.5

#: The largest sequence number; the consumer refuses a larger one.
MAX_SEQ = 2**53 - 1

Entry = tuple[bytes, dict[bytes, bytes]]


class Live:
    """Follows one log while there are clients."""

    def __init__(self, connections: Connections, keys: Keys, kinds: Kinds) -> None:
        self._connections = connections
        self._keys = keys
        self._validate = validator(kinds)
        self._listeners: set[Listener] = set()
        self._replays = asyncio.Semaphore(REPLAYS)
        self._at: Position = (0, 0)  # up to where listeners were served
        self._numbers: dict[bytes, int] = {}  # last applied number of each producer, there
        self._started = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def listen(self, after: Position | None, kinds: frozenset[str] | None) -> AsyncGenerator[bytes, None]:
        """Everything of `kinds` that is applied after the entry `after`, or from now on, as Server-Sent Events.

        Raises `StoreUnavailable` when there is nothing to begin from. Ends when the client must connect anew: it was
        cut off, or the store went away while the stream was read again for it.
        """
        listener = Listener()
        self._listeners.add(listener)
        try:
            joined = await self._join()
            yield connected(joined if after is None else None)
            try:
                if after is not None and after > joined:
                    if await self._is_known(after):  # from a replica that is ahead of this one
                        joined = after
                    else:
                        yield resync("the log stands before your last event; read it anew", joined)
                elif after is not None:
                    async for chunk in self._replay(after, joined, kinds):
                        yield chunk
            except StoreError as e:
                logger.warning("A client of the live log must come again: %s", e, extra={"action": "live_ended"})
                return
            while page := await listener.take():
                yield page.spell(kinds, joined)
            yield resync(listener.cut_off or "", self._at)
        finally:
            self._listeners.discard(listener)
            if not self._listeners:
                self._stop()

    async def close(self) -> None:
        """Stop following."""
        task = self._task
        self._stop()
        if task is not None:
            await asyncio.wait([task])

    def _stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _join(self) -> Position:
        if self._task is None:
            self._started.clear()
            self._task = asyncio.create_task(self._follow(), name="live log")
        try:
            async with asyncio.timeout(QUESTION_TIMEOUT):
                await self._started.wait()
        except TimeoutError as e:
            raise StoreUnavailable("the store cannot be reached, so the log cannot be followed") from e
        return self._at

    async def _is_known(self, position: Position) -> bool:
        """Whether the log is applied as far as `position`."""
        async with self._connections.question() as store:
            return position <= position_of(await store.get(self._keys.cursor))

    async def _replay(self, after: Position, until: Position, kinds: frozenset[str] | None) -> AsyncIterator[bytes]:
        """What came behind `after` up to `until`, as far as the stream still holds it."""
        numbers = await self._numbers_at(after)
        while after < until:
            async with self._replays, self._connections.question() as store:
                is_gone, entries = await self._read(store, after, until)
            if is_gone:
                yield resync("the stream no longer holds what came after your last event; read the log anew", until)
                return
            for page in self._pages(entries, numbers):
                yield page.spell(kinds, after)
            after = position_of(entries[-1][0]) if entries else until

    async def _numbers_at(self, until: Position) -> dict[bytes, int]:
        """The last applied number of each producer at `until`, none where the log has never seen a duplicate.

        Only the entries tell, so all up to there are read.
        """
        numbers: dict[bytes, int] = {}
        async with self._connections.question() as store:
            if not int(await store.hget(self._keys.stats, "duplicate") or 0):
                return numbers
        at: Position = (0, 0)
        while at < until:
            async with self._replays, self._connections.question() as store:
                _, entries = await self._read(store, at, until)
            for _ in _without_duplicates(entries, numbers):
                pass
            at = position_of(entries[-1][0]) if entries else until
        return numbers

    async def _follow(self) -> None:
        """Read on and on, and give every listener each page."""
        away_since: float | None = None
        while True:
            store = self._connections.open()
            try:
                if not self._started.is_set():
                    await self._begin(store)
                    self._started.set()
                while True:
                    await self._advance(store)
                    if away_since is not None:
                        seconds = time.monotonic() - away_since
                        logger.warning("The live log goes on after %.1f s", seconds, extra={"action": "live_goes_on"})
                        away_since = None
            except Exception as e:  # whatever it is, it must not leave the listeners without a reader
                expected = isinstance(e, redis.RedisError | OSError)
                if away_since is None or not expected:
                    logger.warning(
                        "The live log waits for the store: %s", e, extra={"action": "live_waits"}, exc_info=not expected
                    )
                away_since = away_since or time.monotonic()
                await asyncio.sleep(RETRY)
            finally:
                await store.aclose()

    async def _begin(self, store: Any) -> None:
        """Stand where the log does now."""
        async with store.pipeline(transaction=True) as pipe:
            pipe.get(self._keys.cursor)
            pipe.hgetall(self._keys.producers)
            cursor, producers = await pipe.execute()
        self._at = position_of(cursor)
        self._numbers = {
            name.removesuffix(b":applied"): int(number)
            for name, number in producers.items()
            if name.endswith(b":applied")
        }

    async def _advance(self, store: Any) -> None:
        """Wait for a while until something more is applied, and pass it on."""
        at = self._at
        cursor = await self._cursor_past(store, at)
        if cursor == at:
            return
        if cursor < at:
            await self._start_over(store, "the log began anew")
            return
        is_gone, entries = await self._read(store, at, cursor)
        if is_gone:
            await self._start_over(store, "events left the stream before they could be passed on; read the log anew")
            return
        for page in self._pages(entries, self._numbers):
            for listener in self._listeners:
                listener.give(page)
        self._at = position_of(entries[-1][0]) if len(entries) == PAGE_ENTRIES else cursor

    async def _cursor_past(self, store: Any, at: Position) -> Position:
        """The cursor, as soon as it is not `at` any more; `at` when nothing happens for a while."""
        cursor = position_of(await store.get(self._keys.cursor))
        if cursor != at:
            return cursor
        await store.xread({self._keys.events: id_of(at)}, count=1, block=BLOCK_MS)
        look = FIRST_LOOK
        while (cursor := position_of(await store.get(self._keys.cursor))) == at:
            if not await store.xrange(self._keys.events, min="(" + id_of(at), count=1):
                break
            await asyncio.sleep(look)
            look = min(look * 2, LAST_LOOK)
        return cursor

    async def _start_over(self, store: Any, reason: str) -> None:
        await self._begin(store)
        for listener in self._listeners:
            listener.cut(reason)

    async def _read(self, store: Any, after: Position, until: Position) -> tuple[bool, list[Entry]]:
        """Entries behind `after` up to `until`, the first of them; and whether others may have left the stream."""
        async with store.pipeline(transaction=True) as pipe:
            pipe.xrange(self._keys.events, min="(" + id_of(after), max=id_of(until), count=PAGE_ENTRIES)
            pipe.xinfo_stream(self._keys.events)
            try:
                entries, info = await pipe.execute()
            except redis.ResponseError as e:
                if "no such key" not in str(e):
                    raise
                return True, []
        return _is_gone(info, after), entries

    def _pages(self, entries: Iterable[Entry], numbers: dict[bytes, int]) -> Iterator[Page]:
        """The events of `entries` that the consumer applied, by its own rules."""
        page = Page()
        for entry_id, fields in _without_duplicates(entries, numbers):
            try:
                kind, text = self._validate(fields.get(b"event", b""))
            except InvalidEvent:
                continue
            if page.events and page.size + len(text) > PAGE_BYTES:
                yield page
                page = Page()
            page.add(position_of(entry_id), kind.name, text)
        if page.events:
            yield page


def _without_duplicates(entries: Iterable[Entry], numbers: dict[bytes, int]) -> Iterator[Entry]:
    """The entries whose number is new, or that have none; `numbers` is carried on."""
    for entry_id, fields in entries:
        producer, seq = fields.get(b"producer"), fields.get(b"seq")
        if producer and seq:
            number = int(seq) if seq.isdigit() and len(seq) < 17 else 0
            if not numbers.get(producer, 0) < number <= MAX_SEQ:
                continue
            numbers[producer] = number
        yield entry_id, fields


def _is_gone(info: dict[str, Any], after: Position) -> bool:
    """Whether entries behind `after` may have left the stream, by its `XINFO`."""
    if info["entries-added"] == info["length"]:
        return False
    first = info["first-entry"]
    return first is None or after < position_of(first[0])
