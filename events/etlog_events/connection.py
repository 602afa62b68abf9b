"""Connections that look for their node each time they are made, for plain blocking code."""

from typing import Any

import redis
from redis.connection import Connection, ConnectionPool, SSLConnection
from redis.exceptions import NoPermissionError

from etlog_events.seeds import Node
from etlog_events.way import ELSEWHERE, Way, elsewhere


class FoundConnection(Connection):
    """A connection to the node that `way` leads to at the moment.

    A node that says that the log is elsewhere is left at once: the next use looks for it anew. The driver's own pools
    for sentinels do the same; whoever uses the connection sees an outage.
    """

    def __init__(self, *, way: Way, greeting_timeout: float, **options: Any) -> None:
        super().__init__(**options)  # type: ignore[no-untyped-call]
        self._way = way
        self._greeting_timeout = greeting_timeout
        self._seed: Node | None = None

    def _connect(self) -> Any:
        self._seed, nodes = _find(self._way)
        error: OSError | None = None
        for self.host, self.port in nodes:
            try:
                sock = super()._connect()  # type: ignore[no-untyped-call]
            except OSError as e:
                error = e
            else:
                # A node that hangs takes connections and says nothing. The search may not wait for it as for an answer.
                sock.settimeout(self._greeting_timeout)
                return sock
        assert error is not None
        raise error

    def on_connect_check_health(self, check_health: bool = True) -> None:
        """Greet the node."""
        super().on_connect_check_health(check_health)
        greeting = self._way.topology.greeting(of_replica=self._way.of_replica)
        if greeting is not None:
            self.send_command(*greeting, check_health=False)  # type: ignore[no-untyped-call]
            try:
                self._way.topology.check_greeted(self.read_response())
            except NoPermissionError:
                pass
            except redis.ConnectionError:
                self._doubt()
                raise
        sock: Any = self._sock
        sock.settimeout(self.socket_timeout)

    def read_response(self, *arguments: Any, **options: Any) -> Any:
        """An answer. Raises `redis.ConnectionError` when the log is elsewhere."""
        try:
            return super().read_response(*arguments, **options)
        except ELSEWHERE as e:
            self.disconnect()  # type: ignore[no-untyped-call]
            self._doubt()
            raise redis.ConnectionError(elsewhere(self.host, self.port, e)) from e

    def _doubt(self) -> None:
        if self._seed is not None:
            self._way.seeds.put_last(self._seed)


class FoundSSLConnection(FoundConnection, SSLConnection):
    """The same, with TLS."""


def client(way: Way, *, greeting_timeout: float, **options: Any) -> "redis.Redis":
    """A client whose connections go `way`."""
    pool = ConnectionPool(
        connection_class=FoundSSLConnection if way.tls else FoundConnection,
        way=way,
        greeting_timeout=greeting_timeout,
        **{**options, **way.options},
    )
    return redis.Redis.from_pool(pool)


def _find(way: Way) -> tuple[Node, list[Node]]:
    """The first seed that tells where the log is, and what it tells. Raises the driver's errors."""
    failures: list[Exception] = []
    for seed in way.seeds.nodes:
        connection = (SSLConnection if way.tls else Connection)(host=seed[0], port=seed[1], **way.asking)
        try:
            connection.connect()  # type: ignore[no-untyped-call]
            for question in way.topology.questions:
                connection.send_command(*question)  # type: ignore[no-untyped-call]
            answers = [connection.read_response() for _ in way.topology.questions]
            return seed, way.understood(answers, seed)
        except (redis.RedisError, OSError, LookupError) as e:
            failures.append(e)
            way.seeds.put_last(seed)
        finally:
            connection.disconnect()  # type: ignore[no-untyped-call]
    raise way.refused(failures)
