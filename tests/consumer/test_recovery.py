"""What others did to the log's keys: it is recognized, named in one log line, counted, and work goes on."""

from collections.abc import Sequence
from time import time
from typing import Any

import pytest
import redis
from etlog.verification import verify
from etlog_consumer import recovery
from etlog_consumer.batch import Gap
from etlog_consumer.recovery import Progress, Recovery
from etlog_events.keys import GROUP, Keys
from etlog_events.sequence import RETIRE_AFTER
from etlog_events.store import connect
from etlog_producer.publish import Publisher
from support.consumers import consumer_thread
from support.log import Log
from support.logged import Logged
from support.samples import saved
from support.servers import Server, wait_until
from support.stream import listed, stats

EVENTS = [saved(size) for size in range(10)]


@pytest.fixture(autouse=True)
def quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The log is looked after all the time."""
    monkeypatch.setattr(recovery, "EVERY", 0.05)


def look(client: redis.Redis, keys: Keys) -> Sequence[Gap]:
    """One look after the log."""
    progress, recovering = Progress(), Recovery(client, keys)
    recovering.load(progress)
    return recovering.look(progress)


def test_entries_deleted_from_the_end_are_lost_without_waiting_for_more(log: Log, logged: Logged) -> None:
    """The producer may never publish again."""
    log.publish(EVENTS)
    for entry in log.entries()[6:]:
        log.client.xdel(log.keys.events, entry.id)
    assert log.verify().faults == ["4 events of p are neither applied nor counted nor in the stream"]

    with log.consuming():
        wait_until(lambda: "lost" in log.stats(), what="the loss to be counted")
        log.publish(EVENTS[:2])
        wait_until(lambda: log.stats()["applied"] == 8, what="the log to go on")

    assert log.stats() == {"applied": 8, "lost": 4}
    assert logged("events_lost") == ["Lost: events 7 to 10 of producer p never arrived"]
    assert log.verify().faults == []


def test_a_stream_that_was_trimmed_by_others_has_lost_the_rest(log: Log) -> None:
    """While no consumer was there."""
    log.publish(EVENTS * 10)
    log.client.xtrim(log.keys.events, maxlen=30, approximate=False)

    with log.consuming():
        wait_until(lambda: log.stats().get("applied") == 30, what="the rest to be applied")

    assert log.stats() == {"applied": 30, "lost": 70}


@pytest.mark.parametrize("while_idle", [True, False])
def test_an_emptied_store_is_a_new_log(server: Server, keys: Keys, logged: Logged, while_idle: bool) -> None:
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


def test_a_deleted_stream_goes_on(log: Log, logged: Logged) -> None:
    """With ids after the cursor, and what was not applied is lost."""
    log.publish(EVENTS)
    with log.consuming():
        log.caught_up()
        log.client.delete(log.keys.events)
        wait_until(lambda: log.client.exists(log.keys.events), what="the stream to be made again")
        log.publish(EVENTS)
        wait_until(lambda: log.stats()["applied"] == 20, what="the log to go on")

    log.client.delete(log.keys.events)
    log.publish(EVENTS)
    log.client.delete(log.keys.events)
    with log.consuming():
        wait_until(lambda: "lost" in log.stats(), what="the loss to be counted")

    assert log.stats() == {"applied": 20, "lost": 10}
    assert len(logged("stream_gone")) == 2
    assert log.verify().faults == []


def test_a_destroyed_group_is_made_again(log: Log, logged: Logged) -> None:
    """Idle or at work."""
    log.publish(EVENTS)
    with log.consuming():
        log.caught_up()
        log.client.xgroup_destroy(log.keys.events, GROUP)
        wait_until(lambda: logged("group_gone"), what="it to be noticed")
        assert log.group()["last-delivered-id"] == log.client.get(log.keys.cursor)
        log.client.xgroup_destroy(log.keys.events, GROUP)
        log.publish(EVENTS)
        wait_until(lambda: log.stats()["applied"] == 20, what="the log to go on")

    assert log.group()["lag"] == 0
    assert len(logged("group_gone")) == 2


@pytest.mark.parametrize("mirror", ["as it was restored", "ahead as well", "gone"])
def test_a_cursor_ahead_of_the_stream_goes_back_and_doubles_nothing(log: Log, logged: Logged, mirror: str) -> None:
    """The stream is of an older backup than the rest: what is in it again is recognized by its number."""
    log.publish(EVENTS)
    log.apply()
    restored = log.client.dump(log.keys.events)
    log.publish(EVENTS)
    log.apply()
    log.client.delete(log.keys.events)
    log.client.restore(log.keys.events, 0, restored)  # type: ignore[arg-type]
    if mirror == "ahead as well":
        log.client.xgroup_setid(log.keys.events, GROUP, log.client.get(log.keys.cursor))  # type: ignore[arg-type]
    elif mirror == "gone":
        log.client.xgroup_destroy(log.keys.events, GROUP)

    with log.consuming():
        wait_until(lambda: logged("cursor_ahead"), what="it to be noticed")
        log.publish(EVENTS[:5])
        wait_until(lambda: log.stats()["applied"] == 25, what="the log to go on")
        log.caught_up()

    assert log.counters() == {"AllocationSetSaved": 25}
    assert log.listed("allocation") == EVENTS + EVENTS + EVENTS[:5]
    assert log.stats().get("duplicate", 0) == (0 if mirror == "as it was restored" else 10)
    assert len(logged("cursor_ahead")) == 1
    assert log.verify().faults == []


def test_accounts_are_closed_only_after_the_cursor_is_repaired(server: Server, keys: Keys) -> None:
    """Even if the store knows only the script that closes them: before, all that waits would count as lost."""
    with connect(server.url, part="test") as client:
        Publisher(client, keys)("p", 1, EVENTS)
        client.xgroup_create(keys.events, GROUP, "0")
        client.set(keys.cursor, "9999999999999-0")
        client.script_flush()
        client.script_load(recovery.PRUNE.text)

        progress = Progress(cursor=b"9999999999999-0")
        losses = Recovery(client, keys).look(progress)

        assert losses == []
        assert stats(client, keys) == {}
        assert progress.cursor == b"0-0"


def test_a_deleted_cursor_is_taken_from_its_mirror(log: Log, logged: Logged) -> None:
    """Entries without a number are not applied again, either."""
    log.client.xadd(log.keys.events, {"event": EVENTS[0]})
    log.publish(EVENTS)
    with log.consuming():
        log.caught_up()
        log.client.delete(log.keys.cursor)
        wait_until(lambda: logged("cursor_gone"), what="it to be noticed")
        log.publish(EVENTS)
        wait_until(lambda: log.stats()["applied"] == 21, what="the log to go on")

    assert log.stats() == {"applied": 21, "unnumbered": 1}


def test_the_records_of_idle_producers_retire_and_stay_in_the_sums(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only when all that was published is applied; much later their numbers are forgotten, but not the sums."""
    publish = Publisher(log.client, log.keys)
    publish("idle", 1, [EVENTS[0], b"{}", EVENTS[1]])
    publish("lossy", 3, EVENTS, skip=True)
    log.apply()
    publish("waiting", 1, EVENTS)
    for producer in ("idle", "lossy", "waiting"):
        log.client.hset(log.keys.producers, f"{producer}:seen", 1)
    monkeypatch.setattr(recovery, "REMEMBERED", 10.0**10)

    look(log.client, log.keys)

    names: Any = log.client.hkeys(log.keys.producers)
    assert {name.rpartition(b":")[0] for name in names} == {b"waiting"}
    assert log.client.hgetall(log.keys.retired) == {b"idle": b"3 1 0 1", b"lossy": b"12 0 2 1"}
    found = log.verify()
    assert found.faults == []
    assert (found.retired.published, found.retired.applied, found.retired.dead, found.retired.lost) == (15, 12, 1, 2)
    assert found.total.published == 25

    monkeypatch.setattr(recovery, "REMEMBERED", 1.0)
    look(log.client, log.keys)

    assert not log.client.exists(log.keys.retired)
    found = log.verify()
    assert found.faults == []
    assert (found.pruned.published, found.pruned.applied, found.pruned.dead, found.pruned.lost) == (15, 12, 1, 2)
    assert (found.retired.published, found.total.published) == (0, 25)
    log.apply()
    assert log.verify().faults == []


