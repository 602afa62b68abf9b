"""How far a log is applied, as the store tells it: where the next batch begins and what it must follow on from."""

from dataclasses import dataclass
from typing import Any

import redis
from etlog_events.keys import GROUP, Keys

#: The cursor of a log to which nothing was applied yet.
START = b"0-0"


@dataclass(slots=True)
class Progress:
    """`cursor` is the id of the last applied entry; `entries_read` counts the stream's entries up to it, None where
    unknown; `numbers` holds the last applied sequence number of each producer."""

    cursor: bytes
    entries_read: int | None
    numbers: dict[bytes, int]


def load(client: Any, keys: Keys) -> Progress:
    """The progress of the log in one consistent read. The stream and its group are made where they are missing."""
    try:
        client.execute_command("XGROUP", "CREATE", keys.events, GROUP, "0", "MKSTREAM")
    except redis.ResponseError as e:
        if not str(e).startswith("BUSYGROUP"):
            raise
    with client.pipeline(transaction=True) as pipe:
        pipe.get(keys.cursor)
        pipe.xinfo_groups(keys.events)
        pipe.hgetall(keys.producers)
        cursor, groups, producers = pipe.execute()
    group: dict[str, Any] = next((group for group in groups if group["name"] == GROUP.encode()), {})
    return Progress(
        cursor=cursor or START,
        entries_read=group.get("entries-read") if cursor else 0,
        numbers={
            name.removesuffix(b":applied"): int(number)
            for name, number in producers.items()
            if name.endswith(b":applied")
        },
    )
