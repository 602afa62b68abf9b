"""The script that applies a batch: effects and progress together, or nothing at all."""

from collections.abc import Callable
from typing import Any

import pytest
import redis
from etlog_consumer import Target, apply, progress
from etlog_consumer.apply import SCRIPT
from etlog_consumer.batch import Batch, collect
from etlog_events.keys import GROUP, Keys
from etlog_events.kinds import KUBECOST_KINDS
from etlog_events.store import connect
from support.consumers import Publish
from support.samples import saved
from support.servers import Server
from support.stream import counters, dead, entries, group, listed, raw_entries, stats

EVENTS = [saved(size) for size in range(10)]
START = b"0-0"


@pytest.fixture
def target(keys: Keys) -> Target:
    """The test's log with short lists."""
    return Target(keys, KUBECOST_KINDS, cap=5)


def everything(client: redis.Redis, keys: Keys) -> dict[bytes, Any]:
    """All that is stored of the log."""
    found = sorted(client.scan_iter(match=keys.events.replace("events", "*"), count=1000))
    return {key: client.dump(key) for key in found}


def read(client: redis.Redis, keys: Keys, after: bytes = START, count: int | None = None) -> Batch:
    """The batch that a consumer reads after the cursor `after`."""
    found = raw_entries(client, keys, after)[:count]
    entries = [(entry_id, [part for pair in fields.items() for part in pair]) for entry_id, fields in found]
    return collect(entries, progress.load(client, keys)[0].numbers, KUBECOST_KINDS)


def run(
    client: redis.Redis,
    target: Target,
    batch: Batch,
    cursor: bytes = START,
    entries_read: int | None = None,
    trim: bytes | None = None,
) -> Any:
    """Call the script."""
    names = target.key_names
    return client.eval(SCRIPT, len(names), *names, *target.arguments(batch, cursor, entries_read, trim))


def test_a_batch_has_all_of_its_effects(client: redis.Redis, keys: Keys, target: Target, publish: Publish) -> None:
    """Lists, counters, stats, dead letters, numbers, cursor and group."""
    publish([EVENTS[0], b"{}", EVENTS[1], saved(7, "AssetSet")])
    batch = read(client, keys)

    assert run(client, target, batch) == [b"applied", b"4", b"4"]

    assert listed(client, keys, "allocation") == EVENTS[:2]
    assert listed(client, keys, "asset") == [saved(7, "AssetSet")]
    assert counters(client, keys) == {"AllocationSetSaved": 2, "AssetSetSaved": 1}
    assert stats(client, keys) == {"applied": 3, "dead": 1}
    assert dead(client, keys) == [
        {
            b"id": batch.ids[1],
            b"producer": b"p",
            b"seq": b"2",
            b"raw": b"{}",
            b"reason": b"Object missing required field kind",
        }
    ]
    assert client.hgetall(keys.producers) == {
        b"p:published": b"4",
        b"p:applied": b"4",
        b"p:dead": b"1",
        b"p:seen": batch.last.partition(b"-")[0],
    }
    assert client.get(keys.cursor) == batch.last
    assert group(client, keys)["last-delivered-id"] == batch.last
    assert group(client, keys)["lag"] == 0
    assert group(client, keys)["pending"] == 0


def test_a_batch_given_twice_is_applied_once(client: redis.Redis, keys: Keys, target: Target, publish: Publish) -> None:
    """Two consumers read the same entries: one is told that the cursor has moved, and where it is."""
    publish(EVENTS)
    batch = read(client, keys)
    run(client, target, batch)
    before = everything(client, keys)

    assert run(client, target, batch) == [b"moved", batch.last]

    assert everything(client, keys) == before
    assert counters(client, keys) == {"AllocationSetSaved": 10}


@pytest.mark.parametrize("cursor", [b"0-0", b"1-1", b"9999999999999-0"])
def test_a_batch_read_from_elsewhere_changes_nothing(
    client: redis.Redis, keys: Keys, target: Target, publish: Publish, cursor: bytes
) -> None:
    """Whether the cursor is before or behind it."""
    publish(EVENTS)
    first = read(client, keys, count=5)
    run(client, target, first)
    second = read(client, keys, after=first.last)
    before = everything(client, keys)

    assert run(client, target, second, cursor=cursor) == [b"moved", first.last]

    assert everything(client, keys) == before


def test_a_missing_cursor_is_the_beginning(client: redis.Redis, keys: Keys, target: Target, publish: Publish) -> None:
    """Nothing was applied yet, or somebody deleted it: a consumer that thinks otherwise is told."""
    publish(EVENTS)
    first = read(client, keys, count=5)
    run(client, target, first)
    second = read(client, keys, after=first.last)
    client.delete(keys.cursor)

    assert run(client, target, second, cursor=first.last) == [b"moved", b"0-0"]


