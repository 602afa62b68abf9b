"""What a producer still has to deliver: numbered without a gap, sent again after a loss, and accounted for."""

import logging

import pytest
import redis
from etlog_events.keys import Keys
from etlog_events.store import connect
from etlog_producer import Producer, delivery, unacked
from support.producers import emit, numbered
from support.servers import Server, wait_until
from support.stream import entries, numbers


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
    assert numbered(client, keys) == [(size + 1, size) for size in range(11)]
    assert "The store lost events 5 to 10; sending them again" in caplog.messages


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
    monkeypatch.setattr(unacked, "KEEP_EVENTS", 3)
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


def test_an_idle_producer_gives_the_store_its_tail_again(server: Server, keys: Keys) -> None:
    """It notices by itself that the store lost its last second: no one has to emit anything."""
    with Producer(server.url, log=keys.name) as producer, connect(server.url, part="test") as client:
        emit(producer, *range(10))
        assert producer.flush(10)
        client.flushall()

        wait_until(lambda: client.xlen(keys.events) == 10, what="the tail to come back")
        assert numbers(client, keys) == list(range(1, 11))


def test_a_producer_that_was_idle_for_long_begins_anew(
    producer: Producer, client: redis.Redis, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store may forget its number in the end; then the next event must not look like a loss."""
    monkeypatch.setattr(unacked, "KEEP_SECONDS", 0.0)
    emit(producer, 1, 2)
    assert producer.flush(10)
    before = producer.id
    wait_until(lambda: not producer._sender._delivery.can_resend, what="the tail to be let go")
    monkeypatch.setattr(delivery, "RENEWED_AFTER", 0.0)
    emit(producer, 3)

    assert producer.flush(10)
    assert producer.id != before
    assert [(entry.producer, entry.seq) for entry in entries(client, keys)] == [
        (before, 1),
        (before, 2),
        (producer.id, 1),
    ]
    stats = producer.stats()
    assert (stats.emitted, stats.delivered, stats.waiting) == (3, 3, 0)
