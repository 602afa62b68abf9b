"""What others did to the log's keys: it is recognized, named in one log line, counted, and work goes on."""

import logging
from collections.abc import Callable
from time import time
from typing import Any

import pytest
import redis
from etlog.verify import verify
from etlog_consumer import progress, recovery
from etlog_consumer.recovery import Findings, Housekeeping
from etlog_events.keys import GROUP, Keys
from etlog_events.sequence import RETIRE_AFTER
from etlog_events.store import connect
from etlog_producer.publish import Publisher
from support.consumers import CaughtUp, Consuming, Publish, consumer_thread
from support.samples import saved
from support.servers import Server, wait_until
from support.stream import counters, entries, group, listed, stats

EVENTS = [saved(size) for size in range(10)]


@pytest.fixture(autouse=True)
def quick_looks(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """The log is looked after all the time."""
    monkeypatch.setattr(recovery, "EVERY", 0.05)
    caplog.set_level(logging.INFO, "etlog.consumer")


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Callable[[str], list[str]]:
    """The log lines of an action."""
    return lambda action: [r.getMessage() for r in caplog.records if getattr(r, "action", None) == action]


def look(client: redis.Redis, keys: Keys) -> Findings:
    """One look after the log."""
    active, _ = progress.load(client, keys)
    return Housekeeping(client, keys).look(active)


def test_entries_that_others_deleted_are_lost(
    client: redis.Redis, keys: Keys, publish: Publish, consuming: Consuming, logged: Callable[[str], list[str]]
) -> None:
    """Which ones, the numbers tell; the others are applied."""
    publish(EVENTS)
    ids = [entry.id for entry in entries(client, keys)]
    client.xdel(keys.events, ids[0], ids[3], ids[4])

    with consuming():
        wait_until(lambda: stats(client, keys).get("applied") == 7, what="the rest to be applied")

    assert stats(client, keys) == {"applied": 7, "lost": 3}
    assert logged("events_lost") == [
        "Lost: events 1 to 1 of producer p never arrived",
        "Lost: events 4 to 5 of producer p never arrived",
    ]
    assert verify(client, keys).faults == []


def test_entries_deleted_from_the_end_are_lost_without_waiting_for_more(
    client: redis.Redis, keys: Keys, publish: Publish, consuming: Consuming, logged: Callable[[str], list[str]]
) -> None:
    """The producer may never publish again."""
    publish(EVENTS)
    for entry in entries(client, keys)[6:]:
        client.xdel(keys.events, entry.id)
    assert verify(client, keys).faults == ["4 events of p are neither applied nor counted nor in the stream"]

    with consuming():
        wait_until(lambda: "lost" in stats(client, keys), what="the loss to be counted")
        publish(EVENTS[:2])
        wait_until(lambda: stats(client, keys)["applied"] == 8, what="the log to go on")

    assert stats(client, keys) == {"applied": 8, "lost": 4}
    assert logged("events_lost") == ["Lost: events 7 to 10 of producer p never arrived"]
    assert verify(client, keys).faults == []


def test_a_stream_that_was_trimmed_by_others_has_lost_the_rest(
    client: redis.Redis, keys: Keys, publish: Publish, consuming: Consuming
) -> None:
    """While no consumer was there."""
    publish(EVENTS * 10)
    client.xtrim(keys.events, maxlen=30, approximate=False)

    with consuming():
        wait_until(lambda: stats(client, keys).get("applied") == 30, what="the rest to be applied")

    assert stats(client, keys) == {"applied": 30, "lost": 70}


@pytest.mark.parametrize("while_idle", [True, False])
def test_an_emptied_store_is_a_new_log(
    server: Server, keys: Keys, logged: Callable[[str], list[str]], while_idle: bool
) -> None:
    """FLUSHALL: what was is gone with its numbers, what comes is applied; the producer's past is lost."""
    with connect(server.url, part="test") as client:
        publish = Publisher(client, keys)
        publish("p", 1, EVENTS)
        with consumer_thread(server.url, keys, cap=100, retain=10, name="first"):
            wait_until(lambda: stats(client, keys).get("applied") == 10, what="all to be applied")
            client.flushall()
            if while_idle:
                wait_until(lambda: logged("log_gone"), what="it to be noticed")
            assert publish("p", 11, EVENTS[:3]).gap
            publish("p", 11, EVENTS[:3], skip=True)
            wait_until(lambda: stats(client, keys).get("applied") == 3, what="the log to go on")

        assert stats(client, keys) == {"applied": 3, "lost": 10}
        assert listed(client, keys, "allocation") == EVENTS[:3]
        assert verify(client, keys).faults == []
        assert len(logged("log_gone")) == 1


def test_a_deleted_stream_goes_on(
    client: redis.Redis,
    keys: Keys,
    publish: Publish,
    consuming: Consuming,
    caught_up: CaughtUp,
    logged: Callable[[str], list[str]],
) -> None:
    """With ids after the cursor, and what was not applied is lost."""
    publish(EVENTS)
    with consuming():
        caught_up()
        client.delete(keys.events)
        wait_until(lambda: client.exists(keys.events), what="the stream to be made again")
        publish(EVENTS)
        wait_until(lambda: stats(client, keys)["applied"] == 20, what="the log to go on")

    client.delete(keys.events)
    publish(EVENTS)
    client.delete(keys.events)
    with consuming():
        wait_until(lambda: "lost" in stats(client, keys), what="the loss to be counted")

    assert stats(client, keys) == {"applied": 20, "lost": 10}
    assert len(logged("stream_gone")) == 2
    assert verify(client, keys).faults == []


def test_a_destroyed_group_is_made_again(
    client: redis.Redis,
    keys: Keys,
    publish: Publish,
    consuming: Consuming,
    caught_up: CaughtUp,
    logged: Callable[[str], list[str]],
) -> None:
    """Idle or at work."""
    publish(EVENTS)
    with consuming():
        caught_up()
        client.xgroup_destroy(keys.events, GROUP)
        wait_until(lambda: logged("group_gone"), what="it to be noticed")
        assert group(client, keys)["last-delivered-id"] == client.get(keys.cursor)
        client.xgroup_destroy(keys.events, GROUP)
        publish(EVENTS)
        wait_until(lambda: stats(client, keys)["applied"] == 20, what="the log to go on")

    assert group(client, keys)["lag"] == 0
    assert len(logged("group_gone")) == 2


@pytest.mark.parametrize("mirror", ["as it was restored", "ahead as well", "gone"])
def test_a_cursor_ahead_of_the_stream_goes_back_and_doubles_nothing(
    client: redis.Redis,
    keys: Keys,
    publish: Publish,
    consuming: Consuming,
    caught_up: CaughtUp,
    logged: Callable[[str], list[str]],
    mirror: str,
) -> None:
    """The stream is of an older backup than the rest: what is in it again is recognized by its number."""
    publish(EVENTS)
    with consuming():
        caught_up()
    restored = client.dump(keys.events)
    publish(EVENTS)
    with consuming():
        caught_up()
    client.delete(keys.events)
    client.restore(keys.events, 0, restored)  # type: ignore[arg-type]
    if mirror == "ahead as well":
        client.xgroup_setid(keys.events, GROUP, client.get(keys.cursor))  # type: ignore[arg-type]
    elif mirror == "gone":
        client.xgroup_destroy(keys.events, GROUP)

    with consuming():
        wait_until(lambda: logged("cursor_ahead"), what="it to be noticed")
        publish(EVENTS[:5])
        wait_until(lambda: stats(client, keys)["applied"] == 25, what="the log to go on")
        caught_up()

    assert counters(client, keys) == {"AllocationSetSaved": 25}
    assert listed(client, keys, "allocation") == EVENTS + EVENTS + EVENTS[:5]
    assert stats(client, keys).get("duplicate", 0) == (0 if mirror == "as it was restored" else 10)
    assert len(logged("cursor_ahead")) == 1
    assert verify(client, keys).faults == []


def test_a_deleted_cursor_is_taken_from_its_mirror(
    client: redis.Redis,
    keys: Keys,
    publish: Publish,
    consuming: Consuming,
    caught_up: CaughtUp,
    logged: Callable[[str], list[str]],
) -> None:
    """Entries without a number are not applied again, either."""
    client.xadd(keys.events, {"event": EVENTS[0]})
    publish(EVENTS)
    with consuming():
        caught_up()
        client.delete(keys.cursor)
        wait_until(lambda: logged("cursor_gone"), what="it to be noticed")
        publish(EVENTS)
        wait_until(lambda: stats(client, keys)["applied"] == 21, what="the log to go on")

    assert stats(client, keys) == {"applied": 21, "unnumbered": 1}


def test_the_records_of_idle_producers_retire_and_stay_in_the_sums(
    client: redis.Redis,
    keys: Keys,
    consuming: Consuming,
    caught_up: CaughtUp,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Only when all that was published is applied; much later their numbers are forgotten, but not the sums."""
    publish = Publisher(client, keys)
    publish("idle", 1, [EVENTS[0], b"{}", EVENTS[1]])
    publish("lossy", 3, EVENTS, skip=True)
    with consuming():
        caught_up()
    publish("waiting", 1, EVENTS)
    for producer in ("idle", "lossy", "waiting"):
        client.hset(keys.producers, f"{producer}:seen", 1)
    monkeypatch.setattr(recovery, "REMEMBERED", 10.0**10)

    look(client, keys)

    names: Any = client.hkeys(keys.producers)
    assert {name.rpartition(b":")[0] for name in names} == {b"waiting"}
    assert client.hgetall(keys.retired) == {b"idle": b"3 1 0 1", b"lossy": b"12 0 2 1"}
    found = verify(client, keys)
    assert found.faults == []
    assert (found.retired.published, found.retired.applied, found.retired.dead, found.retired.lost) == (15, 12, 1, 2)
    assert found.total.published == 25

    monkeypatch.setattr(recovery, "REMEMBERED", 1.0)
    look(client, keys)

    assert not client.exists(keys.retired)
    found = verify(client, keys)
    assert found.faults == []
    assert (found.pruned.published, found.pruned.applied, found.pruned.dead, found.pruned.lost) == (15, 12, 1, 2)
    assert (found.retired.published, found.total.published) == (0, 25)
    with consuming():
        caught_up()
    assert verify(client, keys).faults == []


@pytest.mark.parametrize("by_hand", [False, True], ids=["by the script", "numbered by hand"])
def test_a_producer_goes_on_where_it_was_before_it_retired(
    client: redis.Redis, keys: Keys, consuming: Consuming, caught_up: CaughtUp, by_hand: bool
) -> None:
    """What it sends again is a duplicate, what follows on is no loss, and its record is whole again."""
    publish = Publisher(client, keys)
    publish("p", 1, [*EVENTS, b"{}"])
    with consuming():
        caught_up()
        client.hset(keys.producers, "p:seen", int((time() - 2 * RETIRE_AFTER) * 1000))
        wait_until(lambda: client.exists(keys.retired), what="the record to retire")
        if by_hand:
            client.hdel(keys.producers, "p:published")
            for number in (11, 12):
                client.xadd(keys.events, {"event": EVENTS[0], "producer": "p", "seq": number})
        else:
            assert publish("p", 1, [*EVENTS, b"{}"]).held == 11
            assert publish("p", 11, [b"{}", EVENTS[0]]).held == 12
        wait_until(lambda: counters(client, keys) == {"AllocationSetSaved": 11}, what="the new event to be applied")
        caught_up()

    assert stats(client, keys) == {"applied": 11, "dead": 1} | ({"duplicate": 1} if by_hand else {})
    assert not client.exists(keys.retired)
    record = client.hgetall(keys.producers)
    assert (record[b"p:applied"], record[b"p:dead"]) == (b"12", b"1")
    assert verify(client, keys).faults == []


def test_a_producer_that_is_not_idle_keeps_its_record(
    client: redis.Redis, keys: Keys, publish: Publish, consuming: Consuming, caught_up: CaughtUp
) -> None:
    """It may publish at any time."""
    publish(EVENTS)
    with consuming():
        caught_up()
    before = client.hgetall(keys.producers)

    assert look(client, keys).mended == []

    assert client.hgetall(keys.producers) == before
