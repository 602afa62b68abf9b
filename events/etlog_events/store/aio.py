"""Clients of the store for asyncio, and the connections that look for their node whenever they are made."""

from typing import Any

import redis
import redis.asyncio
from redis.asyncio.connection import Connection, ConnectionPool, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoPermissionError

from etlog_events.store.discovery import ELSEWHERE, Discovery, ReadFrom, elsewhere
from etlog_events.store.driver import ANSWER_TIMEOUT, client_options, explained
from etlog_events.store.node import Node
from etlog_events.store.url import is_multi_node


def connect_async(
    url: str,
    *,
    part: str,
    log: str | None = None,
    read_from: ReadFrom = "primary",
    answer_timeout: float | None = ANSWER_TIMEOUT,
    **options: Any,
) -> "redis.asyncio.Redis":
    """`connect` for asyncio. Without `answer_timeout`, the caller bounds each question."""
    options = client_options(part, answer_timeout, Retry(NoBackoff(), 0)) | options
    with explained(url):
        if is_multi_node(url):
            client = redis.asyncio.Redis.from_pool(_pool(Discovery.of(url, log, read_from), options))
        else:
            client = redis.asyncio.Redis.from_url(url, **options)
        client.connection_pool.make_connection()  # type: ignore[no-untyped-call]
    return client


class DiscoveredConnection(Connection):
    """`sync.DiscoveredConnection` for asyncio; the caller bounds the time of the whole."""

    def __init__(self, *, discovery: Discovery, **options: Any) -> None:
        super().__init__(**options)
        self._discovery = discovery
        self._seed: Node | None = None

    async def _connect(self) -> None:
        self._seed, nodes = await _find(self._discovery)
        error: OSError | None = None
        for host, port in nodes:
            self.host, self.port = host, port
            try:
                await super()._connect()  # type: ignore[no-untyped-call]
            except OSError as e:  # a timeout is one
                error = e
            else:
                return
        assert error is not None
        raise error

    async def on_connect_check_health(self, check_health: bool = True) -> None:
        """Greet the node."""
        await super().on_connect_check_health(check_health)
        greeting = self._discovery.topology.greeting(of_replica=self._discovery.of_replica)
        if greeting is None:
            return
        await self.send_command(*greeting, check_health=False)
        try:
            self._discovery.topology.check_greeted(await self.read_response())
        except NoPermissionError:
            pass
        except redis.ConnectionError:
            self._doubt()
            raise

    async def read_response(self, *arguments: Any, **options: Any) -> Any:
        """An answer. Raises `redis.ConnectionError` when the log is elsewhere."""
        try:
            return await super().read_response(*arguments, **options)
        except ELSEWHERE as e:
            await self.disconnect()
            self._doubt()
            raise redis.ConnectionError(elsewhere(self.host, self.port, e)) from e

    def _doubt(self) -> None:
        if self._seed is not None:
            self._discovery.seeds.put_last(self._seed)


class DiscoveredSSLConnection(DiscoveredConnection, SSLConnection):
    """The same, with TLS."""


def _pool(discovery: Discovery, options: dict[str, Any]) -> ConnectionPool:
    return ConnectionPool(
        connection_class=DiscoveredSSLConnection if discovery.tls else DiscoveredConnection,
        discovery=discovery,
        **{**options, **discovery.options},
    )


async def _find(discovery: Discovery) -> tuple[Node, list[Node]]:
    """The first seed that tells where the log is, and what it tells. Raises the driver's errors."""
    failures: list[Exception] = []
    for seed in discovery.seeds.nodes:
        connection = (SSLConnection if discovery.tls else Connection)(host=seed[0], port=seed[1], **discovery.asking)
        try:
            await connection.connect()  # type: ignore[no-untyped-call]
            for question in discovery.topology.questions:
                await connection.send_command(*question)
            answers = [await connection.read_response() for _ in discovery.topology.questions]
            return seed, discovery.nodes(answers, seed)
        except (redis.RedisError, OSError, LookupError) as e:
            failures.append(e)
            discovery.seeds.put_last(seed)
        finally:
            await connection.disconnect(nowait=True)
    raise discovery.failure(failures)
