"""The consumer at work: every entry of the stream has its effects once, in stream order."""

import json
import logging
import shutil
import subprocess
from typing import Any
from urllib.parse import urlsplit

import pytest
import redis
from etlog.verification import verify
from etlog_consumer import Consumer, Target
from etlog_events.keys import GROUP, Keys
from etlog_events.kinds import CATEGORIES, KUBECOST_KINDS, Kinds
from etlog_events.store import connect
from etlog_producer import Producer
from support.consumers import CaughtUp, Consuming, Publish, consumer_thread, running
from support.producers import emit
from support.samples import DOCUMENTED, WINDOW, saved
from support.servers import Server, wait_until
from support.stream import counters, dead, entries, group, listed, newest, stats


def test_the_documented_events_become_the_documented_lists(
    client: redis.Redis, keys: Keys, publish: Publish, consuming: Consuming, caught_up: CaughtUp
) -> None:
    """Byte for byte."""
    publish([text for texts in DOCUMENTED.values() for text in texts])
    with consuming():
        caught_up()

    for category, texts in DOCUMENTED.items():
        assert listed(client, keys, category) == texts
    assert counters(client, keys) == {json.loads(text)["kind"]: 1 for texts in DOCUMENTED.values() for text in texts}


def test_lists_hold_the_newest_events_of_their_category(
    client: redis.Redis, keys: Keys, store_url: str, consuming: Consuming, caught_up: CaughtUp
) -> None:
    """Exactly as many as the cap, in stream order, whatever came between them."""
    with consuming(cap=100), Producer(store_url, log=keys.name) as one, Producer(store_url, log=keys.name) as other:
        for size in range(2000):
            (one if size % 3 else other).emit(
                "AssetSetLoaded" if size % 7 else "AllocationSetLoaded", size=size, window=WINDOW
            )
        assert one.flush(10)
        assert other.flush(10)
        caught_up()

    for category in CATEGORIES:
        assert len(listed(client, keys, category)) == 100
        assert listed(client, keys, category) == newest(client, keys, category, 100)
    assert counters(client, keys) == {"AssetSetLoaded": 1714, "AllocationSetLoaded": 286}
    assert stats(client, keys) == {"applied": 2000}


def test_a_running_consumer_applies_what_comes(
    client: redis.Redis, keys: Keys, publish: Publish, consuming: Consuming
) -> None:
    """One by one, without being asked."""
    with consuming():
        for size in range(1, 6):
            publish([saved(size)])
            wait_until(lambda: counters(client, keys).get("AllocationSetSaved") == size, what="the event")  # noqa: B023


def test_a_consumer_goes_on_where_the_last_one_stopped(
    client: redis.Redis, keys: Keys, publish: Publish, consuming: Consuming, caught_up: CaughtUp
) -> None:
    """Each event is applied by one of them."""
    for first in (0, 1300, 2600):
        publish([saved(size) for size in range(first, first + 1300)])
        with consuming():
            caught_up()

    assert counters(client, keys) == {"AllocationSetSaved": 3900}
    assert stats(client, keys) == {"applied": 3900}
    assert listed(client, keys, "allocation") == [saved(size) for size in range(2900, 3900)]


def test_a_further_category_has_a_list_of_its_own(
    client: redis.Redis, keys: Keys, store_url: str, caught_up: CaughtUp
) -> None:
    """As the settings name it."""
    kinds = Kinds({**CATEGORIES, "cloudcost": "CloudCostSet"})
    event = saved().replace(b"AllocationSet", b"CloudCostSet")
    client.xadd(keys.events, {"event": event})

    with consumer_thread(store_url, keys, kinds=kinds, cap=10, retain=10):
        caught_up()

    assert listed(client, keys, "cloudcost") == [event]
    assert counters(client, keys) == {"CloudCostSetSaved": 1}


