"""Retention: applied entries leave the stream in time, and none before it is applied."""

import random
from itertools import pairwise

import pytest
from etlog_consumer.recovery import Progress, Recovery
from support.log import Log
from support.samples import saved
from support.servers import wait_until
from support.stream import raw_entries

#: Events that may stay beyond those that are to be retained: those up to the next place to trim at, and the rest of an
#: entry or two.
SLACK = 2000

SIZES = pytest.mark.parametrize("size", [1, 100, 500, None])


@SIZES
@pytest.mark.parametrize("retain", [0, 1, 150, 1000])
def test_the_stream_stays_as_long_as_it_should(log: Log, retain: int, size: int | None) -> None:
    """All events that are retained are there, and not many more, however many there are in an entry."""
    with log.consuming(retain=retain):
        for run in range(1, 7):
            log.publish([saved(size) for size in range(700)], size)
            log.caught_up()
            held = len(log.numbers())
            assert min(retain, 700 * run) <= held <= retain + SLACK
        assert log.numbers() == list(range(4201 - held, 4201))
    assert log.counters() == {"AllocationSetSaved": 4200}


@SIZES
def test_a_backlog_is_trimmed_once_it_is_applied(log: Log, size: int | None) -> None:
    """The stream keeps every entry as long as no consumer runs, however few are to be retained."""
    with log.consuming(retain=500):
        log.publish([saved(size) for size in range(100)])
        log.caught_up()
    log.publish([saved(size) for size in range(5000)], size)
    assert len(log.numbers()) == 5100

    log.apply(retain=500)

    assert 500 <= len(log.numbers()) <= 500 + SLACK
    assert log.counters() == {"AllocationSetSaved": 5100}


def test_restarts_do_not_keep_the_stream_from_being_trimmed(log: Log) -> None:
    """A consumer that starts anew finds the entries that were applied before it."""
    for run in range(1, 16):
        with log.consuming(retain=500):
            log.publish([saved(size) for size in range(330)])
            log.caught_up()
        assert min(330 * run, 500) <= len(log.numbers()) <= 500 + SLACK

    assert log.counters() == {"AllocationSetSaved": 15 * 330}


def test_an_entry_that_is_not_applied_stays(log: Log) -> None:
    """However long no consumer was there, and however little is retained."""
    with log.consuming(retain=0):
        log.publish([saved(size) for size in range(1000)])
        log.caught_up()
    log.publish([saved(size) for size in range(1000, 6000)])

    cursor = log.client.get(log.keys.cursor)
    assert isinstance(cursor, bytes)
    behind = {entry_id for entry_id, _ in raw_entries(log.client, log.keys, after=cursor)}
    assert [entry.event for entry in log.entries() if entry.id.partition(b".")[0] in behind] == [
        saved(size) for size in range(1000, 6000)
    ]

    log.apply(retain=0)
    assert len(log.numbers()) <= SLACK
    assert log.stats() == {"applied": 6000}


def test_nothing_goes_before_there_is_enough(log: Log) -> None:
    """Less than what is to be retained stays as it is."""
    with log.consuming(retain=5000):
        log.publish([saved(size) for size in range(3000)])
        log.caught_up()

    assert len(log.numbers()) == 3000


def test_a_consumer_may_be_told_to_retain_less(log: Log) -> None:
    """Than the one before: the places to trim at are in the store."""
    log.publish([saved(size) for size in range(6000)])
    log.apply(retain=5000)
    assert len(log.numbers()) >= 5000

    with log.consuming(retain=200):
        log.publish([saved()])
        log.caught_up()

    assert 200 <= len(log.numbers()) <= 200 + SLACK


def test_a_log_to_which_nothing_comes_is_trimmed_as_well(log: Log) -> None:
    """A consumer that is told to retain less need not wait for the next event."""
    log.publish([saved(size) for size in range(3000)])
    log.apply(retain=2000)
    assert len(log.numbers()) >= 2000

    with log.consuming(retain=150):
        wait_until(lambda: len(log.numbers()) < 1500, what="the stream to be trimmed")

    assert log.numbers()[-150:] == list(range(2851, 3001))


