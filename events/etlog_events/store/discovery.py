"""Discovery: which node of a store of several has a log, which nodes can be asked, and how to connect to either."""

import secrets
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Literal, Protocol

import redis
from redis.connection import parse_url
from redis.exceptions import AskError, ClusterDownError, NoPermissionError, ReadOnlyError, TryAgainError

from etlog_events.store.cluster import Cluster
from etlog_events.store.driver import network_options
from etlog_events.store.sentinel import Sentinels
from etlog_events.store.url import Node, parse_multi_node

ReadFrom = Literal["primary", "replica"]

#: Seconds to wait for a node that can say where a log is, to connect and for its answer: two silent ones leave
#: a request enough of its time.
ASK_TIMEOUT = 0.4

#: What a node says that does not hold the log, or not now: it was demoted (`READONLY`), the slot has moved (`MOVED`) or
#: moves (`ASK`, `TRYAGAIN`), too few nodes are there (`CLUSTERDOWN`), a replica may not serve alone (`MASTERDOWN`).
ELSEWHERE = (ReadOnlyError, AskError, TryAgainError, ClusterDownError)


_OF_THIS_PROCESS = secrets.token_bytes(8)


def spread(nodes: Iterable[Node]) -> list[Node]:
    """Equally good nodes in this process's order. It stays the same, so all connections of a process lead to one
    replica, which is never behind itself; other processes use others."""
    return sorted(nodes, key=lambda node: blake2b(repr(node).encode(), key=_OF_THIS_PROCESS).digest())


class Seeds:
    """The nodes that can be asked, in the order in which to ask them. One that told nothing goes to the end: a machine
    that is down costs a process one timeout, not one per question."""

    def __init__(self, nodes: tuple[Node, ...]) -> None:
        self.nodes = self._named = nodes

    def put_last(self, node: Node) -> None:
        """Ask `node` after all others."""
        self.nodes = (*(other for other in self.nodes if other != node), node)

    def learn(self, nodes: Collection[Node]) -> None:
        """Also ask these, in place of those learned before: one day, all named nodes of a cluster may be gone."""
        if nodes:
            kept = (node for node in self.nodes if node in self._named or node in nodes)
            self.nodes = tuple(dict.fromkeys((*kept, *nodes)))


@lru_cache(maxsize=64)
def seeds(nodes: tuple[Node, ...]) -> Seeds:
    """The seeds `nodes`, shared by all connections of this process that begin with them."""
    return Seeds(nodes)


class Topology(Protocol):
    """What the seeds are asked, and what their answers mean."""

    @property
    def questions(self) -> tuple[tuple[str, ...], ...]:
        """What to ask a node, in one round trip."""

    def nodes(self, answers: Sequence[Any], asked: Node, *, of_replica: bool) -> list[list[Node]]:
        """The nodes to try, in groups of equally good ones, best first. Raises `LookupError` when there is none."""

    def others(self, answers: Sequence[Any], asked: Node) -> list[Node]:
        """Further nodes that can be asked."""

    def greeting(self, *, of_replica: bool) -> tuple[str, ...] | None:
        """What to send on a new connection."""

    def check_greeted(self, answer: Any) -> None:
        """Raise `redis.ConnectionError` unless the node may be used."""


