"""The sender and a store that fails: what was accepted arrives once, and the stage does not notice."""

import logging
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis
from etlog_events import store
from etlog_events.keys import Keys
from etlog_events.store import connect
from etlog_producer import Producer
from support.producers import emit, numbered
from support.proxy import Proxy
from support.servers import Server, free_port, wait_until
from support.stream import numbers


def emit_in_time(producer: Producer, *sizes: int, within: float = 1.0) -> None:
    """Emit an event of each size; all that takes less than `within` seconds, whatever the store does."""
    started = time.perf_counter()
    emit(producer, *sizes)
    assert time.perf_counter() - started < within


def test_a_batch_whose_reply_was_lost_is_counted_once(proxy: Proxy, client: redis.Redis, keys: Keys) -> None:
    """The store has the batch, the producer does not know, and sends it again."""
    with Producer(proxy.url, log=keys.name) as producer:
        emit(producer, 1)
        assert producer.flush(10)

        proxy.swallow_replies(True)
        emit(producer, 2, 3, 4)
        wait_until(lambda: proxy.swallowed, what="a reply to get lost")
        assert client.xlen(keys.events) > 1
        proxy.swallow_replies(False)
        proxy.cut()

        assert producer.flush(10)
        assert numbers(client, keys) == [1, 2, 3, 4]


def test_connections_that_break_again_and_again_lose_nothing(proxy: Proxy, client: redis.Redis, keys: Keys) -> None:
    """Wherever the break falls: before the request, between request and reply, or after it."""
    with Producer(proxy.url, log=keys.name) as producer:
        for first in range(0, 3000, 250):
            emit(producer, *range(first, first + 250))
            arrived = partial(lambda first: int(client.hget(keys.stats, "published") or 0) > first, first)
            wait_until(arrived, what="some of the events to arrive")
            proxy.cut()

        assert producer.flush(20)
        assert numbered(client, keys) == [(size + 1, size) for size in range(3000)]


@pytest.mark.timed
def test_late_replies_do_not_delay_emit(proxy: Proxy, client: redis.Redis, keys: Keys) -> None:
    """Emitting is as fast as ever while every reply takes its time."""
    with Producer(proxy.url, log=keys.name) as producer:
        emit(producer, 0)
        assert producer.flush(10)
        proxy.delay_replies(0.3)

        emit_in_time(producer, *range(1, 500))

        assert producer.flush(10)
        assert numbers(client, keys) == list(range(1, 501))


@pytest.mark.timed
def test_a_store_that_starts_later_gets_the_events(server: Server, keys: Keys) -> None:
    """Emitting is fast and raises nothing while it is down; its absence and its return are logged once each."""
    server.kill()
    with Producer(server.url, log=keys.name) as producer:
        emit_in_time(producer, *range(1000))
        assert not producer.flush(0.1)

        server.start()

        assert producer.flush(20)
        with connect(server.url, part="test") as client:
            assert numbers(client, keys) == list(range(1, 1001))


def test_an_outage_is_logged_once_at_each_end(server: Server, keys: Keys, caplog: pytest.LogCaptureFixture) -> None:
    """However many attempts there were."""
    caplog.set_level(logging.WARNING, "etlog.producer")
    server.kill()
    with Producer(server.url, log=keys.name) as producer:
        emit(producer, 1)
        assert not producer.flush(0.5)
        assert "refused" in str(producer.last_error)
        server.start()
        assert producer.flush(20)
        assert producer.last_error is None

    assert [record.__dict__["action"] for record in caplog.records] == ["store_away", "store_back"]


@pytest.mark.timed
def test_a_store_that_hangs_does_not_delay_emit(server: Server, keys: Keys) -> None:
    """A stopped process accepts connections and never answers; what is emitted meanwhile arrives afterwards."""
    with Producer(server.url, log=keys.name) as producer:
        emit(producer, 0)
        assert producer.flush(10)
        server.stop()

        emit_in_time(producer, *range(1, 500))
        assert not producer.flush(0.1)

        server.resume()
        assert producer.flush(20)
        with connect(server.url, part="test") as client:
            assert numbers(client, keys) == list(range(1, 501))


def test_a_restart_in_between_loses_nothing(server: Server, keys: Keys) -> None:
    """Killed before its last second was on disk, the store gets from the producer what it lost."""
    with Producer(server.url, log=keys.name) as producer:
        for first in range(0, 600, 200):
            emit(producer, *range(first, first + 200))
            assert producer.flush(20)
            server.kill()
            server.start()
        emit(producer, 600)

        assert producer.flush(20)
        with connect(server.url, part="test") as client:
            assert numbered(client, keys) == [(size + 1, size) for size in range(601)]


@pytest.mark.timed
def test_close_gives_up_in_time_and_says_what_is_undelivered(caplog: pytest.LogCaptureFixture) -> None:
    """The store is down, and its password does not show."""
    port = free_port()
    producer = Producer(f"redis://:hunter2@127.0.0.1:{port}/0", log="absent")
    emit(producer, 1, 2)

    started = time.monotonic()
    producer.close(timeout=0.2)

    assert time.monotonic() - started < 3
    [closed] = [
        message for message in caplog.messages if message.startswith("Closed with 2 events undelivered, kept in")
    ]
    assert f".spool; the store is redis://127.0.0.1:{port}/0. The next producer of this log" in closed
    assert "hunter2" not in caplog.text


