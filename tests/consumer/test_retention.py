"""Retention: applied entries leave the stream in time, and none before it is applied."""

import pytest
import redis
from etlog_consumer.retention import SCAN, STEP, Retention
from etlog_events.keys import Keys
from hypothesis import given, settings
from hypothesis import strategies as st
from support.log import Log
from support.samples import saved
from support.servers import wait_until
from support.stream import raw_entries

#: Entries that may stay beyond those that are to be retained: those up to the next mark, a node of the stream.
SLACK = STEP


@pytest.mark.parametrize("retain", [0, 1, 150, 1000])
def test_the_stream_stays_as_long_as_it_should(log: Log, retain: int) -> None:
    """All that is retained is there, and at most a node more."""
    with log.consuming(retain=retain):
        for run in range(1, 5):
            log.publish([saved(size) for size in range(700)])
            log.caught_up()
            length = log.client.xlen(log.keys.events)
            assert min(retain, 700 * run) <= length <= retain + SLACK
        assert log.numbers()[length - retain :] == list(range(2801 - retain, 2801))
    assert log.counters() == {"AllocationSetSaved": 2800}


def test_a_backlog_is_trimmed_once_it_is_applied(log: Log) -> None:
    """The stream keeps every entry as long as no consumer runs, however few are to be retained."""
    with log.consuming(retain=500):
        log.publish([saved(size) for size in range(100)])
        log.caught_up()
    log.publish([saved(size) for size in range(5000)])
    assert log.client.xlen(log.keys.events) == 5100

    log.apply(retain=500)

    assert 500 <= log.client.xlen(log.keys.events) <= 500 + SLACK
    assert log.counters() == {"AllocationSetSaved": 5100}


def test_restarts_do_not_keep_the_stream_from_being_trimmed(log: Log) -> None:
    """A consumer that starts anew finds the entries that were applied before it."""
    for run in range(1, 6):
        with log.consuming(retain=500):
            log.publish([saved(size) for size in range(330)])
            log.caught_up()
        assert min(330 * run, 500) <= log.client.xlen(log.keys.events) <= 500 + SLACK

    assert log.counters() == {"AllocationSetSaved": 5 * 330}


def test_an_entry_that_is_not_applied_stays(log: Log) -> None:
    """However long no consumer was there, and however little is retained."""
    with log.consuming(retain=0):
        log.publish([saved(size) for size in range(1000)])
        log.caught_up()
    log.publish([saved(size) for size in range(1000, 6000)])

    cursor = log.client.get(log.keys.cursor)
    assert isinstance(cursor, bytes)
    assert [fields[b"event"] for _, fields in raw_entries(log.client, log.keys, after=cursor)] == [
        saved(size) for size in range(1000, 6000)
    ]

    log.apply(retain=0)
    assert log.client.xlen(log.keys.events) <= SLACK
    assert log.stats() == {"applied": 6000}


def test_nothing_goes_before_there_is_enough(log: Log) -> None:
    """Less than what is to be retained stays as it is."""
    with log.consuming(retain=5000):
        log.publish([saved(size) for size in range(3000)])
        log.caught_up()

    assert log.client.xlen(log.keys.events) == 3000


def test_a_consumer_may_be_told_to_retain_less(log: Log) -> None:
    """Than the one before: it finds the marks again."""
    log.publish([saved(size) for size in range(6000)])
    log.apply(retain=5000)
    assert log.client.xlen(log.keys.events) >= 5000

    with log.consuming(retain=200):
        log.publish([saved()])
        log.caught_up()

    assert log.client.xlen(log.keys.events) <= 200 + SLACK
    assert len(log.entries()) >= 200


def test_a_log_to_which_nothing_comes_is_trimmed_as_well(log: Log) -> None:
    """A consumer that is told to retain less need not wait for the next event."""
    log.publish([saved(size) for size in range(3000)])
    log.apply(retain=2000)
    assert log.client.xlen(log.keys.events) >= 2000

    with log.consuming(retain=150):
        wait_until(lambda: log.client.xlen(log.keys.events) <= 150 + SLACK, what="the stream to be trimmed")

    assert log.numbers()[-150:] == list(range(2851, 3001))


def test_the_lag_stays_right_while_the_stream_is_trimmed(log: Log) -> None:
    """What was trimmed counts as read."""
    with log.consuming(retain=100):
        log.publish([saved(size) for size in range(2000)])
        log.caught_up()
    log.publish([saved(size) for size in range(7)])

    assert log.group()["entries-read"] == 2000
    assert log.group()["lag"] == 7


def test_trimming_waits_for_no_consumer_group_of_others(log: Log) -> None:
    """Others may read the stream under a group of theirs, which does not disturb that of etlog."""
    log.client.xgroup_create(log.keys.events, "others", mkstream=True)
    with log.consuming(retain=100):
        log.publish([saved(size) for size in range(1500)])
        wait_until(lambda: log.counters() == {"AllocationSetSaved": 1500}, what="all to be applied")
        wait_until(lambda: log.client.xlen(log.keys.events) <= 100 + SLACK, what="the stream to be trimmed")

    assert log.group()["lag"] == 0


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
