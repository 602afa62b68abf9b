"""What a node of a cluster is asked about the slot of a log, and what it answers.

All keys of a log are in one slot, hence on one node: a plain connection to that node is all it takes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from redis.crc import key_slot

from etlog_events.keys import Keys
from etlog_events.store.url import Node


@dataclass(frozen=True, slots=True)
class Cluster:
    """The nodes that hold `slot`."""

    slot: int

    @classmethod
    def holding(cls, log: str) -> "Cluster":
        """Those that hold the log called `log`."""
        return cls(key_slot(Keys(log).events.encode()))

    @property
    def questions(self) -> tuple[tuple[str, ...], ...]:
        """What to ask a node."""
        return (("CLUSTER", "SLOTS"),)

    def nodes(self, answers: Sequence[Any], asked: Node, *, of_replica: bool) -> list[list[Node]]:
        """The nodes to try, in groups of equally good ones, best first. Raises `LookupError` when there is none."""
        for first, last, primary, *replicas in answers[0]:
            if first <= self.slot <= last:
                nodes = [_node(replica, asked) for replica in replicas] if of_replica else []
                return [nodes, [_node(primary, asked)]]
        raise LookupError(f"no node holds slot {self.slot}")

    def others(self, answers: Sequence[Any], asked: Node) -> list[Node]:
        """Further nodes that can be asked."""
        return [_node(node, asked) for _, _, *nodes in answers[0] for node in nodes]

    def greeting(self, *, of_replica: bool) -> tuple[str, ...] | None:
        """What to send on a new connection."""
        return ("READONLY",) if of_replica else None

    def check_greeted(self, answer: Any) -> None:
        """A primary that lost the slot says so itself, at every command."""


def _node(node: Sequence[Any], asked: Node) -> Node:
    """A node that does not know its own name is the one that was asked."""
    host, port = node[0], int(node[1])
    return (host.decode() if host else asked[0]), port
