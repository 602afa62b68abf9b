"""The script that appends a batch: each event once, in order, or nothing at all."""

from collections.abc import Callable

import pytest
import redis
from etlog_events.keys import Keys
from etlog_events.store import connect
from etlog_producer.publish import Published, Publisher
from support.samples import saved
from support.servers import Server
from support.stream import entries, numbers, raw_entries

BATCH = [saved(size) for size in range(5)]


@pytest.fixture
def publish(client: redis.Redis, keys: Keys) -> Publisher:
    """The script on the test's log."""
    return Publisher(client, keys)


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
    """The batch is refused as a whole, and goes through when the key is mended."""
    client.set(key(keys), "not what it should be")

    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        publish("p", 1, BATCH)

    assert client.exists(keys.events, keys.producers) == 1
    client.delete(key(keys))
    assert publish("p", 1, BATCH) == Published(held=5, gap=False)


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
