"""A cluster of three primaries: real ones, on loopback."""

from collections.abc import Callable
from typing import Any

import redis
from etlog_events.keys import Keys
from etlog_events.store import connect
from redis.crc import key_slot
from servers import Server, free_port, wait_until

SLOTS = 16384


class Node(Server):
    """One node, with a client of its own that is not led elsewhere."""

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
    """Three primaries that share the slots, and a replica of the one that holds the log of `keys` where wanted."""

    def __init__(self, keys: Keys, *, replica: bool = False) -> None:
        self.slot = key_slot(keys.events.encode())
        self.primaries = [Node() for _ in range(3)]
        bounds = [0, SLOTS // 3, 2 * SLOTS // 3, SLOTS]
        first = self.primaries[0]
        for epoch, node in enumerate(self.primaries, start=1):
            node.ask("ADDSLOTSRANGE", bounds[epoch - 1], bounds[epoch] - 1)
            node.ask("SET-CONFIG-EPOCH", epoch)
            node.ask("MEET", "127.0.0.1", first.port, first.bus)
        self.nodes = list(self.primaries)
        self._until_all(lambda node: b"cluster_state:ok" in node.ask("INFO"))
        self.replica: Node | None = None
        if replica:
            self.replica = node = Node()
            self.nodes.append(node)
            node.ask("MEET", "127.0.0.1", first.port, first.bus)
            holder = self.holder()
            wait_until(lambda: holder.id.encode() in node.ask("NODES"), what="the replica to be met")
            node.ask("REPLICATE", holder.id)
            self._until_all(lambda each: len(self._row(each)) == 4)
        self.url = f"redis+cluster://127.0.0.1:{first.port},127.0.0.1:{self.primaries[1].port}"

    def holder(self) -> Node:
        """The primary that holds the log."""
        return self._by_port(self._row(self.primaries[0])[2][1])

    def others(self) -> list[Node]:
        """The primaries that do not."""
        return [node for node in self.primaries if node is not self.holder()]

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
        self._until_all(lambda node: self._by_port(self._row(node)[2][1]) is target)

    def move_at_once(self, target: Node) -> bool:
        """The same, as Valkey does from version 9 on: in one piece. Returns whether the server can."""
        source = self.holder()
        try:
            source.ask("MIGRATESLOTS", "SLOTSRANGE", self.slot, self.slot, "NODE", target.id)
        except redis.ResponseError:
            return False
        self._until_all(lambda node: self._by_port(self._row(node)[2][1]) is target)
        return True

    def _row(self, node: Node) -> Any:
        rows = node.ask("SLOTS")
        return next(row for row in rows if row[0] <= self.slot <= row[1])

    def _by_port(self, port: int) -> Node:
        return next(node for node in self.nodes if node.port == port)

    def _until_all(self, condition: Callable[[Node], bool]) -> None:
        wait_until(lambda: all(map(condition, self.nodes)), what="the cluster")

    def close(self) -> None:
        """End everything."""
        for node in self.nodes:
            node.close()
