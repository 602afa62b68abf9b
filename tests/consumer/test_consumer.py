"""The consumer at work: every entry of the stream has its effects once, in stream order."""

import json
import logging
import shutil
import subprocess
from typing import Any
from urllib.parse import urlsplit

import pytest
from etlog_consumer import Consumer, Target, recovery
from etlog_events.entry import NAMES
from etlog_events.keys import GROUP, Keys
from etlog_events.kinds import CATEGORIES, KUBECOST_KINDS, Kinds
from etlog_events.store import connect
from etlog_producer import Producer
from support.consumers import consumer_thread, in_threads
from support.log import Log
from support.producers import emit
from support.samples import DOCUMENTED, WINDOW, saved
from support.servers import Server, wait_until
from support.stream import newest, raw_entries, stats


def test_the_documented_events_become_the_documented_lists(log: Log) -> None:
    """Byte for byte."""
    log.publish([text for texts in DOCUMENTED.values() for text in texts])
    log.apply()

    for category, texts in DOCUMENTED.items():
        assert log.listed(category) == texts
    assert log.counters() == {json.loads(text)["kind"]: 1 for texts in DOCUMENTED.values() for text in texts}


def test_lists_hold_the_newest_events_of_their_category(log: Log, store_url: str) -> None:
    """Exactly as many as the cap, in stream order, whatever came between them."""
    with (
        log.consuming(cap=100),
        Producer(store_url, log=log.keys.name) as one,
        Producer(store_url, log=log.keys.name) as other,
    ):
        for size in range(2000):
            (one if size % 3 else other).emit(
                "AssetSetLoaded" if size % 7 else "AllocationSetLoaded", size=size, window=WINDOW
            )
        assert one.flush(10)
        assert other.flush(10)
        log.caught_up()

    for category in CATEGORIES:
        assert len(log.listed(category)) == 100
        assert log.listed(category) == newest(log.client, log.keys, category, 100)
    assert log.counters() == {"AssetSetLoaded": 1714, "AllocationSetLoaded": 286}
    assert log.stats() == {"applied": 2000}


def test_a_running_consumer_applies_what_comes(log: Log) -> None:
    """One by one, without being asked."""
    with log.consuming():
        for size in range(1, 6):
            log.publish([saved(size)])
            wait_until(lambda: log.counters().get("AllocationSetSaved") == size, what="the event")  # noqa: B023


def test_a_consumer_goes_on_where_the_last_one_stopped(log: Log) -> None:
    """Each event is applied by one of them."""
    for first in (0, 1300, 2600):
        log.publish([saved(size) for size in range(first, first + 1300)])
        log.apply()

    assert log.counters() == {"AllocationSetSaved": 3900}
    assert log.stats() == {"applied": 3900}
    assert log.listed("allocation") == [saved(size) for size in range(2900, 3900)]


def test_a_further_category_has_a_list_of_its_own(log: Log, store_url: str) -> None:
    """As the settings name it."""
    kinds = Kinds({**CATEGORIES, "cloudcost": "CloudCostSet"})
    event = saved().replace(b"AllocationSet", b"CloudCostSet")
    log.client.xadd(log.keys.events, {"event": event})

    with consumer_thread(store_url, log.keys, kinds=kinds, cap=10, retain=10):
        log.caught_up()

    assert log.listed("cloudcost") == [event]
    assert log.counters() == {"CloudCostSetSaved": 1}


def test_refused_entries_are_dead_and_all_others_are_applied(log: Log) -> None:
    """Each with its reason, its id and its bytes; none holds up what follows it."""
    megabyte = b'{"kind":"' + b"x" * 2**20
    refused: list[tuple[dict[Any, Any], str]] = [
        ({"evnt": saved()}, "the entry has no field 'event'"),
        ({"event": saved()[:-1]}, "not JSON: Input data was truncated"),
        ({"event": saved(note="x").replace(b'"x"', b'"\xff"')}, "not valid UTF-8: invalid start byte"),
        ({"event": saved().replace(b"Saved", b"Purged")}, KUBECOST_KINDS.unknown("AllocationSetPurged")),
        ({"event": megabyte}, f"the event is {len(megabyte)} bytes long, the limit is 65536 (only the first 65536 "),
        ({"event": b""}, "not JSON: Input data was truncated"),
        ({"event": saved(), "producer": "p", "seq": "one"}, "seq must be a whole number from 1 to 2^53-1, not 'one'"),
    ]
    refused_ids = []
    with log.consuming():
        for fields, _ in refused:
            log.client.xadd(log.keys.events, {"event": saved()})
            refused_ids.append(log.client.xadd(log.keys.events, fields))
        log.client.xadd(log.keys.events, {"event": saved(99)})
        log.caught_up()

    letters = log.dead()
    assert [letter[b"id"] for letter in letters] == refused_ids
    for letter, (fields, reason) in zip(letters, refused, strict=True):
        assert letter[b"reason"].decode().startswith(reason)
        if "event" in fields:
            assert letter[b"raw"] == fields["event"][:65536]
    assert log.stats() == {
        "applied": len(refused) + 1,
        "dead": len(refused),
        "unnumbered": 2 * len(refused) + 1,
    }
    assert log.counters() == {"AllocationSetSaved": len(refused) + 1}
    assert log.listed("allocation")[-1] == saved(99)


