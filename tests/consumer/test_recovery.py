"""What others did to the log's keys: it is recognized, named in one log line, counted, and work goes on."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import pytest
import redis
from etlog.verification import verify
from etlog_consumer import Consumer, Target, recovery
from etlog_consumer.batch import Entry, Gap
from etlog_consumer.recovery import Progress, Recovery
from etlog_events import publishing
from etlog_events.keys import GROUP, Keys
from etlog_events.kinds import KUBECOST_KINDS
from etlog_events.sequence import REMEMBERED, Record
from etlog_events.store import connect
from etlog_producer.publish import Identity, Publisher
from support.consumers import catch_up, consumer_thread
from support.log import Log
from support.logged import Logged
from support.samples import saved
from support.servers import Server, replica_of, wait_until
from support.stream import Client, listed, raw_entries, stats

EVENTS = [saved(size) for size in range(10)]

P = Identity("p")


@pytest.fixture(autouse=True)
def quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The log is looked after all the time."""
    monkeypatch.setattr(recovery, "EVERY", 0.05)


def look(client: redis.Redis, keys: Keys) -> Sequence[Gap]:
    """One look after the log."""
    progress, recovering = Progress(), Recovery(client, keys, retain=1000)
    recovering.load(progress)
    return recovering.look(progress)


