"""A cluster of three primaries and a replica: real ones, on loopback."""

from collections.abc import Callable
from typing import Any

import redis
from etlog_events.keys import Keys
from etlog_events.store import connect
from redis.crc import key_slot
from support.servers import Server, free_port, wait_until

SLOTS = 16384


class Node(Server):
    """One node, and a client of it that follows no redirection."""

    def __init__(self) -> None:
        self.bus = free_port()
        super().__init__(
            *("--cluster-enabled", "yes", "--cluster-port", str(self.bus), "--cluster-node-timeout", "2000"),
            *("--appendonly", "yes", "--repl-diskless-sync-delay", "0"),
        )
        self.client: Any = connect(self.url, part="test")
        self.id = self.ask("MYID").decode()

    def ask(self, *command: Any) -> Any:
        """Its answer to a command for clusters."""
        return self.client.execute_command("CLUSTER", *command)

    def close(self) -> None:
        """Kill it and remove its data."""
        self.client.close()
        super().close()


class Clustered:
    """Three primaries that share the slots, and a replica of the one that holds the log of `keys`."""

    def __init__(self, keys: Keys) -> None:
        self.slot = key_slot(keys.events.encode())
        self.nodes = [Node() for _ in range(4)]
        *self.primaries, self.replica = self.nodes
        first, second, _ = self.primaries
        self.url = f"redis+cluster://127.0.0.1:{first.port},127.0.0.1:{second.port}"
        for number, node in enumerate(self.primaries):
            node.ask("ADDSLOTSRANGE", number * SLOTS // 3, (number + 1) * SLOTS // 3 - 1)
            node.ask("SET-CONFIG-EPOCH", number + 1)
        for node in self.nodes[1:]:
            node.ask("MEET", "127.0.0.1", first.port, first.bus)
        holder = self.primaries[self.slot * 3 // SLOTS]
        wait_until(lambda: holder.id.encode() in self.replica.ask("NODES"), what="the replica to meet the others")
        self.replica.ask("REPLICATE", holder.id)
        self._until_all(lambda node: [len(row) for row in self._rows(node)] == [4])
        self._until_all(lambda node: b"cluster_state:ok" in node.ask("INFO"))

    def holds(self, node: Node) -> bool:
        """Whether `node` is the one that takes writes to the log, as all see it."""
        return all([row[2][1] for row in self._rows(each)] == [node.port] for each in self.nodes)

    def holder(self) -> Node:
        """The node that takes writes to the log."""
        node: Node = wait_until(lambda: next(filter(self.holds, self.nodes), None), what="the cluster to agree")
        return node

    def others(self) -> list[Node]:
        """The primaries that do not."""
        return [node for node in self.primaries if node is not self.holder()]

    def lose(self, node: Node) -> None:
        """Kill a node for good."""
        self.nodes.remove(node)
        node.close()

    def move(self, target: Node, meanwhile: Callable[[], None]) -> None:
        """Move the log's slot to `target` as `redis-cli --cluster reshard` does, key by key; between two keys, when
        the log is in two places, `meanwhile` is called."""
        source = self.holder()
        target.ask("SETSLOT", self.slot, "IMPORTING", source.id)
        source.ask("SETSLOT", self.slot, "MIGRATING", target.id)
        while keys := source.ask("GETKEYSINSLOT", self.slot, 1):
            source.client.execute_command("MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)
            meanwhile()
        for node in (target, source, *self.primaries):
            node.ask("SETSLOT", self.slot, "NODE", target.id)
        wait_until(lambda: self.holds(target), what="the slot to have moved")

    def move_at_once(self, target: Node) -> bool:
        """The same, as Valkey does from version 9 on: in one piece. Returns whether the server can."""
        source = self.holder()
        try:
            source.ask("MIGRATESLOTS", "SLOTSRANGE", self.slot, self.slot, "NODE", target.id)
        except redis.ResponseError:
            return False
        wait_until(lambda: self.holds(target), what="the slot to have moved")
        return True

    def _rows(self, node: Node) -> list[Any]:
        return [row for row in node.ask("SLOTS") if row[0] <= self.slot <= row[1]]

    def _until_all(self, condition: Callable[[Node], bool]) -> None:
        wait_until(lambda: all(map(condition, self.nodes)), what="the cluster")

    def close(self) -> None:
        """End everything."""
        for node in self.nodes:
            node.close()
