"""The ledger in a replica: what an old reader holds is what a fresh one reads, however the rows came to change."""

import asyncio
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, TypeAlias

import pytest
import redis
from etlog_consumer import recovery
from etlog_events.errors import OtherContract
from etlog_events.event import Event
from etlog_events.keys import Keys
from etlog_events.kinds import KUBECOST_KINDS
from etlog_events.store import connect, connect_async
from etlog_ledger.reading import ledger as ledgers
from etlog_ledger.reading.connection import ATTEMPTS, Command, Connection
from etlog_ledger.reading.ledger import Ledger, LedgerReader
from etlog_ledger.row import Cell, Row, decode, encode
from support.apis import Fill, add_entry, apply
from support.consumers import CaughtUp, Consuming
from support.servers import Server, replica_of, wait_until
from support.stream import Client, is_applied

#: Category -> interval -> row.
Rows: TypeAlias = dict[str, dict[str, Row]]

T = "2022-06-03T17:07:54Z"

#: Puts so many rows of minutes, all with the same text and number.
FILL = """
    for i = 0, ARGV[1] - 1 do
        local time = string.format('2023-%02d-%02dT%02d:%02d:', i / 40320 + 1, i / 1440 % 28 + 1, i / 60 % 24, i % 60)
        redis.call('HSET', KEYS[1], time .. '00Z/' .. time .. '30Z', ARGV[2])
        redis.call('ZADD', KEYS[2], ARGV[3], time .. '00Z/' .. time .. '30Z')
    end
"""


class Asking(Connection):
    """A connection that notes what it is asked, and lets something happen before."""

    def __init__(self, client: Any, before: Callable[[Sequence[Command]], object]) -> None:
        super().__init__(client)
        self.asked: list[Sequence[Command]] = []
        self._before = before

    async def ask(self, *commands: Command, optional: tuple[Command, ...] = ()) -> list[Any]:
        """The answers."""
        self._before(commands)
        self.asked.append(commands)
        return await super().ask(*commands, optional=optional)


class Reading:
    """A reader of a log that stays, with its connection, between the steps of a test."""

    def __init__(self, url: str, keys: Keys, before: Callable[[Sequence[Command]], object] = lambda _: None) -> None:
        self._runner = asyncio.Runner()
        self._client = connect_async(url, part="ledger")
        self._connection = Asking(self._client, before)
        self._reader = LedgerReader(self._connection, keys, KUBECOST_KINDS)
        self._of_log = {keys.stats}

    def read(self) -> Ledger:
        """The ledger now."""
        self._connection.asked.clear()
        return self._runner.run(self._reader.read())

    def rows(self) -> Rows:
        """All rows now."""
        return {category: dict(rows) for category, rows in self.read().rows.items()}

    def of_rows(self, *names: str) -> list[Command]:
        """The commands of these names that the last read has sent to the keys of categories."""
        asked = [command for commands in self._connection.asked for command in commands]
        return [command for command in asked if command[0] in names and command[1] not in self._of_log]

    @property
    def questions(self) -> int:
        """How many times the last read has waited for the store."""
        return len(self._connection.asked)

    def close(self) -> None:
        """Leave."""
        self._runner.run(self._connection.close())
        self._runner.run(self._client.aclose())
        self._runner.close()


@contextmanager
def reading(url: str, keys: Keys, before: Callable[[Sequence[Command]], object] = lambda _: None) -> Iterator[Reading]:
    """A reader while the block lasts."""
    reader = Reading(url, keys, before)
    try:
        yield reader
    finally:
        reader.close()


@pytest.fixture
def old(store_url: str, keys: Keys) -> Iterator[Reading]:
    """A reader of the test's log that stays."""
    with reading(store_url, keys) as reader:
        yield reader


@pytest.fixture(autouse=True)
def look_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """A consumer that has nothing to do sees soon what others did to its log."""
    monkeypatch.setattr(recovery, "EVERY", 0.02)


def fresh(url: str, keys: Keys) -> Rows:
    """What a reader finds that has never read before."""
    with reading(url, keys) as reader:
        return reader.rows()


def held(client: Client, keys: Keys) -> Rows:
    """What the store holds: a reader may not rest on what another one found."""
    return {
        category: {name.decode(): decode(text) for name, text in client.hgetall(keys.sets(category)).items()}
        for category in KUBECOST_KINDS.categories
    }