def test_refused_entries_are_dead_and_all_others_are_applied(
    client: redis.Redis, keys: Keys, consuming: Consuming, caught_up: CaughtUp
) -> None:
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
    with consuming():
        for fields, _ in refused:
            client.xadd(keys.events, {"event": saved()})
            refused_ids.append(client.xadd(keys.events, fields))
        client.xadd(keys.events, {"event": saved(99)})
        caught_up()

    letters = dead(client, keys)
    assert [letter[b"id"] for letter in letters] == refused_ids
    for letter, (fields, reason) in zip(letters, refused, strict=True):
        assert letter[b"reason"].decode().startswith(reason)
        if "event" in fields:
            assert letter[b"raw"] == fields["event"][:65536]
    assert stats(client, keys) == {
        "applied": len(refused) + 1,
        "dead": len(refused),
        "unnumbered": 2 * len(refused) + 1,
    }
    assert counters(client, keys) == {"AllocationSetSaved": len(refused) + 1}
    assert listed(client, keys, "allocation")[-1] == saved(99)


def test_an_event_added_by_redis_cli_is_applied(
    client: redis.Redis, keys: Keys, store_url: str, consuming: Consuming, caught_up: CaughtUp
) -> None:
    """A plain XADD with nothing but the event, by any client."""
    command = ["XADD", keys.events, "*", "event", saved().decode()]
    cli = shutil.which("redis-cli") or shutil.which("valkey-cli")
    if cli:
        address = urlsplit(store_url)
        subprocess.run(
            [cli, "-h", str(address.hostname), "-p", str(address.port), *command],
            check=True,
            stdout=subprocess.DEVNULL,
        )
    else:
        client.execute_command(*command)  # type: ignore[no-untyped-call]

    with consuming():
        caught_up()

    assert listed(client, keys, "allocation") == [saved()]
    assert stats(client, keys) == {"applied": 1, "unnumbered": 1}


def test_a_foreign_spelling_is_listed_canonically(
    client: redis.Redis, keys: Keys, consuming: Consuming, caught_up: CaughtUp
) -> None:
    """Readers find one spelling, whoever wrote the event."""
    client.xadd(keys.events, {"event": json.dumps(json.loads(saved()), indent=2)})

    with consuming():
        caught_up()

    assert listed(client, keys, "allocation") == [saved()]


