"""When each category last heard of a set, from the newest events of its list."""

from collections.abc import Iterable
from typing import Any

import orjson
from etlog_events import timestamps
from etlog_events.keys import Keys
from etlog_events.kinds import Kinds
from redis.exceptions import ResponseError

#: Events at the end of each list that are looked at. Events of several producers come a little out of order, and an
#: error may name no set; where all of these are such errors, the whole list is looked at.
NEWEST = 100


async def last_heard(client: Any, keys: Keys, kinds: Kinds) -> dict[str, str | None]:
    """When the latest event of a set happened, by category; None where no event in the list names a set.

    Raises the driver's errors, but for those of a key that is no list.
    """
    heard: dict[str, str | None] = {}
    async with client.pipeline(transaction=False) as pipe:
        for key in keys.logs(kinds.categories):
            pipe.lrange(key, -NEWEST, -1)
        newest = await pipe.execute(raise_on_error=False)
    for category, events in zip(kinds.categories, newest, strict=True):
        if isinstance(events, ResponseError):
            heard[category] = None
            continue
        if isinstance(events, Exception):
            raise events
        heard[category] = latest(events)
        if heard[category] is None and len(events) == NEWEST:
            heard[category] = latest(await client.lrange(keys.log(category), 0, -1))
    return heard


def latest(events: Iterable[bytes]) -> str | None:
    """The latest time of these events that name a set."""
    times = filter(None, map(_time_of_set, events))
    return max(times, key=lambda time: time.removesuffix("Z"), default=None)


def _time_of_set(text: bytes) -> str | None:
    """When an event happened; None if it names no set, or is not an event: anyone may write to the list."""
    try:
        event = orjson.loads(text)
        return timestamps.canonical(event["time"]) if event["metadata"].get("window") else None
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
