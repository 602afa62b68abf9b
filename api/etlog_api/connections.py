"""The ways to the store: connections that stay, and one of its own for each question that need not be quick."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import redis
from etlog_events import store
from etlog_events.way import ReadFrom

#: Seconds that a request waits for the store; every answer of ours is promised within 2.
QUESTION_TIMEOUT = 1.5

T = TypeVar("T")


class Connections:
    """Connections to the store at `url`, or its replicas, for the log called `log`."""

    def __init__(self, url: str, log: str, read_from: ReadFrom) -> None:
        self._url = url
        self._log = log
        self._read_from = read_from

    def open(self, answer_timeout: float | None = QUESTION_TIMEOUT) -> Any:
        """A client that stays until its user closes it. Nothing is sent yet.

        One without `answer_timeout`, in seconds, must be asked under a timeout: it is told of an answer a third sooner.
        """
        return store.connect_async(
            self._url, part="api", log=self._log, read_from=self._read_from, answer_timeout=answer_timeout
        )

    async def ask(self, question: Callable[[Any], Awaitable[T]]) -> T:
        """What `question` finds out with a client: a new one, so that none is half open or leads to a demoted store.

        Raises `StoreError` when the store cannot be reached, does not answer in time or refuses.
        """

        async def asked() -> T:
            async with self.open() as client:
                return await question(client)

        task = asyncio.create_task(asked())
        task.add_done_callback(_look_at)
        try:
            await asyncio.wait({task}, timeout=QUESTION_TIMEOUT)
            with store.translated(self._url):
                if not task.done():
                    raise redis.TimeoutError(f"no answer within {QUESTION_TIMEOUT} s")
                return task.result()
        finally:
            task.cancel()  # and not waited for: before Python 3.12 the driver may swallow it


def _look_at(task: "asyncio.Task[Any]") -> None:
    """Keep asyncio from complaining that nobody looked at the error of a task that was given up."""
    if not task.cancelled():
        task.exception()
