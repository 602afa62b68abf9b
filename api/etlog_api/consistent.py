"""Reads of several keys of a log as they stood at one cursor."""

from collections.abc import Callable
from typing import Any

from etlog_events.keys import Keys

#: Reads that may find the cursor moved before a transaction makes sure. Commands that are sent together are mostly
#: answered together, so the first one does it. A store that is full refuses a transaction, even one that only reads.
ATTEMPTS = 4


async def read_consistently(client: Any, keys: Keys, ask: Callable[[Any], None]) -> tuple[bytes | None, list[Any]]:
    """The cursor, and the answers to the commands that `ask` gives a pipeline. Raises the driver's errors."""
    for attempt in range(ATTEMPTS + 1):
        async with client.pipeline(transaction=attempt == ATTEMPTS) as pipe:
            pipe.get(keys.cursor)
            ask(pipe)
            pipe.get(keys.cursor)
            cursor, *answers, cursor_after = await pipe.execute()
        if cursor == cursor_after:
            break
    return cursor, answers