@pytest.mark.parametrize("by_hand", [False, True], ids=["by the script", "numbered by hand"])
def test_a_producer_goes_on_where_it_was_before_it_retired(log: Log, by_hand: bool) -> None:
    """What it sends again is a duplicate, what follows on is no loss, and its record is whole again."""
    publish = Publisher(log.client, log.keys)
    publish("p", 1, [*EVENTS, b"{}"])
    with log.consuming():
        log.caught_up()
        log.client.hset(log.keys.producers, "p:seen", int((time() - 2 * RETIRE_AFTER) * 1000))
        wait_until(lambda: log.client.exists(log.keys.retired), what="the record to retire")
        if by_hand:
            log.client.hdel(log.keys.producers, "p:published")
            for number in (11, 12):
                log.client.xadd(log.keys.events, {"event": EVENTS[0], "producer": "p", "seq": number})
        else:
            assert publish("p", 1, [*EVENTS, b"{}"]).held == 11
            assert publish("p", 11, [b"{}", EVENTS[0]]).held == 12
        wait_until(lambda: log.counters() == {"AllocationSetSaved": 11}, what="the new event to be applied")
        log.caught_up()

    assert log.stats() == {"applied": 11, "dead": 1} | ({"duplicate": 1} if by_hand else {})
    assert not log.client.exists(log.keys.retired)
    record = log.client.hgetall(log.keys.producers)
    assert (record[b"p:applied"], record[b"p:dead"]) == (b"12", b"1")
    assert log.verify().faults == []


def test_a_producer_that_is_not_idle_keeps_its_record(log: Log, caplog: pytest.LogCaptureFixture) -> None:
    """It may publish at any time."""
    log.publish(EVENTS)
    log.apply()
    before = log.client.hgetall(log.keys.producers)

    assert look(log.client, log.keys) == []

    assert caplog.records == []  # nothing was repaired, either
    assert log.client.hgetall(log.keys.producers) == before


@pytest.mark.parametrize("broken", ["producers", "stats", "retired"])
def test_a_key_of_another_type_leaves_every_account_open(log: Log, broken: str) -> None:
    """A loss is counted as a whole, in the record and in the sums, or not at all; so it is counted later."""
    log.publish(EVENTS[:3])
    log.client.xtrim(log.keys.events, maxlen=0)
    log.client.hset(log.keys.producers, mapping={"idle:applied": 1, "idle:published": 1, "idle:seen": 1})
    kept = f"{log.keys.contract}:kept"
    log.client.hset(getattr(log.keys, broken), "present", 1)
    log.client.rename(getattr(log.keys, broken), kept)
    log.client.set(getattr(log.keys, broken), "not a hash")
    before = log.client.dump(log.keys.producers)

    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        look(log.client, log.keys)
    assert log.client.dump(log.keys.producers) == before

    log.client.rename(kept, getattr(log.keys, broken))
    [gap] = look(log.client, log.keys)
    assert len(gap) == 3
    assert log.stats()["lost"] == 3
