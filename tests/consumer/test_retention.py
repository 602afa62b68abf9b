"""Retention: applied entries leave the stream in time, and none before it is applied."""

import pytest
import redis
from etlog_consumer.retention import SCAN, STEP, Retention
from etlog_events.keys import Keys
from hypothesis import given, settings
from hypothesis import strategies as st
from support.consumers import CaughtUp, Consuming, Publish
from support.samples import saved
from support.servers import wait_until
from support.stream import counters, entries, group, numbers, raw_entries, stats

#: Entries that may stay beyond those that are to be retained: those up to the next mark, a node of the stream.
SLACK = STEP


@pytest.mark.parametrize("retain", [0, 1, 150, 1000])
def test_the_stream_stays_as_long_as_it_should(
    client: redis.Redis, keys: Keys, publish: Publish, consuming: Consuming, caught_up: CaughtUp, retain: int
) -> None:
    """All that is retained is there, and at most a node more."""
    with consuming(retain=retain):
        for run in range(1, 5):
            publish([saved(size) for size in range(700)])
            caught_up()
            length = client.xlen(keys.events)
            assert min(retain, 700 * run) <= length <= retain + SLACK
        assert numbers(client, keys)[length - retain :] == list(range(2801 - retain, 2801))
    assert counters(client, keys) == {"AllocationSetSaved": 2800}


def test_a_backlog_is_trimmed_once_it_is_applied(
    client: redis.Redis, keys: Keys, publish: Publish, consuming: Consuming, caught_up: CaughtUp
) -> None:
    """The stream keeps every entry as long as no consumer runs, however few are to be retained."""
    with consuming(retain=500):
        publish([saved(size) for size in range(100)])
        caught_up()
    publish([saved(size) for size in range(5000)])
    assert client.xlen(keys.events) == 5100

    with consuming(retain=500):
        caught_up()

    assert 500 <= client.xlen(keys.events) <= 500 + SLACK
    assert counters(client, keys) == {"AllocationSetSaved": 5100}


def test_restarts_do_not_keep_the_stream_from_being_trimmed(
    client: redis.Redis, keys: Keys, publish: Publish, consuming: Consuming, caught_up: CaughtUp
) -> None:
    """A consumer that starts anew finds the entries that were applied before it."""
    for run in range(1, 6):
        with consuming(retain=500):
            publish([saved(size) for size in range(330)])
            caught_up()
        assert min(330 * run, 500) <= client.xlen(keys.events) <= 500 + SLACK

    assert counters(client, keys) == {"AllocationSetSaved": 5 * 330}


def test_an_entry_that_is_not_applied_stays(
    client: redis.Redis, keys: Keys, publish: Publish, consuming: Consuming, caught_up: CaughtUp
) -> None:
    """However long no consumer was there, and however little is retained."""
    with consuming(retain=0):
        publish([saved(size) for size in range(1000)])
        caught_up()
    publish([saved(size) for size in range(1000, 6000)])

    cursor = client.get(keys.cursor)
    assert isinstance(cursor, bytes)
    assert [fields[b"event"] for _, fields in raw_entries(client, keys, after=cursor)] == [
        saved(size) for size in range(1000, 6000)
    ]

    with consuming(retain=0):
        caught_up()
    assert client.xlen(keys.events) <= SLACK
    assert stats(client, keys) == {"applied": 6000}


def test_nothing_goes_before_there_is_enough(
    client: redis.Redis, keys: Keys, publish: Publish, consuming: Consuming, caught_up: CaughtUp
) -> None:
    """Less than what is to be retained stays as it is."""
    with consuming(retain=5000):
        publish([saved(size) for size in range(3000)])
        caught_up()

    assert client.xlen(keys.events) == 3000


def test_a_consumer_may_be_told_to_retain_less(
    client: redis.Redis, keys: Keys, publish: Publish, consuming: Consuming, caught_up: CaughtUp
) -> None:
    """Than the one before: it finds the marks again."""
    publish([saved(size) for size in range(6000)])
    with consuming(retain=5000):
        caught_up()
    assert client.xlen(keys.events) >= 5000

    with consuming(retain=200):
        publish([saved()])
        caught_up()

    assert client.xlen(keys.events) <= 200 + SLACK
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
        wait_until(lambda: client.xlen(keys.events) <= 150 + SLACK, what="the stream to be trimmed")

    assert numbers(client, keys)[-150:] == list(range(2851, 3001))


def test_the_lag_stays_right_while_the_stream_is_trimmed(
    client: redis.Redis, keys: Keys, publish: Publish, consuming: Consuming, caught_up: CaughtUp
) -> None:
    """What was trimmed counts as read."""
    with consuming(retain=100):
        publish([saved(size) for size in range(2000)])
        caught_up()
    publish([saved(size) for size in range(7)])

    assert group(client, keys)["entries-read"] == 2000
    assert group(client, keys)["lag"] == 7


def test_trimming_waits_for_no_consumer_group_of_others(
    client: redis.Redis, keys: Keys, publish: Publish, consuming: Consuming
) -> None:
    """Others may read the stream under a group of theirs, which does not disturb that of etlog."""
    client.xgroup_create(keys.events, "others", mkstream=True)
    with consuming(retain=100):
        publish([saved(size) for size in range(1500)])
        wait_until(lambda: counters(client, keys) == {"AllocationSetSaved": 1500}, what="all to be applied")
        wait_until(lambda: client.xlen(keys.events) <= 100 + SLACK, what="the stream to be trimmed")

    assert group(client, keys)["lag"] == 0


@given(
    st.integers(0, 500) | st.sampled_from([99, 100, 101]),
    st.lists(st.integers(1, 1000) | st.sampled_from([1, 99, 100, 101]), min_size=1, max_size=20),
)
@settings(deadline=None)
def test_the_mark_never_passes_what_is_retained(retain: int, batches: list[int]) -> None:
    """Whatever the batches: after each, the entries from the mark on are enough, and not much more than enough."""
    retention = Retention(retain)
    applied: list[bytes] = []
    first = 0  # place of the first entry that stays
    for size in batches:
        ids = [b"%d-0" % (len(applied) + place) for place in range(1, size + 1)]
        applied += ids
        retention.applied(ids)
        mark = retention.trim()
        if mark is not None:
            first = applied.index(mark)
        kept = len(applied) - first
        assert min(retain, len(applied)) <= kept <= max(retain, 1) + SLACK
        assert kept >= 1


@pytest.mark.parametrize("count", [0, 1, STEP, SCAN - 1, SCAN, SCAN + 1, 2 * SCAN + 50])
def test_a_new_start_marks_what_was_applied_before(client: redis.Redis, keys: Keys, count: int) -> None:
    """However long the stream is, marks stand along its applied entries, none past the cursor."""
    with client.pipeline(transaction=False) as pipe:
        for number in range(1, count + 11):
            pipe.xadd(keys.events, {"event": b""}, id=f"{number}-0")
        pipe.execute()
    cursor = b"%d-0" % count
    for retain in (0, 1, 150, SCAN, 10**6):
        retention = Retention(retain)
        retention.start(client, keys.events, cursor)

        mark = retention.trim()

        stay = count if mark is None else count - int(mark.split(b"-")[0]) + 1
        assert stay >= min(retain, count)
        if count > retain + STEP and retain > 0:
            assert mark is None or stay <= retain + STEP
