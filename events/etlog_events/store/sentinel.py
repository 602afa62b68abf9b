"""What sentinels are asked about the store that they watch, and what they answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import redis

from etlog_events.store.url import Node

#: What keeps a node from being used, in a sentinel's eyes.
_DOWN = ("s_down", "o_down", "disconnected")


@dataclass(frozen=True, slots=True)
class Sentinels:
    """The sentinels of the store that they call `primary`."""

    primary: str

    @property
    def questions(self) -> tuple[tuple[str, ...], ...]:
        """What to ask a sentinel, in one round trip."""
        return (
            ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.primary),
            ("SENTINEL", "MASTER", self.primary),
            ("SENTINEL", "REPLICAS", self.primary),
        )

    def nodes(self, answers: Sequence[Any], asked: Node, *, of_replica: bool) -> list[list[Node]]:
        """The nodes to try, in groups of equally good ones, best first. Raises `LookupError` when there is none."""
        address, state, others = answers
        if address is None:
            raise LookupError("the sentinel knows no primary by that name")
        host, port = address[0].decode(), int(address[1])
        primary = _named(state)
        # Once a failover has gone far enough, the address is that of the new primary, the rest still of the old one.
        down = _is_down(primary) and (primary["ip"], primary["port"]) == (host, str(port))
        found: list[list[Node]] = [] if down else [[(host, port)]]
        if of_replica:
            replicas = [replica for replica in map(_named, others) if not _is_down(replica)]
            in_step = [replica for replica in replicas if replica.get("master-link-status") == "ok"]
            behind = [replica for replica in replicas if replica not in in_step]
            found = [list(map(_node, in_step)), *found, list(map(_node, behind))]
        if not any(found):
            raise LookupError("the sentinel reports the primary as down and has promoted no other yet")
        return found

    def others(self, answers: Sequence[Any], asked: Node) -> list[Node]:
        """Further nodes that can be asked."""
        return []

    def greeting(self, *, of_replica: bool) -> tuple[str, ...] | None:
        """What to send on a new connection."""
        return None if of_replica else ("ROLE",)

    def check_greeted(self, answer: Any) -> None:
        """Raise `redis.ConnectionError` unless the node may be used: a sentinel's knowledge may be old."""
        if answer[0] != b"master":
            raise redis.ConnectionError("the node is no longer the primary")


def _named(flat: Sequence[bytes]) -> dict[str, str]:
    texts = [text.decode() for text in flat]
    return dict(zip(texts[::2], texts[1::2], strict=True))


def _is_down(node: dict[str, str]) -> bool:
    return any(flag in node["flags"].split(",") for flag in _DOWN)


def _node(node: dict[str, str]) -> Node:
    return node["ip"], int(node["port"])
