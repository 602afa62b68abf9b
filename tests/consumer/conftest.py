"""Consumers as processes, and a way into the stream past the producer."""

import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import redis
from etlog_events.keys import Keys
from etlog_producer.publish import Publisher

SCRIPT = Path(__file__).parent / "run_consumer.py"


@pytest.fixture
def start_consumer(store_url: str, keys: Keys) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts a consumer on the test's log as a process of its own; none outlives the test."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*options: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen([sys.executable, str(SCRIPT), store_url, keys.name, *options])
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture
def publish(client: redis.Redis, keys: Keys) -> Callable[[Sequence[bytes]], None]:
    """Appends texts as the producer `p` would, numbered on from its last; they need not be events."""
    publisher = Publisher(client, keys)
    sent = 0

    def send(texts: Sequence[bytes]) -> None:
        nonlocal sent
        for first in range(0, len(texts), 500):
            batch = texts[first : first + 500]
            publisher("p", sent + 1, batch)
            sent += len(batch)

    return send