def test_an_event_added_by_redis_cli_is_applied(log: Log, store_url: str) -> None:
    """A plain XADD with nothing but the event, by any client."""
    command = ["XADD", log.keys.events, "*", "event", saved().decode()]
    cli = shutil.which("redis-cli") or shutil.which("valkey-cli")
    if cli:
        address = urlsplit(store_url)
        subprocess.run(
            [cli, "-h", str(address.hostname), "-p", str(address.port), *command],
            check=True,
            stdout=subprocess.DEVNULL,
        )
    else:
        log.client.execute_command(*command)  # type: ignore[no-untyped-call]

    log.apply()

    assert log.listed("allocation") == [saved()]
    assert log.stats() == {"applied": 1, "unnumbered": 1}


def test_a_foreign_spelling_is_listed_canonically(log: Log) -> None:
    """Readers find one spelling, whoever wrote the event."""
    log.client.xadd(log.keys.events, {"event": json.dumps(json.loads(saved()), indent=2)})

    log.apply()

    assert log.listed("allocation") == [saved()]


def test_numbers_that_never_arrived_are_counted_as_lost(log: Log, caplog: pytest.LogCaptureFixture) -> None:
    """Others deleted their entries. Published = applied + lost: the log proves its completeness."""
    log.publish([saved(size) for size in range(100)], 1)
    found = log.entries()
    for entry in [found[0], *found[10:15], found[50], *found[90:95]]:
        log.client.xdel(log.keys.events, entry.id)

    log.apply()

    assert log.stats() == {"applied": 88, "lost": 12}
    record = log.records()["p"]
    assert (record.published, record.applied, record.lost) == (100, 100, 12)
    told = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [(r.__dict__["first"], r.__dict__["last"]) for r in told] == [(1, 1), (11, 15), (51, 51), (91, 95)]
    assert told[1].getMessage() == "Lost: events 11 to 15 of producer p never arrived"
    assert log.verify().faults == []


def test_all_events_of_an_entry_that_was_deleted_are_lost(log: Log) -> None:
    """They had their numbers; those of its neighbours are applied."""
    log.publish([saved(size) for size in range(60)], 10)
    found = [entry_id for entry_id, _ in raw_entries(log.client, log.keys)]
    log.client.xdel(log.keys.events, found[0], found[3], found[4])

    log.apply()

    assert log.stats() == {"applied": 30, "lost": 30}
    assert log.listed("allocation") == [saved(size) for size in (*range(10, 30), *range(50, 60))]
    assert log.verify().faults == []


def test_a_loss_is_counted_over_the_border_of_batches_and_restarts(log: Log) -> None:
    """The last applied number is in the store, not in the consumer."""
    log.publish([saved(size) for size in range(10)])
    log.apply()
    log.publish([saved(size) for size in range(10)], 1)
    for entry in log.entries()[10:13]:
        log.client.xdel(log.keys.events, entry.id)
    log.apply()

    assert log.stats() == {"applied": 17, "lost": 3}


def test_entries_that_come_twice_are_applied_once(log: Log) -> None:
    """The same producer and number, in the same batch or after a restart: counted as a duplicate."""

    def repeat() -> None:
        for _, fields in raw_entries(log.client, log.keys)[:3]:
            log.client.xadd(log.keys.events, fields)  # type: ignore[arg-type]

    log.publish([saved(size) for size in range(4)])
    repeat()
    log.apply()
    repeat()
    log.apply()

    assert log.stats() == {"applied": 4, "duplicate": 8}
    assert log.listed("allocation") == [saved(size) for size in range(4)]


