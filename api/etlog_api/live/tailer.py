"""The tailer: the one reader of a log's stream in this process. It passes on what is applied."""

import asyncio
import logging
from typing import Any

import anyio
from etlog_events.backoff import Backoff
from etlog_events.errors import OtherContract
from etlog_events.positions import START, Position, entry_of
from etlog_events.store import BLOCK_MS
from etlog_ledger.reading.connection import StoreClients

from etlog_api.live.numbers import Numbers
from etlog_api.live.stream import Stream, carry, read_size
from etlog_api.live.subscriber import Subscriber

logger = logging.getLogger("etlog.api")

#: Seconds between looks at the cursor while entries wait to be applied: doubled from the first to the last.
FIRST_LOOK, LAST_LOOK = 0.002, 0.05

#: Seconds per subscriber for which the next frames are gathered: with five hundred subscribers that is 40 ms, and half
#: a core; with a few, no one notices.
GATHER_SECONDS = 0.00008

#: Producers whose last number is remembered, to know duplicates by: some megabytes, while a log may have a million.
PRODUCERS = 10_000

#: Seconds between attempts while the store is away, at most: someone is watching.
LONGEST_PAUSE = 0.5


class Tailer:
    """Gives frames to all of `subscribers`, from where the log stands when it starts, until it is stopped.

    `at` is how far they were served. It counts once `started` is set, which takes an answer of the store.

    Which events are duplicates only the last numbers of their producers tell. Those that it has seen since it started
    are remembered, and the stats say how many duplicates there were: none, and nothing is left out; as many as by what
    is remembered, and those are left out. Otherwise one came from a producer that is not known here, and the
    subscribers must read the log again.
    """

    def __init__(self, clients: StoreClients, stream: Stream, leaving: anyio.Event) -> None:
        self._clients = clients
        self._stream = stream
        self._numbers = Numbers()  # at `at`
        self._size = read_size()
        self._stopped = False
        self._backoff = Backoff(
            logger,
            failing="The live log waits for the store",
            recovered="The live log continues",
            longest=LONGEST_PAUSE,
        )
        self.at: Position = START
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
                    await self._begin(store)
                    self.started.set()
                while not self._stopped:
                    await self._advance(store)
                    self._backoff.succeeded()
            except Exception as e:  # any error: the subscribers must not be left without a reader
                await asyncio.sleep(self._backoff.failed(e))
            finally:
                await store.aclose()

    async def _begin(self, store: Any) -> None:
        """Go on from where the log stands."""
        self.at, duplicates = await self._stream.now(store)
        self._numbers = Numbers(duplicates, PRODUCERS)

    async def _advance(self, store: Any) -> None:
        """Wait a while until more is applied, and pass it on."""
        cursor, duplicates = await self._past(store)
        if cursor == self.at:
            return
        if cursor < self.at:
            await self._start_over(store, "the log was reset or restored to an earlier state")
            return
        repeats = duplicates != self._numbers.duplicates
        if repeats and duplicates != await self._duplicates_at(store, cursor):
            await self._start_over(store, "some events came a second time, it is not certain which; read the log again")
            return
        while self.at < cursor and not self._stopped:
            read = await self._stream.complete_entries(store, self.at, cursor, self._size)
            if read is None:
                await self._start_over(
                    store, "events left the stream before they could be passed on; read the log again"
                )
                return
            for frames in list(self._stream.frames(read.entries, self._numbers, repeats=repeats)):
                for subscriber in self.subscribers:
                    subscriber.give(frames)
            self.at = read.reached
            await asyncio.sleep(len(self.subscribers) * GATHER_SECONDS)

    async def _past(self, store: Any) -> tuple[Position, int]:
        """The cursor as soon as it has left `at`, or `at` when nothing happens for a while; and how many duplicates
        the log has seen up to there."""
        at = self.at
        cursor, duplicates = await self._stream.now(store)
        if cursor != at:
            return cursor, duplicates
        events, after = self._stream.keys.events, entry_of(at)
        await store.xread({events: after}, count=1, block=BLOCK_MS)
        look = FIRST_LOOK
        while (found := await self._stream.now(store))[0] == at and await store.xrange(events, b"(" + after, count=1):
            await asyncio.sleep(look)
            look = min(look * 2, LAST_LOOK)
        return found

    async def _duplicates_at(self, store: Any, cursor: Position) -> int:
        """How many duplicates the log has seen up to `cursor`, as far as it is known here."""
        at, numbers, size = self.at, self._numbers.copy(), read_size()
        while at < cursor:
            read = await self._stream.entries(store, at, cursor, size)
            carry(read.entries, numbers)
            at = read.reached
        return numbers.duplicates

    async def _start_over(self, store: Any, reason: str) -> None:
        await self._begin(store)
        for subscriber in self.subscribers:
            subscriber.cut(reason)
