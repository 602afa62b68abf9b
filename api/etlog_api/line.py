"""A line to the store: one connection, for one who asks one question after the other."""

from functools import lru_cache
from typing import Any

import redis

Command = tuple[str | int, ...]


class Line:
    """Asks over one connection of `client`, made when it is needed.

    The way through the client itself, with its pool, takes two times as long as all the rest of a question. Whoever
    asks bounds the time, if the client does not.
    """

    def __init__(self, client: Any) -> None:
        self._connection = client.connection_pool.make_connection()
        self._understand = client.response_callbacks
        self._packed = lru_cache(maxsize=16)(self._pack)

    async def ask(self, *commands: Command) -> list[Any]:
        """The answers to reading `commands`, sent together. Raises the driver's errors."""
        kept = self._connection.is_connected
        try:
            return await self._ask(commands)
        except redis.ConnectionError:
            if not kept:
                raise
            return await self._ask(commands)  # the store may have closed it since the last question

    async def _ask(self, commands: tuple[Command, ...]) -> list[Any]:
        connection = self._connection
        try:
            await connection.send_packed_command(self._packed(commands), check_health=False)
            answers = [await connection.read_response() for _ in commands]
        except BaseException:
            await connection.disconnect(nowait=True)  # an answer that nobody took may still come
            raise
        understand = self._understand
        return [
            understand[command[0]](answer) if command[0] in understand else answer
            for command, answer in zip(commands, answers, strict=True)
        ]

    def _pack(self, commands: tuple[Command, ...]) -> bytes:
        return b"".join(piece for command in commands for piece in self._connection.pack_command(*command))

    async def close(self) -> None:
        """Close the connection; the next question makes another one."""
        await self._connection.disconnect()
