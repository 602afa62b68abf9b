"""The script that applies a batch: effects and progress together, or nothing at all."""

from collections.abc import Callable
from typing import Any

import pytest
import redis
from etlog_consumer import Target, apply
from etlog_consumer.batch import Batch, collect
from etlog_consumer.ledger import Changes, Ledger
from etlog_consumer.recovery import Progress, Recovery
from etlog_events import scripts
from etlog_events.keys import GROUP, Keys
from etlog_events.kinds import KUBECOST_KINDS
from etlog_events.sequence import Record
from etlog_events.store import connect
from etlog_producer.publish import Identity, Publisher
from support.consumers import Publish
from support.samples import saved
from support.servers import Server
from support.stream import Client, counters, dead, entries, group, listed, raw_entries, records, stats

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
    Recovery(client, keys, retain=10**6).load(Progress())
    found = raw_entries(client, keys, after)[:count]
    entries = [(entry_id, [part for pair in fields.items() for part in pair]) for entry_id, fields in found]
    applied = {name.encode(): record.applied for name, record in records(client, keys).items()}
    return collect(entries, applied, KUBECOST_KINDS)


def changes_of(client: redis.Redis, target: Target, batch: Batch) -> Changes:
    """What a consumer that knows the log works out for the ledger."""
    ledger = Ledger(client, target.keys, target.kinds, keep=target.keep_sets)
    held: Any = client.get(target.keys.cursor)
    assert ledger.load(held or START)
    changes = ledger.changes(batch.notes)
    assert changes is not None
    return changes


def run(
    client: redis.Redis,
    target: Target,
    batch: Batch,
    cursor: bytes = START,
    entries_read: int | None = None,
    *,
    changes: Changes | None = None,
    retain: int = 1000,
    look: bool = True,
) -> Any:
    """Call the script."""
    changes = changes or changes_of(client, target, batch)
    call = target.call(batch, changes, cursor, retain=retain, entries_read=entries_read, look=look)
    return scripts.run(client, call)[0]


def all_stats(client: Client, keys: Keys) -> dict[str, int]:
    """The stats, those of the stream included."""
    return {name.decode(): int(number) for name, number in client.hgetall(keys.stats).items()}