def test_of_an_entry_that_overlaps_what_is_applied_the_rest_is_applied(log: Log) -> None:
    """In the same step or after a restart: another client has put together what it had anew."""
    texts = [saved(size) for size in range(9)]

    def add(first: int, *events: bytes) -> None:
        fields = {b"producer": b"q", b"seq": b"%d" % first} | dict(zip(NAMES, events, strict=False))
        log.client.xadd(log.keys.events, fields)  # type: ignore[arg-type]

    add(1, *texts[:3])
    add(2, *texts[1:5])
    log.apply()
    add(4, *texts[3:7])
    add(1, *texts)
    log.apply()

    assert log.stats() == {"applied": 9, "duplicate": 2 + 2 + 7}
    assert log.listed("allocation") == texts
    assert log.verify().faults == []


def emit_around_a_deletion(log: Log, producer: Producer, events: int) -> None:
    """Emit so many events; once they are applied the whole log is deleted, and one more event follows."""
    emit(producer, *range(events))
    assert producer.flush(10)
    wait_until(lambda: log.stats() == {"applied": events}, what="the events")
    log.delete_everything()

    emit(producer, events)
    assert producer.flush(10)


def test_what_a_producer_gave_up_is_counted_as_lost(log: Log, store_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store forgot everything, and the producer keeps the last three events only."""
    monkeypatch.setattr("etlog_producer.unacked.KEEP_EVENTS", 3)
    with log.consuming(), Producer(store_url, log=log.keys.name) as producer:
        emit_around_a_deletion(log, producer, 10)

        wait_until(lambda: log.stats() == {"applied": 4, "lost": 7}, what="what is left")


@pytest.mark.parametrize(("size", "entries"), [(1, 77), (10, 8), (None, 5)])
def test_the_group_shows_the_backlog_as_lag(log: Log, size: int | None, entries: int) -> None:
    """`XINFO GROUPS` tells how many entries are not applied yet; nothing is ever pending."""
    log.publish([saved(size) for size in range(1234)], size)
    log.apply()
    assert log.group()["lag"] == 0
    before = log.client.xlen(log.keys.events)

    log.publish([saved(size) for size in range(77)], size)

    assert log.group()["lag"] == log.client.xlen(log.keys.events) - before == entries
    assert log.group()["entries-read"] == before
    assert log.group()["last-delivered-id"] == log.client.get(log.keys.cursor)
    assert log.group()["pending"] == 0


def test_the_lag_is_right_again_after_others_deleted_entries(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """Applied or not applied ones: once the consumer has caught up, the lag is 0, and counts from there."""
    monkeypatch.setattr(recovery, "EVERY", 0.05)
    log.publish([saved(size) for size in range(500)], 1)
    log.apply()
    log.publish([saved(size) for size in range(500)], 1)
    found = log.entries()
    for entry in found[100:150] + found[700:750]:
        log.client.xdel(log.keys.events, entry.id)

    with log.consuming():
        log.caught_up()
        wait_until(lambda: log.group()["lag"] == 0, what="the lag to be right")
    log.publish([saved(size) for size in range(33)], 1)

    assert log.group()["lag"] == 33


def test_the_lag_is_right_again_after_the_last_entry_was_deleted(log: Log) -> None:
    """It was not applied yet, and never will be."""
    log.publish([saved(size) for size in range(20)], 1)
    last = log.entries()[-1]
    log.client.xdel(log.keys.events, last.id)
    with log.consuming():
        wait_until(lambda: log.stats() == {"applied": 19}, what="the others")
        log.publish([saved()])
        log.caught_up()

        assert log.group()["lag"] == 0
    assert log.stats() == {"applied": 20, "lost": 1}


def test_a_destroyed_group_is_made_again(log: Log) -> None:
    """While the consumer runs, and while it does not: progress is in the cursor alone."""
    log.publish([saved(size) for size in range(300)])
    with log.consuming():
        log.caught_up()
        log.client.xgroup_destroy(log.keys.events, GROUP)
        log.publish([saved(size) for size in range(10)])
        log.caught_up()
        assert log.group()["lag"] == 0
    log.client.xgroup_destroy(log.keys.events, GROUP)
    log.publish([saved(size) for size in range(5)])
    log.apply()

    assert log.group()["lag"] == 0
    assert log.group()["entries-read"] == log.client.xlen(log.keys.events)
    assert log.counters() == {"AllocationSetSaved": 315}


def test_a_group_that_somebody_moved_moves_nothing(log: Log) -> None:
    """Neither back nor ahead."""
    log.publish([saved(size) for size in range(30)])
    log.apply()
    for place in ("0", "$"):
        log.client.xgroup_setid(log.keys.events, GROUP, place)
        log.publish([saved(size) for size in range(5)])
        log.apply()

    assert log.stats() == {"applied": 40}
    assert log.group()["lag"] == 0


def test_a_log_that_was_deleted_goes_on(log: Log) -> None:
    """All of its keys at once, as FLUSHALL does, while the consumer runs."""
    with log.consuming():
        for _ in range(20):
            log.client.xadd(log.keys.events, {"event": saved()})
        log.caught_up()
        log.delete_everything()
        for _ in range(7):
            log.client.xadd(log.keys.events, {"event": saved()})
        wait_until(lambda: log.stats() == {"applied": 7, "unnumbered": 7}, what="what came afterwards")
        log.caught_up()

    assert log.counters() == {"AllocationSetSaved": 7}
    assert log.listed("allocation") == [saved()] * 7
    assert log.group()["lag"] == 0


def test_a_log_that_was_deleted_gets_from_its_producers_what_they_have(log: Log, store_url: str) -> None:
    """Counted anew, each once."""
    with log.consuming(), Producer(store_url, log=log.keys.name) as producer:
        emit_around_a_deletion(log, producer, 50)

        wait_until(lambda: log.stats() == {"applied": 51}, what="all events again")
        assert [json.loads(event)["metadata"]["size"] for event in log.listed("asset")] == list(range(51))


def test_a_key_of_another_type_stops_the_log_until_it_is_mended(log: Log, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is half applied: cursor and counters stay; then everything is."""
    log.client.set(log.keys.log("asset"), "not what it should be")
    log.publish([saved(1), saved(2, "AssetSet"), saved(3)])
    with log.consuming():
        wait_until(lambda: "Cannot apply, will keep trying" in caplog.text, what="the refusal")
        assert "should be a list, it is a string" in caplog.text
        assert not log.client.exists(log.keys.cursor, log.keys.counters, log.keys.log("allocation"))
        assert log.stats() == {}

        log.client.delete(log.keys.log("asset"))
        log.caught_up()

    assert log.listed("allocation") == [saved(1), saved(3)]
    assert log.listed("asset") == [saved(2, "AssetSet")]
    assert log.stats() == {"applied": 3}


def test_a_stream_of_another_type_stops_the_log_until_it_is_mended(log: Log, caplog: pytest.LogCaptureFixture) -> None:
    """The consumer waits, and does not die."""
    log.client.set(log.keys.events, "not what it should be")
    with log.consuming():
        wait_until(lambda: "Cannot apply, will keep trying" in caplog.text, what="the refusal")
        log.client.delete(log.keys.events)
        log.client.xadd(log.keys.events, {"event": saved()})
        log.caught_up()

    assert log.stats() == {"applied": 1, "unnumbered": 1}


def test_two_active_consumers_apply_each_event_once(log: Log, store_url: str) -> None:
    """Under one name both hold the lease: the fenced cursor alone keeps them from applying anything twice."""
    target = Target(log.keys, KUBECOST_KINDS, 1000)
    with (
        connect(store_url, part="consumer") as one,
        connect(store_url, part="consumer") as other,
        in_threads(*(Consumer(twins, target, retain=100_000, name="twin") for twins in (one, other))),
    ):
        for first in range(0, 6000, 100):
            log.publish([saved(size) for size in range(first, first + 100)])
        log.caught_up()

    assert log.stats() == {"applied": 6000}
    assert log.listed("allocation") == [saved(size) for size in range(5000, 6000)]


def test_a_restarted_store_is_waited_for(server: Server, keys: Keys, caplog: pytest.LogCaptureFixture) -> None:
    """Its cache of scripts is empty then; each absence and each return is logged once."""
    caplog.set_level(logging.WARNING, "etlog.consumer")
    with (
        consumer_thread(server.url, keys),
        connect(server.url, part="test") as client,
        Producer(server.url, log=keys.name) as producer,
    ):
        for restarts in range(3):
            emit(producer, *range(200))
            assert producer.flush(20)
            applied = {"applied": 200 * (restarts + 1)}
            wait_until(lambda: stats(client, keys) == applied, what="the events")  # noqa: B023

            server.kill()
            wait_until(lambda: caplog.text.count("Cannot apply") > restarts, what="the absence")  # noqa: B023
            server.start()
            wait_until(lambda: caplog.text.count("answers again") > restarts, what="the return")  # noqa: B023

    assert [record.__dict__["action"] for record in caplog.records] == ["store_away", "store_back"] * 3
