"""The nodes that can be asked where a log is."""

import secrets
from collections.abc import Iterable
from functools import lru_cache
from hashlib import blake2b
from typing import TypeAlias

#: Host and port.
Node: TypeAlias = tuple[str, int]

_OF_THIS_PROCESS = secrets.token_bytes(8)


class Seeds:
    """Nodes in the order in which to ask them. One that told nothing goes to the end: a machine that is down costs a
    process one timeout, not each question."""

    def __init__(self, nodes: tuple[Node, ...]) -> None:
        self.nodes = nodes

    def put_last(self, node: Node) -> None:
        """Ask `node` after all others."""
        self.nodes = (*(other for other in self.nodes if other != node), node)

    def learn(self, nodes: Iterable[Node]) -> None:
        """Ask these, too: of a cluster, the named nodes may all be gone one day."""
        self.nodes = tuple(dict.fromkeys((*self.nodes, *nodes)))


@lru_cache(maxsize=64)
def seeds(nodes: tuple[Node, ...]) -> Seeds:
    """The seeds `nodes`, shared by all connections of this process that begin with them."""
    return Seeds(nodes)


def spread(nodes: Iterable[Node]) -> list[Node]:
    """`nodes` in an order of this process's own, always the same: its connections lead to one of equal nodes, which is
    never behind itself, and other processes take others."""
    return sorted(nodes, key=lambda node: blake2b(repr(node).encode(), key=_OF_THIS_PROCESS).digest())
