"""The tailer: the one reader of a log's stream in this process. It passes on what is applied."""

import asyncio
import logging
from typing import Any

import anyio
from etlog_events.backoff import Backoff
from etlog_events.errors import OtherContract
from etlog_events.store import BLOCK_MS

from etlog_api.live.frames import Position, id_of, position_of
from etlog_api.live.stream import ENTRIES, Stream
from etlog_api.live.subscriber import Subscriber
from etlog_api.log.connection import StoreClients

logger = logging.getLogger("etlog.api")

#: Seconds between looks at the cursor while entries wait to be applied: doubled from the first to the last.
FIRST_LOOK, LAST_LOOK = 0.002, 0.05

#: Seconds per subscriber for which the next frames are gathered: with five hundred subscribers that is 40 ms, and half
#: a core; with a few, no one notices.
GATHER_SECONDS = 0.00008

#: Seconds between attempts while the store is away, at most: someone is watching.
LONGEST_PAUSE = 0.5


class Tailer:
    """Gives frames to all of `subscribers`, from where the log stands when it starts, until it is stopped.

    `at` is how far they were served. It counts once `started` is set, which takes an answer of the store.
    """

    def __init__(self, clients: StoreClients, stream: Stream, leaving: anyio.Event) -> None:
        self._clients = clients
        self._stream = stream
        self._numbers: dict[bytes, int] = {}  # last applied number of each producer, at `at`
        self._stopped = False
        self._backoff = Backoff(
            logger,
            failing="The live log waits for the store",
            recovered="The live log continues",
            longest=LONGEST_PAUSE,
        )
        self.at: Position = (0, 0)
        self.started = asyncio.Event()
        self.subscribers: set[Subscriber] = set()
        self.tasks = [asyncio.create_task(self._follow()), asyncio.create_task(self._end(leaving))]

    @property
    def refused(self) -> OtherContract | None:
        """Why the log cannot be followed although the store answers."""
        error = self._backoff.error
        return error if isinstance(error, OtherContract) else None

    def stop(self) -> None:
        """End soon. A cancellation alone may be swallowed by the driver."""
        self._stopped = True
        for task in self.tasks:
            task.cancel()

    async def _end(self, leaving: anyio.Event) -> None:
        """End the subscribers when the service stops."""
        await leaving.wait()
        for subscriber in self.subscribers:
            subscriber.end()

    async def _follow(self) -> None:
        while not self._stopped:
            store = self._clients.open()
            try:
                if not self.started.is_set():
                    self.at, self._numbers = await self._stream.now(store)
                    self.started.set()
                while not self._stopped:
                    await self._advance(store)
                    self._backoff.succeeded()
            except Exception as e:  # any error: the subscribers must not be left without a reader
                await asyncio.sleep(self._backoff.failed(e))
            finally:
                await store.aclose()

    async def _advance(self, store: Any) -> None:
        """Wait a while until more is applied, and pass it on."""
        at = self.at
        cursor = await self._cursor_past(store, at)
        if cursor == at:
            return
        if cursor < at:
            await self._start_over(store, "the log was reset or restored to an earlier state")
            return
        entries = await self._stream.complete_entries(store, at, cursor)
        if entries is None:
            await self._start_over(store, "events left the stream before they could be passed on; read the log again")
            return
        for frames in self._stream.frames(entries, self._numbers):
            for subscriber in self.subscribers:
                subscriber.give(frames)
        self.at = position_of(entries[-1][0]) if len(entries) == ENTRIES else cursor
        await asyncio.sleep(len(self.subscribers) * GATHER_SECONDS)

    async def _cursor_past(self, store: Any, at: Position) -> Position:
        """The cursor as soon as it has left `at`; `at` when nothing happens for a while."""
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
