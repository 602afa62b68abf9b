"""Connections that look for their node each time they are made, for asyncio."""

from typing import Any

import redis
from redis.asyncio import Redis
from redis.asyncio.connection import Connection, ConnectionPool, SSLConnection
from redis.exceptions import NoPermissionError

from etlog_events.seeds import Node
from etlog_events.way import ELSEWHERE, Way, elsewhere


class FoundConnection(Connection):
    """`connection.FoundConnection` for asyncio; whoever uses it bounds the whole of what he does."""

    def __init__(self, *, way: Way, **options: Any) -> None:
        super().__init__(**options)
        self._way = way
        self._seed: Node | None = None

    async def _connect(self) -> None:
        self._seed, nodes = await _find(self._way)
        error: OSError | None = None
        for self.host, self.port in nodes:
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
        greeting = self._way.topology.greeting(of_replica=self._way.of_replica)
        if greeting is None:
            return
        await self.send_command(*greeting, check_health=False)
        try:
            self._way.topology.check_greeted(await self.read_response())
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
            self._way.seeds.put_last(self._seed)


class FoundSSLConnection(FoundConnection, SSLConnection):
    """The same, with TLS."""


def client(way: Way, **options: Any) -> "Redis":
    """A client whose connections go `way`."""
    pool = ConnectionPool(
        connection_class=FoundSSLConnection if way.tls else FoundConnection, way=way, **{**options, **way.options}
    )
    return Redis.from_pool(pool)


async def _find(way: Way) -> tuple[Node, list[Node]]:
    """The first seed that tells where the log is, and what it tells. Raises the driver's errors."""
    failures: list[Exception] = []
    for seed in way.seeds.nodes:
        connection = (SSLConnection if way.tls else Connection)(host=seed[0], port=seed[1], **way.asking)
        try:
            await connection.connect()  # type: ignore[no-untyped-call]
            for question in way.topology.questions:
                await connection.send_command(*question)
            answers = [await connection.read_response() for _ in way.topology.questions]
            return seed, way.understood(answers, seed)
        except (redis.RedisError, OSError, LookupError) as e:
            failures.append(e)
            way.seeds.put_last(seed)
        finally:
            await connection.disconnect(nowait=True)
    raise way.refused(failures)
