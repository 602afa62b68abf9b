"""The ledger at work: a row of each set, changed in the step that applies the events which tell of it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from etlog_consumer import Consumer, Target
from etlog_consumer.batch import MOST_CELLS
from etlog_events.event import Event
from etlog_events.kinds import KUBECOST_KINDS
from etlog_events.store import connect
from support.consumers import consumer_thread, in_threads
from support.log import Log
from support.samples import WINDOW
from support.servers import wait_until

INTERVAL = "2022-06-03T10:00:00Z/2022-06-03T11:00:00Z"


def event(kind: str, at: str, **values: Any) -> bytes:
    """One of the set of the hour from 10, or of the `window` given, at a time of that day."""
    return Event.new(kind, time=f"2022-06-03T{at}Z", **{"window": WINDOW, **values}).encode()


def hour(number: int) -> tuple[datetime, datetime]:
    """An hour, by its number."""
    start = datetime(2022, 6, 3, tzinfo=UTC) + timedelta(hours=number)
    return start, start + timedelta(hours=1)


def saved_hours(*numbers: int) -> list[bytes]:
    """An event for each of these hours."""
    return [event("AllocationSetSaved", "12:00:00", size=1, window=hour(number)) for number in numbers]


def interval(number: int) -> str:
    """The field of an hour."""
    start, end = (time.strftime("%Y-%m-%dT%H:%M:%SZ") for time in hour(number))
    return f"{start}/{end}"


def test_a_row_tells_what_became_of_a_set(log: Log) -> None:
    """In one field that anyone can ask for by the set's window."""
    log.publish(
        [
            event("AllocationSetSaved", "11:00:20", size=97),
            event("AllocationSetLoaded", "10:59:59.5", size=90, metadata={"seconds": 3}),
            event("AllocationSetSaved", "11:04:00.25", size=98, metadata={"seconds": 12.5}),
            event("AllocationSetComputeError", "11:01:00", error="403 Forbidden", metadata={"stage": "Aggregated"}),
            event("AllocationSetComputeError", "11:02:00", error="timeout"),
            event("AllocationSetReconcileError", "12:00:00", error="no prices", window=None),
            event("AssetSetTotaled", "11:10:00"),
        ]
    )
    log.apply()

    text: Any = log.client.hget(log.keys.sets("allocation"), INTERVAL)
    assert text.decode() == (
        '{"Loaded":{"n":1,"first":"2022-06-03T10:59:59.5Z","last":"2022-06-03T10:59:59.5Z","size":90,"seconds":3.0},'
        '"Saved":{"n":2,"first":"2022-06-03T11:00:20Z","last":"2022-06-03T11:04:00.25Z",'
        '"settled":"2022-06-03T11:00:20Z","size":98,"seconds":12.5},'
        '"ComputeError":{"n":1,"first":"2022-06-03T11:02:00Z","last":"2022-06-03T11:02:00Z",'
        '"settled":"2022-06-03T11:02:00Z","error":"timeout"},'
        '"ComputeError.Aggregated":{"n":1,"first":"2022-06-03T11:01:00Z","last":"2022-06-03T11:01:00Z",'
        '"settled":"2022-06-03T11:01:00Z","error":"403 Forbidden"}}'
    )
    assert log.rows() == {
        INTERVAL: log.rows()[INTERVAL],
        "-": {
            "ReconcileError": {
                "n": 1,
                "first": "2022-06-03T12:00:00Z",
                "last": "2022-06-03T12:00:00Z",
                "error": "no prices",
            }
        },
    }
    assert list(log.rows("asset")) == [INTERVAL]
    assert log.unrowed() == {}
    assert log.verify().faults == []


def test_a_row_outlives_the_capped_list(log: Log) -> None:
    """That is what it is for."""
    log.publish(saved_hours(1, 2, 3))
    log.apply(cap=1)

    assert len(log.listed("allocation")) == 1
    assert list(log.rows()) == [interval(1), interval(2), interval(3)]


def test_changes_tell_when_a_row_changed_last(log: Log) -> None:
    """By the number of events applied then, so that a reader asks only for what is new to it."""
    with log.consuming():
        for numbers in ((1, 2), (2, 3), (4,)):
            log.publish(saved_hours(*numbers), len(numbers))
            log.caught_up()

    changes: Any = log.client.zrange(log.keys.changes("allocation"), 0, -1, withscores=True)
    assert {name.decode(): score for name, score in changes} == {
        interval(1): 2,
        interval(2): 4,
        interval(3): 4,
        interval(4): 5,
    }


def test_the_newest_sets_of_a_length_are_kept_and_the_events_of_the_others_counted(log: Log) -> None:
    """A set that was pushed out, and one that comes too late to get a row."""
    with log.consuming(keep_sets=3):
        log.publish(saved_hours(1, 2, 3, 4, 4))
        log.caught_up()
        assert log.rows().keys() == {interval(2), interval(3), interval(4)}
        assert log.unrowed() == {"AllocationSetSaved": 1}
        log.publish(saved_hours(9, 1, 9))
        log.caught_up()

    assert log.rows().keys() == {interval(3), interval(4), interval(9)}
    assert log.unrowed() == {"AllocationSetSaved": 3}
    assert log.client.zcard(log.keys.changes("allocation")) == 3
    assert log.verify().faults == []


