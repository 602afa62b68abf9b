"""A subscriber: one client of the live log, and what waits for it."""

import asyncio
from collections import deque

from etlog_api.live.frames import Frames

#: Events and bytes that may wait for one subscriber. One that is further behind is cut off and told to start over.
MAX_EVENTS, MAX_BYTES = 20_000, 8 * 1024 * 1024


class Subscriber:
    """Takes frames at its own pace, until too many wait. `cut_off` is the reason why it was cut off."""

    def __init__(self) -> None:
        self._waiting: deque[Frames] = deque()
        self._events = self._bytes = 0
        self._filled = asyncio.Event()
        self._ended = False
        self.cut_off: str | None = None

    def give(self, frames: Frames) -> None:
        """Let `frames` wait for the subscriber, or cut it off when too much waits."""
        if self._ended:
            return
        self._waiting.append(frames)
        self._events += len(frames.events)
        self._bytes += frames.size
        if self._events > MAX_EVENTS or self._bytes > MAX_BYTES:
            self.cut("this client reads too slowly; events were left out")
        self._filled.set()

    def cut(self, reason: str) -> None:
        """End the subscriber for a reason that it must know. The first one stands."""
        self.cut_off = self.cut_off or reason
        self.end()

    def end(self) -> None:
        """End the subscriber, and drop what waits."""
        self._ended = True
        self._waiting.clear()
        self._filled.set()

    async def take(self) -> Frames | None:
        """The next frames, or None when the subscriber has ended."""
        while not self._waiting and not self._ended:
            self._filled.clear()
            await self._filled.wait()
        if self._ended:
            return None
        frames = self._waiting.popleft()
        self._events -= len(frames.events)
        self._bytes -= frames.size
        return frames
