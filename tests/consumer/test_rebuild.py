"""What others did to the ledger's keys: whatever it is, the numbers add up again, it is said once, and work goes on."""

import json
import threading
from collections.abc import Callable, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
import redis
from etlog_consumer import Consumer, Target, lease, loading, rebuild, recovery
from etlog_consumer.ledger import Ledger
from etlog_events import scripts
from etlog_events.event import Event
from etlog_events.keys import Keys
from etlog_events.kinds import KUBECOST_KINDS
from etlog_events.store import connect
from support.consumers import in_threads
from support.ledgers import faults, ledger, unrowed
from support.log import Log
from support.logged import Logged
from support.recomputed import counted, events_in, recomputed
from support.servers import wait_until
from support.stream import Client

#: Sets of a length that keep their row here, and events that a list holds.
KEEP, CAP = 5, 10

Damage = Callable[[Client, Keys], object]


@pytest.fixture(autouse=True)
def quick_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The log is looked after all the time."""
    monkeypatch.setattr(recovery, "EVERY", 0.02)


def set_of(hour: int) -> str:
    """The interval of the set of that hour."""
    return f"2022-06-03T{hour:02}:00:00Z/2022-06-03T{hour + 1:02}:00:00Z"


def events(*hours: int, size: int = 1) -> list[bytes]:
    """A saved set and an error for each of these hours."""
    windows = [(start, end) for start, _, end in (set_of(hour).partition("/") for hour in hours)]
    return [
        event.encode()
        for window in windows
        for event in (
            Event.new("AllocationSetSaved", size=size, window=window, time=window[1]),
            Event.new("AllocationSetComputeError", error="e", window=window, time=window[1]),
        )
    ]


BEFORE = [*events(*range(8)), *events(*range(8), size=2), *events(7, size=3)]
AFTER = [*events(6, 7, size=4), *events(9, size=5), *events(0, size=6)]


#: What the consumers here work with. They have one name, so that none waits for the lease of the one before.
OPTIONS: dict[str, Any] = {"keep_sets": KEEP, "cap": CAP, "name": "c"}


def cursor_of(log: Log) -> bytes:
    """Where the log stands."""
    cursor: Any = log.client.get(log.keys.cursor)
    return cursor or b"0-0"


def caught_up_at(log: Log) -> int:
    """The last look at which nothing waited, in milliseconds."""
    time: Any = log.client.hget(log.keys.stats, "caught_up")
    return int(time)


def adds_up(log: Log) -> bool:
    """Whether the numbers of the ledger add up, and every set is listed as changed."""
    try:
        return not faults(log.client, log.keys)
    except (ValueError, AttributeError, TypeError, KeyError):  # a row that is none
        return False


SETS, CHANGES = "sets", "changes"


def key(keys: Keys, name: str) -> str:
    """A key of the ledger by its name."""
    return keys.unrowed if name == "unrowed" else str(getattr(keys, name)("allocation"))


def put(field: str | bytes, text: str | bytes) -> Damage:
    """Somebody wrote a field into the hash of the rows."""
    return lambda client, keys: client.hset(keys.sets("allocation"), field, text)


def together(*damages: Damage) -> Damage:
    """Several at once."""
    return lambda client, keys: [damage(client, keys) for damage in damages]


def delete(*names: str) -> Damage:
    """Somebody deleted keys."""
    return lambda client, keys: client.delete(*(key(keys, name) for name in names))


_ONE = '{"Saved":{"n":1,"first":"2022-06-03T08:00:00Z","last":"2022-06-03T08:00:00Z"}}'

#: What a consumer at work notices by itself: the number of rows, of those that are listed, or `unrowed` is another.
NOTICED: dict[str, Damage] = {
    "the rows deleted": delete(SETS),
    "all deleted": delete(SETS, CHANGES, "unrowed"),
    "the rows and what is listed deleted": delete(SETS, CHANGES),
    "a row deleted": lambda client, keys: client.hdel(keys.sets("allocation"), set_of(7)),
    "another row deleted": lambda client, keys: client.hdel(keys.sets("allocation"), set_of(4)),
    "fields that are no set": together(
        put("foo", "bar"), put(b"\xff\x00", b"\xff"), put("", ""), put("a/b", _ONE), put(set_of(3), "null")
    ),
    "a set without a length": put("2022-06-03T10:00:00Z/2022-06-03T10:00:00Z", _ONE),
    "a set that ends before it starts": put("2022-06-03T11:00:00Z/2022-06-03T10:00:00Z", _ONE),
    "what is listed deleted": delete(CHANGES),
    "a stranger listed": lambda client, keys: client.zadd(keys.changes("allocation"), {"foo": 1, b"\xff": 2}),
    "a set listed with an endless score": together(
        lambda client, keys: client.zadd(keys.changes("allocation"), {set_of(7): "inf"}),
        delete("unrowed"),
    ),
    "a set not listed": lambda client, keys: client.zrem(keys.changes("allocation"), set_of(7)),
    "unrowed deleted": delete("unrowed"),
    "unrowed raised": lambda client, keys: client.hincrby(keys.unrowed, "AllocationSetSaved", 7),
    "unrowed garbage": lambda client, keys: client.hset(keys.unrowed, "AllocationSetSaved", "x"),
}

#: What shows only when the rows are read again.
UNNOTICED: dict[str, Damage] = {
    "a row that is garbage": put(set_of(7), "garbage"),
    "a row that is not UTF-8": put(set_of(7), b'{"Saved":{"n":1,"first":"\xff","last":""}}'),
    "a row without times": put(set_of(7), '{"Saved":{"n":1,"first":"","last":""}}'),
    "a row of no events": put(set_of(7), "{}"),
    "a row of fewer events": put(set_of(7), _ONE),
    "a row of more events": put(set_of(7), _ONE.replace('"n":1', '"n":1000')),
    "a row of negative events": put(set_of(7), _ONE.replace('"n":1', '"n":-1000')),
    "a counter lowered": lambda client, keys: client.hincrby(keys.counters, "AllocationSetSaved", -7),
    "the counters deleted": lambda client, keys: client.delete(keys.counters),
}


def check(log: Log, texts: Sequence[bytes]) -> None:
    """Everything is counted once, and the ledger adds up."""
    assert faults(log.client, log.keys) == []
    assert log.counters() == counted(texts)
    assert log.stats()["applied"] == len(texts)
    assert events_in(ledger(log.client, log.keys)).keys() <= counted(texts).keys()
    assert ledger(log.client, log.keys)["allocation"].keys() <= {set_of(hour) for hour in range(10)}


@pytest.mark.parametrize("damage", NOTICED.values(), ids=NOTICED)
def test_damage_is_put_right_while_the_consumer_is_idle(log: Log, logged: Logged, damage: Damage) -> None:
    """Within one look, and said once; then all goes on as before."""
    log.publish(BEFORE)
    with log.consuming(**OPTIONS):
        log.caught_up()
        damage(log.client, log.keys)
        wait_until(lambda: logged("ledger_rebuilt"), what="the damage to be noticed")
        wait_until(lambda: adds_up(log), what="the damage to be put right")
        looked = caught_up_at(log)
        wait_until(lambda: caught_up_at(log) > looked + 60, what="some looks more")
        log.publish(AFTER)
        log.caught_up()

    check(log, BEFORE + AFTER)
    assert len(logged("ledger_rebuilt")) == 1
    assert len(logged("active")) == 2
    assert logged("store_away") == []


#: What others may do while a batch is worked out, and how many rows the consumer has in memory then.
WHILE_WORKING = {
    **{what: (NOTICED[what], 100_000) for what in ("all deleted", "a row deleted", "fields that are no set")},
    **{f"{what}, in memory": (damage, 100_000) for what, damage in UNNOTICED.items()},
    **{f"{what}, not in memory": (damage, 2) for what, damage in UNNOTICED.items() if what.startswith("a row")},
}


@pytest.mark.parametrize(("damage", "most_bytes"), WHILE_WORKING.values(), ids=WHILE_WORKING)
def test_damage_is_put_right_while_the_consumer_works(
    log: Log, logged: Logged, damage: Damage, most_bytes: int
) -> None:
    """Or by the next one that reads the rows, if it shows in no number."""
    log.publish(BEFORE)
    with log.consuming(**OPTIONS, most_bytes=most_bytes):
        log.caught_up()
        damage(log.client, log.keys)
        for text in AFTER:
            log.publish([text])
        log.caught_up()
    log.publish(AFTER)
    log.apply(**OPTIONS)

    check(log, BEFORE + AFTER + AFTER)
    assert len(logged("ledger_rebuilt")) <= 1
    assert len(logged("active")) <= 3
    assert len(logged("store_away")) <= 1


def test_deleted_rows_are_made_anew_from_the_list(log: Log) -> None:
    """It holds the newest events alone; all others are in no row."""
    log.publish(BEFORE)
    log.apply(**OPTIONS)
    delete(SETS, CHANGES, "unrowed")(log.client, log.keys)

    log.apply(**OPTIONS)

    newest = log.listed("allocation")
    assert len(newest) == CAP
    rows = recomputed(newest)
    assert ledger(log.client, log.keys) == rows
    left = {kind: number - events_in(rows).get(kind, 0) for kind, number in counted(BEFORE).items()}
    assert unrowed(log.client, log.keys) == {kind: number for kind, number in left.items() if number}


def test_a_log_from_before_the_ledger_gets_one(log: Log, logged: Logged) -> None:
    """With the sets of its lists, and without a word of damage in other categories."""
    log.publish([*BEFORE, *(text.replace(b"AllocationSet", b"AssetSet") for text in BEFORE)])
    log.apply(**OPTIONS)
    names = [log.keys.unrowed]
    for category in ("allocation", "asset"):
        names += [log.keys.sets(category), log.keys.changes(category)]
    log.client.delete(*names)

    log.apply(**OPTIONS)

    assert faults(log.client, log.keys) == []
    assert {category: len(rows) for category, rows in ledger(log.client, log.keys).items()} == {
        "allocation": len(recomputed(log.listed("allocation"))["allocation"]),
        "asset": len(recomputed(log.listed("asset"))["asset"]),
    }
    assert len(logged("ledger_rebuilt")) == 2


@pytest.mark.parametrize("name", [SETS, CHANGES, "unrowed"])
@pytest.mark.parametrize("comes_later", [True, False])
def test_a_key_of_another_type_stops_the_log_until_it_is_removed(
    log: Log, logged: Logged, name: str, comes_later: bool
) -> None:
    """Nothing is applied meanwhile, it is said once, and nothing is counted twice."""
    log.publish(BEFORE)
    if not comes_later:
        log.client.set(key(log.keys, name), "a string")
    with log.consuming(**OPTIONS):
        if comes_later:
            log.caught_up()
            log.client.set(key(log.keys, name), "a string")
            log.publish(AFTER)
        wait_until(lambda: logged("store_away"), what="it to be noticed")
        assert not comes_later or log.counters() == counted(BEFORE)
        log.client.delete(key(log.keys, name))
        log.caught_up()

    check(log, BEFORE + AFTER if comes_later else BEFORE)
    assert len(logged("store_away")) == 1
    assert key(log.keys, name) in logged("store_away")[0]


def numbers_add_up(log: Log) -> bool:
    """Whether counters = rows + unrowed, whatever else stands among the rows."""
    fields: Any = log.client.hgetall(log.keys.sets("allocation"))
    held = {name: json.loads(fields[name.encode()]) for name in map(set_of, range(10)) if name.encode() in fields}
    rows = {name: row for name, row in held.items() if row}
    in_rows, without = events_in({"allocation": rows}), unrowed(log.client, log.keys)
    return log.counters() == {kind: in_rows.get(kind, 0) + without.get(kind, 0) for kind in log.counters()}


class Failing:
    """A client whose store is away after so many exchanges."""

    def __init__(self, client: Client, exchanges: int) -> None:
        self.connection_pool = self
        self._pool = client.connection_pool
        self.left = exchanges

    def get_connection(self) -> Any:
        """A connection, while there are exchanges left."""
        if self.left <= 0:
            raise redis.ConnectionError("away")
        self.left -= 1
        return self._pool.get_connection()

    def release(self, connection: Any) -> None:
        """Take back a connection."""
        self._pool.release(connection)


@pytest.mark.parametrize("damage", (NOTICED | UNNOTICED).values(), ids=NOTICED | UNNOTICED)
def test_a_repair_that_ends_after_any_step_adds_up_and_the_next_one_completes_it(
    log: Log, logged: Logged, monkeypatch: pytest.MonkeyPatch, damage: Damage
) -> None:
    """Its consumer may be killed between any two; rows are put two at a time here."""
    log.publish(BEFORE)
    log.apply(**OPTIONS)
    monkeypatch.setattr(rebuild, "AT_ONCE", 2)
    names = [key(log.keys, name) for name in (SETS, CHANGES, "unrowed")] + [log.keys.counters]
    damage(log.client, log.keys)
    kept: dict[str, Any] = {name: log.client.dump(name) for name in names}
    cursor = cursor_of(log)

    for exchanges in range(100):
        for name, dump in kept.items():
            log.client.delete(name)
            if dump is not None:
                log.client.restore(name, 0, dump)
        before = log.client.hget(log.keys.stats, "rebuilt")
        failing = Failing(log.client, exchanges)
        try:
            done = Ledger(failing, log.keys, KUBECOST_KINDS, keep=KEEP).load(cursor)
        except redis.ConnectionError:
            done = False
        if log.client.hget(log.keys.stats, "rebuilt") != before:
            assert numbers_add_up(log)
        assert Ledger(log.client, log.keys, KUBECOST_KINDS, keep=KEEP).load(cursor)
        check(log, BEFORE)
        again, said = log.client.hget(log.keys.stats, "rebuilt"), len(logged("ledger_rebuilt"))
        assert Ledger(log.client, log.keys, KUBECOST_KINDS, keep=KEEP).load(cursor)
        assert len(logged("ledger_rebuilt")) == said
        assert log.client.hget(log.keys.stats, "rebuilt") == again
        if done:
            break
    assert done
    assert exchanges > 2


def test_rows_that_another_consumer_has_rebuilt_meanwhile_are_read_anew(log: Log) -> None:
    """Even if nothing was applied in between, and there are as many as before."""
    log.publish(events(1) * 20)
    log.apply(**OPTIONS)
    cursor = cursor_of(log)
    own = Ledger(log.client, log.keys, KUBECOST_KINDS, keep=KEEP)
    own.load(cursor)
    delete(SETS, CHANGES)(log.client, log.keys)
    assert Ledger(log.client, log.keys, KUBECOST_KINDS, keep=KEEP).load(cursor)

    assert not own.holds()


@pytest.mark.parametrize("is_rebuilt", [True, False])
def test_a_batch_worked_out_from_other_rows_is_refused(
    log: Log, store_url: str, logged: Logged, monkeypatch: pytest.MonkeyPatch, is_rebuilt: bool
) -> None:
    """It is collected again, with the rows as they are now; that others have removed some shows in their number."""
    monkeypatch.setattr(recovery, "EVERY", 1000.0)
    log.publish(events(1) * 20)
    with connect(store_url, part="consumer") as client:
        consumer = Consumer(client, Target(log.keys, KUBECOST_KINDS, CAP, KEEP), retain=10**6)
        while log.client.get(log.keys.cursor) is None:
            consumer._turn(threading.Event())
        log.publish(events(1))
        while consumer._batch is None:
            consumer._turn(threading.Event())
        delete(SETS, CHANGES)(log.client, log.keys)
        cursor = cursor_of(log)
        if is_rebuilt:
            assert Ledger(log.client, log.keys, KUBECOST_KINDS, keep=KEEP).load(cursor)
        consumer._turn(threading.Event())
        assert len(logged("moved")) == 1
        while log.client.get(log.keys.cursor) == cursor:
            consumer._turn(threading.Event())

    check(log, [*events(1) * 21])


def test_few_rows_in_memory_make_the_same_rows_in_the_store(log: Log, store_url: str) -> None:
    """Those that are not are read before a batch is applied."""
    texts = [*BEFORE, *AFTER, *events(*range(10), size=7), *events(3, 9)]
    texts += [text.replace(b"AllocationSet", b"AssetSet") for text in texts]
    texts += [Event.new("AssetSetReconcileError", error="e", time="2022-06-03T12:00:00Z").encode()]
    made = []
    for most_bytes in (100_000, 3, 1):
        other = Keys(f"{log.keys.name}-{most_bytes}")
        try:
            with connect(store_url, part="consumer") as client:
                consumer = Consumer(
                    client, Target(other, KUBECOST_KINDS, CAP, KEEP), retain=10**6, most_bytes=most_bytes
                )
                for first in range(0, len(texts), 3):
                    some = texts[first : first + 3]
                    fields: dict[Any, Any] = {f"event.{i}" if i else "event": text for i, text in enumerate(some)}
                    last = log.client.xadd(other.events, fields)
                    while log.client.get(other.cursor) != last:
                        consumer._turn(threading.Event())
            assert faults(log.client, other) == []
            made.append((ledger(log.client, other), unrowed(log.client, other)))
        finally:
            log.client.delete(*log.client.scan_iter(match=other.events.replace("events", "*"), count=1000))

    assert made[0] == made[1] == made[2]
    assert json.dumps(made[0][0]).count('"n"') > 10


def test_the_lease_is_held_while_many_rows_are_read(
    log: Log, store_url: str, logged: Logged, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else two consumers would read them in turns, for ever, if that takes longer than a lease lasts."""
    log.publish(events(*range(23)))
    log.apply(keep_sets=100)
    monkeypatch.setattr(lease, "DURATION", 1.0)
    monkeypatch.setattr(lease, "RENEW_AFTER", 0.1)
    monkeypatch.setattr(rebuild, "AT_ONCE", 1)
    never, steps = threading.Event(), []

    def slow(client: Client, *commands: Any) -> Any:
        if commands[0][0] == "HSCAN":
            never.wait(0.3)  # each step takes its time
            steps.append(commands)
        return scripts.run(client, *commands)

    monkeypatch.setattr(loading, "scripts", SimpleNamespace(run=slow))
    log.publish(events(3))
    target = Target(log.keys, KUBECOST_KINDS, CAP, keep_sets=100)
    with (
        connect(store_url, part="consumer") as one,
        connect(store_url, part="consumer") as other,
        in_threads(*(Consumer(client, target, retain=10**6) for client in (one, other))),
    ):
        log.caught_up()

    assert 0.3 * len(steps) > lease.DURATION
    assert len(logged("active")) == 2  # the one that filled the log, and one of these
    assert log.counters() == counted(events(*range(23), 3))
    assert faults(log.client, log.keys) == []