def test_a_batch_of_very_many_sets_is_applied_in_steps(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the store is not kept from all else. What is left over comes next, in order."""
    events = saved_hours(*range(3 * MOST_CELLS + 50))
    log.publish(events, 100)
    rows: list[int] = []
    call = Target.call

    def noted(self: Target, batch: Any, changes: Any, *arguments: Any, **options: Any) -> Any:
        rows.append(sum(len(change.put) for change in changes.of_category.values()))
        return call(self, batch, changes, *arguments, **options)

    monkeypatch.setattr(Target, "call", noted)
    log.apply(cap=10_000, keep_sets=10_000)

    assert max(rows) <= MOST_CELLS
    assert log.listed("allocation") == events
    assert len(log.rows()) == len(events)
    assert log.verify().faults == []


def test_a_set_that_comes_and_goes_in_one_step_never_reaches_the_store(log: Log, store_url: str) -> None:
    """Of a flood only what stays is written."""
    with connect(store_url, part="consumer") as client:
        consumer = Consumer(client, Target(log.keys, KUBECOST_KINDS, 10, keep_sets=5), retain=1000)
        assert consumer._ledger.load(b"0-0")
        notes = consumer._collect([(b"1-1", [b"event", *_fields(saved_hours(*range(20)))])]).notes  # type: ignore[union-attr]
        changes = consumer._ledger.changes(notes)

    assert changes is not None
    change = changes.of_category["allocation"]
    assert change.put.keys() == {interval(number) for number in range(15, 20)}
    assert (change.dropped, changes.unrowed) == ([], {"AllocationSetSaved": 15})


def _fields(events: list[bytes]) -> list[bytes]:
    """The fields of an entry with these events, but for the first name."""
    fields = [events[0]]
    for place, text in enumerate(events[1:], 1):
        fields += [b"event.%d" % place, text]
    return fields


def test_a_consumer_that_stands_by_keeps_no_rows(log: Log, store_url: str) -> None:
    """Another one changes them, and a process may stand by for a thousand logs."""
    log.publish(saved_hours(1, 2, 3))
    with consumer_thread(store_url, log.keys) as consumer:
        log.caught_up()
        assert consumer._ledger._rows
        log.client.set(log.keys.lease, "another", px=60_000)
        wait_until(lambda: not consumer._ledger._rows, what="the consumer to stand by")
        log.client.delete(log.keys.lease)
        log.publish(saved_hours(3, 4))
        log.caught_up()

    assert [row["Saved"]["n"] for row in log.rows().values()] == [1, 1, 2, 1]
    assert log.verify().faults == []


def test_a_ledger_of_a_full_store_goes_on(log: Log) -> None:
    """Only what is applied can leave the stream and make room."""
    admin: Any = log.client
    log.publish(saved_hours(1))
    with log.consuming():
        log.caught_up()
        log.publish(saved_hours(1, 2))
        admin.config_set("maxmemory", 1)
        try:
            log.caught_up()
        finally:
            admin.config_set("maxmemory", 0)

    assert [row["Saved"]["n"] for row in log.rows().values()] == [2, 1]


def test_two_consumers_at_once_count_each_event_once(log: Log, store_url: str) -> None:
    """Two that believe to hold the lease: one step of either is refused, and worked out again from the rows as they
    are."""
    target = Target(log.keys, KUBECOST_KINDS, 1000)
    for number in range(40):
        log.publish(saved_hours(number % 4, 4), 1)
    with (
        connect(store_url, part="consumer") as one,
        connect(store_url, part="consumer") as other,
        in_threads(*(Consumer(twin, target, retain=1000, name="twin") for twin in (one, other))),
    ):
        for number in range(100):
            log.publish(saved_hours(number % 4, 4), 1)
        log.caught_up()

    assert {interval: row["Saved"]["n"] for interval, row in sorted(log.rows().items())} == {
        interval(number): 140 if number == 4 else 35 for number in range(5)
    }
    assert log.verify().faults == []


def test_a_key_of_another_type_is_named(log: Log, caplog: pytest.LogCaptureFixture) -> None:
    """And nothing is applied until it is mended."""
    log.client.set(log.keys.changes("asset"), "mine")
    log.publish(saved_hours(1))
    with log.consuming():
        wait_until(lambda: f"{log.keys.changes('asset')} should be a zset" in caplog.text, what="the key to be named")
        assert log.counters() == {}
        log.client.delete(log.keys.changes("asset"))
        log.caught_up()

    assert log.counters() == {"AllocationSetSaved": 1}


def test_what_a_dead_connection_leaves_open_is_read_again(log: Log, store_url: str) -> None:
    """The answer to a batch is lost: it was applied, and what is in memory is worth nothing."""
    with connect(store_url, part="consumer") as client:
        consumer = Consumer(client, Target(log.keys, KUBECOST_KINDS, 1000), retain=1000)
        with in_threads(consumer):
            for number in range(30):
                log.publish(saved_hours(number % 3))
                log.client.client_kill_filter(_type="normal", skipme=True)
            log.caught_up()

    assert [row["Saved"]["n"] for row in log.rows().values()] == [10, 10, 10]
