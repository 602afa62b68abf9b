"""Consumers as processes, and a way into the stream past the producer."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack

import pytest
import redis
from etlog_events import publishing, scripts
from etlog_events.keys import Keys
from support.consumers import CaughtUp, Consuming, Publish, StartConsumer, consumer_process
from support.log import Log
from support.samples import batches

#: Batches that travel together.
CALLS = 200


@pytest.fixture
def start_consumer(store_url: str, keys: Keys) -> Iterator[StartConsumer]:
    """Starts a consumer on the test's log as a process of its own; none outlives the test."""
    with ExitStack() as started:
        yield lambda *options: started.enter_context(consumer_process(store_url, keys.name, *options))


@pytest.fixture
def publish(client: redis.Redis, keys: Keys) -> Publish:
    """Appends texts as the producer `p` would, numbered on from its last; they need not be events."""
    sent = 0

    def send(texts: Sequence[bytes], size: int | None = None) -> None:
        nonlocal sent
        calls = []
        for batch in batches(texts, size):
            calls.append(publishing.FUNCTION.call(keys.publishing, ("p", "", "", sent + 1, "follow", *batch)))
            sent += len(batch)
        for first in range(0, len(calls), CALLS):
            scripts.run(client, *calls[first : first + CALLS])

    return send


@pytest.fixture
def log(client: redis.Redis, keys: Keys, publish: Publish, consuming: Consuming, caught_up: CaughtUp) -> Log:
    """The test's log."""
    return Log(client, keys, publish, consuming, caught_up)
