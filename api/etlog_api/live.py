"""The live log: one reader of the stream a process, and any number of clients that listen to it.

Only what is applied is shown, in stream order, once: entries up to the cursor, without dead letters and duplicates.
"""

import asyncio
import logging
import re
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import redis
from etlog_events.errors import InvalidEvent, StoreUnavailable
from etlog_events.keys import Keys
from etlog_events.kinds import Kinds
from etlog_events.store import BLOCK_MS
from etlog_events.validation import validator

logger = logging.getLogger("etlog.api")

#: Entries read at a time.
PAGE = 500

#: Seconds between looks at the cursor while entries wait to be applied: from the first to the last, doubled.
FIRST_LOOK, LAST_LOOK = 0.002, 0.05

#: Seconds between attempts while the store is away.
RETRY = 0.5

#: Events and bytes that wait for one client at the most. A client so far behind is cut off and told to start over.
MAX_EVENTS, MAX_BYTES = 20_000, 8 * 1024 * 1024

#: What `Last-Event-ID` may hold: the id of an entry.
ENTRY_ID = re.compile(r"[0-9]{1,19}-[0-9]{1,19}")

Position = tuple[int, int]


@dataclass(slots=True)
class Page:
    """Events that follow on from one another, and their spelling for clients, made once for all with one filter."""

    events: list[tuple[Position, str, bytes]]  # id of the entry, kind, canonical text
    _spelled: dict[frozenset[str] | None, bytes] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Bytes."""
        return sum(len(text) for _, _, text in self.events)

    def spell(self, kinds: frozenset[str] | None, after: Position) -> bytes:
        """The events of `kinds` behind `after` as Server-Sent Events."""
        if self.events and self.events[0][0] <= after:
            return Page([event for event in self.events if event[0] > after]).spell(kinds, (0, 0))
        if kinds not in self._spelled:
            self._spelled[kinds] = b"".join(
                b"id: %d-%d\ndata: %b\n\n" % (*position, text)
                for position, kind, text in self.events
                if kinds is None or kind in kinds
            )
        return self._spelled[kinds]


def resync(reason: str, at: Position) -> bytes:
    """The event that tells a client to read the log anew, for some events will not reach it here."""
    return b"event: resync\nid: %d-%d\ndata: %b\n\n" % (*at, reason.encode())


class Client:
    """One listener and what waits for it."""

    def __init__(self) -> None:
        self._pages: deque[Page] = deque()
        self._events = self._bytes = 0
        self._filled = asyncio.Event()
        self.cut_off: str | None = None

    def give(self, page: Page) -> None:
        """Let a page wait for the client, or cut it off when too much does."""
        self._pages.append(page)
        self._events += len(page.events)
        self._bytes += page.size
        if self._events > MAX_EVENTS or self._bytes > MAX_BYTES:
            self.cut("this client reads too slowly; events were left out")
        self._filled.set()

    def cut(self, reason: str) -> None:
        """End the client; what waited is let go."""
        self.cut_off = reason
        self._pages.clear()
        self._filled.set()

    async def take(self) -> Page | None:
        """The next page, or None when the client was cut off."""
        while not self._pages and self.cut_off is None:
            self._filled.clear()
            await self._filled.wait()
        if self.cut_off is not None:
            return None
        page = self._pages.popleft()
        self._events -= len(page.events)
        self._bytes -= page.size
        return page


class Live:
    """Follows one log while there are clients."""

    def __init__(self, connect: Callable[[], Any], keys: Keys, kinds: Kinds) -> None:
        self._connect = connect
        self._keys = keys
        self._validate = validator(kinds)
        self._clients: set[Client] = set()
        self._at: Position | None = None  # up to where clients were served
        self._numbers: dict[bytes, int] = {}
        self._started = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def listen(self, after: Position | None, kinds: frozenset[str] | None) -> AsyncIterator[bytes]:
        """Everything of `kinds` that is applied after the entry `after`, or from now on, as Server-Sent Events.

        Raises `StoreUnavailable` when there is nothing to begin from.
        """
        client = Client()
        self._clients.add(client)
        try:
            joined = await self._join()
            yield b": connected\n\n"
            if after is None:
                after = joined
            elif after < joined:
                async for chunk in self._replay(after, joined, kinds):
                    yield chunk
                after = joined
            while page := await client.take():
                if chunk := page.spell(kinds, after):
                    yield chunk
            yield resync(client.cut_off or "", self._at or joined)
        finally:
            self._clients.discard(client)
            if not self._clients and self._task is not None:
                self._task.cancel()
                self._task = None

    async def _join(self) -> Position:
        if self._task is None:
            self._at = None
            self._started.clear()
            self._task = asyncio.create_task(self._follow())
        try:
            async with asyncio.timeout(1.5):
                await self._started.wait()
        except TimeoutError as e:
            raise StoreUnavailable("the store cannot be reached, so the log cannot be followed") from e
        if self._at is None:
            raise StoreUnavailable("the store cannot be reached, so the log cannot be followed")
        return self._at

    async def _replay(self, after: Position, until: Position, kinds: frozenset[str] | None) -> AsyncIterator[bytes]:
        """What the stream still holds of the events behind `after`."""
        store = self._connect()
        try:
            if _is_gone(await store.xinfo_stream(self._keys.events), after):
                yield resync("the stream no longer holds what came after your last event; read the log anew", until)
                return
            numbers: dict[bytes, int] = {}
            while after < until:
                entries = await store.xrange(self._keys.events, min="(" + _id(after), max=_id(until), count=PAGE)
                if not entries:
                    return
                page = self._page(entries, numbers)
                if chunk := page.spell(kinds, after):
                    yield chunk
                after = _position(entries[-1][0])
        finally:
            await store.aclose()

    async def _follow(self) -> None:
        """Read on and on, and give every client each page."""
        while True:
            store = self._connect()
            try:
                await self._begin(store)
                while True:
                    await self._advance(store)
            except (redis.RedisError, OSError) as e:
                logger.warning("The live log waits for the store: %s", e, extra={"action": "live_waits"})
                await asyncio.sleep(RETRY)
            finally:
                await store.aclose()

    async def _begin(self, store: Any) -> None:
        async with store.pipeline(transaction=True) as pipe:
            pipe.get(self._keys.cursor)
            pipe.hgetall(self._keys.producers)
            cursor, producers = await pipe.execute()
        if self._at is None:
            self._at = _position(cursor)
            self._numbers = {
                name.removesuffix(b":applied"): int(number)
                for name, number in producers.items()
                if name.endswith(b":applied")
            }
        self._started.set()

    async def _advance(self, store: Any) -> None:
        """Wait until something more is applied, and pass it on."""
        at = self._at or (0, 0)
        cursor = _position(await store.get(self._keys.cursor))
        if cursor == at:
            await store.xread({self._keys.events: _id(at)}, count=1, block=BLOCK_MS)
            look = FIRST_LOOK
            while (cursor := _position(await store.get(self._keys.cursor))) == at:
                if not await store.xrange(self._keys.events, min="(" + _id(at), count=1):
                    return
                await asyncio.sleep(look)
                look = min(look * 2, LAST_LOOK)
        if cursor < at:
            self._at, self._numbers = cursor, {}
            for client in self._clients:
                client.cut("the log began anew")
            return
        async with store.pipeline(transaction=True) as pipe:
            pipe.xinfo_stream(self._keys.events)
            pipe.xrange(self._keys.events, min="(" + _id(at), max=_id(cursor), count=PAGE)
            info, entries = await pipe.execute()
        if _is_gone(info, at):
            self._at = cursor
            for client in self._clients:
                client.cut("events left the stream before they could be passed on; read the log anew")
            return
        page = self._page(entries, self._numbers)
        self._at = _position(entries[-1][0]) if len(entries) == PAGE else cursor
        if page.events:
            for client in self._clients:
                client.give(page)

    def _page(self, entries: Sequence[tuple[bytes, dict[bytes, bytes]]], numbers: dict[bytes, int]) -> Page:
        """The events of `entries` that the consumer applied, by its own rules."""
        events = []
        for entry_id, fields in entries:
            producer, seq = fields.get(b"producer", b""), fields.get(b"seq", b"")
            if producer and seq:
                if not seq.isdigit() or int(seq) <= numbers.get(producer, 0):
                    continue
                numbers[producer] = int(seq)
            try:
                kind, text = self._validate(fields.get(b"event", b""))
            except InvalidEvent:
                continue
            events.append((_position(entry_id), kind.name, text))
        return Page(events)


def _is_gone(info: dict[str, Any], after: Position) -> bool:
    """Whether entries behind `after` may have left the stream, by its `XINFO`."""
    if info["entries-added"] == info["length"]:
        return False
    first = info["first-entry"]
    return first is None or after < _position(first[0])


def _position(entry_id: bytes | None) -> Position:
    if not entry_id:
        return (0, 0)
    milliseconds, _, sequence = entry_id.partition(b"-")
    return int(milliseconds), int(sequence)


def _id(position: Position) -> str:
    return f"{position[0]}-{position[1]}"


def parse_position(text: str) -> Position:
    """The position that a `Last-Event-ID` names. Raises `ValueError`."""
    if not ENTRY_ID.fullmatch(text):
        raise ValueError(f"Last-Event-ID must be the id of an entry such as 1654276074092-0, not {text[:60]!r}")
    return _position(text.encode())