def window(hour: int) -> tuple[str, str]:
    """The window of a set of one hour."""
    start = datetime(2022, 1, 1) + timedelta(hours=hour)
    return f"{start.isoformat()}Z", f"{(start + timedelta(hours=1)).isoformat()}Z"


def interval(hour: int) -> str:
    """The name of its row."""
    return "/".join(window(hour))


def events(first: int, count: int, kind: str = "AllocationSetSaved", size: int = 1) -> list[bytes]:
    """An event of each of these sets."""
    return [Event.new(kind, size=size, window=window(hour), time=T).encode() for hour in range(first, first + count)]


def row(number: int) -> bytes:
    """The text of a row."""
    return encode({"Saved": Cell(n=number, first=T, last=T, settled=T, size=number)})


def put(client: Client, keys: Keys, rows: dict[int, int], dropped: Sequence[int] = ()) -> None:
    """Apply as the consumer does: put the rows of these hours, which have these numbers, and drop others."""
    with client.pipeline(transaction=True) as pipe:
        applied = int(client.hget(keys.stats, "applied") or 0) + max(1, len(rows))
        pipe.incr(keys.cursor)
        pipe.setnx(keys.id, "an id")
        pipe.hset(keys.stats, "applied", applied)
        for hour in dropped:
            pipe.hdel(keys.sets("allocation"), interval(hour))
            pipe.zrem(keys.changes("allocation"), interval(hour))
        for hour, number in rows.items():
            pipe.hset(keys.sets("allocation"), interval(hour), row(number))
            pipe.zadd(keys.changes("allocation"), {interval(hour): applied})
        pipe.execute()


def delete_everything(client: Client, keys: Keys) -> None:
    """Delete all keys of the log, as FLUSHALL does."""
    client.delete(*client.scan_iter(match=keys.events.replace("events", "*"), count=1000))


def begin_again(client: Client, keys: Keys, fill: Fill, count: int) -> None:
    """Another log under the same name."""
    delete_everything(client, keys)
    fill(events(15, count, size=9))


def repaired(client: Client, keys: Keys, *gone: str) -> None:
    """Keys are deleted, and the consumer sees it while nothing is to be applied."""
    cursor, repairs = client.get(keys.cursor), client.hget(keys.stats, "rebuilt")
    client.delete(*gone)
    wait_until(lambda: client.hget(keys.stats, "rebuilt") != repairs, what="the repair")
    wait_until(lambda: is_complete(client, keys), what="all steps of the repair")
    assert client.get(keys.cursor) == cursor


def is_complete(client: Client, keys: Keys) -> bool:
    """Whether each row is listed as changed."""
    return all(client.hlen(keys.sets(c)) == client.zcard(keys.changes(c)) > 0 for c in KUBECOST_KINDS.categories)


def restored(client: Client, keys: Keys, fill: Fill) -> None:
    """A store gets an older state back, and goes on from there."""
    copy = {key: client.dump(key) for key in client.scan_iter(match=keys.events.replace("events", "*"), count=1000)}
    fill(events(10, 15, size=3))
    with client.pipeline(transaction=True) as pipe:
        for key, text in copy.items():
            pipe.restore(key, 0, text, replace=True)
        pipe.execute()
    fill(events(18, 1, size=4))


CHANGES: dict[str, Callable[[Client, Keys, Fill], object]] = {
    "nothing": lambda client, keys, fill: None,
    "known sets": lambda client, keys, fill: fill(events(3, 5, size=7)),
    "new sets": lambda client, keys, fill: fill(events(15, 5) + events(15, 3, "AssetSetSaved")),
    "errors without a window": lambda client, keys, fill: fill([Event.new("AssetSetComputeError", error="e").encode()]),
    "rows that are dropped": lambda client, keys, fill: fill(events(12, 13, size=2)),
    "all rows dropped": lambda client, keys, fill: fill(events(100, 40)),
    "older sets, which get no row": lambda client, keys, fill: fill(events(12, 13) + events(0, 3)),
    "a shorter log": lambda client, keys, fill: begin_again(client, keys, fill, 3),
    "a longer log": lambda client, keys, fill: begin_again(client, keys, fill, 40),
    "no log": lambda client, keys, fill: delete_everything(client, keys),
    "a deleted hash": lambda client, keys, fill: repaired(client, keys, keys.sets("allocation")),
    "a deleted list of changes": lambda client, keys, fill: repaired(client, keys, keys.changes("asset")),
    "both deleted": lambda client, keys, fill: repaired(client, keys, keys.sets("asset"), keys.changes("asset")),
    "an older state": restored,
}


