"""What a snapshot is read from: all of the log, or what was added to the last one."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
import redis
from etlog_api.log import snapshot as snapshots
from etlog_api.log.snapshot import TAIL, Snapshot, read_snapshot
from etlog_events.keys import Keys
from etlog_events.kinds import KUBECOST_KINDS
from etlog_events.store import connect_async
from etlog_ledger.reading.connection import ATTEMPTS, Command, Connection, read_consistently
from support.apis import Fill, Serving, tail
from support.samples import saved

Change = Callable[[redis.Redis, Keys], object]


def read(url: str, keys: Keys, last: Snapshot | None = None) -> Snapshot:
    """A snapshot of the log as it stands."""

    async def ask() -> Snapshot:
        async with connect_async(url, part="test") as store:
            connection = Connection(store)
            snapshot = await read_snapshot(connection, keys, KUBECOST_KINDS, last=last)
            await connection.close()
            return snapshot

    return asyncio.run(ask())


def append(client: redis.Redis, keys: Keys, first: int, count: int, cap: int = 300, kind: str = "") -> None:
    """Apply as the consumer does."""
    events = [
        b'{"kind":"AllocationSetSaved","metadata":{"size":%d%b}}' % (first + i, kind.encode()) for i in range(count)
    ]
    with client.pipeline(transaction=True) as pipe:
        pipe.rpush(keys.log("allocation"), *events)
        pipe.ltrim(keys.log("allocation"), -cap, -1)
        pipe.hincrby(keys.counters, "AllocationSetSaved", count)
        pipe.incr(keys.cursor)
        pipe.execute()


def begin_again(client: redis.Redis, keys: Keys, count: int) -> None:
    """Another log under the same name."""
    client.delete(keys.log("allocation"), keys.counters, keys.cursor)
    append(client, keys, 5000, count, kind=',"of":2')


def other_end(client: redis.Redis, keys: Keys) -> None:
    """A store that lost its newest events and was given others, more of them."""
    client.rpop(keys.log("allocation"), 10)
    client.hincrby(keys.counters, "AllocationSetSaved", -10)
    append(client, keys, 7000, 12)


CHANGES: dict[str, tuple[bool, Change]] = {
    "nothing": (True, lambda client, keys: client.set(keys.cursor, "8")),
    "some": (True, lambda client, keys: append(client, keys, 1000, 7)),
    "nearly as many as are read": (True, lambda client, keys: append(client, keys, 1000, TAIL - 1)),
    "as many as are read": (False, lambda client, keys: append(client, keys, 1000, TAIL)),
    "the whole list": (False, lambda client, keys: append(client, keys, 1000, 400)),
    "with a smaller cap": (True, lambda client, keys: append(client, keys, 1000, 5, cap=150)),
    "with a larger cap": (True, lambda client, keys: append(client, keys, 1000, 5, cap=400)),
    "again, with fewer": (False, lambda client, keys: begin_again(client, keys, 200)),
    "again, with a few more": (False, lambda client, keys: begin_again(client, keys, 255)),
    "another end": (False, other_end),
}


@pytest.mark.parametrize("held", [250, 320])
@pytest.mark.parametrize("change", CHANGES)
def test_a_snapshot_that_continues_another_is_the_whole_log(
    store_url: str, client: redis.Redis, keys: Keys, held: int, change: str
) -> None:
    """Whatever was done to it; and it is read as a whole only if the end of the lists does not tell."""
    continues, apply = CHANGES[change]
    append(client, keys, 0, held)
    last = read(store_url, keys)
    apply(client, keys)

    continued, whole = read(store_url, keys, last), read(store_url, keys)

    assert (continued.cursor, continued.logs, continued.counters) == (whole.cursor, whole.logs, whole.counters)
    assert (continued.whole_at == last.whole_at) is continues


def test_all_is_read_again_after_a_while(
    store_url: str, client: redis.Redis, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However little was added."""
    append(client, keys, 0, 250)
    last = read(store_url, keys)
    append(client, keys, 250, 1)
    monkeypatch.setattr(snapshots, "WHOLE_AFTER", 0.0)

    assert read(store_url, keys, last).whole_at > last.whole_at


def test_a_log_that_moves_is_read_until_it_stands_still(keys: Keys) -> None:
    """What belongs to two cursors is not given; one that never stands still cannot be read."""

    def read_while(moves: int) -> tuple[bytes | None, list[Any]]:
        asked = []

        async def ask(*commands: Command) -> list[Any]:
            asked.append(commands)
            moved = len(asked) <= moves
            return [b"%d" % len(asked), b"at %d" % len(asked), b"%d" % (len(asked) + moved)]

        return asyncio.run(read_consistently(ask, keys, ("GET", "x")))

    assert read_while(0) == (b"1", [b"at 1"])
    assert read_while(ATTEMPTS - 1) == (b"%d" % ATTEMPTS, [b"at %d" % ATTEMPTS])
    with pytest.raises(redis.ConnectionError, match="moves"):
        read_while(ATTEMPTS)


def test_a_connection_that_the_store_closed_is_made_again(store_url: str, client: redis.Redis) -> None:
    """No caller notices, because the store is there."""

    async def ask() -> list[Any]:
        async with connect_async(store_url, part="closed") as mine:
            connection = Connection(mine)
            await connection.ask(("PING",))
            for other in client.client_list():
                if other["name"] == "etlog-closed":
                    client.client_kill_filter(_id=other["id"])
            answers = await connection.ask(("GET", "nothing"), ("LLEN", "nothing"))
            with pytest.raises(redis.ResponseError):
                await connection.ask(("LLEN", "nothing"), ("NOTHING",), ("LLEN", "nothing"))
            answers += await connection.ask(("EXISTS", "nothing"))
            await connection.close()
            return answers

    assert asyncio.run(ask()) == [None, 0, 0]


def test_a_full_store_is_still_read(serving: Serving, client: redis.Redis, keys: Keys, fill: Fill) -> None:
    """Some stores refuse a transaction then, even one that only reads; so none is asked for."""
    fill([saved(1)])
    before = client.info("commandstats").get("cmdstat_multi", {"calls": 0})["calls"]
    client.config_set("maxmemory", "1")
    try:
        with serving() as api:
            with tail(api.url, last="0-1") as following:
                following.wait(1)
            assert api.log()["data"]["counters"] == {"AllocationSetSaved": 1}
            assert api.get("/model/etl/status").json()["data"]["stats"]["applied"] == 1
            assert api.get("/model/etl/bugreport").status_code == 200
    finally:
        client.config_set("maxmemory", "0")
    assert client.info("commandstats").get("cmdstat_multi", {"calls": 0})["calls"] == before


def test_a_field_that_is_not_a_number_counts_as_zero(
    serving: Serving, client: redis.Redis, keys: Keys, fill: Fill
) -> None:
    """In counters and stats alike, no matter who wrote it."""
    fill([saved(1)])
    client.hset(keys.counters, mapping={"AssetSetSaved": "many", b"\xff": "1"})
    client.hset(keys.stats, "lost", "some")
    client.hset(keys.stats, "duplicate", "few")
    with serving() as api, tail(api.url, last="0-1") as following:
        following.wait(1)
        assert api.log()["data"]["counters"] == {"AllocationSetSaved": 1, "AssetSetSaved": 0, "\\xff": 1}
        assert api.get("/model/etl/status").json()["data"]["stats"]["lost"] == 0
        assert api.get("/metrics").status_code == 200