def test_an_interrupted_fill_is_done_again_after_another_category_was_repaired(
    log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each has its own mark."""
    texts = [text for hour in range(6) for text in events(hour)]
    texts += [text.replace(b"AllocationSet", b"AssetSet") for text in texts]
    log.publish(texts)
    log.apply(keep_sets=100)
    rows = ledger(log.client, log.keys)
    monkeypatch.setattr(rebuild, "AT_ONCE", 2)
    log.client.delete(*(of(category) for of in (log.keys.sets, log.keys.changes) for category in ("asset",)))
    load = partial(loading.load, log.client, log.keys, KUBECOST_KINDS, keep=100, cursor=cursor_of(log))
    steps = 0
    while not log.client.hlen(log.keys.sets("asset")):
        steps += 1
        assert load(go_on=partial(next, iter([True] * steps), False)) is None
    log.client.delete(log.keys.changes("allocation"))
    done: list[rebuild.Rebuild] = []

    def only_one(told: rebuild.Rebuild) -> None:
        done.append(told)
        raise redis.ConnectionError("killed")

    with pytest.raises(redis.ConnectionError):
        load(tell=only_one)
    assert [told.category for told in done] == ["allocation"]
    assert load() is not None

    assert faults(log.client, log.keys) == []
    assert ledger(log.client, log.keys) == rows


@pytest.mark.parametrize("number", ["9007199254740993", "9" * 30, "-1"])
def test_a_mark_of_rebuilds_that_is_no_number_stops_no_one(log: Log, number: str) -> None:
    """Both sides take it for the same."""
    log.publish(BEFORE)
    with log.consuming(**OPTIONS):
        log.caught_up()
        log.client.hset(log.keys.stats, "rebuilt", number)
        log.publish(AFTER)
        log.caught_up()

    check(log, BEFORE + AFTER)


def test_stats_that_vanish_hide_no_change_from_readers(log: Log) -> None:
    """The scores begin anew with them, so every row is listed anew, and readers are told by `rebuilt`."""
    log.publish(BEFORE)
    with log.consuming(**OPTIONS):
        log.caught_up()
        log.client.delete(log.keys.stats)
        wait_until(lambda: log.client.hget(log.keys.stats, "rebuilt"), what="the consumer to notice")
        log.publish(AFTER)
        log.caught_up()

    scores: Any = log.client.zrange(log.keys.changes("allocation"), 0, -1, withscores=True)
    assert max(score for _, score in scores) == log.stats()["applied"] == len(AFTER)
    assert faults(log.client, log.keys) == []
    assert log.counters() == counted(BEFORE + AFTER)


def test_a_row_of_more_events_than_were_counted_costs_no_other_row(log: Log) -> None:
    """It is the greatest one that others have written."""
    log.publish(BEFORE)
    log.apply(**OPTIONS)
    rows = ledger(log.client, log.keys)["allocation"]
    put(set_of(7), _ONE.replace('"n":1', '"n":1000'))(log.client, log.keys)
    log.publish(AFTER[:1])
    log.apply(**OPTIONS)

    left = ledger(log.client, log.keys)["allocation"]
    assert rows.keys() - left.keys() == {set_of(7)}
    assert log.counters() == counted([*BEFORE, *AFTER[:1]])


def test_stats_and_counters_that_vanish_cost_no_row(log: Log) -> None:
    """What the rows tell of is counted again."""
    log.publish(BEFORE)
    log.apply(**OPTIONS)
    rows = ledger(log.client, log.keys)["allocation"]
    log.client.delete(log.keys.stats, log.keys.counters)
    log.publish(events(9))
    log.apply(**OPTIONS)

    assert set_of(9) in ledger(log.client, log.keys)["allocation"]
    assert len(ledger(log.client, log.keys)["allocation"].keys() & rows.keys()) == len(rows) - 1  # one was pushed out
    assert faults(log.client, log.keys) == []