def test_a_list_holds_the_newest_events(client: redis.Redis, keys: Keys, target: Target, publish: Publish) -> None:
    """Oldest first, at most as many as the cap, within a batch and over several."""
    publish(EVENTS)
    first = read(client, keys, count=7)
    run(client, target, first)
    assert listed(client, keys, "allocation") == EVENTS[2:7]

    run(client, target, read(client, keys, after=first.last), cursor=first.last)
    assert listed(client, keys, "allocation") == EVENTS[5:]
    assert counters(client, keys) == {"AllocationSetSaved": 10}


def test_a_smaller_cap_shortens_every_list(client: redis.Redis, keys: Keys, publish: Publish) -> None:
    """With the next batch, whatever is in it; a larger one lets them grow from there."""
    publish([*EVENTS[:9], *(saved(size, "AssetSet") for size in range(3))])
    first = read(client, keys)
    run(client, Target(keys, KUBECOST_KINDS, cap=100), first)
    publish(EVENTS[9:])
    second = read(client, keys, after=first.last)

    run(client, Target(keys, KUBECOST_KINDS, cap=2), second, cursor=first.last)

    assert listed(client, keys, "allocation") == EVENTS[8:]
    assert listed(client, keys, "asset") == [saved(1, "AssetSet"), saved(2, "AssetSet")]
    publish(EVENTS[:2])
    run(client, Target(keys, KUBECOST_KINDS, cap=9), read(client, keys, after=second.last), cursor=second.last)
    assert listed(client, keys, "allocation") == EVENTS[8:] + EVENTS[:2]


def test_numbers_that_are_not_what_they_were_change_nothing(
    client: redis.Redis, keys: Keys, target: Target, publish: Publish
) -> None:
    """Somebody closed a producer's account, or lost it, after the batch was worked out."""
    publish(EVENTS)
    first = read(client, keys, count=5)
    run(client, target, first)
    second = read(client, keys, after=first.last)
    client.hset(keys.producers, "p:applied", 10)

    assert run(client, target, second, cursor=first.last) == [b"moved", first.last]


def test_losses_and_dead_letters_are_counted_for_their_producer(
    client: redis.Redis, keys: Keys, target: Target, publish: Publish
) -> None:
    """And add up over batches."""
    publish([EVENTS[0], b"{}", EVENTS[1], EVENTS[2], b"{}", EVENTS[3]])
    ids = [entry.id for entry in entries(client, keys)]
    client.xdel(keys.events, ids[0], ids[2], ids[3])
    first = read(client, keys, count=1)
    run(client, target, first)
    run(client, target, read(client, keys, after=first.last), cursor=first.last)

    record = client.hgetall(keys.producers)
    assert (record[b"p:applied"], record[b"p:dead"], record[b"p:lost"]) == (b"6", b"2", b"3")
    assert stats(client, keys) == {"applied": 1, "dead": 2, "lost": 3}


def test_the_largest_batch_fits(client: redis.Redis, keys: Keys, publish: Publish) -> None:
    """A thousand events of one category, each with a list to push it to."""
    publish([saved(size) for size in range(1000)])

    assert run(client, Target(keys, KUBECOST_KINDS, cap=1_000_000), read(client, keys))[0] == b"applied"
    assert client.llen(keys.log("allocation")) == 1000


