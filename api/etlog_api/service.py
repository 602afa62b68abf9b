"""What the routes of one log work with, wired once a process."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, tzinfo
from functools import partial
from typing import Any

import redis
from etlog_events import store
from etlog_events.errors import StoreUnavailable
from etlog_events.settings import Settings

from etlog_api.cache import AnswerCache
from etlog_api.live import Live
from etlog_api.metrics import Metrics
from etlog_api.reader import QUESTION_TIMEOUT, Reader
from etlog_api.snapshot import read_cursor, read_snapshot
from etlog_api.status import Readiness, Status, read_status


@dataclass(frozen=True, slots=True)
class Service:
    """The parts of the service, and the clock that decides what "today" is in a zone."""

    settings: Settings
    clock: Callable[[tzinfo], datetime]
    client: Any
    reader: Reader
    cache: AnswerCache
    live: Live
    readiness: Readiness
    metrics: Metrics

    @classmethod
    def of(cls, settings: Settings, clock: Callable[[tzinfo], datetime]) -> "Service":
        """The service for the log of `settings`. Nothing is sent to the store yet."""
        keys, kinds = settings.keys, settings.kinds
        connect = partial(store.connect_async, settings.redis_url, part="api", answer_timeout=QUESTION_TIMEOUT)
        client = connect()
        reader = Reader(
            partial(read_cursor, client, keys),
            partial(read_snapshot, client, keys, kinds),
            client.connection_pool.disconnect,
        )
        return cls(
            settings, clock, client, reader, AnswerCache(kinds), Live(connect, keys, kinds), Readiness(), Metrics()
        )

    async def status(self) -> Status:
        """The present status. Raises `StoreUnavailable` when the store does not give it in time."""
        try:
            async with asyncio.timeout(QUESTION_TIMEOUT):
                return await read_status(self.client, self.settings.keys)
        except (redis.RedisError, OSError) as e:
            raise StoreUnavailable(f"the store cannot be reached: {e or 'no answer in time'}") from e
