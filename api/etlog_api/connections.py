"""The ways to the store: connections that stay, and one of its own for each question that need not be quick."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import redis
from etlog_events import store

#: Seconds in which a question must be answered; every answer of ours is promised within 2.
QUESTION_TIMEOUT = 1.5


class Connections:
    """Connections to the store at `url`."""

    def __init__(self, url: str) -> None:
        self._url = url

    def open(self) -> Any:
        """A client that stays until its user closes it. Nothing is sent yet."""
        return store.connect_async(self._url, part="api", answer_timeout=QUESTION_TIMEOUT)

    @asynccontextmanager
    async def question(self) -> AsyncIterator[Any]:
        """A client for one question. A new one each time, so that none is half open or leads to a demoted store.

        Raises `StoreError` when the store cannot be reached, does not answer in time or refuses.
        """
        with store.translated(self._url):
            try:
                async with asyncio.timeout(QUESTION_TIMEOUT), self.open() as client:
                    yield client
            except TimeoutError as e:
                raise redis.TimeoutError(f"no answer within {QUESTION_TIMEOUT} s") from e