def test_the_victims_of_the_cap_of_dead_letters_are_counted(
    client: redis.Redis, keys: Keys, target: Target, publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never silent: dead = kept + dropped."""
    monkeypatch.setattr(apply, "DEAD_CAP", 3)
    publish([b"%d" % number for number in range(8)])
    first = read(client, keys, count=4)
    run(client, target, first)
    run(client, target, read(client, keys, after=first.last), cursor=first.last)

    assert [letter[b"raw"] for letter in dead(client, keys)] == [b"5", b"6", b"7"]
    assert stats(client, keys) == {"dead": 8, "dead_dropped": 5}


WRONG_TYPES: dict[str, Callable[[Keys], str]] = {
    "events": lambda keys: keys.events,
    "counters": lambda keys: keys.counters,
    "stats": lambda keys: keys.stats,
    "dead": lambda keys: keys.dead,
    "producers": lambda keys: keys.producers,
    "allocation": lambda keys: keys.log("allocation"),
    "asset": lambda keys: keys.log("asset"),
}


@pytest.mark.parametrize("key", WRONG_TYPES.values(), ids=WRONG_TYPES.keys())
def test_a_key_of_another_type_changes_nothing(
    client: redis.Redis, keys: Keys, target: Target, publish: Publish, key: Callable[[Keys], str]
) -> None:
    """The batch is refused as a whole, and has all of its effects when the key is mended."""
    publish([*EVENTS, b"{}", saved(1, "AssetSet")])
    batch = read(client, keys)
    name = key(keys)
    kept = client.dump(name)
    client.set(name, "not what it should be")
    before = everything(client, keys)

    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        run(client, target, batch)

    assert everything(client, keys) == before
    client.delete(name)
    if kept is not None:
        client.restore(name, 0, kept)
    run(client, target, batch)
    assert stats(client, keys) == {"applied": 11, "dead": 1}
    assert counters(client, keys) == {"AllocationSetSaved": 10, "AssetSetSaved": 1}


def test_a_cursor_of_another_type_changes_nothing(
    client: redis.Redis, keys: Keys, target: Target, publish: Publish
) -> None:
    """Without a cursor nothing is certain."""
    publish(EVENTS)
    batch = read(client, keys)
    client.rpush(keys.cursor, "not what it should be")
    before = everything(client, keys)

    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        run(client, target, batch)

    assert everything(client, keys) == before


@pytest.mark.parametrize(
    ("refusal", "mended"),
    [
        (("CONFIG", "SET", "min-replicas-to-write", "1"), ("CONFIG", "SET", "min-replicas-to-write", "0")),
        (("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE")),
    ],
    ids=["too few replicas", "read-only"],
)
def test_a_store_that_takes_no_writes_changes_nothing(
    server: Server, keys: Keys, target: Target, refusal: tuple[str, ...], mended: tuple[str, ...]
) -> None:
    """And everything when it takes them again."""
    with connect(server.url, part="test") as client:
        for event in [*EVENTS, b"{}"]:
            client.xadd(keys.events, {"event": event})
        batch = read(client, keys)
        before = everything(client, keys)
        client.execute_command(*refusal)

        with pytest.raises(redis.ResponseError):
            run(client, target, batch)

        assert everything(client, keys) == before
        client.execute_command(*mended)
        assert run(client, target, batch)[0] == b"applied"
        assert stats(client, keys) == {"applied": 10, "dead": 1, "unnumbered": 11}


def test_a_destroyed_group_is_made_again(client: redis.Redis, keys: Keys, target: Target, publish: Publish) -> None:
    """The cursor is the truth, the group only mirrors it."""
    publish(EVENTS)
    first = read(client, keys, count=5)
    run(client, target, first, entries_read=5)
    second = read(client, keys, after=first.last)
    client.xgroup_destroy(keys.events, GROUP)

    run(client, target, second, cursor=first.last, entries_read=10)

    assert group(client, keys)["last-delivered-id"] == second.last
    assert group(client, keys)["lag"] == 0


def test_a_deleted_stream_does_not_hold_up_the_batch(
    client: redis.Redis, keys: Keys, target: Target, publish: Publish
) -> None:
    """What was read is applied, even when its entries are gone."""
    publish(EVENTS)
    batch = read(client, keys)
    client.delete(keys.events)

    assert run(client, target, batch)[0] == b"applied"
    assert counters(client, keys) == {"AllocationSetSaved": 10}


def test_only_entries_before_the_mark_are_trimmed(client: redis.Redis, keys: Keys, target: Target) -> None:
    """In whole nodes of the stream, so that some of them may stay a while."""
    for _ in range(6):
        for event in EVENTS * 10:
            client.xadd(keys.events, {"event": event})
    batch = read(client, keys)

    run(client, target, batch, trim=batch.ids[450])

    left = [entry_id for entry_id, _ in raw_entries(client, keys)]
    assert left[-150:] == batch.ids[450:]
    assert len(left) <= 250


def test_sums_stay_exact_past_32_bits(client: redis.Redis, keys: Keys, target: Target, publish: Publish) -> None:
    """A log that counts for years."""
    client.hset(keys.counters, "AllocationSetSaved", 2**52)
    client.hset(keys.stats, "applied", 10**15)
    publish(EVENTS)

    run(client, target, read(client, keys))

    assert counters(client, keys) == {"AllocationSetSaved": 2**52 + 10}
    assert stats(client, keys) == {"applied": 10**15 + 10}


def test_the_order_of_the_keys_is_that_of_the_script(keys: Keys, target: Target) -> None:
    """All keys go through `KEYS`, so that a cluster and its access rules see them."""
    assert target.key_names == [
        keys.events,
        keys.cursor,
        keys.counters,
        keys.stats,
        keys.dead,
        keys.producers,
        keys.contract,
        keys.retired,
        keys.log("allocation"),
        keys.log("asset"),
    ]
