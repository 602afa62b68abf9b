"""The tailer: the one reader of the stream in a process, which passes on what is applied."""

import asyncio
import logging
import time
from typing import Any

import anyio
import redis
from etlog_events.errors import NewerContract
from etlog_events.store import BLOCK_MS

from etlog_api.live.frames import Position, id_of, position_of
from etlog_api.live.stream import ENTRIES, Stream
from etlog_api.live.subscriber import Subscriber
from etlog_api.log.connection import StoreClients

logger = logging.getLogger("etlog.api")

#: Seconds between looks at the cursor while entries wait to be applied: from the first to the last, doubled.
FIRST_LOOK, LAST_LOOK = 0.002, 0.05

#: Seconds that the next frames are gathered for each subscriber: with five hundred of them that is 40 ms, and half a
#: core; with a few of them nobody sees it.
GATHER_SECONDS = 0.00008

#: Seconds between attempts while the store is away.
RETRY = 0.5


class Tailer:
    """Gives each page to all of `subscribers`, from where the log stands when it starts, until it is stopped.

    `at` is up to where they were served. It counts once `started` is set, which takes the store to answer.
    """

    def __init__(self, connections: StoreClients, stream: Stream, leaving: anyio.Event) -> None:
        self._connections = connections
        self._stream = stream
        self._numbers: dict[bytes, int] = {}  # last applied number of each producer, at `at`
        self._stopped = False
        self.refused: NewerContract | None = None  # why the log cannot be followed, whatever the store answers
        self.at: Position = (0, 0)
        self.started = asyncio.Event()
        self.subscribers: set[Subscriber] = set()
        self.tasks = [asyncio.create_task(self._follow()), asyncio.create_task(self._end(leaving))]

    def stop(self) -> None:
        """End soon. A cancellation alone may be swallowed by the driver."""
        self._stopped = True
        for task in self.tasks:
            task.cancel()

    async def _end(self, leaving: anyio.Event) -> None:
        """Let the subscribers go when the service stops."""
        await leaving.wait()
        for subscriber in self.subscribers:
            subscriber.end()

    async def _follow(self) -> None:
        away_since: float | None = None
        while not self._stopped:
            store = self._connections.open()
            try:
                if not self.started.is_set():
                    self.at, self._numbers = await self._stream.now(store)
                    self.started.set()
                while not self._stopped:
                    await self._advance(store)
                    if away_since is not None:
                        seconds = time.monotonic() - away_since
                        logger.warning("The live log goes on after %.1f s", seconds, extra={"action": "live_goes_on"})
                        away_since = None
            except Exception as e:  # whatever it is, it must not leave the subscribers without a reader
                expected = isinstance(e, redis.RedisError | OSError | NewerContract)
                self.refused = e if isinstance(e, NewerContract) else None
                if away_since is None or not expected:
                    logger.warning(
                        "The live log waits for the store: %s", e, extra={"action": "live_waits"}, exc_info=not expected
                    )
                away_since = away_since or time.monotonic()
                await asyncio.sleep(RETRY)
            finally:
                await store.aclose()

    async def _advance(self, store: Any) -> None:
        """Wait for a while until something more is applied, and pass it on."""
        at = self.at
        cursor = await self._cursor_past(store, at)
        if cursor == at:
            return
        if cursor < at:
            await self._start_over(store, "the log went back, or began anew")
            return
        entries = await self._stream.complete_entries(store, at, cursor)
        if entries is None:
            await self._start_over(store, "events left the stream before they could be passed on; read the log anew")
            return
        for page in self._stream.frames(entries, self._numbers):
            for subscriber in self.subscribers:
                subscriber.give(page)
        self.at = position_of(entries[-1][0]) if len(entries) == ENTRIES else cursor
        await asyncio.sleep(len(self.subscribers) * GATHER_SECONDS)

    async def _cursor_past(self, store: Any, at: Position) -> Position:
        """The cursor, as soon as it is not `at` any more; `at` when nothing happens for a while."""
        cursor = await self._stream.cursor(store)
        if cursor != at:
            return cursor
        events, after = self._stream.keys.events, id_of(at)
        await store.xread({events: after}, count=1, block=BLOCK_MS)
        look = FIRST_LOOK
        while (cursor := await self._stream.cursor(store)) == at and await store.xrange(events, f"({after}", count=1):
            await asyncio.sleep(look)
            look = min(look * 2, LAST_LOOK)
        return cursor

    async def _start_over(self, store: Any, reason: str) -> None:
        self.at, self._numbers = await self._stream.now(store)
        for subscriber in self.subscribers:
            subscriber.cut(reason)
