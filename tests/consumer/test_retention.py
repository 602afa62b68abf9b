"""Retention: applied entries leave the stream in time, and none before it is applied."""

import pytest
import redis
from etlog_consumer.retention import STEP, WALK, Retention
from etlog_events.keys import Keys
from support.consumers import CaughtUp, Consuming, Publish
from support.samples import saved
from support.servers import wait_until
from support.stream import counters, group, raw_entries

#: Entries that may stay beyond those that are to be retained: those up to the next mark, a node of the stream.
SLACK = STEP


def ids(first: int, last: int) -> list[bytes]:
    """Ids of entries."""
    return [b"%d-0" % number for number in range(first, last + 1)]


def test_a_long_stream_is_trimmed_while_it_is_applied(
    client: redis.Redis, keys: Keys, publish: Publish, consuming: Consuming, caught_up: CaughtUp
) -> None:
    """To what is retained, and not much more."""
    with consuming(retain=500):
        publish([saved(size) for size in range(5000)])
        caught_up()

    assert 500 <= client.xlen(keys.events) <= 500 + SLACK
    assert counters(client, keys) == {"AllocationSetSaved": 5000}


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


def test_unapplied_entries_never_go(
    client: redis.Redis, keys: Keys, publish: Publish, consuming: Consuming, caught_up: CaughtUp
) -> None:
    """With nothing to be retained, the consumer stops in between, and all that came later is still there."""
    with consuming(retain=0):
        publish([saved(size) for size in range(1000)])
        caught_up()
    publish([saved(size) for size in range(1000, 2500)])

    cursor = client.get(keys.cursor)
    assert isinstance(cursor, bytes)
    assert [fields[b"event"] for _, fields in raw_entries(client, keys, after=cursor)] == [
        saved(size) for size in range(1000, 2500)
    ]

    with consuming(retain=0):
        caught_up()
    assert client.xlen(keys.events) <= SLACK
    assert counters(client, keys) == {"AllocationSetSaved": 2500}


def test_nothing_goes_before_there_is_enough(
    client: redis.Redis, keys: Keys, publish: Publish, consuming: Consuming, caught_up: CaughtUp
) -> None:
    """Less than what is to be retained stays as it is."""
    with consuming(retain=5000):
        publish([saved(size) for size in range(3000)])
        caught_up()

    assert client.xlen(keys.events) == 3000


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


def test_a_mark_is_never_past_what_was_applied() -> None:
    """However few entries are to be retained and however the batches fall."""
    for retain in (0, 1, 99, 100, 101, 250):
        retention = Retention(retain)
        applied = 0
        for size in (1, 7, 100, 101, 333, 1000, 1, 1):
            retention.applied(ids(applied + 1, applied + size))
            applied += size
            mark = retention.trim()
            if mark is not None:
                # Entries before the mark go: those that stay are the mark and what is after it.
                stay = applied - int(mark.split(b"-")[0]) + 1
                assert retain <= stay
                assert stay >= 1


def test_marks_keep_up_with_what_was_applied() -> None:
    """What stays exceeds what is to be retained by no more than a batch's worth of steps."""
    retention = Retention(1000)
    applied, oldest = 0, 1
    for _ in range(50):
        retention.applied(ids(applied + 1, applied + 700))
        applied += 700
        mark = retention.trim()
        if mark is not None:
            oldest = int(mark.split(b"-")[0])

    assert 1000 <= applied - oldest + 1 <= 1000 + STEP


def test_single_entries_are_trimmed_as_well(client: redis.Redis, keys: Keys) -> None:
    """A quiet log whose batches are of one entry each: what stays does not grow without bounds."""
    retention = Retention(10)
    trimmed = None
    for number in range(1, 501):
        retention.applied(ids(number, number))
        trimmed = retention.trim() or trimmed

    assert trimmed is not None
    assert 10 <= 500 - int(trimmed.split(b"-")[0]) + 1 <= 10 + STEP


@pytest.mark.parametrize("count", [0, 1, STEP, WALK - 1, WALK, WALK + 1, 2 * WALK + 50])
def test_a_new_start_marks_what_was_applied_before(client: redis.Redis, keys: Keys, count: int) -> None:
    """However long the stream is, marks stand along its applied entries, none past the cursor."""
    with client.pipeline(transaction=False) as pipe:
        for number in range(1, count + 11):
            pipe.xadd(keys.events, {"event": b""}, id=f"{number}-0")
        pipe.execute()
    cursor = b"%d-0" % count
    for retain in (0, 1, 150, WALK, 10**6):
        retention = Retention(retain)
        retention.start(client, keys.events, cursor)

        mark = retention.trim()

        stay = count if mark is None else count - int(mark.split(b"-")[0]) + 1
        assert stay >= min(retain, count)
        if count > retain + STEP and retain > 0:
            assert mark is None or stay <= retain + STEP


def test_trimming_waits_for_no_consumer_group_of_others(
    client: redis.Redis, keys: Keys, publish: Publish, consuming: Consuming
) -> None:
    """Somebody else may read the stream under a group of theirs; ours is not disturbed by it."""
    client.xgroup_create(keys.events, "others", mkstream=True)
    with consuming(retain=100):
        publish([saved(size) for size in range(1500)])
        wait_until(lambda: counters(client, keys) == {"AllocationSetSaved": 1500}, what="all to be applied")
        wait_until(lambda: client.xlen(keys.events) <= 100 + SLACK, what="the stream to be trimmed")

    assert group(client, keys)["lag"] == 0