@pytest.mark.parametrize("change", CHANGES)
def test_an_old_reader_sees_what_a_fresh_one_does(
    store_url: str, client: redis.Redis, keys: Keys, fill: Fill, old: Reading, change: str
) -> None:
    """Whatever happened to the log since it read last, and what happens afterwards."""
    fill(events(0, 15) + events(0, 10, "AssetSetTotaled"), keep_sets=20)
    assert old.rows() == held(client, keys)

    CHANGES[change](client, keys, fill)
    assert old.rows() == fresh(store_url, keys) == held(client, keys)

    if change != "no log":
        fill(events(20, 2))
        assert old.rows() == fresh(store_url, keys) == held(client, keys)


@pytest.mark.parametrize("key", ["sets", "changes"])
def test_what_no_consumer_repairs_is_read_once(
    store_url: str, client: redis.Redis, keys: Keys, old: Reading, key: str
) -> None:
    """Rows that are gone are gone; and a replica does not read all of them again and again meanwhile."""
    put(client, keys, dict.fromkeys(range(10), 1))
    old.read()

    put(client, keys, {3: 2})
    client.delete(getattr(keys, key)("allocation"))
    assert old.rows() == fresh(store_url, keys) == held(client, keys)
    assert old.rows() == held(client, keys)
    assert old.of_rows("HSCAN") == []


def test_what_is_no_row_is_skipped(store_url: str, client: redis.Redis, keys: Keys, old: Reading) -> None:
    """Others may write anything; the rows beside it are read, and it is one once it is put right."""
    put(client, keys, dict.fromkeys(range(3), 1))
    client.hset(keys.sets("allocation"), mapping={interval(1): "no row", "no interval": row(1), b"\xff": row(1)})
    client.zadd(keys.changes("allocation"), {b"no interval": 1, b"\xff": 1})
    expected = {interval(hour): decode(row(1)) for hour in (0, 2)}
    assert old.rows()["allocation"] == expected

    put(client, keys, {1: 2, 3: 2})
    expected |= {interval(hour): decode(row(2)) for hour in (1, 3)}
    assert old.rows()["allocation"] == fresh(store_url, keys)["allocation"] == expected
    client.hset(keys.sets("allocation"), interval(3), "no row")
    put(client, keys, {0: 3}, dropped=[2])
    client.zadd(keys.changes("allocation"), {interval(3): 100})
    del expected[interval(2)], expected[interval(3)]
    expected[interval(0)] = decode(row(3))
    assert old.rows()["allocation"] == fresh(store_url, keys)["allocation"] == expected


def test_only_what_changed_is_read(client: redis.Redis, keys: Keys, old: Reading) -> None:
    """One question where nothing did, two for rows that did; what did not change is the same object."""
    put(client, keys, dict.fromkeys(range(300), 1))
    first = old.read()
    assert (len(old.of_rows("HSCAN")), old.read(), old.questions) == (2, first, 1)

    put(client, keys, {7: 2, 300: 1})
    second = old.read()
    assert (second.cursor, second.rows["allocation"][interval(7)]) == (b"2", decode(row(2)))
    assert first.rows["allocation"][interval(7)] == decode(row(1))
    assert all(second.rows["allocation"][interval(h)] is first.rows["allocation"][interval(h)] for h in range(8, 300))
    assert second.rows["asset"] is first.rows["asset"]
    names = {interval(7).encode(), interval(300).encode()}
    assert [{*command[2:]} for command in old.of_rows("HMGET")] == [names]
    assert (old.questions, old.of_rows("HSCAN", "ZRANGE")) == (2, [])

    put(client, keys, {301: 1}, dropped=[0, 1])
    assert old.read().rows["allocation"].keys() == {interval(hour) for hour in range(2, 302)}
    assert (old.questions, len(old.of_rows("ZRANGE")), old.of_rows("HSCAN")) == (2, 1, [])

    client.incr(keys.cursor)  # events were refused
    assert (old.read().cursor, old.questions) == (b"4", 1)


