"""Clients of the store for blocking code. Idle connections are checked before they are used; connections to a store of
several nodes look for their node whenever they are made."""

from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.connection import (
    AbstractConnection,
    Connection,
    ConnectionPool,
    SSLConnection,
    UnixDomainSocketConnection,
    parse_url,
)
from redis.retry import Retry
from redis.utils import str_if_bytes

from etlog_events.store import liveness
from etlog_events.store.discovery import ELSEWHERE, Discovery, ReadFrom, Search
from etlog_events.store.driver import ANSWER_TIMEOUT, CONNECT_TIMEOUT, client_options, explained
from etlog_events.store.url import Node, is_multi_node


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
    options = client_options(url, part, answer_timeout, Retry(NoBackoff(), 0)) | options
    with explained(url):
        if is_multi_node(url):
            discovery = Discovery.of(url, log, read_from)
            options = discovery.pool_options(options, DiscoveredConnection, DiscoveredSSLConnection)
        else:
            options |= parse_url(url)  # type: ignore[no-untyped-call]
            options["connection_class"] = _CHECKED[options.get("connection_class", Connection)]
        client = redis.Redis.from_pool(CheckedPool(**options))
        client.connection_pool.make_connection()
    return client


class CheckedConnection(AbstractConnection):
    """A connection that is checked when it was idle: see `liveness`. `connect` is called before each use, as pools do,
    and `rest` after it."""

    _idle_since = 0.0

    def connect(self) -> None:
        """Be connected, after idleness only to a store that answers. Raises the driver's errors."""
        sock = self._sock
        if sock is not None:
            if liveness.is_trusted(self._idle_since):
                return
            if liveness.may_be_asked(self._idle_since):
                if self._answers(sock):
                    return
                if self._sock is not sock:  # another thread has given up the call
                    raise redis.ConnectionError("the connection was closed meanwhile")
            self.disconnect()
        super().connect()  # type: ignore[no-untyped-call]
        self.rest()

    def rest(self) -> None:
        """Rest from now on: the last answer has just come."""
        self._idle_since = liveness.now()

    def _answers(self, sock: Any) -> bool:
        """Whether the other end answers PING."""
        try:
            sock.settimeout(liveness.ping_timeout(self.socket_timeout))
            sock.sendall(b"".join(self.pack_command("PING")))  # type: ignore[no-untyped-call]
            answer = super().read_response(disconnect_on_error=False)
            sock.settimeout(self.socket_timeout)
        except redis.ResponseError:  # as when this user may not send PING
            sock.settimeout(self.socket_timeout)
            return True
        except (redis.RedisError, OSError):
            return False
        except BaseException:
            self.disconnect()  # type: ignore[no-untyped-call]
            raise
        return str_if_bytes(answer) == "PONG"


class CheckedPool(ConnectionPool):
    """A pool of connections that are checked when they were idle."""

    def release(self, connection: Any) -> None:
        """Take back a connection."""
        connection.rest()
        super().release(connection)


class PlainConnection(CheckedConnection, Connection):
    """By TCP."""


class TlsConnection(CheckedConnection, SSLConnection):
    """By TLS."""


class UnixConnection(CheckedConnection, UnixDomainSocketConnection):
    """By a socket of this machine, behind which there may be a proxy."""


_CHECKED = {Connection: PlainConnection, SSLConnection: TlsConnection, UnixDomainSocketConnection: UnixConnection}


class DiscoveredConnection(CheckedConnection, Connection):
    """A connection to the node that `discovery` leads to at the moment.

    A node that says that the log is elsewhere is left at once: the next use looks for it anew. The driver's own pools
    for sentinels do the same; the caller sees an outage.
    """

    #: How a seed is connected to.
    _kind: type[Connection] = Connection

    def __init__(self, *, discovery: Discovery, **options: Any) -> None:
        super().__init__(**options)  # type: ignore[no-untyped-call]
        self._search = Search(discovery)

    def _connect(self) -> Any:
        error: OSError | None = None
        for host, port in self._ask():
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

    def _ask(self) -> list[Node]:
        """The nodes to try, by the first seed that answers. Raises the driver's errors."""
        for seed in self._search.seeds():
            connection: Any = self._kind(**self._search.seed_options(seed))
            with self._search.asking(seed):
                try:
                    connection.connect()
                    for question in self._search.questions:
                        connection.send_command(*question)
                    return self._search.nodes(seed, [connection.read_response() for _ in self._search.questions])
                finally:
                    connection.disconnect()
        raise self._search.failure()

    def on_connect_check_health(self, check_health: bool = True) -> None:
        """Greet the node."""
        super().on_connect_check_health(check_health)
        if self._search.greeting is not None:
            with self._search.greeting_node():
                self.send_command(*self._search.greeting, check_health=False)  # type: ignore[no-untyped-call]
                self._search.check_greeted(self.read_response())
        sock: Any = self._sock
        sock.settimeout(self.socket_timeout)

    def read_response(self, *arguments: Any, **options: Any) -> Any:
        """An answer. Raises `redis.ConnectionError` when the log is elsewhere."""
        try:
            return super().read_response(*arguments, **options)
        except ELSEWHERE as e:
            self.disconnect()  # type: ignore[no-untyped-call]
            raise self._search.misled(self.host, self.port, e) from e


class DiscoveredSSLConnection(DiscoveredConnection, SSLConnection):
    """The same, with TLS."""

    _kind = SSLConnection
