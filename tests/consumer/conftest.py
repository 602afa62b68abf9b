"""Consumers in threads and as processes, and a way into the stream past the producer."""

import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager

import pytest
import redis
from etlog_consumer import Consumer, consumer
from etlog_events.keys import Keys
from etlog_producer.publish import Publisher
from support.processes import consumer_process


@pytest.fixture(autouse=True)
def stop_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A consumer in a thread sees a stop within milliseconds, even when its log is idle."""
    monkeypatch.setattr(consumer, "BLOCK_MS", 20)


@pytest.fixture
def running() -> Callable[..., AbstractContextManager[None]]:
    """`with running(consumer, …):` runs consumers in threads."""

    @contextmanager
    def run(*consumers: Consumer) -> Iterator[None]:
        stop = threading.Event()
        threads = [threading.Thread(target=each.run, args=(stop,)) for each in consumers]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stop.set()
            for thread in threads:
                thread.join()

    return run


@pytest.fixture
def start_consumer(store_url: str, keys: Keys) -> Iterator[Callable[..., "subprocess.Popen[bytes]"]]:
    """Starts a consumer on the test's log as a process of its own; none outlives the test."""
    with ExitStack() as started:
        yield lambda *options: started.enter_context(consumer_process(store_url, keys.name, *options))


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
