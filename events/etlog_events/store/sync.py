"""Clients of the store for plain blocking code, and the connections that look for their node whenever they are made."""

from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.connection import Connection, ConnectionPool, SSLConnection
from redis.exceptions import NoPermissionError
from redis.retry import Retry

from etlog_events.store.discovery import ELSEWHERE, Discovery, ReadFrom, elsewhere
from etlog_events.store.driver import ANSWER_TIMEOUT, CONNECT_TIMEOUT, client_options, explained
from etlog_events.store.node import Node
from etlog_events.store.url import is_multi_node


def connect(
    url: str,
    *,
    part: str,
    log: str | None = None,
    read_from: ReadFrom = "primary",
    answer_timeout: float = ANSWER_TIMEOUT,
    **options: Any,
) -> "redis.Redis":
    """A client for the store at `url`; nothing is sent yet.

    `part` names the connection in `CLIENT LIST`. `log` is the log that the client is for: in a cluster, it reaches
    the node that has this one. With `read_from="replica"` it reaches a replica of it, and the primary if there is
    none; an address of one node is taken as it is. `answer_timeout` is in seconds. Raises `SettingsError` for an
    address that cannot be one.
    """
    options = client_options(part, answer_timeout, Retry(NoBackoff(), 0)) | options
    with explained(url):
        if is_multi_node(url):
            client = redis.Redis.from_pool(_pool(Discovery.of(url, log, read_from), options))
        else:
            client = redis.Redis.from_url(url, **options)
        client.connection_pool.make_connection()
    return client


class DiscoveredConnection(Connection):
    """A connection to the node that `discovery` leads to at the moment.

    A node that says that the log is elsewhere is left at once: the next use looks for it anew. The driver's own pools
    for sentinels do the same; the caller sees an outage.
    """

    def __init__(self, *, discovery: Discovery, **options: Any) -> None:
        super().__init__(**options)  # type: ignore[no-untyped-call]
        self._discovery = discovery
        self._seed: Node | None = None

    def _connect(self) -> Any:
        self._seed, nodes = _find(self._discovery)
        error: OSError | None = None
        for host, port in nodes:
            self.host, self.port = host, port
            try:
                sock = super()._connect()  # type: ignore[no-untyped-call]
            except OSError as e:
                error = e
            else:
                # A node that hangs takes connections and says nothing. The search may not wait for it as for an answer.
                sock.settimeout(CONNECT_TIMEOUT)
                return sock
        assert error is not None
        raise error

    def on_connect_check_health(self, check_health: bool = True) -> None:
        """Greet the node."""
        super().on_connect_check_health(check_health)
        greeting = self._discovery.topology.greeting(of_replica=self._discovery.of_replica)
        if greeting is not None:
            self.send_command(*greeting, check_health=False)  # type: ignore[no-untyped-call]
            try:
                self._discovery.topology.check_greeted(self.read_response())
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
            self._discovery.seeds.put_last(self._seed)


class DiscoveredSSLConnection(DiscoveredConnection, SSLConnection):
    """The same, with TLS."""


def _pool(discovery: Discovery, options: dict[str, Any]) -> ConnectionPool:
    return ConnectionPool(
        connection_class=DiscoveredSSLConnection if discovery.tls else DiscoveredConnection,
        discovery=discovery,
        **{**options, **discovery.options},
    )


def _find(discovery: Discovery) -> tuple[Node, list[Node]]:
    """The first seed that tells where the log is, and what it tells. Raises the driver's errors."""
    failures: list[Exception] = []
    for seed in discovery.seeds.nodes:
        connection = (SSLConnection if discovery.tls else Connection)(host=seed[0], port=seed[1], **discovery.asking)
        try:
            connection.connect()  # type: ignore[no-untyped-call]
            for question in discovery.topology.questions:
                connection.send_command(*question)  # type: ignore[no-untyped-call]
            answers = [connection.read_response() for _ in discovery.topology.questions]
            return seed, discovery.nodes(answers, seed)
        except (redis.RedisError, OSError, LookupError) as e:
            failures.append(e)
            discovery.seeds.put_last(seed)
        finally:
            connection.disconnect()  # type: ignore[no-untyped-call]
    raise discovery.failure(failures)
