"""Asking the store about one log: by a new client, or over one connection that stays."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import lru_cache
from typing import Any, TypeVar

import redis
from etlog_events import store
from etlog_events.keys import Keys
from etlog_events.store.discovery import ReadFrom

#: Seconds that a request waits for the store; every answer is promised within 2.
QUESTION_TIMEOUT = 1.5

#: Words of commands that are kept packed: those that are asked again and again have few.
MOST_WORDS = 200

T = TypeVar("T")


class StoreClients:
    """Clients of the store at `url`, or of its replicas, for the log called `log`; `part` is who asks."""

    def __init__(self, part: str, url: str, log: str, read_from: ReadFrom) -> None:
        self._part = part
        self._url = url
        self._log = log
        self._read_from = read_from

    def open(self, answer_timeout: float | None = QUESTION_TIMEOUT) -> Any:
        """A client that stays until its user closes it. Nothing is sent yet.

        One without `answer_timeout`, in seconds, must be asked under a timeout: its answers come a third sooner.
        """
        return store.connect_async(
            self._url, part=self._part, log=self._log, read_from=self._read_from, answer_timeout=answer_timeout
        )

    async def ask(self, question: Callable[[Any], Awaitable[T]]) -> T:
        """What `question` finds out with a client. It is a new one, so that it is neither half open nor leads to a
        demoted store.

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
            task.cancel()  # without waiting: before Python 3.12 the driver may swallow it


def _look_at(task: "asyncio.Task[Any]") -> None:
    """Keep asyncio from complaining that no one looked at the error of a task that was given up."""
    if not task.cancelled():
        task.exception()


Command = tuple[str | bytes | int, ...]


class Connection:
    """One connection of `client`, made when it is needed and kept.

    The way through the client itself, with its pool, takes twice as long as all the rest of a question. The caller
    bounds the time if the client does not.
    """

    def __init__(self, client: Any) -> None:
        #: How many times it was made. After another one, the answers may be those of another server.
        self.made = 0
        self._connection = client.connection_pool.make_connection()
        self._connection.register_connect_callback(self._note_made)
        self._understand = client.response_callbacks
        self._packed = lru_cache(maxsize=16)(self._pack)

    async def ask(self, *commands: Command, optional: tuple[Command, ...] = ()) -> list[Any]:
        """The answers to reading `commands`, and then to `optional` ones, sent together.

        Raises the driver's errors. An optional command that the store refuses, as for a key of another type, has the
        answer None.
        """
        kept = self._connection.is_connected
        await self._connection.connect()  # a kept one that has rested is asked whether it still leads to the store
        try:
            return await self._ask(commands, optional)
        except redis.ConnectionError:
            if not kept:
                raise
            return await self._ask(commands, optional)  # the store may have closed it since the last question

    async def _ask(self, needed: tuple[Command, ...], optional: tuple[Command, ...]) -> list[Any]:
        connection, commands = self._connection, needed + optional
        try:
            pack = self._packed if sum(map(len, commands)) <= MOST_WORDS else self._pack
            await connection.send_packed_command(pack(commands), check_health=False)
            answers = [await connection.read_response() for _ in needed]
            answers += [await self._answer_or_none() for _ in optional]
            connection.rest()
        except BaseException:
            await connection.disconnect(nowait=True)  # an answer that no one took may still come
            raise
        understand = self._understand
        return [
            understand[command[0]](answer) if command[0] in understand and answer is not None else answer
            for command, answer in zip(commands, answers, strict=True)
        ]

    async def _answer_or_none(self) -> Any:
        try:
            return await self._connection.read_response()
        except redis.ResponseError:
            return None

    def _pack(self, commands: tuple[Command, ...]) -> bytes:
        return b"".join(piece for command in commands for piece in self._connection.pack_command(*command))

    def _note_made(self, _: Any) -> None:
        self.made += 1

    async def close(self) -> None:
        """Close the connection. The next question makes another one."""
        await self._connection.disconnect()


#: Reads that may find that the cursor moved meanwhile. Commands that are sent together are answered together unless
#: they reach the store in pieces, so the first read is nearly always enough. A transaction would do it too, but a full
#: store refuses even one that only reads.
ATTEMPTS = 8


async def read_consistently(
    ask: Callable[..., Awaitable[list[Any]]], keys: Keys, *commands: Command
) -> tuple[bytes | None, list[Any]]:
    """The cursor, and the answers of `ask` to `commands` at that cursor.

    Raises the driver's errors, and one of them if the cursor moves during every read.
    """
    cursor_then: Command = ("GET", keys.cursor)
    for _ in range(ATTEMPTS):
        cursor, *answers, cursor_after = await ask(cursor_then, *commands, cursor_then)
        if cursor == cursor_after:
            return cursor, answers
    raise redis.ConnectionError("the log moves faster than it can be read")


async def pipelined(client: Any, *commands: Command) -> list[Any]:
    """The answers to `commands`, sent together over a client of the store."""
    async with client.pipeline(transaction=False) as pipe:
        for command in commands:
            pipe.execute_command(*command)
        answers: list[Any] = await pipe.execute()
    return answers
