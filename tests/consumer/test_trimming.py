"""Retention: applied entries leave the stream in time, and none before it is applied."""

import pytest
import redis
from etlog_consumer.retention import Retention
from etlog_events.keys import Keys
from hypothesis import given, settings
from hypothesis import strategies as st
from support.consumers import CaughtUp, Consuming, Publish
from support.samples import saved
from support.servers import wait_until
from support.stream import entries, numbers, stats

#: Entries in one node of a stream, by the store's default.
NODE = 100


@pytest.mark.parametrize("retain", [0, 1, 150, 1000])
def test_the_stream_stays_as_long_as_it_should(
    client: redis.Redis,
    keys: Keys,
    publish: Publish,
    consuming: Consuming,
    caught_up: CaughtUp,
    retain: int,
) -> None:
    """All that is retained is there, and at most a node more."""
    with consuming(retain=retain):
        for _ in range(4):
            publish([saved(size) for size in range(700)])
            caught_up()
            length = client.xlen(keys.events)
            assert length <= retain + NODE
        assert numbers(client, keys)[length - retain :] == list(range(2801 - retain, 2801))


def test_an_entry_that_is_not_applied_stays(
    client: redis.Redis, keys: Keys, publish: Publish, consuming: Consuming, caught_up: CaughtUp
) -> None:
    """However long no consumer was there, and however little is retained."""
    publish([saved(size) for size in range(500)])
    with consuming(retain=0):
        caught_up()
    publish([saved(size) for size in range(5000)])

    assert client.xlen(keys.events) >= 5000
    with consuming(retain=0):
        caught_up()

    assert stats(client, keys) == {"applied": 5500}
    assert client.xlen(keys.events) <= NODE


def test_a_consumer_that_comes_anew_goes_on_trimming(
    client: redis.Redis, keys: Keys, publish: Publish, consuming: Consuming, caught_up: CaughtUp
) -> None:
    """It finds the marks again, and may be told to retain less than the one before."""
    publish([saved(size) for size in range(6000)])
    with consuming(retain=5000):
        caught_up()
    assert client.xlen(keys.events) >= 5000

    with consuming(retain=200):
        publish([saved()])
        caught_up()

    assert client.xlen(keys.events) <= 200 + NODE
    assert len(entries(client, keys)) >= 200


def test_a_log_to_which_nothing_comes_is_trimmed_as_well(
    client: redis.Redis, keys: Keys, publish: Publish, consuming: Consuming, caught_up: CaughtUp
) -> None:
    """A consumer that is told to retain less need not wait for the next event."""
    publish([saved(size) for size in range(3000)])
    with consuming(retain=2000):
        caught_up()
    assert client.xlen(keys.events) >= 2000

    with consuming(retain=150):
        wait_until(lambda: client.xlen(keys.events) <= 150 + NODE, what="the stream to be trimmed")

    assert numbers(client, keys)[-150:] == list(range(2851, 3001))


@given(st.integers(0, 500), st.lists(st.integers(1, 1000), min_size=1, max_size=10))
@settings(deadline=None)
def test_the_mark_never_passes_what_is_retained(retain: int, batches: list[int]) -> None:
    """Whatever the batches: entries from the mark on are enough, and not much more than enough."""
    retention = Retention(retain)
    applied: list[bytes] = []
    mark = None
    for size in batches:
        ids = [b"%d-0" % (len(applied) + place) for place in range(1, size + 1)]
        applied += ids
        retention.applied(ids)
        mark = retention.trim() or mark

    kept = applied[applied.index(mark) :] if mark is not None else applied
    assert len(kept) >= min(retain, len(applied))
    assert len(kept) <= max(retain, 1) + NODE
