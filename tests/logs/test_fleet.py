"""Fifty logs and three consumer processes, one of which is killed under load."""

import threading
from collections import Counter
from contextlib import ExitStack
from itertools import count

import orjson
import pytest
import redis
from etlog_events.keys import Keys
from etlog_events.store import connect
from etlog_producer import Producer
from support import commands
from support.samples import WINDOW
from support.servers import PATIENCE, Server, wait_until
from support.stream import stats

LOGS = [f"tenant-{number}" for number in range(50)]

#: Seconds between two rounds of events, one a log.
ROUND = 0.02


def shares(client: redis.Redis) -> list[int]:
    """How many logs each process holds, the fewest first; empty while one is held by nobody."""
    holders = client.mget([Keys(log).lease for log in LOGS])
    return sorted(Counter(holders).values()) if all(holders) else []


def emit(producers: list[Producer], stop: threading.Event) -> None:
    """Numbers every event of a log by its size, until `stop` is set."""
    for number in count():
        for producer in producers:
            producer.emit("AllocationSetSaved" if number % 3 else "AssetSetSaved", size=number, window=WINDOW)
        if stop.wait(ROUND):
            return


def test_all_logs_are_exact_when_a_consumer_is_killed(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each process has a fair share before and after, nothing is lost or counted twice, and every list is in order."""
    monkeypatch.setenv("ETLOG_REDIS_URL", server.url)
    monkeypatch.setenv("ETLOG_NAMES", ",".join(LOGS))
    stop = threading.Event()
    with ExitStack() as started:
        client = started.enter_context(connect(server.url, part="test"))
        processes = [started.enter_context(commands.running("consume")) for _ in range(3)]
        producers = [started.enter_context(Producer(server.url, log=log)) for log in LOGS]
        emitter = threading.Thread(target=emit, args=(producers, stop))
        emitter.start()
        try:
            wait_until(lambda: shares(client) == [16, 17, 17], what="fair shares of three")
            processes[0].process.kill()
            wait_until(lambda: shares(client) == [25, 25], what="fair shares of two")
            before = client.hget(Keys(LOGS[0]).stats, "applied")
            wait_until(lambda: client.hget(Keys(LOGS[0]).stats, "applied") != before, what="the load to go on")
        finally:
            stop.set()
            emitter.join()
        assert all(producer.flush(10) for producer in producers)
        emitted = producers[0].stats().emitted
        assert {producer.stats().emitted for producer in producers} == {emitted}

        def applied(log: str) -> int:
            return int(client.hget(Keys(log).stats, "applied") or 0)

        wait_until(lambda: all(applied(log) == emitted for log in LOGS), what="all to be applied")
        for log in LOGS:
            check(client, Keys(log), emitted)
        assert [process.stop() < PATIENCE for process in processes[1:]] == [True, True]
        assert not any(client.mget([Keys(log).lease for log in LOGS]))


def check(client: redis.Redis, keys: Keys, emitted: int) -> None:
    """Every event of the log is in its counter and, as far as it reaches, in its list."""
    expected = {
        "AssetSetSaved": [number for number in range(emitted) if number % 3 == 0],
        "AllocationSetSaved": [number for number in range(emitted) if number % 3],
    }
    assert client.hgetall(keys.counters) == {kind.encode(): b"%d" % len(sizes) for kind, sizes in expected.items()}
    assert stats(client, keys) == {"applied": emitted}
    for category, kind in (("asset", "AssetSetSaved"), ("allocation", "AllocationSetSaved")):
        events = map(orjson.loads, client.lrange(keys.log(category), 0, -1))
        assert [event["metadata"]["size"] for event in events] == expected[kind][-1000:]
