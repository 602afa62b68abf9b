"""One log as a replica serves it: its connections, readers, caches and live hub."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, tzinfo
from functools import partial
from typing import Any, TypeVar

from etlog_events.config import Config
from etlog_events.errors import StoreError
from etlog_events.keys import Keys
from etlog_events.positions import end_of
from etlog_events.settings import Settings
from etlog_events.windows import spell_timezone
from etlog_ledger.expectations import digest, of_log
from etlog_ledger.judge import Judge
from etlog_ledger.reading.connection import Connection, StoreClients
from etlog_ledger.reading.coverage import ANSWER_TIMEOUT, Coverage
from etlog_ledger.reading.replication_link import ReplicationLink

from etlog_api.bugreport import Evidence, read_evidence
from etlog_api.coverage_query import CoverageQuery
from etlog_api.live.hub import Hub
from etlog_api.log.cache import AnswerCache
from etlog_api.log.coverage_answer import CoverageCache, Pipeline
from etlog_api.log.dead_letters import read_dead_letters, told
from etlog_api.log.reader import Reader
from etlog_api.log.snapshot import read_counters, read_cursor, read_snapshot
from etlog_api.log.story import not_listed
from etlog_api.metrics import Figures
from etlog_api.negotiation import Body
from etlog_api.query import Query
from etlog_api.status import Readiness, Status, read_status

T = TypeVar("T")


class Log:
    """The log `name` of `settings`, judged by what `config` says of it, and by the `clock`. Nothing is sent before the
    first question."""

    def __init__(self, settings: Settings, config: Config, name: str, clock: Callable[[tzinfo], datetime]) -> None:
        self.name = name
        self._keys, self._kinds = Keys(name), settings.kinds
        link = ReplicationLink() if settings.read_from == "replica" else None
        self._clients = StoreClients("api", settings.redis_url, name, settings.read_from)
        # For the reader alone: it asks one question at a time, each under a timeout.
        self._connection = Connection(self._clients.open(answer_timeout=None))
        self.reader = Reader(
            partial(read_cursor, self._connection, self._keys, link),
            partial(read_snapshot, self._connection, self._keys, self._kinds, link),
            self._connection.close,
            link,
        )
        self.cache = AnswerCache(self._kinds, len(settings.logs))
        zone, expectations = of_log(config, name, settings.timezone)
        self.zone = zone
        judge = Judge(self._kinds, zone, expectations, settings.keep_sets)
        connection = Connection(self._clients.open(ANSWER_TIMEOUT))
        self.coverage = Coverage(connection, self._keys, self._kinds, judge, clock, link, shows_told=True)
        pipeline = Pipeline(name, spell_timezone(zone), digest(zone, expectations))
        self.coverage_cache = CoverageCache(pipeline, len(settings.logs))
        self.live = Hub(self._clients, self._keys, self._kinds)
        self._readiness = Readiness()

    async def close(self) -> None:
        """Leave the store."""
        await self.live.close()
        await self.coverage.close()
        await self._connection.close()

    async def body(self, query: Query) -> Body:
        """The answer to a query. Raises `StoreError`."""
        if query.sets is None:
            return self.cache.body(await self.reader.view(), query)
        return await self._story(query)

    async def _story(self, query: Query) -> Body:
        """The answer to a query for some sets, which also tells what of them is not in the lists.

        All that it rests on is asked for at the same time, because each question may take as long as an answer may.
        """
        assert query.sets is not None
        letters = self._clients.ask(partial(read_dead_letters, keys=self._keys, span=query.sets))
        view, found, coverage = await asyncio.gather(
            self.reader.view(), _or_none(letters), _or_none(self.coverage.view())
        )
        ledger = coverage.judged.ledger if coverage is not None else None
        if ledger is not None and view.away_since is None and end_of(ledger.cursor) > end_of(view.snapshot.cursor):
            view = await self.reader.view()  # or events would seem to be missing that came in between
        warnings = []
        if ledger is None:
            warnings.append("the ledger cannot be read at present: it may know of more events of these sets")
        elif view.away_since is None:
            names = query.kinds if query.kinds is not None else self._kinds.by_name.keys()
            warnings += not_listed(ledger.rows, view.snapshot.logs, query.sets, self._kinds, names)
        if found is None:
            warnings.append("the dead letters cannot be read at present: some may belong to these sets")
        elif found:
            warnings.append(told(found))
        return self.cache.body(view, query, tuple(warnings))

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

        figures = await _or_none(self._clients.ask(read))
        if figures is None:
            return None
        view = await _or_none(self.coverage.view())
        return figures if view is None else figures._replace(verdict=view.judged.verdict)

    async def text_or_none(self) -> bytes | None:
        """The answer to a query for everything, or None without one."""
        view = await _or_none(self.reader.view())
        return self.cache.body(view, Query()).text if view else None

    async def coverage_or_none(self) -> bytes | None:
        """The verdict, as it is answered to a query for everything, or None without one."""
        view = await _or_none(self.coverage.view())
        return (await self.coverage_cache.body(view, CoverageQuery())).text if view else None

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
