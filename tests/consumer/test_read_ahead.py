"""Reading ahead, by its invariants; and consumers that rest on it."""

import threading
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
import redis
from etlog_consumer import Consumer, Target
from etlog_consumer import consumer as consumer_module
from etlog_consumer.apply import SCRIPT
from etlog_consumer.batch import Batch, Entry, collect, collect_despite_bugs
from etlog_consumer.read_ahead import BYTES, FIRST, STEP_EVENTS, ReadAhead
from etlog_events.entry import MOST_EVENTS, NAMES
from etlog_events.keys import Keys
from etlog_events.kinds import KUBECOST_KINDS
from etlog_events.read_size import MOST_BATCHES, USUAL_BYTES
from etlog_events.scripts import Command, run
from etlog_events.store import connect
from hypothesis import given, settings
from hypothesis import strategies as st
from support.log import Log
from support.samples import saved
from support.servers import wait_until
from support.stream import raw_entries

STREAM = "events"


def fields(events: int = 1, size: int = 200) -> list[bytes]:
    """The fields of an entry of so many events, of so many bytes in all, as the function for publishing writes it."""
    each = b"x" * max(1, size // events)
    return [b"producer", b"p", b"seq", b"1", *(part for name in NAMES[:events] for part in (name, each))]


def entries(number: int, size: int = 200, first: int = 1, events: int = 1) -> list[Entry]:
    """So many entries of so many events and bytes, with the ids 1-0, 2-0 …"""
    return [(b"%d-0" % place, fields(events, size)) for place in range(first, first + number)]


@pytest.fixture
def reading() -> ReadAhead:
    """One that begins behind the first entry."""
    reading = ReadAhead(STREAM)
    reading.start(b"1-0")
    return reading


def answer(reading: ReadAhead, found: Sequence[Entry]) -> None:
    """The store's answer to a read."""
    reading.put([(STREAM.encode(), found)] if found else None)


def steps(reading: ReadAhead) -> list[Sequence[Entry]]:
    """All steps in hand."""
    taken = []
    while step := reading.take():
        taken.append(step)
    return taken


def read(count: int, after: bytes, *block: object) -> Command:
    """The command for a read."""
    return ("XREAD", "COUNT", count, *block, "STREAMS", STREAM, after)


@pytest.mark.parametrize("size", [1, 100, 500, None])
def test_every_entry_is_read_once_and_in_order(log: Log, size: int | None) -> None:
    """However the reads and the steps fall, and whatever comes meanwhile."""
    reading = ReadAhead(log.keys.events)
    reading.start(b"0-0")
    taken: list[Entry] = []
    for number in (1, 500, 0, 63, 64, 65, 0, 9000, 1):
        if number:
            log.publish([saved(size) for size in range(number)], size)
        for _ in range(3):
            command = reading.command(1)
            taken += reading.take()
            if command is not None:
                reading.put(run(log.client, command)[0])
    while (command := reading.command(1)) or reading.oldest:
        taken += reading.take()
        found = run(log.client, command)[0] if command else None
        if command:
            reading.put(found)
        if not found and not reading.oldest:
            break

    assert [entry_id for entry_id, _ in taken] == [entry_id for entry_id, _ in raw_entries(log.client, log.keys)]


def test_it_begins_behind_the_cursor(reading: ReadAhead) -> None:
    """Whatever was in hand before: a log that moved is read anew."""
    answer(reading, entries(FIRST, first=2))

    reading.start(b"17-0")

    assert reading.take() == ()
    assert reading.command(None) == read(FIRST * 2, b"17-0")


def test_what_is_in_hand_is_given_out_in_order(reading: ReadAhead) -> None:
    """Step by step, before what is read behind it."""
    first, second = entries(FIRST, first=2), entries(2 * FIRST, first=FIRST + 2)
    answer(reading, first)

    assert reading.command(None) == read(2 * FIRST, first[-1][0])
    assert reading.oldest == first[0][0]
    assert reading.take() == first
    assert reading.oldest is None
    answer(reading, second)
    assert reading.take() == second
    assert reading.take() == ()


@given(
    st.lists(
        st.tuples(st.sampled_from([1, 2, 7, 250, 499, 500]), st.sampled_from([1, 300, 60_000, 65_536, 3_000_000])),
        min_size=1,
        max_size=60,
    )
)
@settings(deadline=None)
def test_a_step_is_bounded_in_events_and_bytes(shapes: list[tuple[int, int]]) -> None:
    """Or it is a single entry; none is left out, and no step could have taken the first entry of the next one."""
    reading = ReadAhead(STREAM)
    found = [(b"%d-0" % place, fields(*shape)) for place, shape in enumerate(shapes, 1)]
    answer(reading, found)

    taken = steps(reading)

    def measures(step: Sequence[Entry]) -> tuple[int, int]:
        held = [of_entry for _, of_entry in step]
        return sum(len(each) // 2 - 2 for each in held), sum(map(len, [part for each in held for part in each]))

    def fits(step: Sequence[Entry]) -> bool:
        events, size = measures(step)
        return events <= STEP_EVENTS and size <= BYTES

    assert [entry for step in taken for entry in step] == found
    assert all(fits(step) or len(step) == 1 for step in taken)
    assert not any(fits([*step, later[0]]) for step, later in pairwise(taken))


def test_a_read_of_large_batches_is_given_out_in_steps_of_a_few_thousand(reading: ReadAhead) -> None:
    """Eight entries of 500 events each."""
    answer(reading, entries(256, 65_536, events=500))

    assert [len(step) for step in steps(reading)] == [8] * 32


@pytest.mark.parametrize(
    ("of_entry", "events"),
    [
        ([b"event", b"x", b"event.1", b"x", b"event.2", b"x"], 3),
        ([b"event", b"x", b"producer", b"p", b"seq", b"1", b"event.1", b"x"], 2),
        ([b"seq", b"1", b"producer", b"p", b"event", b"x", b"event.1", b"x"], 2),
        ([b"event", b"x", b"event.9", b"x"], 2),
    ],
    ids=["without a number", "number behind the event", "number first", "behind a gap"],
)
def test_the_events_of_others_are_counted_as_well(reading: ReadAhead, of_entry: list[bytes], events: int) -> None:
    """Wherever they write their number; unnumbered ones that counted for less once made a step of twelve thousand."""
    answer(reading, [(b"%d-0" % place, of_entry) for place in range(2, STEP_EVENTS + 2)])

    assert max(len(step) for step in steps(reading)) == STEP_EVENTS // events
    assert all(len(collect(step, {}, KUBECOST_KINDS).dead) <= STEP_EVENTS for step in steps(reading))


@pytest.mark.parametrize("of_entry", [[b"", b""], [b"x", b""], [b"event", b""], [b"producer", b"", b"seq", b""]])
def test_an_entry_of_nothing_is_read_like_any_other(reading: ReadAhead, of_entry: list[bytes]) -> None:
    """It takes no byte, and once stopped the consumer for good."""
    answer(reading, [(b"2-0", of_entry)])

    assert reading.take() == [(b"2-0", of_entry)]
    assert reading.size.count == FIRST


def test_nothing_is_read_while_more_than_one_step_is_in_hand(reading: ReadAhead) -> None:
    """What waits in the store takes no memory here."""
    answer(reading, entries(FIRST, 65_536, first=2, events=500))

    for _ in range(FIRST // 8 - 1):
        assert reading.command(None) is None
        assert reading.command(500) is None
        reading.take()
    assert reading.oldest is not None
    assert reading.command(None) == read(reading.size.count, b"%d-0" % (FIRST + 1))


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
        counts.append(reading.size.count)
        answer(reading, entries(reading.size.count))
        steps(reading)

    assert counts == [*(FIRST * 2**step for step in range(6)), STEP_EVENTS, STEP_EVENTS, STEP_EVENTS]


@pytest.mark.parametrize(("events", "count"), [(2, MOST_BATCHES), (10, MOST_BATCHES), (100, 40), (500, 8)])
def test_it_asks_for_few_entries_of_many_events(reading: ReadAhead, events: int, count: int) -> None:
    """For as many as make a step, and for no more than a few hundred."""
    for _ in range(9):
        answer(reading, entries(reading.size.count, events=events))
        steps(reading)

    assert reading.size.count == count


def test_it_drops_at_once_when_they_are_large(reading: ReadAhead) -> None:
    """To as many as fit; and to one by one behind an entry that is larger than etlog makes them."""
    answer(reading, entries(64, 60 * 1024))
    assert reading.size.count == BYTES // (60 * 1024 + len(b"".join(fields()[:5])))

    answer(reading, entries(3, USUAL_BYTES))
    assert reading.size.count == 1
    steps(reading)
    answer(reading, entries(1))
    assert reading.size.count == 2


def test_a_read_that_is_not_full_says_nothing(reading: ReadAhead) -> None:
    """There was no more to read."""
    answer(reading, entries(3))

    assert reading.size.count == FIRST


def test_what_is_given_back_is_taken_again_first(reading: ReadAhead) -> None:
    """In its order, before what is in hand, and it is not read again."""
    answer(reading, entries(24, 65_536, first=2, events=500))
    first, second = reading.take(), reading.take()

    reading.give_back(first, second)

    assert reading.oldest == b"2-0"
    assert [entry for step in steps(reading) for entry in step] == entries(24, 65_536, first=2, events=500)
    assert reading.command(None) == read(reading.size.count, b"25-0")


def test_nothing_given_back_is_nothing_in_hand(reading: ReadAhead) -> None:
    """A batch has been put down, and there was none behind it."""
    answer(reading, entries(3, first=2))
    taken = reading.take()

    reading.give_back(taken, ())

    assert steps(reading) == [taken]


def test_a_batch_is_applied_while_the_next_one_is_collected(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the one behind that is read in the same round trip: neither side waits for the other."""
    sizes: list[int] = []

    def collecting(entries: Sequence[Entry], *rest: Any) -> Batch:
        before = sum(sizes)
        wait_until(lambda: log.stats().get("applied", 0) == before, what="what was collected to be applied")
        sizes.append(len(entries))
        return collect_despite_bugs(entries, *rest)

    log.publish([saved(size) for size in range(3 * FIRST)], 1)
    log.client.script_load(SCRIPT.text)  # so that the first call is not refused
    monkeypatch.setattr(consumer_module, "collect_despite_bugs", collecting)
    log.apply()

    assert sizes == [FIRST, 2 * FIRST]


@pytest.mark.parametrize("size", [1, 500, None])
def test_no_step_holds_the_store_up(log: Log, monkeypatch: pytest.MonkeyPatch, size: int | None) -> None:
    """Each has at most so many events, whatever one read brings; the store does something else in between."""
    taken: list[int] = []

    def collecting(entries: Sequence[Entry], *rest: Any) -> Batch:
        batch = collect_despite_bugs(entries, *rest)
        taken.append(batch.stats["applied"])
        return batch

    monkeypatch.setattr(consumer_module, "collect_despite_bugs", collecting)
    events = 30_000 if size == 1 else FIRST * MOST_EVENTS
    log.publish([saved(size) for size in range(events)], size)
    log.client.config_set("slowlog-log-slower-than", 100_000)
    log.client.slowlog_reset()
    log.apply()

    assert sum(taken) == events
    assert max(taken) <= STEP_EVENTS
    slow = [call for call in log.client.slowlog_get() if log.keys.events.encode() in call["command"]]
    assert len(slow) <= len(taken) // 4, slow  # a busy machine may hold up a few
    assert log.listed("allocation") == [saved(size) for size in range(events - 1000, events)]


@pytest.mark.parametrize("size", [1, 100, None])
def test_a_backlog_is_applied_once_by_consumers_that_come_and_go(log: Log, store_url: str, size: int | None) -> None:
    """Each is stopped or fails with a batch in hand and another one read ahead; wrong events are among them."""
    log.publish([saved(size) if size % 100 else b"wrong" for size in range(20_000)], size)
    turns = failures = 0
    while log.stats().get("applied", 0) < 19_800:
        turns += 1
        with connect(store_url, part="consumer") as consumers_client:
            consumer = Consumer(consumers_client, Target(log.keys, KUBECOST_KINDS, 1000), retain=100_000)
            stop = _Turns(6, consumer, log.client, log.keys, failing=turns % 2 == 1)
            consumer.run(stop)
            failures += stop.failures

    assert turns > 1
    assert failures > 0
    assert log.stats() == {"applied": 19_800, "dead": 200}
    assert len(log.dead()) == 200
    assert log.listed("allocation") == [saved(size) for size in range(20_000) if size % 100][-1000:]
    assert log.verify().faults == []


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
