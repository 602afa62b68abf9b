"""A hundred thousand hostile entries between good ones."""

import random
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest
from etlog.verify import verify
from etlog_events.keys import Keys
from etlog_events.store import connect
from support.consumers import consumer_process
from support.samples import WINDOW, saved, text
from support.servers import Server, wait_until
from support.stream import listed, stats

HOSTILE = 100_000
LARGEST = 16 * 1024 * 1024

#: Bytes that the process may take on top of what it took before the first hostile entry: the largest value some few
#: times, as the driver receives and splits it.
ROOM = 150 * 1024 * 1024

_WINDOW = f'"window":{{"start":"{WINDOW[0]}","end":"{WINDOW[1]}"}}'


def _random_bytes(chance: random.Random) -> bytes:
    return chance.randbytes(chance.randrange(300))


def _damaged(chance: random.Random) -> bytes:
    """A good event with a byte too few, too many, or another one; it may be good by luck, so its kind is spoilt."""
    event = bytearray(saved(chance.randrange(10**6)).replace(b"Saved", b"Sayed"))
    event[chance.randrange(len(event))] = chance.randrange(256)
    return bytes(event)


EVENTS: list[Callable[[random.Random], bytes]] = [
    _random_bytes,
    _damaged,
    lambda _: b"",
    lambda _: b"[" * 20_000,
    lambda _: text(f'"size":1,{_WINDOW},"a":' + "[" * 3000 + "]" * 3000),
    lambda _: text('"size":' + "9" * 5000 + "," + _WINDOW),
    lambda _: text(f'"size":1e400,{_WINDOW}'),
    lambda _: text(f'"size":NaN,{_WINDOW}'),
    lambda _: text(f'"size":1,{_WINDOW},"a":Infinity'),
    lambda _: text(f'"size":-1,{_WINDOW}'),
    lambda _: text(f'"size":1,"size":2,{_WINDOW}'),
    lambda _: text(f'"size":1,{_WINDOW},"a":1,"a":2'),
    lambda _: text(f'"size":1,{_WINDOW},"a":"\\ud800"'),
    lambda _: text(f'"size":"1",{_WINDOW}'),
    lambda _: text(f'"size":1,{_WINDOW}', time="42"),
    lambda _: text(f'"size":1,{_WINDOW}', time='"yesterday"'),
    lambda _: text(f'"size":1,{_WINDOW}', kind="AllocationSet"),
    lambda _: text(f'"size":1,{_WINDOW}')[:-1] + b',"more":1}',
    lambda _: text(f'"size":null,{_WINDOW}'),
    lambda _: b"null",
    lambda _: b'"AllocationSetSaved"',
    lambda _: saved() + saved(),
    lambda _: b"\xef\xbb\xbf" + saved(),
    lambda chance: b'{"a":' * chance.randrange(1, 5000),
]


def hostile(chance: random.Random) -> dict[bytes, bytes]:
    """The fields of an entry that is no event."""
    match chance.randrange(20):
        case 0:
            return {chance.randbytes(8): chance.randbytes(50) for _ in range(chance.randrange(1, 5))}
        case 1:
            return {b"": b""}
        case 2:
            seq = chance.choice([b"-1", b"x", b"9" * 400, b"0", b"\xff"])
            return {b"event": saved(), b"producer": b"h", b"seq": seq}
        case 3:
            return {b"event": saved(), b"producer": chance.randbytes(300), b"seq": b"1"}
        case 4:
            return {b"x": b"y", b"event": chance.choice(EVENTS)(chance), b"more": b"z" * 1000}
        case _:
            return {b"event": chance.choice(EVENTS)(chance)}


@pytest.fixture
def process(server: Server, keys: Keys) -> Iterator[psutil.Process]:
    """A consumer as a process of its own, whose memory can be measured."""
    with consumer_process(server.url, keys.name, "--cap", "100000", "--retain", "1000") as process:
        yield psutil.Process(process.pid)


def test_nothing_stops_and_nothing_grows(server: Server, keys: Keys, process: psutil.Process) -> None:
    """Every good one is applied, every bad one has a reason, and memory stays flat."""
    chance = random.Random(20220603)
    good: list[bytes] = []
    huge = 0
    with connect(server.url, part="test", answer_timeout=30) as client:
        client.config_set("appendonly", "no")
        at_start = 0
        largest = 0
        for round_ in range(HOSTILE // 1000):
            with client.pipeline(transaction=False) as pipe:
                for place in range(1000):
                    pipe.xadd(keys.events, hostile(chance))
                    if place % 100 == 0:
                        good.append(saved(len(good)))
                        pipe.xadd(keys.events, {"event": good[-1]})
                if round_ in {20, 40, 41, 60, 80}:
                    huge += 1
                    pipe.xadd(keys.events, {"event": chance.randbytes(1024) * (LARGEST // 1024)})
                pipe.execute()
            at_start = at_start or process.memory_info().rss
            largest = max(largest, process.memory_info().rss)

        def done() -> bool:
            nonlocal largest
            largest = max(largest, process.memory_info().rss)
            return stats(client, keys).get("applied", 0) + stats(client, keys).get("dead", 0) >= expected

        expected = HOSTILE + huge + len(good)
        wait_until(done, what="everything to be applied or refused")

        assert stats(client, keys) == {
            "applied": len(good),
            "dead": HOSTILE + huge,
            "unnumbered": expected,
            "dead_dropped": HOSTILE + huge - client.xlen(keys.dead),
        }
        assert listed(client, keys, "allocation") == good
        letters: Any = client.xrange(keys.dead)
        assert all(fields[b"reason"] for _, fields in letters)
        assert verify(client, keys).faults == []
        assert process.is_running()
    assert largest - at_start < ROOM


def test_a_stream_of_nothing_but_huge_values_is_read_one_by_one(
    server: Server, keys: Keys, process: psutil.Process
) -> None:
    """After the first glance."""
    with connect(server.url, part="test", answer_timeout=30) as client:
        client.config_set("appendonly", "no")
        wait_until(lambda: client.get(keys.lease), what="the consumer to be active")
        before = process.memory_info().rss
        for _ in range(12):
            client.xadd(keys.events, {"event": b"x" * LARGEST})
        largest = 0

        def done() -> bool:
            nonlocal largest
            largest = max(largest, process.memory_info().rss)
            return stats(client, keys).get("dead") == 12

        wait_until(done, what="all to be refused")
    assert largest - before < 2 * ROOM