def now(client: redis.Redis) -> int:
    """The store's clock in milliseconds."""
    seconds, microseconds = client.time()
    return int(seconds * 1000 + microseconds // 1000)


def caught_up(client: redis.Redis, keys: Keys) -> int:
    """When nothing waited last, by the stats."""
    return int(client.hget(keys.stats, "caught_up") or 0)


def seen_long_ago(client: Client, keys: Keys, *producers: str) -> None:
    """These producers were seen last when the store may forget them."""
    long_ago = now(client) - int(REMEMBERED * 1000) - 1000
    for producer in producers:
        record = Record.decode(client.hget(keys.producers, producer))
        assert record is not None
        client.hset(keys.producers, producer, record._replace(seen=long_ago).encode())
        client.zadd(keys.producers_seen, {producer: long_ago})


def ended(client: Client, keys: Keys) -> dict[str, int]:
    """The sums over producers whose record is gone."""
    return {name.decode(): int(number) for name, number in client.hgetall(keys.producers_ended).items()}


@pytest.mark.parametrize("size", [1, 4, None])
def test_entries_deleted_from_the_end_are_lost_without_waiting_for_more(
    log: Log, logged: Logged, size: int | None
) -> None:
    """The producer may never publish again."""
    log.publish(EVENTS[:6], size)
    log.publish(EVENTS[6:], size)
    for entry_id in {entry.id.partition(b".")[0] for entry in log.entries()[6:]}:
        log.client.xdel(log.keys.events, entry_id)
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
    log.publish(EVENTS * 10, 5)
    log.client.xtrim(log.keys.events, maxlen=6, approximate=False)

    with log.consuming():
        wait_until(lambda: log.stats().get("applied") == 30, what="the rest to be applied")

    assert log.stats() == {"applied": 30, "lost": 70}


@pytest.mark.parametrize("while_idle", [True, False])
def test_an_emptied_store_is_a_new_log(server: Server, keys: Keys, logged: Logged, while_idle: bool) -> None:
    """FLUSHALL: what was is gone with its numbers, what comes is applied; the producer's past is lost."""
    with connect(server.url, part="test") as client:
        publish = Publisher(client, keys)
        publish(P, 1, EVENTS)
        with consumer_thread(server.url, keys, cap=100, retain=10, name="first"):
            wait_until(lambda: stats(client, keys).get("applied") == 10, what="all to be applied")
            client.flushall()
            if while_idle:
                wait_until(lambda: logged("log_gone"), what="it to be noticed")
            assert publish(P, 11, EVENTS[:3]).gap
            publish(P, 11, EVENTS[:3], skip=True)
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
        Publisher(client, keys)(P, 1, EVENTS)
        client.xgroup_create(keys.events, GROUP, "0")
        client.set(keys.cursor, "9999999999999-0")
        client.script_flush()
        client.script_load(recovery.CLOSE_ACCOUNTS.text)

        progress = Progress(cursor=b"9999999999999-0")
        losses = Recovery(client, keys, retain=10).look(progress)

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


def test_the_records_of_producers_that_were_not_seen_for_long_are_given_up(log: Log) -> None:
    """Only when all that was published is applied; the sums stay, and their numbers are forgotten."""
    publish = Publisher(log.client, log.keys)
    publish(Identity("idle"), 1, [EVENTS[0], b"{}", EVENTS[1]])
    publish(Identity("lossy"), 3, EVENTS, skip=True)
    publish(Identity("recent"), 1, EVENTS)
    log.apply()
    publish(Identity("waiting"), 1, EVENTS)
    seen_long_ago(log.client, log.keys, "idle", "lossy", "waiting")

    look(log.client, log.keys)

    assert log.records().keys() == {"recent", "waiting"}
    assert set(log.client.zrange(log.keys.producers_seen, 0, -1)) == {b"recent", b"waiting"}
    assert ended(log.client, log.keys) == {"published": 15, "applied": 15, "dead": 1, "lost": 2}
    assert log.verify().faults == []
    log.apply()
    assert log.stats() == {"applied": 32, "dead": 1, "lost": 2}
    assert log.verify().faults == []


def test_thousands_of_records_are_given_up_in_slices(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """Some hundred at each look, so that the store is never held up."""
    publish = Publisher(log.client, log.keys)
    names = [f"p{number}" for number in range(1300)]
    for name in names:
        publish(Identity(name), 1, EVENTS[:1])
    log.apply()
    seen_long_ago(log.client, log.keys, *names)
    left = [1300]
    while left[-1]:
        look(log.client, log.keys)
        left.append(log.client.hlen(log.keys.producers))

    assert left == [1300, 800, 300, 0]
    assert log.client.zcard(log.keys.producers_seen) == 0
    assert ended(log.client, log.keys) == {"published": 1300, "applied": 1300, "dead": 0, "lost": 0}
    assert log.verify().faults == []


def test_a_record_without_a_place_in_the_index_gets_one(log: Log) -> None:
    """Somebody deleted the index: then no loss would be found, and no record would ever go."""
    publish = Publisher(log.client, log.keys)
    for number in range(1300):
        publish(Identity(f"p{number}"), 1, EVENTS[:1])
    log.apply()
    records = log.records()
    log.client.delete(log.keys.producers_seen)

    look(log.client, log.keys)

    index = dict[Any, Any](log.client.zrange(log.keys.producers_seen, 0, -1, withscores=True))  # type: ignore[arg-type]
    assert index == {name.encode(): record.seen for name, record in records.items()}


def test_a_place_in_the_index_without_a_record_goes_in_time(log: Log) -> None:
    """Somebody deleted the record."""
    log.publish(EVENTS)
    log.apply()
    seen_long_ago(log.client, log.keys, "p")
    log.client.delete(log.keys.producers)

    look(log.client, log.keys)

    assert not log.client.exists(log.keys.producers_seen, log.keys.producers_ended)


def test_a_loss_is_found_among_thousands_of_producers(log: Log, logged: Logged) -> None:
    """The oldest of them, too, and those that have closed: all are searched, at the next looks."""
    publish = Publisher(log.client, log.keys)
    lossy = {"p0", "p700", "p2999", *(f"p{number}" for number in range(1000, 1900, 2))}
    for number in range(3000):
        publish(Identity(f"p{number}"), 1, EVENTS[:2])
    for place, (entry_id, fields) in enumerate(raw_entries(log.client, log.keys)):
        if fields[b"producer"].decode() in lossy or place >= 2990:
            log.client.xdel(log.keys.events, entry_id)
    for name in sorted(lossy):
        publish.close(Identity(name), 2)
    lost = 2 * len(lossy | {f"p{number}" for number in range(2990, 3000)})

    with log.consuming():
        wait_until(lambda: log.stats().get("lost") == lost, what="the losses to be counted")

    assert log.stats() == {"applied": 6000 - lost, "lost": lost}
    assert not lossy & log.records().keys()
    assert ended(log.client, log.keys) == {
        "published": 2 * len(lossy),
        "applied": 2 * len(lossy),
        "dead": 0,
        "lost": 2 * len(lossy),
    }
    assert log.verify().faults == []


def test_no_loss_is_looked_for_while_entries_are_in_hand(log: Log) -> None:
    """The store would have to copy the next one to see that there is one."""
    log.publish(EVENTS[:2], 1)
    log.apply()
    log.publish(EVENTS[:2], 1)
    log.client.config_resetstat()
    progress, recovering = Progress(), Recovery(log.client, log.keys, retain=1000)
    recovering.load(progress)

    assert recovering.look(progress, idle=False) == []
    assert "cmdstat_xrange" not in log.client.info("commandstats")
    assert recovering.look(progress) == []
    assert "cmdstat_xrange" in log.client.info("commandstats")


@pytest.mark.parametrize("first", ["closed", "applied"])
def test_the_record_of_a_closed_producer_goes_in_either_order(log: Log, first: str) -> None:
    """By the close, or by the batch that is applied after it."""
    publish, who = Publisher(log.client, log.keys), Identity("p", "t")
    publish(who, 1, [*EVENTS, b"{}"])
    if first == "closed":
        publish.close(who, 11)
        assert log.records()["p"].closed
        log.apply()
    else:
        log.apply()
        publish.close(who, 11)

    assert log.records() == {}
    assert ended(log.client, log.keys) == {"published": 11, "applied": 11, "dead": 1, "lost": 0}
    assert log.verify().faults == []


def test_a_producer_that_is_not_idle_keeps_its_record(log: Log, caplog: pytest.LogCaptureFixture) -> None:
    """It may publish at any time."""
    log.publish(EVENTS)
    log.apply()
    before = log.client.hgetall(log.keys.producers)
    caplog.clear()

    assert look(log.client, log.keys) == []

    assert caplog.records == []  # nothing was repaired, either
    assert log.client.hgetall(log.keys.producers) == before


@pytest.mark.parametrize("broken", ["producers", "producers_seen", "producers_ended", "stats"])
def test_a_key_of_another_type_leaves_every_account_open(log: Log, broken: str) -> None:
    """A loss is counted as a whole, in the record and in the sums, or not at all; so it is counted later."""
    publish = Publisher(log.client, log.keys)
    publish(Identity("idle"), 1, EVENTS[:1])
    publish(Identity("closed"), 1, EVENTS[:1])
    log.apply()
    publish.close(Identity("closed"), 1)
    seen_long_ago(log.client, log.keys, "idle")
    log.publish(EVENTS[:3])
    log.client.xtrim(log.keys.events, maxlen=0)
    kept = f"{log.keys.contract}:kept"
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
    assert log.verify().faults == []


def test_caught_up_rises_while_nothing_comes(log: Log) -> None:
    """With every look, and never above the store's clock."""
    log.publish(EVENTS)
    with log.consuming():
        log.caught_up()
        for _ in range(3):
            before = now(log.client)
            wait_until(lambda: caught_up(log.client, log.keys) >= before, what="it to rise")  # noqa: B023
            assert caught_up(log.client, log.keys) <= now(log.client)


def test_caught_up_rises_behind_a_last_entry_that_was_deleted(log: Log) -> None:
    """Nothing waits, though the stream has given a later id; the entries are counted as if all were applied."""
    log.publish(EVENTS[:3], 1)
    log.client.xdel(log.keys.events, raw_entries(log.client, log.keys)[-1][0])
    with log.consuming():
        wait_until(lambda: log.stats() == {"applied": 2, "lost": 1}, what="the others")
        before = now(log.client)
        wait_until(lambda: caught_up(log.client, log.keys) >= before, what="it to rise")

    assert log.client.hget(log.keys.stats, "entries") == b"3"


def test_caught_up_stands_still_while_the_consumer_is_away(log: Log) -> None:
    """It is then the time from which nothing is known."""
    log.publish(EVENTS[:1])
    log.apply()
    before = caught_up(log.client, log.keys)
    log.publish(EVENTS[:1])

    assert caught_up(log.client, log.keys) == before <= now(log.client)


def apply_some(log: Log, cursor_after: int) -> None:
    """Apply the first entries of the stream, so many, by a consumer that then dies."""
    with connect(_address(log.client), part="consumer") as client:
        consumer = Consumer(client, Target(log.keys, KUBECOST_KINDS, 1000), retain=10**6)
        found = raw_entries(log.client, log.keys)
        progress = Progress()
        Recovery(client, log.keys, retain=10**6).load(progress)
        entries: list[Entry] = []
        for entry_id, fields in found[:cursor_after]:
            entries.append((entry_id, [part for pair in fields.items() for part in pair]))
        consumer._progress = progress
        consumer._ledger.load(progress.cursor)
        consumer._batch = consumer._collect(entries)
        consumer._apply_in_hand()


def _address(client: redis.Redis) -> str:
    options = client.connection_pool.connection_kwargs
    return f"redis://{options['host']}:{options['port']}/{options['db']}"


@pytest.mark.parametrize("mirror", ["ahead as well", "gone"])
@pytest.mark.parametrize("how", ["one consumer", "it dies at once", "it dies later"])
def test_what_producers_that_have_ended_published_is_not_applied_again(log: Log, mirror: str, how: str) -> None:
    """After the cursor was set back: no number tells any more that it was applied. Not even if the consumer that set it
    back dies in the middle of it, or at once."""
    publish = Publisher(log.client, log.keys)
    for number in range(6):
        publish(Identity(f"p{number}"), 1, EVENTS)
        if number < 5:
            publish.close(Identity(f"p{number}"), 10)
    log.apply()
    assert log.records().keys() == {"p5"}
    restored = log.client.dump(log.keys.events)
    publish(Identity("p5"), 11, EVENTS)
    log.apply()
    log.client.delete(log.keys.events)
    log.client.restore(log.keys.events, 0, restored)  # type: ignore[arg-type]

    def publish_on() -> None:
        publish(Identity("p5"), 21, EVENTS)
        publish(Identity("new"), 1, EVENTS)
        log.client.xadd(log.keys.events, {"producer": "by hand", "seq": 1, "event": EVENTS[0]})

    if mirror == "gone":
        log.client.xgroup_destroy(log.keys.events, GROUP)
    else:
        log.client.xgroup_setid(log.keys.events, GROUP, log.client.get(log.keys.cursor))  # type: ignore[arg-type]

    if how != "one consumer":
        Recovery(log.client, log.keys, retain=1000).load(Progress())
        assert log.client.get(log.keys.cursor) == b"0-0"
        apply_some(log, 0 if how == "it dies at once" else 2)
        publish_on()
    with log.consuming():
        log.caught_up()
        if how == "one consumer":
            publish_on()
            log.caught_up()

    assert log.stats() == {"applied": 70 + 10 + 10 + 1, "duplicate": 60}
    assert log.counters() == {"AllocationSetSaved": 91}
    assert log.verify().faults == []
    look(log.client, log.keys)
    assert log.client.zrangebyscore(log.keys.trim, "+inf", "+inf") == []


@pytest.mark.parametrize("how", ["to the beginning", "into the middle", "cursor and group gone"])
def test_a_cursor_that_others_set_back_doubles_nothing(log: Log, logged: Logged, how: str) -> None:
    """Not even what producers published whose record is gone. What waits meanwhile, and comes later, is applied."""
    publish = Publisher(log.client, log.keys)
    for number in range(3):
        publish(Identity(f"p{number}"), 1, EVENTS)
        publish.close(Identity(f"p{number}"), 10)
    publish(Identity("open"), 1, EVENTS)
    log.apply()
    assert log.records().keys() == {"open"}
    publish(Identity("open"), 11, EVENTS)

    if how == "cursor and group gone":
        log.client.delete(log.keys.cursor)
        log.client.xgroup_destroy(log.keys.events, GROUP)
    else:
        log.client.set(log.keys.cursor, "0-0" if how == "to the beginning" else raw_entries(log.client, log.keys)[0][0])
    with log.consuming():
        log.caught_up()
        publish(Identity("new"), 1, EVENTS)
        log.caught_up()

    assert logged("cursor_back")
    assert log.stats()["applied"] == 60
    assert log.stats()["duplicate"] == (30 if how == "into the middle" else 40)
    assert log.verify().faults == []


def test_a_cursor_that_was_set_far_ahead_makes_no_duplicates_of_what_comes(log: Log) -> None:
    """By hand, into the next century: only what was there when it was set back may have been applied before."""
    log.publish(EVENTS)
    log.apply()
    log.client.set(log.keys.cursor, "9999999999999-0")
    log.client.xgroup_setid(log.keys.events, GROUP, "9999999999999-0")
    with log.consuming():
        log.caught_up()
        log.client.xadd(log.keys.events, {"producer": "q", "seq": 1, "event": EVENTS[0]})
        wait_until(lambda: log.stats()["applied"] == 11, what="the new event to be applied")

    assert log.stats() == {"applied": 11, "duplicate": 10}


def test_places_to_trim_at_of_before_are_forgotten_when_the_cursor_is_set_back(log: Log) -> None:
    """Their numbers of events are those of before: too much would go."""
    log.publish([saved(size) for size in range(5000)], 100)
    log.apply(retain=4000)
    before = [entry_id for entry_id, _ in raw_entries(log.client, log.keys)]
    log.client.set(log.keys.cursor, "9999999999999-0")
    log.client.xgroup_setid(log.keys.events, GROUP, "9999999999999-0")

    log.apply(retain=4000)

    assert log.stats()["applied"] == 5000
    assert [entry_id for entry_id, _ in raw_entries(log.client, log.keys)] == before


def has_function(client: Client) -> bool:
    """Whether the store has the function that publishes, with its present text."""
    found = client.execute_command("FUNCTION", "LIST", "LIBRARYNAME", publishing.FUNCTION.library, "WITHCODE")
    return any(publishing.FUNCTION.text.encode() in library for library in found)


def test_the_function_that_publishes_is_loaded_at_the_start_and_whenever_it_is_gone(
    server: Server, keys: Keys, logged: Logged
) -> None:
    """Or another text of it is there; a producer that may not load it can go on."""
    with connect(server.url, part="test") as client, consumer_thread(server.url, keys):
        wait_until(lambda: has_function(client), what="it to be loaded")
        for _ in range(2):
            client.execute_command("FUNCTION", "FLUSH")
            wait_until(lambda: has_function(client), what="it to be loaded again")
        other = publishing.FUNCTION.text.replace("local CONTRACT", "-- another\nlocal CONTRACT")
        client.execute_command("FUNCTION", "LOAD", "REPLACE", other)
        assert not has_function(client)
        wait_until(lambda: has_function(client), what="the present text")
    assert len(logged("function_loaded")) == 4
    assert logged("store_away") == []


def test_the_function_is_on_a_replica_that_is_promoted(server: Server, keys: Keys) -> None:
    """With what else it got from the primary; and where it was too late for that, the consumer loads it there."""
    with replica_of(server) as replica, connect(replica.url, part="test") as promoted:
        with consumer_thread(server.url, keys):
            wait_until(lambda: has_function(promoted), what="it to be replicated")
        promoted.replicaof("NO", "ONE")
        promoted.execute_command("FUNCTION", "FLUSH")
        with consumer_thread(replica.url, keys):
            wait_until(lambda: has_function(promoted), what="it to be loaded")


@pytest.mark.parametrize("denied", ["-function|load", "-function"])
def test_a_consumer_that_may_not_load_the_function_goes_on(
    server: Server, keys: Keys, logged: Logged, denied: str
) -> None:
    """It says so once, and again only after it could."""
    with connect(server.url, part="test") as client:
        client.execute_command("ACL", "SETUSER", "default", denied)
        with consumer_thread(server.url, keys):
            wait_until(lambda: logged("no_function"), what="the refusal")
            for _ in range(20):
                client.xadd(keys.events, {"event": EVENTS[0]})
            catch_up(client, keys)
            before = caught_up(client, keys)
            wait_until(lambda: caught_up(client, keys) > before, what="more looks")
            assert len(logged("no_function")) == 1

            client.execute_command("ACL", "SETUSER", "default", "+@all")
            wait_until(lambda: has_function(client), what="it to be loaded")
            client.execute_command("ACL", "SETUSER", "default", denied)
            with suppress(redis.ResponseError):
                client.execute_command("FUNCTION", "FLUSH")
            client.execute_command("ACL", "SETUSER", "default", "+function|flush")
            client.execute_command("FUNCTION", "FLUSH")
            wait_until(lambda: len(logged("no_function")) == 2, what="the refusal")
        assert stats(client, keys) == {"applied": 20, "unnumbered": 20}
    assert logged("store_away") == []
