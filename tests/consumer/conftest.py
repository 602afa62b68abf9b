"""Consumers as processes, and a way into the stream past the producer."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack

import pytest
import redis
from etlog_events.keys import Keys
from etlog_producer.publish import Publisher
from support.consumers import CaughtUp, Consuming, Publish, StartConsumer, consumer_process
from support.log import Log


@pytest.fixture
def start_consumer(store_url: str, keys: Keys) -> Iterator[StartConsumer]:
    """Starts a consumer on the test's log as a process of its own; none outlives the test."""
    with ExitStack() as started:
        yield lambda *options: started.enter_context(consumer_process(store_url, keys.name, *options))


@pytest.fixture
def publish(client: redis.Redis, keys: Keys) -> Publish:
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


@pytest.fixture
def log(client: redis.Redis, keys: Keys, publish: Publish, consuming: Consuming, caught_up: CaughtUp) -> Log:
    """The test's log."""
    return Log(client, keys, publish, consuming, caught_up)