def test_the_lag_stays_right_while_the_stream_is_trimmed(log: Log) -> None:
    """What was trimmed counts as read."""
    with log.consuming(retain=100):
        log.publish([saved(size) for size in range(4000)], 4)
        log.caught_up()
    log.publish([saved(size) for size in range(7)], 1)

    assert len(log.numbers()) < 3000
    assert log.group()["entries-read"] == 1000
    assert log.group()["lag"] == 7


def test_trimming_waits_for_no_consumer_group_of_others(log: Log) -> None:
    """Others may read the stream under a group of theirs, which does not disturb that of etlog."""
    log.client.xgroup_create(log.keys.events, "others", mkstream=True)
    with log.consuming(retain=100):
        log.publish([saved(size) for size in range(3500)])
        wait_until(lambda: log.counters() == {"AllocationSetSaved": 3500}, what="all to be applied")
        wait_until(lambda: len(log.numbers()) <= 100 + SLACK, what="the stream to be trimmed")

    assert log.group()["lag"] == 0


def test_dead_letters_and_duplicates_are_events_that_the_stream_holds(log: Log) -> None:
    """They count for what is retained, or a log of nothing else would never be trimmed."""
    with log.consuming(retain=500):
        for _ in range(3):
            log.publish([b"{}"] * 1000, 100)
            for _, fields in raw_entries(log.client, log.keys)[:15]:
                log.client.xadd(log.keys.events, fields)  # type: ignore[arg-type]
            log.caught_up()

    assert log.stats()["dead"] == 3000
    assert log.stats()["duplicate"] > 1000
    assert 500 <= len(log.numbers()) <= 500 + SLACK


def test_less_to_retain_is_trimmed_in_slices(log: Log) -> None:
    """At most twenty places at each look, some 20,000 events, for the store does nothing else meanwhile."""
    log.publish([saved(size) for size in range(55_000)], 100)
    log.apply(retain=100_000)
    lengths = [550]

    while lengths[-1:] != lengths[-2:-1]:
        Recovery(log.client, log.keys, retain=1000).load(Progress())
        lengths.append(log.client.xlen(log.keys.events))

    assert len(lengths) >= 5
    assert all(before - after <= 20 * 10 for before, after in pairwise(lengths))
    assert log.numbers() == list(range(55_001 - len(log.numbers()), 55_001))
    assert 1000 <= len(log.numbers()) <= 1000 + SLACK


@pytest.mark.parametrize("harm", ["deleted", "of the stats", "by hand"])
def test_places_to_trim_at_that_somebody_touched_let_nothing_go_too_early(log: Log, harm: str) -> None:
    """Where there are none, the stream stays until there are new ones."""
    log.publish([saved(size) for size in range(3000)], 10)
    log.apply(retain=10_000)
    if harm == "deleted":
        log.client.delete(log.keys.trim)
    elif harm == "of the stats":
        log.client.hset(log.keys.stats, "applied", 10)
        log.client.hset(log.keys.counters, "AllocationSetSaved", 10)
    else:
        log.client.zadd(log.keys.trim, {"nonsense": 1, "9999999999999-0": 2, "1-1": 3, "": 4})

    with log.consuming(retain=2000):
        for _ in range(8):
            log.publish([saved(size) for size in range(700)], 10)
            log.caught_up()
            assert len(log.numbers()) >= 2000

    assert log.stats()["applied"] in {3000 + 5600, 10 + 5600}
    assert len(log.numbers()) <= 2000 + SLACK
    assert log.numbers()[-1] == 8600


def test_what_is_retained_is_right_whatever_the_batches_are(log: Log) -> None:
    """And whatever is retained, by one consumer after another: never too little, nor anything that is not applied."""
    chance = random.Random(20220603)
    published, kept_before = 0, 0
    for _ in range(25):
        retain = chance.choice([0, 1, 99, 1000, 1500, 4000])
        with log.consuming(retain=retain):
            for _ in range(chance.randrange(1, 4)):
                number = chance.choice([1, 99, 100, 101, 700, 1900])
                log.publish([saved(size) for size in range(number)], chance.choice([1, 7, 100, 500, None]))
                published += number
            log.caught_up()
        held = log.numbers()
        assert held == list(range(published + 1 - len(held), published + 1))
        assert len(held) >= min(retain, kept_before)
        kept_before = len(held)
    assert log.stats() == {"applied": published}
