"""Clients of the store for asyncio. Idle connections are checked before they are used; connections to a store of
several nodes look for their node whenever they are made."""

from collections.abc import Coroutine
from typing import Any

import redis
import redis.asyncio
from redis.asyncio.connection import (
    AbstractConnection,
    Connection,
    ConnectionPool,
    SSLConnection,
    UnixDomainSocketConnection,
    parse_url,
)
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.utils import str_if_bytes

from etlog_events.store import liveness
from etlog_events.store.discovery import ELSEWHERE, Discovery, ReadFrom, Search
from etlog_events.store.driver import ANSWER_TIMEOUT, client_options, explained
from etlog_events.store.url import Node, is_multi_node


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
    options = client_options(url, part, answer_timeout, Retry(NoBackoff(), 0)) | options
    with explained(url):
        if is_multi_node(url):
            discovery = Discovery.of(url, log, read_from)
            options = discovery.pool_options(options, DiscoveredConnection, DiscoveredSSLConnection)
        else:
            options |= parse_url(url)
            options["connection_class"] = _CHECKED[options.get("connection_class", Connection)]
        client = redis.asyncio.Redis.from_pool(CheckedPool(**options))
        client.connection_pool.make_connection()  # type: ignore[no-untyped-call]
    return client


class CheckedConnection(AbstractConnection):
    """`sync.CheckedConnection` for asyncio."""

    _idle_since = 0.0

    async def connect(self) -> None:
        """Be connected, after idleness only to a store that answers. Raises the driver's errors."""
        if self.is_connected:
            if liveness.is_trusted(self._idle_since):
                return
            if liveness.may_be_asked(self._idle_since):
                if await self._answers():
                    return
                if not self.is_connected:  # another task has given up the call
                    raise redis.ConnectionError("the connection was closed meanwhile")
            await self._abandon()
        await super().connect()  # type: ignore[no-untyped-call]
        self.rest()

    def rest(self) -> None:
        """Rest from now on: the last answer has just come."""
        self._idle_since = liveness.now()

    async def _answers(self) -> bool:
        """Whether the other end answers PING."""
        writer: Any = self._writer
        timeout = liveness.ping_timeout(self.socket_timeout)
        try:
            writer.writelines(self.pack_command("PING"))
            answer = await super().read_response(timeout=timeout, disconnect_on_error=False)
        except redis.ResponseError:  # as when this user may not send PING
            return True
        except (redis.RedisError, OSError):
            return False
        except BaseException:
            await self._abandon()
            raise
        return str_if_bytes(answer) == "PONG"

    async def _abandon(self) -> None:
        """Close this end silently: by TLS, asyncio would wait half a minute for an answer that may never come."""
        if self._writer is not None:
            self._writer.transport.abort()
        await self.disconnect(nowait=True)


class CheckedPool(ConnectionPool):
    """`sync.CheckedPool` for asyncio."""

    def release(self, connection: Any) -> Coroutine[Any, Any, None]:
        """Take back a connection."""
        connection.rest()
        return super().release(connection)


class PlainConnection(CheckedConnection, Connection):
    """By TCP."""


class TlsConnection(CheckedConnection, SSLConnection):
    """By TLS."""


class UnixConnection(CheckedConnection, UnixDomainSocketConnection):
    """By a socket of this machine, behind which there may be a proxy."""


_CHECKED = {Connection: PlainConnection, SSLConnection: TlsConnection, UnixDomainSocketConnection: UnixConnection}


class DiscoveredConnection(CheckedConnection, Connection):
    """`sync.DiscoveredConnection` for asyncio; the caller bounds the time of the whole."""

    #: How a seed is connected to.
    _kind: type[Connection] = Connection

    def __init__(self, *, discovery: Discovery, **options: Any) -> None:
        super().__init__(**options)
        self._search = Search(discovery)

    async def _connect(self) -> None:
        error: OSError | None = None
        for host, port in await self._ask():
            self.host, self.port = host, port
            try:
                await super()._connect()  # type: ignore[no-untyped-call]
            except OSError as e:  # a timeout is one
                error = e
            else:
                return
        assert error is not None
        raise error

    async def _ask(self) -> list[Node]:
        """The nodes to try, by the first seed that answers. Raises the driver's errors."""
        for seed in self._search.seeds():
            connection: Any = self._kind(**self._search.seed_options(seed))
            with self._search.asking(seed):
                try:
                    await connection.connect()
                    for question in self._search.questions:
                        await connection.send_command(*question)
                    answers = [await connection.read_response() for _ in self._search.questions]
                    return self._search.nodes(seed, answers)
                finally:
                    await connection.disconnect(nowait=True)
        raise self._search.failure()

    async def on_connect_check_health(self, check_health: bool = True) -> None:
        """Greet the node."""
        await super().on_connect_check_health(check_health)
        if self._search.greeting is not None:
            with self._search.greeting_node():
                await self.send_command(*self._search.greeting, check_health=False)
                self._search.check_greeted(await self.read_response())

    async def read_response(self, *arguments: Any, **options: Any) -> Any:
        """An answer. Raises `redis.ConnectionError` when the log is elsewhere."""
        try:
            return await super().read_response(*arguments, **options)
        except ELSEWHERE as e:
            await self.disconnect()
            raise self._search.misled(self.host, self.port, e) from e


class DiscoveredSSLConnection(DiscoveredConnection, SSLConnection):
    """The same, with TLS."""

    _kind = SSLConnection
