"""The producer and a store that fails: what was accepted arrives once, and the stage does not notice."""

import logging
import threading
import time
from urllib.parse import urlsplit

import pytest
import redis
from etlog_events.keys import Keys
from etlog_events.store import connect
from etlog_producer import Producer, backlog
from proxy import Proxy
from samples import WINDOW
from servers import Server, free_port, wait_until
from stream import entries, numbers


def emit(producer: Producer, *sizes: int) -> None:
    """Emit events that are told apart by their sizes."""
    for size in sizes:
        producer.emit("AssetSetSaved", size=size, window=WINDOW)


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
            wait_until(lambda first=first: client.xlen(keys.events) > first, what="some of the events to arrive")
            proxy.cut()

        assert producer.flush(20)
        assert [(entry.seq, entry.metadata["size"]) for entry in entries(client, keys)] == [
            (size + 1, size) for size in range(3000)
        ]


def test_late_replies_delay_nobody(proxy: Proxy, client: redis.Redis, keys: Keys) -> None:
    """Emitting is as fast as ever while every reply takes its time."""
    with Producer(proxy.url, log=keys.name) as producer:
        emit(producer, 0)
        assert producer.flush(10)
        proxy.delay_replies(0.3)

        started = time.perf_counter()
        emit(producer, *range(1, 500))
        assert time.perf_counter() - started < 0.25

        assert producer.flush(10)
        assert numbers(client, keys) == list(range(1, 501))


def test_a_store_that_starts_later_gets_the_events(server: Server, keys: Keys) -> None:
    """Emitting is fast and raises nothing while it is down; its absence and its return are logged once each."""
    server.kill()
    with Producer(server.url, log=keys.name) as producer:
        started = time.perf_counter()
        emit(producer, *range(1000))
        assert time.perf_counter() - started < 0.25
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

    assert [record.__dict__["action"] for record in caplog.records] == ["publish_failed", "publish_recovered"]


def test_a_store_that_hangs_delays_nobody(server: Server, keys: Keys) -> None:
    """A stopped process accepts connections and never answers; what is emitted meanwhile arrives afterwards."""
    with Producer(server.url, log=keys.name) as producer:
        emit(producer, 0)
        assert producer.flush(10)
        server.stop()

        started = time.perf_counter()
        emit(producer, *range(1, 500))
        assert time.perf_counter() - started < 0.25
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
            assert [(entry.seq, entry.metadata["size"]) for entry in entries(client, keys)] == [
                (size + 1, size) for size in range(601)
            ]


def test_a_store_that_lost_its_tail_gets_it_again(
    producer: Producer, client: redis.Redis, keys: Keys, caplog: pytest.LogCaptureFixture
) -> None:
    """A replica was promoted without the last events: stream and number are set back."""
    caplog.set_level(logging.INFO, "etlog.producer")
    emit(producer, *range(10))
    assert producer.flush(10)
    for entry in entries(client, keys)[4:]:
        client.xdel(keys.events, entry.id)
    client.hset(keys.producers, f"{producer.id}:published", 4)

    emit(producer, 10)

    assert producer.flush(10)
    assert [(entry.seq, entry.metadata["size"]) for entry in entries(client, keys)] == [
        (size + 1, size) for size in range(11)
    ]
    assert "The store lost events 5 to 10; they are sent again" in caplog.messages


def test_a_store_that_lost_everything_gets_it_again(producer: Producer, client: redis.Redis, keys: Keys) -> None:
    """As long as it is still kept."""
    emit(producer, *range(1200))
    assert producer.flush(10)
    client.delete(keys.events, keys.producers)

    emit(producer, 1200)

    assert producer.flush(10)
    assert numbers(client, keys) == list(range(1, 1202))


def test_what_is_no_longer_kept_is_skipped(
    producer: Producer,
    client: redis.Redis,
    keys: Keys,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The rest follows under its own numbers, so that the hole shows, and the producer says which events it is."""
    monkeypatch.setattr(backlog, "KEEP_EVENTS", 3)
    emit(producer, *range(10))
    assert producer.flush(10)
    client.delete(keys.events, keys.producers)

    emit(producer, 10)

    assert producer.flush(10)
    assert numbers(client, keys) == [8, 9, 10, 11]
    [lost] = [record for record in caplog.records if record.__dict__.get("action") == "events_lost"]
    assert (lost.__dict__["first"], lost.__dict__["last"]) == (1, 7)


def test_a_flush_after_a_loss_waits_for_what_is_sent_again(producer: Producer, client: redis.Redis, keys: Keys) -> None:
    """The numbers before the loss do not count."""
    emit(producer, *range(100))
    assert producer.flush(10)
    client.delete(keys.events, keys.producers)
    emit(producer, 100)

    assert producer.flush(10)
    assert client.xlen(keys.events) == 101


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
    assert closed.endswith(f"; 0 dropped, 0 lost; the store is redis://127.0.0.1:{port}/0")
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
