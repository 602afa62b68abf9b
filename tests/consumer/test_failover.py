"""Failover under load: one consumer is active, another takes over, and every event is counted once."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import redis
from etlog.verification import verify
from etlog_events.event import Event
from etlog_events.keys import Keys
from support.consumers import Process, StartConsumer
from support.emitters import Emitter
from support.servers import wait_until
from support.stream import listed, stats


@contextmanager
def loaded(url: str, keys: Keys, client: redis.Redis) -> Iterator[Emitter]:
    """A stage emits some 2,000 events a second meanwhile; at the end all of them are applied, once, and in order."""
    load = Emitter(url, keys.name, "load", pause=0.002)
    try:
        yield load
    finally:
        emitted = load.end()
    wait_until(lambda: stats(client, keys).get("applied") == emitted, what="all to be applied")
    assert stats(client, keys) == {"applied": emitted}
    sizes = [Event.decode(text).metadata["size"] for text in listed(client, keys, "allocation")]
    assert sizes == list(range(emitted - 999, emitted + 1))
    assert verify(client, keys).faults == []


@pytest.fixture
def pair(client: redis.Redis, keys: Keys, start_consumer: StartConsumer) -> tuple[Process, Process]:
    """An active consumer, and one that stands by."""
    active = start_consumer("--name", "first")
    wait_until(lambda: client.get(keys.lease) == b"first", what="the first consumer to become active")
    standby = start_consumer("--name", "second")
    wait_until(lambda: _consumers(client) >= 2, what="the second consumer to stand by")
    return active, standby


@pytest.mark.timed
@pytest.mark.parametrize(
    ("signal_number", "within"),
    [(signal.SIGTERM, 1.0), (signal.SIGKILL, 6.0), (signal.SIGSTOP, 6.0)],
    ids=["stopped cleanly", "killed", "hung"],
)
def test_a_standby_takes_over(
    store_url: str,
    client: redis.Redis,
    keys: Keys,
    pair: tuple[Process, Process],
    signal_number: signal.Signals,
    within: float,
) -> None:
    """Before anyone waits long: nothing is applied for so many seconds at the most."""
    active, _ = pair
    with loaded(store_url, keys, client):
        wait_until(lambda: stats(client, keys).get("applied", 0) > 1000, what="the load to be applied")

        active.send_signal(signal_number)
        gone = time.monotonic()
        wait_until(lambda: client.get(keys.lease) == b"second", what="the standby to hold the lease")
        after = stats(client, keys)["applied"]
        wait_until(lambda: stats(client, keys)["applied"] > after, what="the standby to apply")

        assert time.monotonic() - gone < within
        if signal_number == signal.SIGTERM:
            assert active.wait(10) == 0


def test_one_that_hung_does_no_harm_when_it_wakes(
    store_url: str, client: redis.Redis, keys: Keys, pair: tuple[Process, Process]
) -> None:
    """It comes back to a log that another one has carried on, is told so, and stands by."""
    active, _ = pair
    with loaded(store_url, keys, client):
        for _ in range(2):
            wait_until(lambda: stats(client, keys).get("applied", 0) > 1000, what="the load to be applied")
            active.send_signal(signal.SIGSTOP)
            wait_until(lambda: client.get(keys.lease) == b"second", what="the standby to take over")
            active.send_signal(signal.SIGCONT)

        after = stats(client, keys)["applied"]
        wait_until(lambda: stats(client, keys)["applied"] > after + 1000, what="the load to be applied")

        assert client.get(keys.lease) == b"second"
        assert active.poll() is None


def test_two_that_both_hold_themselves_active_do_no_harm(
    store_url: str, client: redis.Redis, keys: Keys, pair: tuple[Process, Process]
) -> None:
    """The lease is lost again and again; the fenced cursor decides."""
    with loaded(store_url, keys, client) as load:
        for _ in range(8):
            client.delete(keys.lease)
            load.go_on(400)


def _consumers(client: redis.Redis) -> int:
    return sum(connection["name"] == "etlog-consumer" for connection in client.client_list())
