"""The hub of one log: its live events for any number of clients, each from where it wants to begin.

Only what is applied is shown, in the order of the stream, once: events up to the cursor, without dead letters and
duplicates.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator
from functools import partial

import anyio
from etlog_events.errors import StoreError, StoreUnavailable
from etlog_events.keys import Keys
from etlog_events.kinds import Kinds
from etlog_events.positions import START, Position
from etlog_ledger.reading.connection import QUESTION_TIMEOUT, StoreClients

from etlog_api.live.frames import connected, resync
from etlog_api.live.numbers import Numbers
from etlog_api.live.stream import Stream, carry, read_size
from etlog_api.live.subscriber import Subscriber
from etlog_api.live.tailer import Tailer

logger = logging.getLogger("etlog.api")

#: Clients for which the stream is read again at a time. All clients of a failed replica come to the others at once.
REPLAYS = 4


class Hub:
    """The live log of one log. Its stream is followed while there are clients."""

    def __init__(self, clients: StoreClients, keys: Keys, kinds: Kinds) -> None:
        self._clients = clients
        self._stream = Stream(keys, kinds)
        self._replays = asyncio.Semaphore(REPLAYS)
        self._tailer: Tailer | None = None
        self.leaving = anyio.Event()  # set when the service stops, while clients are still there

    async def subscribe(self, after: Position | None, kinds: frozenset[str] | None) -> AsyncGenerator[bytes, None]:
        """The events of `kinds` that are applied after the event `after`, or from now on, as Server-Sent Events.

        Raises `StoreUnavailable` or `OtherContract` when it cannot begin. Ends when the client must connect again: it
        was cut off, the store went away while the stream was read again for it, or the service stops.
        """
        tailer = self._tailer = self._tailer or Tailer(self._clients, self._stream, self.leaving)
        subscriber = Subscriber()
        tailer.subscribers.add(subscriber)
        try:
            joined = await _join(tailer)
            yield connected(joined if after is None else None)
            try:
                if after is not None and after > joined:
                    if await self._is_known(after):  # from a replica that is ahead of this one
                        joined = after
                    else:
                        yield resync("the log ends before your last event; read it again", joined)
                elif after is not None:
                    async for chunk in self._replay(after, joined, kinds):
                        yield chunk
            except StoreError as e:
                logger.warning(
                    "Disconnected a live client, which must reconnect: %s", e, extra={"action": "live_ended"}
                )
                return
            while frames := await subscriber.take():
                yield frames.spell(kinds, joined)
            if subscriber.cut_off is not None:
                yield resync(subscriber.cut_off, tailer.at)
        finally:
            tailer.subscribers.discard(subscriber)
            if not tailer.subscribers:
                tailer.stop()
                self._tailer = None

    async def close(self) -> None:
        """Stop following the stream."""
        if self._tailer is not None:
            self._tailer.stop()
            await asyncio.wait(self._tailer.tasks)

    async def _is_known(self, position: Position) -> bool:
        """Whether the log is applied as far as `position`."""
        applied, _ = await self._clients.ask(self._stream.now)
        return position <= applied

    async def _replay(self, after: Position, until: Position, kinds: frozenset[str] | None) -> AsyncIterator[bytes]:
        """What came after `after` up to `until`, as far as the stream still holds it."""
        repeats = await self._clients.ask(partial(self._stream.duplicates, until=until)) > 0
        numbers = await self._numbers_at(after) if repeats else None
        size = read_size()
        while after < until:
            async with self._replays:
                read = await self._clients.ask(
                    partial(self._stream.complete_entries, after=after, until=until, size=size)
                )
            if read is None:
                yield resync("the stream no longer holds what came after your last event; read the log again", until)
                return
            for frames in self._stream.frames(read.entries, numbers, repeats=repeats):
                yield frames.spell(kinds, after)
            after = read.reached

    async def _numbers_at(self, until: Position) -> Numbers:
        """The last number of each producer before the entry of `until`, or behind it where `until` is its end.

        Only the entries tell, so all up to there are read.
        """
        numbers, size, at = Numbers(), read_size(), START
        while at < until:
            async with self._replays:
                read = await self._clients.ask(partial(self._stream.entries, after=at, until=until, size=size))
            carry(read.entries, numbers)
            at = read.reached
        return numbers


async def _join(tailer: Tailer) -> Position:
    try:
        async with asyncio.timeout(QUESTION_TIMEOUT):
            await tailer.started.wait()
    except TimeoutError as e:
        if tailer.refused is not None:
            raise tailer.refused from e
        raise StoreUnavailable("the store cannot be reached, so the log cannot be followed") from e
    return tailer.at
