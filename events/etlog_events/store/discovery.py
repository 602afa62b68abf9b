"""Discovery: which node of a store of several has a log, who can be asked, and how to connect to what is named."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal, Protocol

import redis
from redis.connection import parse_url
from redis.exceptions import AskError, ClusterDownError, ReadOnlyError, TryAgainError

from etlog_events.store.cluster import Cluster
from etlog_events.store.node import Node
from etlog_events.store.sentinel import Sentinels
from etlog_events.store.url import parse_multi_node

ReadFrom = Literal["primary", "replica"]

#: Seconds to wait for a node that can say where a log is, to connect and for its answer: two silent ones leave
#: a request enough of its time.
ASK_TIMEOUT = 0.4

#: What a node says that does not hold the log, or not now: it was demoted (`READONLY`), the slot has moved (`MOVED`) or
#: moves (`ASK`, `TRYAGAIN`), too few nodes are there (`CLUSTERDOWN`), a replica may not serve alone (`MASTERDOWN`).
ELSEWHERE = (ReadOnlyError, AskError, TryAgainError, ClusterDownError)


class Seeds:
    """The nodes that can be asked, in the order in which to ask them. One that told nothing goes to the end: a machine
    that is down costs a process one timeout, not each question."""

    def __init__(self, nodes: tuple[Node, ...]) -> None:
        self.nodes = self._named = nodes

    def put_last(self, node: Node) -> None:
        """Ask `node` after all others."""
        self.nodes = (*(other for other in self.nodes if other != node), node)

    def learn(self, nodes: Collection[Node]) -> None:
        """Ask these, too, in the place of those that were learned before: all named nodes of a cluster may be gone one
        day."""
        if nodes:
            kept = (node for node in self.nodes if node in self._named or node in nodes)
            self.nodes = tuple(dict.fromkeys((*kept, *nodes)))


@lru_cache(maxsize=64)
def seeds(nodes: tuple[Node, ...]) -> Seeds:
    """The seeds `nodes`, shared by all connections of this process that begin with them."""
    return Seeds(nodes)


class Topology(Protocol):
    """What the nodes that can be asked are asked, and what their answers mean."""

    @property
    def questions(self) -> tuple[tuple[str, ...], ...]:
        """What to ask a node, in one round trip."""

    def nodes(self, answers: Sequence[Any], asked: Node, *, of_replica: bool) -> list[Node]:
        """The nodes to try, best first. Raises `LookupError` when there is none at present."""

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
            "socket_timeout": ASK_TIMEOUT,
            "socket_connect_timeout": ASK_TIMEOUT,
            "protocol": 2,
            "driver_info": None,
        }
        return cls(topology, seeds(nodes), read_from == "replica", tls, options, asking)

    def nodes(self, answers: Sequence[Any], seed: Node) -> list[Node]:
        """The nodes to try, by the answers of `seed`. Raises `LookupError`."""
        found = self.topology.nodes(answers, seed, of_replica=self.of_replica)
        self.seeds.learn(self.topology.others(answers, seed))
        return found

    def failure(self, failures: Sequence[Exception]) -> Exception:
        """What to raise when no seed told anything; asking again does not fix a password."""
        last = failures[-1]
        if all(isinstance(failure, redis.AuthenticationError | redis.ResponseError) for failure in failures):
            return last
        return redis.ConnectionError(f"none of {len(failures)} nodes can tell where the log is; the last: {last}")


def elsewhere(host: str, port: int, error: Exception) -> str:
    """What such an answer of a node means, in words; the driver keeps the first one of it as the type."""
    said = type(error).__name__.removesuffix("Error").upper()
    return f"the log is not at {host}:{port} now: {said} {error}"
