"""A hundred thousand hostile entries between good ones."""

import random
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest
from etlog.verification import verify
from etlog_consumer.batch import MOST_LETTERS
from etlog_events.entry import NAMES, contents
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
    """The fields of an entry that holds no event, or only wrong ones."""
    match chance.randrange(24):
        case 20:
            return {name: chance.choice(EVENTS)(chance) for name in NAMES[: chance.randrange(1, 9)]}
        case 21:
            places = {b"event.%d" % chance.randrange(2, 10**15): saved() for _ in range(chance.randrange(1, 4))}
            return places | {b"producer": chance.choice([b"s", b""]), b"seq": chance.choice([b"", b"x", b"0"])}
        case 22:
            return {b"event.%s" % chance.choice([b"", b"00", b"-1", b"9" * 16, b"x"]): saved()}
        case 23:
            return dict.fromkeys((b"producer", b"seq", b"", b"event"), b"")
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


def refused(fields: dict[bytes, bytes]) -> int:
    """How many dead letters a hostile entry makes."""
    held = contents([part for pair in fields.items() for part in pair])
    return len(held.events) + len(held.strays) or 1


def test_nothing_stops_and_nothing_grows(server: Server, keys: Keys, process: psutil.Process) -> None:
    """Every good one is applied, every bad one has a reason, and memory stays flat."""
    chance = random.Random(20220603)
    good: list[bytes] = []
    dead = 0
    with connect(server.url, part="test", answer_timeout=30) as client:
        client.config_set("appendonly", "no")
        at_start = 0
        largest = 0
        for round_ in range(HOSTILE // 1000):
            with client.pipeline(transaction=False) as pipe:
                for place in range(1000):
                    wrong = hostile(chance)
                    dead += refused(wrong)
                    pipe.xadd(keys.events, wrong)
                    if place % 100 == 0:
                        good.append(saved(len(good)))
                        pipe.xadd(keys.events, {"event": good[-1]})
                if round_ in {20, 40, 41, 60, 80}:
                    dead += 1
                    pipe.xadd(keys.events, {"event": chance.randbytes(1024) * (LARGEST // 1024)})
                pipe.execute()
            at_start = at_start or process.memory_info().rss
            largest = max(largest, process.memory_info().rss)

        def done() -> bool:
            nonlocal largest
            largest = max(largest, process.memory_info().rss)
            return stats(client, keys).get("applied", 0) + stats(client, keys).get("dead", 0) >= expected

        expected = dead + len(good)
        wait_until(done, what="everything to be applied or refused")

        assert stats(client, keys) == {
            "applied": len(good),
            "dead": dead,
            "unnumbered": expected,
            "dead_dropped": dead - client.xlen(keys.dead),
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


@pytest.mark.parametrize("with_number", [True, False])
def test_an_entry_of_a_million_fields_holds_nobody_up(
    server: Server, keys: Keys, process: psutil.Process, with_number: bool
) -> None:
    """Its events are refused one by one, the last are kept, and all are counted. The store answers others meanwhile:
    nothing but the reading and writing of so much takes its time, and nothing again once that is done."""
    strays = 1_000_000
    fields: dict[str, Any] = {"producer": "p", "seq": "1"} if with_number else {}
    fields |= {"event": saved(1)} | {f"event.{place}": "x" for place in range(2, strays + 2)}
    with connect(server.url, part="test", answer_timeout=30) as client:
        wait_until(lambda: client.get(keys.lease), what="the consumer to be active")
        client.config_set("slowlog-log-slower-than", 100_000)
        client.xadd(keys.events, fields)
        fields.clear()
        client.slowlog_reset()
        wait_until(lambda: stats(client, keys).get("dead") == strays, 60, what="all to be refused")
        slow = [call["command"].split()[0].decode() for call in client.slowlog_get()]
        assert len(slow) <= 2, slow  # to read it, and on a busy machine to apply it
        client.slowlog_reset()

        for seq in (strays + 3, strays + 4):
            client.xadd(keys.events, {"producer": "p", "seq": seq, "event": saved(2)})
        wait_until(lambda: stats(client, keys).get("applied") == 3, what="the log to go on")
        before = client.hget(keys.stats, "caught_up")
        wait_until(lambda: client.hget(keys.stats, "caught_up") != before, what="the log to be looked after")

        assert client.slowlog_get() == []
        counted = {"applied": 3, "dead": strays, "dead_dropped": strays - MOST_LETTERS}
        if with_number:
            assert stats(client, keys) == counted | {"lost": 1}
        else:
            assert stats(client, keys) == counted | {"lost": strays + 2, "unnumbered": strays + 1}
        [(_, newest)] = client.xrevrange(keys.dead, count=1)
        assert (newest[b"id"].partition(b".")[2], newest[b"raw"]) == (b"%d" % (strays + 1), b"x")
        assert newest[b"seq"] == (b"%d" % (strays + 2) if with_number else b"")
        assert client.xlen(keys.dead) == MOST_LETTERS
        assert verify(client, keys).faults == []