ANOTHER_HISTORY: dict[str, Callable[[Client, Keys], object]] = {
    "a repair": lambda client, keys: client.hincrby(keys.stats, "rebuilt", 1),
    "fewer events": lambda client, keys: client.hset(keys.stats, "applied", 2),
    "another id": lambda client, keys: client.set(keys.id, "another"),
    "rows that are not new": lambda client, keys: (
        client.hset(keys.sets("allocation"), interval(9), row(1)),
        client.zadd(keys.changes("allocation"), {interval(9): 1}),
    ),
}


@pytest.mark.parametrize("what", ANOTHER_HISTORY)
def test_all_rows_are_read_after_what_the_list_of_changes_does_not_tell(
    client: redis.Redis, keys: Keys, old: Reading, what: str
) -> None:
    """There are rows that changed without a place in it."""
    put(client, keys, dict.fromkeys(range(3), 1))
    old.read()
    client.hset(keys.sets("allocation"), interval(1), row(5))
    assert old.rows() != held(client, keys)

    ANOTHER_HISTORY[what](client, keys)

    assert old.rows() == held(client, keys)


def test_all_rows_are_read_over_another_connection(client: redis.Redis, keys: Keys, old: Reading) -> None:
    """It may lead to a store that lost what was read before, with as many events and rows."""
    put(client, keys, dict.fromkeys(range(3), 1))
    old.read()
    client.hset(keys.sets("allocation"), interval(1), row(5))
    assert old.rows() != held(client, keys)

    client.client_kill_filter(_id=[c["id"] for c in client.client_list() if c["name"] == "etlog-ledger"][-1])
    assert old.rows() == held(client, keys)


