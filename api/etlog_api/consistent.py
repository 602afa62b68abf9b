"""Reads of several keys of a log as they stood at one cursor."""

from collections.abc import Awaitable, Callable
from typing import Any

import redis
from etlog_events.keys import Keys

from etlog_api.line import Command

#: Reads that may find that the cursor moved meanwhile. Commands that are sent together are answered together, unless
#: the store is given them in pieces, so the first one does it. A transaction would do it too, but a store that is full
#: refuses it, even one that only reads.
ATTEMPTS = 8


async def read_consistently(
    ask: Callable[..., Awaitable[list[Any]]], keys: Keys, *commands: Command
) -> tuple[bytes | None, list[Any]]:
    """The cursor, and what `ask` is answered to `commands`. Raises the driver's errors, one of them if it never is one
    cursor."""
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