def now(client: redis.Redis) -> int:
    """The store's clock in milliseconds."""
    seconds, microseconds = client.time()
    return int(seconds * 1000 + microseconds // 1000)


@pytest.mark.parametrize("size", [1, 4, None])
def test_a_batch_has_all_of_its_effects(
    client: redis.Redis, keys: Keys, target: Target, publish: Publish, size: int | None
) -> None:
    """Lists, counters, stats, dead letters, numbers, cursor and group; however the events were published."""
    publish([EVENTS[0], b"{}", EVENTS[1], saved(7, "AssetSet")], size)
    batch = read(client, keys)
    appended = client.xlen(keys.events)

    assert run(client, target, batch) == [b"applied", b"%d" % appended, b"0", b"0"]

    assert listed(client, keys, "allocation") == EVENTS[:2]
    assert listed(client, keys, "asset") == [saved(7, "AssetSet")]
    assert counters(client, keys) == {"AllocationSetSaved": 2, "AssetSetSaved": 1}
    assert stats(client, keys) == {"applied": 3, "dead": 1}
    assert dead(client, keys) == [
        {
            b"id": entries(client, keys)[1].id,
            b"producer": b"p",
            b"seq": b"2",
            b"raw": b"{}",
            b"reason": b"Object missing required field kind",
        }
    ]
    record = records(client, keys)["p"]
    assert record == Record(4, 4, dead=1, lost=0, seen=record.seen, token=b"", closed=False)
    assert client.zscore(keys.producers_seen, "p") == record.seen
    caught_up = all_stats(client, keys)["caught_up"]
    assert int(batch.last.partition(b"-")[0]) <= caught_up <= now(client)
    assert all_stats(client, keys) == {
        "applied": 3,
        "dead": 1,
        "published": 4,
        "entries": appended,
        "caught_up": caught_up,
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
    publish(EVENTS, 1)
    first = read(client, keys, count=5)
    run(client, target, first)
    second = read(client, keys, after=first.last)
    before = everything(client, keys)

    assert run(client, target, second, cursor=cursor) == [b"moved", first.last]

    assert everything(client, keys) == before


def test_a_missing_cursor_is_the_beginning(client: redis.Redis, keys: Keys, target: Target, publish: Publish) -> None:
    """Nothing was applied yet, or somebody deleted it: a consumer that thinks otherwise is told."""
    publish(EVENTS, 1)
    first = read(client, keys, count=5)
    run(client, target, first)
    second = read(client, keys, after=first.last)
    client.delete(keys.cursor)

    assert run(client, target, second, cursor=first.last) == [b"moved", b"0-0"]


def test_a_list_holds_the_newest_events(client: redis.Redis, keys: Keys, target: Target, publish: Publish) -> None:
    """Oldest first, at most as many as the cap, within a batch and over several."""
    publish(EVENTS, 1)
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
    """As after a takeover: the answer tells what they are, of each producer whose numbers are others."""
    publish(EVENTS, 5)
    Publisher(client, keys)(Identity("q"), 1, EVENTS)
    first = read(client, keys, count=1)
    run(client, target, first)
    batch = read(client, keys, after=first.last)
    unknowing = collect(batch.entries, {}, KUBECOST_KINDS)
    before = everything(client, keys)

    assert run(client, target, unknowing, cursor=first.last) == [b"numbers", b"p", b"5"]

    assert everything(client, keys) == before
    client.hdel(keys.producers, "p")
    assert run(client, target, batch, cursor=first.last) == [b"numbers", b"p", b"0"]


def test_the_numbers_of_thousands_of_producers_are_told(client: redis.Redis, keys: Keys, target: Target) -> None:
    """In one answer."""
    publisher = Publisher(client, keys)
    for number in range(2500):
        publisher(Identity(f"p{number}"), 1, EVENTS[:2])
    batch = read(client, keys)
    wrong = collect(batch.entries, {b"p%d" % number: 7 for number in range(2500)}, KUBECOST_KINDS)

    outcome, *found = run(client, target, wrong)

    assert outcome == b"numbers"
    assert found == [part for number in range(2500) for part in (b"p%d" % number, b"0")]
    assert run(client, target, batch)[0] == b"applied"
    assert {record.applied for record in records(client, keys).values()} == {2}


def test_losses_and_dead_letters_are_counted_for_their_producer(
    client: redis.Redis, keys: Keys, target: Target, publish: Publish
) -> None:
    """And add up over batches."""
    publish([EVENTS[0], b"{}", EVENTS[1], EVENTS[2], b"{}", EVENTS[3]], 1)
    ids = [entry.id for entry in entries(client, keys)]
    client.xdel(keys.events, ids[0], ids[2], ids[3])
    first = read(client, keys, count=1)
    run(client, target, first)
    run(client, target, read(client, keys, after=first.last), cursor=first.last)

    record = records(client, keys)["p"]
    assert (record.published, record.applied, record.dead, record.lost) == (6, 6, 2, 3)
    assert stats(client, keys) == {"applied": 1, "dead": 2, "lost": 3}


@pytest.mark.parametrize("size", [1, 500, None])
def test_a_batch_may_be_larger_than_any_limit_of_lua(
    client: redis.Redis, keys: Keys, publish: Publish, size: int | None
) -> None:
    """Twelve thousand events of one category, more than a script may unpack at once."""
    texts = [saved(size) for size in range(12_000)]
    publish(texts, size)

    assert run(client, Target(keys, KUBECOST_KINDS, cap=1_000_000), read(client, keys))[0] == b"applied"
    assert listed(client, keys, "allocation") == texts


def test_the_victims_of_the_cap_of_dead_letters_are_counted(
    client: redis.Redis, keys: Keys, target: Target, publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never silent: dead = kept + dropped."""
    monkeypatch.setattr(apply, "DEAD_CAP", 3)
    publish([b"%d" % number for number in range(8)], 4)
    first = read(client, keys, count=1)
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
    "seen": lambda keys: keys.producers_seen,
    "ended": lambda keys: keys.producers_ended,
    "trim": lambda keys: keys.trim,
    "allocation": lambda keys: keys.log("allocation"),
    "asset": lambda keys: keys.log("asset"),
    "unrowed": lambda keys: keys.unrowed,
    "sets": lambda keys: keys.sets("asset"),
    "changes": lambda keys: keys.changes("allocation"),
}


@pytest.mark.parametrize("key", WRONG_TYPES.values(), ids=WRONG_TYPES.keys())
def test_a_key_of_another_type_changes_nothing(
    client: redis.Redis, keys: Keys, target: Target, publish: Publish, key: Callable[[Keys], str]
) -> None:
    """The batch is refused as a whole, and has all of its effects when the key is mended."""
    publish([*EVENTS, b"{}", saved(1, "AssetSet")])
    batch = read(client, keys)
    changes = changes_of(client, target, batch)
    name = key(keys)
    kept = client.dump(name)
    client.set(name, "not what it should be")
    before = everything(client, keys)

    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        run(client, target, batch, changes=changes)

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
    changes = changes_of(client, target, batch)
    client.rpush(keys.cursor, "not what it should be")
    before = everything(client, keys)

    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        run(client, target, batch, changes=changes)

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
    publish(EVENTS, 1)
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


@pytest.mark.parametrize("size", [1, 250, None])
def test_places_to_trim_at_are_noted_every_thousand_events(
    client: redis.Redis, keys: Keys, target: Target, publish: Publish, size: int | None
) -> None:
    """Within a batch and over several; each is an entry, by the number of events up to its end."""
    publish([saved(number) for number in range(3300)], size)
    ends = {}
    for place, entry in enumerate(entries(client, keys), 1):
        ends[entry.id.partition(b".")[0]] = place
    cursor = START
    while cursor != list(ends)[-1]:
        batch = read(client, keys, after=cursor, count=max(1, 700 // (size or 100)))
        run(client, target, batch, cursor=cursor, retain=10**6)
        cursor = batch.last
    marks: Any = client.zrange(keys.trim, 0, -1, withscores=True)
    trim = {entry_id: int(score) for entry_id, score in marks}

    assert trim == {entry_id: ends[entry_id] for entry_id in trim}
    places = [0, *sorted(trim.values())]
    assert len(places) == 4
    assert all(later - earlier < 1500 for earlier, later in zip(places, [*places[1:], 3300], strict=True))


def test_the_stream_is_trimmed_at_the_last_place_that_leaves_enough(
    client: redis.Redis, keys: Keys, target: Target, publish: Publish
) -> None:
    """And the places before it are forgotten."""
    publish([saved(number) for number in range(5000)], 100)
    found = [entry_id for entry_id, _ in raw_entries(client, keys)]
    run(client, target, read(client, keys), retain=2000)

    assert [entry_id for entry_id, _ in raw_entries(client, keys)] == found[29:]
    assert client.zrange(keys.trim, 0, -1) == [found[39], found[49]]


def test_sums_stay_exact_past_32_bits(client: redis.Redis, keys: Keys, target: Target, publish: Publish) -> None:
    """A log that counts for years."""
    client.hset(keys.counters, "AllocationSetSaved", 2**52)
    client.hset(keys.unrowed, "AllocationSetSaved", 2**52)
    client.hset(keys.stats, "applied", 10**15)
    publish(EVENTS)

    run(client, target, read(client, keys))

    assert counters(client, keys) == {"AllocationSetSaved": 2**52 + 10}
    assert stats(client, keys) == {"applied": 10**15 + 10}


def test_the_order_of_the_keys_is_that_of_the_script(keys: Keys, target: Target) -> None:
    """All keys go through `KEYS`, so that a cluster and its access rules see them."""
    assert target.key_names == [
        keys.contract,
        keys.events,
        keys.cursor,
        keys.counters,
        keys.stats,
        keys.dead,
        keys.producers,
        keys.producers_seen,
        keys.producers_ended,
        keys.trim,
        keys.id,
        keys.unrowed,
        *(keys.log("allocation"), keys.sets("allocation"), keys.changes("allocation")),
        *(keys.log("asset"), keys.sets("asset"), keys.changes("asset")),
    ]


def test_the_record_of_a_producer_that_has_closed_goes_when_all_is_applied(
    client: redis.Redis, keys: Keys, target: Target
) -> None:
    """Not before; its numbers are in the sums from then on."""
    publisher = Publisher(client, keys)
    publisher(Identity("p", "t"), 1, [EVENTS[0], b"{}"])
    publisher(Identity("p", "t"), 3, EVENTS[:3])
    publisher.close(Identity("p", "t"), 5)
    first = read(client, keys, count=1)
    run(client, target, first)
    assert records(client, keys)["p"].closed

    run(client, target, read(client, keys, after=first.last), cursor=first.last)

    assert not client.exists(keys.producers, keys.producers_seen)
    assert client.hgetall(keys.producers_ended) == {
        b"published": b"5",
        b"applied": b"5",
        b"dead": b"1",
        b"lost": b"0",
    }


def test_what_a_client_numbers_without_the_function_counts_as_published(
    client: redis.Redis, keys: Keys, target: Target
) -> None:
    """Once it is applied, a gap included; its record is like any other."""
    for seq in (1, 2, 5):
        client.xadd(keys.events, {"event": EVENTS[0], "producer": "q", "seq": seq})
    client.xadd(keys.events, {"event": EVENTS[0], "producer": "q", "seq": 6, "event.1": EVENTS[1]})

    run(client, target, read(client, keys))

    record = records(client, keys)["q"]
    assert record == Record(7, 7, dead=0, lost=2, seen=record.seen, token=b"", closed=False)
    assert client.zscore(keys.producers_seen, "q") == record.seen
    assert (all_stats(client, keys)["published"], all_stats(client, keys)["entries"]) == (7, 4)


def test_a_producer_is_seen_once_a_minute(client: redis.Redis, keys: Keys, target: Target) -> None:
    """Which spares the sorted set a write for each batch."""
    publisher, cursor = Publisher(client, keys), START
    seen = []
    for first, age in ((1, 0), (2, 59_000), (3, 61_000)):
        publisher(Identity("p"), first, EVENTS[:1])
        before = records(client, keys)["p"]
        aged = before._replace(seen=before.seen - age)
        client.hset(keys.producers, "p", aged.encode())
        batch = read(client, keys, after=cursor)
        run(client, target, batch, cursor=cursor)
        cursor = batch.last
        seen.append(records(client, keys)["p"].seen - aged.seen)

    assert seen[:2] == [0, 0]
    assert seen[2] >= 61_000
    assert client.zscore(keys.producers_seen, "p") == records(client, keys)["p"].seen


def test_the_first_batch_gives_the_log_its_id(client: redis.Redis, keys: Keys, target: Target) -> None:
    """Where no publish has; and it stays."""
    client.xadd(keys.events, {"event": EVENTS[0]})
    first = read(client, keys)
    run(client, target, first)
    made = client.get(keys.id)
    assert isinstance(made, bytes)
    assert len(made) == 40

    assert Publisher(client, keys)(Identity("p"), 1, EVENTS).log_id == made.decode()
    run(client, target, read(client, keys, after=first.last), cursor=first.last)
    assert client.get(keys.id) == made


def test_caught_up_is_the_last_entry_while_something_waits(
    client: redis.Redis, keys: Keys, target: Target, publish: Publish
) -> None:
    """And the store's clock when nothing does; never above it, whatever an id says."""
    publish(EVENTS[:4], 1)
    first = read(client, keys, count=2)
    run(client, target, first)
    assert all_stats(client, keys)["caught_up"] == int(first.last.partition(b"-")[0])

    before = now(client)
    second = read(client, keys, after=first.last)
    run(client, target, second, cursor=first.last)
    assert before <= all_stats(client, keys)["caught_up"] <= now(client)

    for id_ in (b"9999999999998-0", b"9999999999999-0"):
        client.xadd(keys.events, {"event": EVENTS[0]}, id=id_)
    third = read(client, keys, after=second.last, count=1)
    run(client, target, third, cursor=second.last)
    assert before <= all_stats(client, keys)["caught_up"] <= now(client)


def test_nothing_waits_behind_a_last_entry_that_was_deleted(
    client: redis.Redis, keys: Keys, target: Target, publish: Publish
) -> None:
    """It will never be applied, and all that there is, is."""
    publish(EVENTS[:3], 1)
    client.xdel(keys.events, raw_entries(client, keys)[-1][0])
    before = now(client)

    assert run(client, target, read(client, keys), entries_read=2) == [b"applied", b"3", b"0", b"0"]

    assert all_stats(client, keys)["caught_up"] >= before
    assert all_stats(client, keys)["entries"] == 3


@pytest.mark.parametrize(
    ("waiting", "events"),
    [(0, b"0"), (1, b"7"), (2, b"14")],
)
def test_what_waits_is_told_in_entries_and_events(
    client: redis.Redis, keys: Keys, target: Target, waiting: int, events: bytes
) -> None:
    """While all entries are of the function for publishing."""
    publisher = Publisher(client, keys)
    for first in range(1, 8 + 7 * waiting, 7):
        publisher(Identity("p"), first, EVENTS[:7])

    answer = run(client, target, read(client, keys, count=1), entries_read=1)

    assert answer[:4] == [b"applied", b"1", b"%d" % waiting, events]


def test_what_waits_is_told_in_entries_alone_where_others_have_added_some(
    client: redis.Redis, keys: Keys, target: Target
) -> None:
    """How many events those hold, no number tells; once nothing waits, the numbers tell again."""
    publisher = Publisher(client, keys)
    publisher(Identity("p"), 1, EVENTS)
    client.xadd(keys.events, {"event": EVENTS[0], "event.1": EVENTS[1]})
    first = read(client, keys, count=1)
    assert run(client, target, first, entries_read=1)[2:] == [b"1", b""]
    second = read(client, keys, after=first.last)
    assert run(client, target, second, cursor=first.last, entries_read=2)[2:] == [b"0", b"0"]

    publisher(Identity("p"), 11, EVENTS)
    publisher(Identity("p"), 21, EVENTS)
    third = read(client, keys, after=second.last, count=1)
    assert run(client, target, third, cursor=second.last, entries_read=3)[2:] == [b"1", b"10"]


def test_where_the_sums_tell_of_nothing_entries_are_told(
    client: redis.Redis, keys: Keys, target: Target, publish: Publish
) -> None:
    """An entry waits; that no event does cannot be."""
    publish(EVENTS, 5)
    client.hset(keys.stats, "published", 3)

    assert run(client, target, read(client, keys, count=1), entries_read=1)[2:] == [b"1", b""]


def test_a_look_costs_the_store_no_copy_of_an_entry(client: redis.Redis, keys: Keys, target: Target) -> None:
    """XINFO STREAM would give the first and the last one, whatever is in them."""
    for _ in range(3):
        client.xadd(keys.events, {"event": EVENTS[0]})
    batch = read(client, keys)
    client.config_resetstat()

    run(client, target, batch, entries_read=3)

    called = client.info("commandstats")
    assert "cmdstat_xinfo|groups" in called
    assert not {"cmdstat_xinfo|stream", "cmdstat_xrange"} & called.keys()
    assert [found["name"] for found in client.xinfo_groups(keys.events)] == [GROUP.encode()]


@pytest.mark.parametrize("text", ["nan", "0x10", "1e3", "-5", "many"])
def test_a_counter_that_is_no_number_begins_anew(
    client: redis.Redis, keys: Keys, target: Target, publish: Publish, text: str
) -> None:
    """Somebody wrote it by hand."""
    client.hset(keys.counters, "AllocationSetSaved", text)
    publish(EVENTS)

    run(client, target, read(client, keys))

    assert counters(client, keys) == {"AllocationSetSaved": 10}
