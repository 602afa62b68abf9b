"""What the routes of one log work with, wired once a process."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, tzinfo
from functools import partial
from typing import Any

from etlog_events.settings import Settings

from etlog_api.cache import AnswerCache
from etlog_api.connections import Connections
from etlog_api.link import Link
from etlog_api.live import Live
from etlog_api.metrics import Metrics
from etlog_api.reader import Reader
from etlog_api.snapshot import read_counters, read_cursor, read_snapshot
from etlog_api.status import Readiness, Status, read_status


@dataclass(frozen=True, slots=True)
class Service:
    """The parts of the service, and the clock that decides what "today" is in a zone."""

    settings: Settings
    clock: Callable[[tzinfo], datetime]
    connections: Connections
    client: Any  # the reader's own, which asks one question at a time
    reader: Reader
    cache: AnswerCache
    live: Live
    readiness: Readiness
    metrics: Metrics

    @classmethod
    def of(cls, settings: Settings, clock: Callable[[tzinfo], datetime]) -> "Service":
        """The service for the log of `settings`. Nothing is sent to the store yet."""
        keys, kinds = settings.keys, settings.kinds
        connections = Connections(settings.redis_url, settings.name, settings.read_from)
        client = connections.open()
        link = Link() if settings.read_from == "replica" else None
        return cls(
            settings=settings,
            clock=clock,
            connections=connections,
            client=client,
            reader=Reader(
                partial(read_cursor, client, keys, link),
                partial(read_snapshot, client, keys, kinds, link),
                client.connection_pool.disconnect,
                link,
            ),
            cache=AnswerCache(kinds),
            live=Live(connections, keys, kinds),
            readiness=Readiness(),
            metrics=Metrics(),
        )

    async def close(self) -> None:
        """Leave the store."""
        await self.live.close()
        await self.client.aclose()

    async def status(self) -> Status:
        """The present status. Raises `StoreError` when the store does not give it in time."""
        return await self.connections.ask(partial(read_status, keys=self.settings.keys))

    async def counters(self) -> dict[str, int]:
        """The present counters. Raises `StoreError` when the store does not give them in time."""
        settings = self.settings
        return await self.connections.ask(partial(read_counters, keys=settings.keys, kinds=settings.kinds))