def test_a_scan_begins_again_over_another_connection(
    store_url: str, client: redis.Redis, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It can go on only on the server where it began."""
    monkeypatch.setattr(ledgers, "AT_ONCE", 10)
    put(client, keys, dict.fromkeys(range(600), 1))
    places: list[object] = []

    def cut_off(commands: Sequence[Command]) -> None:
        places.extend(command[2] for command in commands if command[0] == "HSCAN")
        if len(places) == 5:
            for other in client.client_list():
                if other["name"] == "etlog-ledger":
                    client.client_kill_filter(_id=other["id"])

    with reading(store_url, keys, cut_off) as reader:
        assert reader.rows() == held(client, keys)

    assert (places[0], places[4] != 0, places[5]) == (0, True, 0)


def test_a_replica_of_the_store_that_took_the_data_of_another_one_is_read_anew(server: Server) -> None:
    """The connection to it stays, as do the log's id and, with luck, the number of events."""
    keys = Keys("nightly")
    apply(server.url, keys, events(0, 3))
    with (
        replica_of(server) as other,
        connect(server.url, part="test") as client,
        connect(other.url, part="test") as elected,
        reading(server.url, keys) as old,
    ):
        wait_until(lambda: is_applied(elected, keys), what="the replica to hold all")
        elected.replicaof("NO", "ONE")
        elected.config_set("repl-diskless-sync-delay", "0")
        apply(server.url, keys, events(1, 1, size=9))
        apply(other.url, keys, events(5, 3))
        assert old.rows() == held(client, keys)

        client.replicaof("127.0.0.1", other.port)
        wait_until(lambda: client.info("replication").get("master_link_status") == "up", what="the other's data")

        assert old.rows() == fresh(server.url, keys) == held(elected, keys)


def test_a_store_that_was_restored_is_read_anew() -> None:
    """Though more was applied since than it had lost."""
    keys = Keys("nightly")
    server = Server()
    try:
        apply(server.url, keys, events(0, 3))
        with connect(server.url, part="test") as client, reading(server.url, keys) as old:
            client.save()
            apply(server.url, keys, events(1, 1, size=9))
            assert old.rows() == held(client, keys)
            server.kill()
            server.start()
            apply(server.url, keys, events(5, 3))

            assert old.rows() == fresh(server.url, keys) == held(client, keys)
    finally:
        server.close()


@pytest.mark.parametrize("seed", range(8))
def test_a_log_that_always_moves_is_read_all_the_same(
    store_url: str, client: redis.Redis, keys: Keys, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before each question rows change, are dropped and made. Once it stands still, nothing of this was missed."""
    monkeypatch.setattr(ledgers, "AT_ONCE", 10)
    chance = random.Random(seed)
    there = {*range(150)}
    put(client, keys, dict.fromkeys(there, 1))
    moves = 0
    rests = seed % 2  # it stands still now and then, or never

    def move(_: object) -> None:
        nonlocal moves
        if moves < 0 or (rests and chance.random() < 0.5):
            return
        moves += 1
        hours = [chance.randrange(180) for _ in range(chance.randrange(1, 10))]
        gone = chance.sample(sorted(there), chance.randrange(3))
        there.difference_update(gone)
        rows = {hour: moves for hour in hours if hour not in gone}
        there.update(rows)
        put(client, keys, rows, gone)

    with reading(store_url, keys, move) as reader:
        for _ in range(3):
            reader.read()
            assert reader.questions <= 2 * ATTEMPTS + len(reader.of_rows("HSCAN"))
        assert moves > 3
        moves = -1
        assert reader.rows() == held(client, keys)
        assert reader.of_rows("HSCAN") == []


def test_a_replica_reads_while_a_consumer_applies(
    store_url: str, client: redis.Redis, keys: Keys, consuming: Consuming, caught_up: CaughtUp, old: Reading
) -> None:
    """At full speed, with rows that are dropped all the time; in the end it holds what a fresh one reads."""
    for first in range(0, 12_000, 100):
        add_entry(client, keys, events(first // 2 % 500, 50) + events(first // 3, 50, "AssetSetSaved"))
    seen = []
    with consuming(keep_sets=300):
        wait_until(lambda: client.exists(keys.cursor), what="the first batch")
        while not is_applied(client, keys):
            seen.append(old.read().cursor)
        caught_up()

    assert len({*seen}) > 3
    assert seen == sorted(seen, key=lambda cursor: [int(part) for part in (cursor or b"0-0").split(b"-")])
    assert old.rows() == fresh(store_url, keys) == held(client, keys)


@pytest.mark.timed
def test_no_command_of_a_reader_holds_up_the_store(client: redis.Redis, keys: Keys, old: Reading) -> None:
    """Not for 30 ms with the most sets that a category can have: read anew, changed, and dropped."""
    of_category = (keys.sets("allocation"), keys.changes("allocation"))
    put(client, keys, dict.fromkeys(range(10), 1))
    client.eval(FILL, 2, *of_category, 49_990, row(1), 1)
    before = client.config_get("slowlog-log-slower-than")
    client.config_set("slowlog-log-slower-than", 30_000)
    client.slowlog_reset()
    try:
        assert len(old.read().rows["allocation"]) == 50_000

        put(client, keys, {10: 2}, dropped=range(10))
        assert len(old.read().rows["allocation"]) == 49_991
        assert (len(old.of_rows("ZRANGE")), old.of_rows("HSCAN")) == (1, [])

        client.eval(FILL, 2, *of_category, 49_990, row(2), 100)
        put(client, keys, {11: 3})
        assert len(old.read().rows["allocation"]) == 49_992
        assert (len(old.of_rows("HMGET")), old.of_rows("HSCAN")) == (50, [])
        slow = [entry["command"] for entry in client.slowlog_get() if not entry["command"].startswith(b"EVAL")]
    finally:
        client.config_set("slowlog-log-slower-than", str(before["slowlog-log-slower-than"]))

    assert slow == []


def test_a_log_that_is_not_understood_is_not_read(client: redis.Redis, keys: Keys, old: Reading) -> None:
    """Errors are the caller's; the next read begins anew."""
    put(client, keys, {1: 1})
    old.read()
    client.set(keys.contract, 9)
    with pytest.raises(OtherContract):
        old.read()
    client.delete(keys.contract)
    client.set(keys.sets("asset"), "another type")
    with pytest.raises(redis.ResponseError, match="WRONGTYPE"):
        old.read()
    client.delete(keys.sets("asset"))
    client.hset(keys.sets("allocation"), interval(1), row(5))

    assert old.rows() == held(client, keys)