def test_numbers_that_never_arrived_are_counted_as_lost(
    client: redis.Redis,
    keys: Keys,
    publish: Publish,
    consuming: Consuming,
    caught_up: CaughtUp,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Others deleted their entries. Published = applied + lost: the log proves its completeness."""
    publish([saved(size) for size in range(100)])
    found = entries(client, keys)
    for entry in [found[0], *found[10:15], found[50], *found[90:95]]:
        client.xdel(keys.events, entry.id)

    with consuming():
        caught_up()

    assert stats(client, keys) == {"applied": 88, "lost": 12}
    record = client.hgetall(keys.producers)
    assert (record[b"p:published"], record[b"p:applied"], record[b"p:lost"]) == (b"100", b"100", b"12")
    told = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [(r.__dict__["first"], r.__dict__["last"]) for r in told] == [(1, 1), (11, 15), (51, 51), (91, 95)]
    assert told[1].getMessage() == "Lost: events 11 to 15 of producer p never arrived"
    assert verify(client, keys).faults == []


def test_a_loss_is_counted_over_the_border_of_batches_and_restarts(
    client: redis.Redis, keys: Keys, publish: Publish, consuming: Consuming, caught_up: CaughtUp
) -> None:
    """The last applied number is in the store, not in the consumer."""
    publish([saved(size) for size in range(10)])
    with consuming():
        caught_up()
    publish([saved(size) for size in range(10)])
    for entry in entries(client, keys)[10:13]:
        client.xdel(keys.events, entry.id)
    with consuming():
        caught_up()

    assert stats(client, keys) == {"applied": 17, "lost": 3}


def test_entries_that_come_twice_are_applied_once(
    client: redis.Redis, keys: Keys, publish: Publish, consuming: Consuming, caught_up: CaughtUp
) -> None:
    """The same producer and number, in the same batch or after a restart: counted as a duplicate."""

    def repeat() -> None:
        for entry in entries(client, keys)[:4]:
            client.xadd(keys.events, {"event": entry.event, "producer": entry.producer, "seq": entry.seq})

    publish([saved(size) for size in range(4)])
    repeat()
    with consuming():
        caught_up()
    repeat()
    with consuming():
        caught_up()

    assert stats(client, keys) == {"applied": 4, "duplicate": 8}
    assert listed(client, keys, "allocation") == [saved(size) for size in range(4)]


def test_what_a_producer_gave_up_is_counted_as_lost(
    client: redis.Redis, keys: Keys, store_url: str, consuming: Consuming, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store forgot everything, and the producer keeps the last three events only."""
    monkeypatch.setattr("etlog_producer.unacked.KEEP_EVENTS", 3)
    with consuming(), Producer(store_url, log=keys.name) as producer:
        emit(producer, *range(10))
        assert producer.flush(10)
        wait_until(lambda: stats(client, keys) == {"applied": 10}, what="the events")
        _delete_everything(client, keys)

        producer.emit("AssetSetSaved", size=10, window=WINDOW)
        assert producer.flush(10)

        wait_until(lambda: stats(client, keys) == {"applied": 4, "lost": 7}, what="what is left")


def test_the_group_shows_the_backlog_as_lag(
    client: redis.Redis, keys: Keys, publish: Publish, consuming: Consuming, caught_up: CaughtUp
) -> None:
    """`XINFO GROUPS` tells what is not applied yet; nothing is ever pending."""
    publish([saved(size) for size in range(1234)])
    with consuming():
        caught_up()
    assert group(client, keys)["lag"] == 0

    publish([saved(size) for size in range(77)])

    assert group(client, keys)["lag"] == 77
    assert group(client, keys)["entries-read"] == 1234
    assert group(client, keys)["last-delivered-id"] == client.get(keys.cursor)
    assert group(client, keys)["pending"] == 0


def test_the_lag_is_right_again_after_others_deleted_entries(
    client: redis.Redis, keys: Keys, publish: Publish, consuming: Consuming, caught_up: CaughtUp
) -> None:
    """Applied or not applied ones: once the consumer has caught up, the lag is 0, and counts from there."""
    publish([saved(size) for size in range(500)])
    with consuming():
        caught_up()
    publish([saved(size) for size in range(500)])
    found = entries(client, keys)
    for entry in found[100:150] + found[700:750]:
        client.xdel(keys.events, entry.id)

    with consuming():
        caught_up()
        assert group(client, keys)["lag"] == 0
    publish([saved(size) for size in range(33)])

    assert group(client, keys)["lag"] == 33


def test_the_lag_is_right_again_after_the_last_entry_was_deleted(
    client: redis.Redis, keys: Keys, publish: Publish, consuming: Consuming, caught_up: CaughtUp
) -> None:
    """It was not applied yet, and never will be."""
    publish([saved(size) for size in range(20)])
    last = entries(client, keys)[-1]
    client.xdel(keys.events, last.id)
    with consuming():
        wait_until(lambda: stats(client, keys) == {"applied": 19}, what="the others")
        publish([saved()])
        caught_up()

        assert group(client, keys)["lag"] == 0
    assert stats(client, keys) == {"applied": 20, "lost": 1}


def test_a_destroyed_group_is_made_again(
    client: redis.Redis, keys: Keys, publish: Publish, consuming: Consuming, caught_up: CaughtUp
) -> None:
    """While the consumer runs, and while it does not: progress is in the cursor alone."""
    publish([saved(size) for size in range(300)])
    with consuming():
        caught_up()
        client.xgroup_destroy(keys.events, GROUP)
        publish([saved(size) for size in range(10)])
        caught_up()
        assert group(client, keys)["lag"] == 0
    client.xgroup_destroy(keys.events, GROUP)
    publish([saved(size) for size in range(5)])
    with consuming():
        caught_up()

    assert group(client, keys)["lag"] == 0
    assert group(client, keys)["entries-read"] == 315
    assert counters(client, keys) == {"AllocationSetSaved": 315}


def test_a_group_that_somebody_moved_moves_nothing(
    client: redis.Redis, keys: Keys, publish: Publish, consuming: Consuming, caught_up: CaughtUp
) -> None:
    """Neither back nor ahead."""
    publish([saved(size) for size in range(30)])
    with consuming():
        caught_up()
    for place in ("0", "$"):
        client.xgroup_setid(keys.events, GROUP, place)
        publish([saved(size) for size in range(5)])
        with consuming():
            caught_up()

    assert stats(client, keys) == {"applied": 40}
    assert group(client, keys)["lag"] == 0


def test_a_log_that_was_deleted_goes_on(
    client: redis.Redis, keys: Keys, consuming: Consuming, caught_up: CaughtUp
) -> None:
    """All of its keys at once, as FLUSHALL does, while the consumer runs."""
    with consuming():
        for _ in range(20):
            client.xadd(keys.events, {"event": saved()})
        caught_up()
        _delete_everything(client, keys)
        for _ in range(7):
            client.xadd(keys.events, {"event": saved()})
        wait_until(lambda: stats(client, keys) == {"applied": 7, "unnumbered": 7}, what="what came afterwards")
        caught_up()

    assert counters(client, keys) == {"AllocationSetSaved": 7}
    assert listed(client, keys, "allocation") == [saved()] * 7
    assert group(client, keys)["lag"] == 0


def test_a_log_that_was_deleted_gets_from_its_producers_what_they_have(
    client: redis.Redis, keys: Keys, store_url: str, consuming: Consuming
) -> None:
    """Counted anew, each once."""
    with consuming(), Producer(store_url, log=keys.name) as producer:
        emit(producer, *range(50))
        assert producer.flush(10)
        wait_until(lambda: stats(client, keys) == {"applied": 50}, what="the events")
        _delete_everything(client, keys)

        producer.emit("AssetSetSaved", size=50, window=WINDOW)
        assert producer.flush(10)

        wait_until(lambda: stats(client, keys) == {"applied": 51}, what="all events again")
        assert [json.loads(event)["metadata"]["size"] for event in listed(client, keys, "asset")] == list(range(51))


def test_a_key_of_another_type_stops_the_log_until_it_is_mended(
    client: redis.Redis,
    keys: Keys,
    publish: Publish,
    consuming: Consuming,
    caught_up: CaughtUp,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nothing is half applied: cursor and counters stay; then everything is."""
    client.set(keys.log("asset"), "not what it should be")
    publish([saved(1), saved(2, "AssetSet"), saved(3)])
    with consuming():
        wait_until(lambda: "Cannot apply, will keep trying" in caplog.text, what="the refusal")
        assert "should be a list, it is a string" in caplog.text
        assert not client.exists(keys.cursor, keys.counters, keys.stats, keys.log("allocation"))

        client.delete(keys.log("asset"))
        caught_up()

    assert listed(client, keys, "allocation") == [saved(1), saved(3)]
    assert listed(client, keys, "asset") == [saved(2, "AssetSet")]
    assert stats(client, keys) == {"applied": 3}


def test_a_stream_of_another_type_stops_the_log_until_it_is_mended(
    client: redis.Redis, keys: Keys, consuming: Consuming, caught_up: CaughtUp, caplog: pytest.LogCaptureFixture
) -> None:
    """The consumer waits, and does not die."""
    client.set(keys.events, "not what it should be")
    with consuming():
        wait_until(lambda: "Cannot apply, will keep trying" in caplog.text, what="the refusal")
        client.delete(keys.events)
        client.xadd(keys.events, {"event": saved()})
        caught_up()

    assert stats(client, keys) == {"applied": 1, "unnumbered": 1}


def test_two_active_consumers_apply_each_event_once(
    client: redis.Redis, keys: Keys, publish: Publish, store_url: str, caught_up: CaughtUp
) -> None:
    """Under one name both hold the lease: the fenced cursor alone keeps them from applying anything twice."""
    target = Target(keys, KUBECOST_KINDS, 1000)
    with (
        connect(store_url, part="consumer") as one,
        connect(store_url, part="consumer") as other,
        running(*(Consumer(twins, target, retain=100_000, name="twin") for twins in (one, other))),
    ):
        for first in range(0, 6000, 100):
            publish([saved(size) for size in range(first, first + 100)])
        caught_up()

    assert stats(client, keys) == {"applied": 6000}
    assert listed(client, keys, "allocation") == [saved(size) for size in range(5000, 6000)]


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


def _delete_everything(client: redis.Redis, keys: Keys) -> None:
    client.delete(*client.scan_iter(match=keys.events.replace("events", "*"), count=1000))