@dataclass(frozen=True, slots=True)
class Discovery:
    """How to find the node of one log. `options` are those of a connection to the store, `asking` of one to a seed."""

    topology: Topology
    seeds: Seeds
    of_replica: bool
    tls: bool
    options: Mapping[str, Any] = field(repr=False)
    asking: Mapping[str, Any] = field(repr=False)

    @classmethod
    def of(cls, url: str, log: str | None, read_from: ReadFrom) -> "Discovery":
        """How to find `log` by `url`. Raises `ValueError` for a bad address, or one that requires a log."""
        several = parse_multi_node(url)
        parsed = [dict(parse_url(plain)) for plain in several.plain]  # type: ignore[no-untyped-call]
        nodes = tuple((options.pop("host"), options.pop("port")) for options in parsed)
        options = parsed[0]
        tls = options.pop("connection_class", None) is not None
        topology: Topology
        if several.primary:
            topology = Sentinels(several.primary)
        elif log is None:
            raise ValueError("a connection to a cluster is for one log, and none was named")
        else:
            topology = Cluster.holding(log)
        asking = dict(options)
        if several.primary:
            for name in ("db", "username", "password"):
                asking.pop(name, None)
            asking |= several.credentials
        asking |= {
            **network_options(),
            "socket_timeout": ASK_TIMEOUT,
            "socket_connect_timeout": ASK_TIMEOUT,
            "protocol": 2,
            "driver_info": None,
        }
        return cls(topology, seeds(nodes), read_from == "replica", tls, options, asking)

    def pool_options(self, options: Mapping[str, Any], plain: type, with_tls: type) -> dict[str, Any]:
        """The options of a pool whose connections, `plain` or `with_tls`, look for the node whenever they are made."""
        return {
            **options,
            **self.options,
            "discovery": self,
            "connection_class": with_tls if self.tls else plain,
        }


class Search:
    """The search of one connection for its node. Blocking code and asyncio differ in how they ask, not in this."""

    def __init__(self, discovery: Discovery) -> None:
        self._discovery = discovery
        self._topology = discovery.topology
        self._failures: list[Exception] = []
        self._led_by: Node | None = None
        self.questions = self._topology.questions
        self.greeting = self._topology.greeting(of_replica=discovery.of_replica)

    def seeds(self) -> Iterator[Node]:
        """The nodes to ask, one after another until one has answered."""
        self._failures = []
        yield from self._discovery.seeds.nodes

    def seed_options(self, seed: Node) -> dict[str, Any]:
        """The options of a connection to `seed`."""
        return {"host": seed[0], "port": seed[1], **self._discovery.asking}

    @contextmanager
    def asking(self, seed: Node) -> Iterator[None]:
        """Ask `seed` inside; what fails there is kept, and `seed` is asked last from then on."""
        try:
            yield
        except (redis.RedisError, OSError, LookupError) as e:
            self._failures.append(e)
            self._discovery.seeds.put_last(seed)

    def nodes(self, seed: Node, answers: Sequence[Any]) -> list[Node]:
        """The nodes to try, by the answers of `seed`, best first. Raises `LookupError`."""
        found = self._topology.nodes(answers, seed, of_replica=self._discovery.of_replica)
        self._discovery.seeds.learn(self._topology.others(answers, seed))
        self._led_by = seed
        return [node for group in found for node in spread(group)]

    def failure(self) -> Exception:
        """What to raise when no seed has answered; asking again does not fix a password."""
        last = self._failures[-1]
        if all(isinstance(failure, redis.AuthenticationError | redis.ResponseError) for failure in self._failures):
            return last
        return redis.ConnectionError(f"none of {len(self._failures)} nodes can tell where the log is; the last: {last}")

    @contextmanager
    def greeting_node(self) -> Iterator[None]:
        """Greet the node inside. A user who may not send the greeting does without it."""
        try:
            yield
        except NoPermissionError:
            pass
        except redis.ConnectionError:
            self._doubt()
            raise

    def check_greeted(self, answer: Any) -> None:
        """Raise `redis.ConnectionError` unless the node may be used, by its answer to the greeting."""
        self._topology.check_greeted(answer)

    def misled(self, host: str, port: int, error: Exception) -> redis.ConnectionError:
        """What to raise when the node at `host` and `port` says that the log is elsewhere."""
        self._doubt()
        said = type(error).__name__.removesuffix("Error").upper()  # the driver keeps the first word as the type
        return redis.ConnectionError(f"the log is not at {host}:{port} now: {said} {error}")

    def _doubt(self) -> None:
        if self._led_by is not None:
            self._discovery.seeds.put_last(self._led_by)