def test_a_flush_after_a_close_without_the_store_does_not_hang() -> None:
    """Nothing will be delivered any more, and the answer is no."""
    producer = Producer(f"redis://127.0.0.1:{free_port()}", log="absent")
    emit(producer, 1)
    producer.close(timeout=0)
    answers: list[bool] = []

    flushing = threading.Thread(target=lambda: answers.append(producer.flush()), daemon=True)
    flushing.start()
    flushing.join(3)

    assert answers == [False]


def test_a_flush_that_waits_ends_with_a_close(server: Server, keys: Keys) -> None:
    """A thread that waits for the store does not wait for a producer that gave up."""
    server.kill()
    producer = Producer(server.url, log=keys.name)
    emit(producer, 1)
    answers: list[bool] = []
    flushing = threading.Thread(target=lambda: answers.append(producer.flush()), daemon=True)
    flushing.start()

    producer.close(timeout=0.1)
    flushing.join(3)

    assert answers == [False]


def test_a_refusing_store_gets_the_events_when_it_takes_them(server: Server, keys: Keys) -> None:
    """Read-only, as a replica is until it is promoted."""
    with connect(server.url, part="test") as client, Producer(server.url, log=keys.name) as producer:
        client.replicaof("127.0.0.1", str(free_port()))
        emit(producer, *range(50))
        assert not producer.flush(0.2)

        client.replicaof("NO", "ONE")

        assert producer.flush(20)
        assert numbers(client, keys) == list(range(1, 51))


def test_the_address_of_the_proxy_is_not_that_of_the_server(proxy: Proxy, store_url: str) -> None:
    """Else these tests would show nothing."""
    assert urlsplit(proxy.url).port != urlsplit(store_url).port


def test_no_outage_makes_the_sender_spin(server: Server, keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the store says: attempts become rare, with one log line for all of them."""
    with connect(server.url, part="test") as client, Producer(server.url, log=keys.name) as producer:
        client.config_set("maxmemory", "1")
        emit(producer, *range(100))
        wait_until(lambda: producer.stats().retries >= 5, what="some attempts")
        started = time.monotonic()
        before = producer.stats().retries
        wait_until(lambda: producer.stats().retries > before, what="one more attempt")

        assert time.monotonic() - started > 0.2
        client.config_set("maxmemory", "0")
        assert producer.flush(20)


@pytest.mark.timed
@pytest.mark.parametrize("outage", ["down", "full", "read-only", "password", "silent", "loading"])
def test_in_every_outage_emit_goes_on_and_each_end_is_one_line(
    server: Server, keys: Keys, outage: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And all that was emitted meanwhile arrives."""
    caplog.set_level(logging.WARNING, "etlog.producer")
    monkeypatch.setattr(store, "ANSWER_TIMEOUT", 0.3)
    monkeypatch.setattr(store, "connect", partial(store.connect, answer_timeout=0.3))
    begin, end = outages(server, monkeypatch)[outage]
    with Producer(server.url, log=keys.name) as producer:
        emit(producer, 0)
        assert producer.flush(10)
        begin()
        emit_in_time(producer, *range(1, 500), within=0.25)
        wait_until(lambda: producer.stats().retries >= 3, what="some attempts")
        end()
        assert producer.flush(20)
        assert producer.last_error is None

    assert [record.__dict__["action"] for record in caplog.records] == ["store_away", "store_back"]
    with connect(server.url, part="test") as client:
        assert numbers(client, keys) == list(range(1, 501))


def outages(server: Server, monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[Callable[[], Any], Callable[[], Any]]]:
    """How each begins and ends."""

    def command(*words: str) -> Callable[[], Any]:
        def run() -> None:
            with connect(server.url, part="test") as client:
                client.execute_command(*words)

        return run

    def lock() -> None:
        command("CONFIG", "SET", "requirepass", "sesame")()
        command_as("sesame", "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")

    def command_as(password: str, *words: str) -> None:
        with connect(server.url.replace("//", f"//:{password}@"), part="test") as client:
            client.execute_command(*words)

    def load() -> None:
        """A restart that reads a long file: in between it answers LOADING."""
        with connect(server.url, part="test") as client:
            pipe = client.pipeline(transaction=False)
            for number in range(1000):
                pipe.set(f"filler-{number}", "x" * 2000)
            pipe.execute()
        server.kill()
        slowly = "--key-load-delay", "1500", "--loading-process-events-interval-bytes", "1024"
        monkeypatch.setattr(server, "_options", (*server._options, *slowly))
        loading.append(threading.Thread(target=server.start))
        loading[0].start()

    loading: list[threading.Thread] = []
    return {
        "down": (server.kill, server.start),
        "full": (command("CONFIG", "SET", "maxmemory", "1"), command("CONFIG", "SET", "maxmemory", "0")),
        "read-only": (command("REPLICAOF", "127.0.0.1", str(free_port())), command("REPLICAOF", "NO", "ONE")),
        "password": (lock, lambda: command_as("sesame", "CONFIG", "SET", "requirepass", "")),
        "silent": (server.stop, server.resume),
        "loading": (load, lambda: loading.pop().join()),
    }
