"""One log as a replica serves it: its connection, reader, cache and live hub."""

from collections.abc import Awaitable
from functools import partial
from typing import Any, TypeVar

from etlog_events.errors import StoreError
from etlog_events.keys import Keys
from etlog_events.settings import Settings

from etlog_api.bugreport import Evidence, read_evidence
from etlog_api.live.hub import Hub
from etlog_api.log.cache import AnswerCache
from etlog_api.log.connection import Connection, StoreClients
from etlog_api.log.reader import Reader
from etlog_api.log.replication_link import ReplicationLink
from etlog_api.log.snapshot import read_counters, read_cursor, read_snapshot
from etlog_api.metrics import Figures
from etlog_api.query import Query
from etlog_api.status import Readiness, Status, read_status

T = TypeVar("T")


class Log:
    """The log `name` of `settings`. Nothing is sent to the store before the first question."""

    def __init__(self, settings: Settings, name: str) -> None:
        self.name = name
        self._keys, self._kinds = Keys(name), settings.kinds
        link = ReplicationLink() if settings.read_from == "replica" else None
        self._clients = StoreClients(settings.redis_url, name, settings.read_from)
        # For the reader alone: it asks one question at a time, each under a timeout.
        self._connection = Connection(self._clients.open(answer_timeout=None))
        self.reader = Reader(
            partial(read_cursor, self._connection, self._keys, link),
            partial(read_snapshot, self._connection, self._keys, self._kinds, link),
            self._connection.close,
            link,
        )
        self.cache = AnswerCache(self._kinds, len(settings.logs))
        self.live = Hub(self._clients, self._keys, self._kinds)
        self._readiness = Readiness()

    async def close(self) -> None:
        """Leave the store."""
        await self.live.close()
        await self._connection.close()

    async def status(self) -> Status:
        """The current status. Raises `StoreError` when the store does not give it in time."""
        return await self._clients.ask(partial(read_status, keys=self._keys, kinds=self._kinds))

    async def problem(self) -> str | None:
        """What keeps this replica from being ready for the log, or None."""
        try:
            return self._readiness.problem(await self.status())
        except StoreError as e:
            return str(e)

    async def status_or_none(self) -> Status | None:
        """The present status, or None while the store is away."""
        return await _or_none(self.status())

    async def figures_or_none(self) -> Figures | None:
        """Status and counters, or None while the store is away."""

        async def read(client: Any) -> Figures:
            status = await read_status(client, self._keys, self._kinds)
            return Figures(status, await read_counters(client, self._keys, self._kinds))

        return await _or_none(self._clients.ask(read))

    async def text_or_none(self) -> bytes | None:
        """The answer to a query for everything, or None without one."""
        view = await _or_none(self.reader.view())
        return self.cache.body(view, Query()).text if view else None

    async def evidence_or_none(self) -> Evidence | None:
        """What else a bug report shows, or None while the store is away."""
        return await _or_none(
            self._clients.ask(partial(read_evidence, keys=self._keys, categories=self._kinds.categories))
        )


async def _or_none(answer: Awaitable[T]) -> T | None:
    try:
        return await answer
    except StoreError:
        return None
