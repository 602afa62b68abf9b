"""Reading ahead, by its invariants; and consumers that rest on it."""

import threading
from collections.abc import Sequence
from typing import Any

import pytest
import redis
from etlog_consumer import Consumer, Target
from etlog_consumer import consumer as consumer_module
from etlog_consumer.apply import SCRIPT
from etlog_consumer.batch import Batch, Entry, collect_despite_bugs
from etlog_consumer.read_ahead import BYTES, FIRST, MOST_ENTRIES, ReadAhead
from etlog_events.keys import Keys
from etlog_events.kinds import KUBECOST_KINDS
from etlog_events.scripts import Command, run
from etlog_events.store import connect
from support.log import Log
from support.samples import saved
from support.servers import wait_until
from support.stream import raw_entries

STREAM = "events"


def entries(number: int, size: int = 200, first: int = 1) -> list[Entry]:
    """So many entries of so many bytes, with the ids 1-0, 2-0 …"""
    return [(b"%d-0" % place, [b"x" * size]) for place in range(first, first + number)]


@pytest.fixture
def reading() -> ReadAhead:
    """One that begins behind the first entry."""
    reading = ReadAhead(STREAM)
    reading.start(b"1-0")
    return reading


def answer(reading: ReadAhead, found: Sequence[Entry]) -> None:
    """The store's answer to a read."""
    reading.put([(STREAM.encode(), found)] if found else None)


def read(count: int, after: bytes, *block: object) -> Command:
    """The command for a read."""
    return ("XREAD", "COUNT", count, *block, "STREAMS", STREAM, after)


def test_every_entry_is_read_once_and_in_order(log: Log) -> None:
    """However the reads fall, and whatever comes meanwhile."""
    reading = ReadAhead(log.keys.events)
    reading.start(b"0-0")
    taken: list[Entry] = []
    for number in (1, 500, 0, 63, 64, 65, 0, 1):
        if number:
            log.publish([saved(size) for size in range(number)])
        for _ in range(3):
            command = reading.command(1)
            taken += reading.take()
            if command is not None:
                reading.put(run(log.client, command)[0])
    taken += reading.take()

    assert [entry_id for entry_id, _ in taken] == [entry_id for entry_id, _ in raw_entries(log.client, log.keys)]


def test_it_begins_behind_the_cursor(reading: ReadAhead) -> None:
    """Whatever was in hand before: a log that moved is read anew."""
    answer(reading, entries(FIRST, first=2))

    reading.start(b"17-0")

    assert reading.take() == ()
    assert reading.command(None) == read(FIRST * 2, b"17-0")


def test_one_read_is_in_hand_at_most(reading: ReadAhead) -> None:
    """What is in hand is taken before the next answer, which is then alone."""
    first, second = entries(FIRST, first=2), entries(2 * FIRST, first=FIRST + 2)
    answer(reading, first)

    assert reading.command(None) == read(2 * FIRST, first[-1][0])
    assert reading.oldest == first[0][0]
    assert reading.take() == first
    assert reading.oldest is None
    answer(reading, second)
    assert reading.take() == second
    assert reading.take() == ()


def test_nothing_is_read_while_nothing_waits_behind_what_is_in_hand(reading: ReadAhead) -> None:
    """A read that was not full has found the end; the next one comes when its entries are taken."""
    answer(reading, entries(FIRST - 1, first=2))

    assert reading.command(None) is None
    assert reading.command(500) is None
    reading.take()
    assert reading.command(None) == read(FIRST, b"%d-0" % FIRST)


def test_a_read_waits_only_where_there_is_nothing_to_do(reading: ReadAhead) -> None:
    """Neither while the caller has a batch to apply nor with entries in hand."""
    assert reading.command(500) == read(FIRST, b"1-0", "BLOCK", 500)
    assert reading.command(None) == read(FIRST, b"1-0")

    answer(reading, entries(FIRST, first=2))
    assert reading.command(500) == read(2 * FIRST, b"%d-0" % (FIRST + 1))


def test_it_grows_while_entries_are_small(reading: ReadAhead) -> None:
    """Twofold a full read, up to the most."""
    counts = []
    for _ in range(9):
        counts.append(reading.count)
        answer(reading, entries(reading.count))
        reading.take()

    assert counts == [*(FIRST * 2**step for step in range(6)), MOST_ENTRIES, MOST_ENTRIES, MOST_ENTRIES]


def test_it_drops_at_once_when_they_are_large(reading: ReadAhead) -> None:
    """To as many as fit, and to one by one in the end."""
    answer(reading, entries(64, 64 * 1024))
    assert reading.count == BYTES // (64 * 1024)

    answer(reading, entries(3, 16 * 1024 * 1024))
    assert reading.count == 1


def test_a_read_that_is_not_full_says_nothing(reading: ReadAhead) -> None:
    """There was no more to read."""
    answer(reading, entries(3))

    assert reading.count == FIRST


def test_a_batch_is_applied_while_the_next_one_is_collected(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the one behind that is read in the same round trip: neither side waits for the other."""
    sizes: list[int] = []

    def collecting(entries: Sequence[Entry], *rest: Any) -> Batch:
        before = sum(sizes)
        wait_until(lambda: log.stats().get("applied", 0) == before, what="what was collected to be applied")
        sizes.append(len(entries))
        return collect_despite_bugs(entries, *rest)

    log.publish([saved(size) for size in range(3 * FIRST)])
    log.client.script_load(SCRIPT.text)  # so that the first call is not refused
    monkeypatch.setattr(consumer_module, "collect_despite_bugs", collecting)
    log.apply()

    assert sizes == [FIRST, 2 * FIRST]


def test_a_backlog_is_applied_once_by_consumers_that_come_and_go(log: Log, store_url: str) -> None:
    """Each is stopped or fails with a batch in hand and another one read ahead; wrong events are among them."""
    log.publish([saved(size) if size % 100 else b"wrong" for size in range(10_000)])
    turns = failures = 0
    while log.stats().get("applied", 0) < 9900:
        turns += 1
        with connect(store_url, part="consumer") as consumers_client:
            consumer = Consumer(consumers_client, Target(log.keys, KUBECOST_KINDS, 1000), retain=100_000)
            stop = _Turns(6, consumer, log.client, log.keys, failing=turns % 2 == 0)
            consumer.run(stop)
            failures += stop.failures

    assert turns > 2
    assert failures > 0
    assert log.stats() == {"applied": 9900, "dead": 100}
    assert len(log.dead()) == 100
    assert log.listed("allocation") == [saved(size) for size in range(10_000) if size % 100][-1000:]


class _Turns(threading.Event):
    """A stop that comes after so many turns of a consumer. If it is to fail, the store refuses one batch, the first
    behind which another one is read ahead: a list of the log is none for a moment."""

    def __init__(self, left: int, consumer: Consumer, client: redis.Redis, keys: Keys, *, failing: bool) -> None:
        super().__init__()
        self.failures = 0
        self._left, self._consumer, self._failing = left, consumer, failing
        self._client, self._list = client, keys.log("asset")

    def is_set(self) -> bool:
        self._left -= 1
        self._client.delete(self._list)
        if self._failing and self._consumer._batch and self._consumer._reading.oldest and self._left >= 0:
            self._client.set(self._list, "no list")
            self._failing, self.failures = False, 1
        return self._left < 0
