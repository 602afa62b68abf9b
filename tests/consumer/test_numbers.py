"""The last numbers of producers: a consumer keeps some in memory, and the store corrects it where they are others."""

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import redis
from etlog_consumer import Consumer, Target, read_ahead, recovery
from etlog_consumer import consumer as consumer_module
from etlog_consumer.batch import Batch, Entry, collect_despite_bugs
from etlog_consumer.read_ahead import FIRST
from etlog_consumer.recovery import Progress
from etlog_events.keys import Keys
from etlog_events.kinds import KUBECOST_KINDS
from etlog_events.store import connect
from etlog_producer.publish import Identity, Publisher
from support.log import Log
from support.samples import batches, saved
from support.stream import raw_entries


class Stepwise:
    """A consumer that works turn by turn, and dies without a word."""

    def __init__(self, client: redis.Redis, keys: Keys, monkeypatch: pytest.MonkeyPatch) -> None:
        self.collected: list[tuple[int, dict[bytes, int]]] = []
        monkeypatch.setattr(consumer_module, "collect_despite_bugs", self._collecting)
        self.consumer = Consumer(client, Target(keys, KUBECOST_KINDS, 1000), retain=10**6, name="stepwise")

    def turn(self, turns: int = 1) -> None:
        """So many turns."""
        for _ in range(turns):
            self.consumer._turn(NEVER)

    def _collecting(self, entries: Sequence[Entry], numbers: dict[bytes, int], *rest: Any) -> Batch:
        self.collected.append((len(entries), dict(numbers)))
        return collect_despite_bugs(entries, numbers, *rest)


class _Never:
    def is_set(self) -> bool:
        return False

    def wait(self, timeout: float) -> bool:
        return False


NEVER: Any = _Never()


@pytest.fixture
def stepwise(store_url: str, keys: Keys, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stepwise]:
    """One consumer on the test's log."""
    with connect(store_url, part="consumer") as client:
        yield Stepwise(client, keys, monkeypatch)


@pytest.mark.parametrize("size", [1, 3])
def test_numbers_are_learnt_after_a_takeover_with_the_next_batch_already_collected(
    log: Log, stepwise: Stepwise, size: int
) -> None:
    """Neither that one nor this is applied by numbers that were wrong; and both are applied in their order."""
    texts = [saved(number) for number in range(5 * FIRST * size)]
    first, rest = texts[: FIRST * size], texts[FIRST * size :]
    log.publish(first, size)
    log.apply()
    log.publish(rest, size)
    Publisher(log.client, log.keys)(Identity("q"), 1, [saved(7)])
    stepwise.collected.clear()

    stepwise.turn(2)  # read, then collect what was read
    assert log.stats() == {"applied": len(first)}
    stepwise.turn()  # apply it, while the next one is collected: its numbers were others
    assert log.stats() == {"applied": len(first)}
    assert [(count, numbers.get(b"p", 0)) for count, numbers in stepwise.collected] == [
        (FIRST, 0),
        (2 * FIRST, 2 * FIRST * size),
    ]
    while log.stats()["applied"] < len(texts) + 1:
        stepwise.turn()

    assert [(count, numbers.get(b"p", 0)) for count, numbers in stepwise.collected[2:4]] == [
        (FIRST, FIRST * size),
        (2 * FIRST, 2 * FIRST * size),
    ]
    assert log.stats() == {"applied": len(texts) + 1}
    assert log.listed("allocation") == [*texts, saved(7)][-1000:]
    assert log.verify().faults == []


def test_what_comes_twice_after_a_takeover_is_known(log: Log, stepwise: Stepwise) -> None:
    """A duplicate that begins the first batch would else be a loss or be applied again."""
    publish = Publisher(log.client, log.keys)
    for producer in ("p", "q"):
        publish(Identity(producer), 1, [saved(size) for size in range(4)])
    log.apply()
    for entry in log.entries()[:4]:
        log.client.xadd(log.keys.events, {"producer": "p", "seq": entry.seq, "event": entry.event})
    publish(Identity("q"), 5, [saved(4)])
    publish(Identity("r"), 1, [saved(5)])

    stepwise.turn(6)

    assert log.stats() == {"applied": 10, "duplicate": 4}
    assert log.verify().faults == []


@pytest.mark.parametrize("most", [60, 170])
@pytest.mark.parametrize("size", [1, 3])
def test_more_producers_than_are_remembered_are_applied_once(
    log: Log, monkeypatch: pytest.MonkeyPatch, most: int, size: int
) -> None:
    """In turns, with duplicates and losses: what is forgotten is learnt from the store."""
    monkeypatch.setattr(recovery, "MOST_NUMBERS", most)
    monkeypatch.setattr(read_ahead, "STEP_EVENTS", 20)
    publish = Publisher(log.client, log.keys)
    texts = [saved(number) for number in range(6)]
    with log.consuming():
        sent = dict.fromkeys(range(200), 0)
        for batch in batches(texts, size):
            for number in sent:
                publish(Identity(f"p{number}"), sent[number] + 1, batch)
                sent[number] += len(batch)
    log.client.xadd(log.keys.events, {"producer": "p3", "seq": 8, "event": texts[0]})
    for _, fields in raw_entries(log.client, log.keys)[:200]:
        log.client.xadd(log.keys.events, fields)  # type: ignore[arg-type]
    log.apply()

    assert log.stats() == {"applied": 200 * 6 + 1, "lost": 1, "duplicate": 200 * size}
    assert log.verify().faults == []


def test_the_numbers_seen_last_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the most, at least."""
    monkeypatch.setattr(recovery, "MOST_NUMBERS", 10)
    progress = Progress()
    for number in range(100):
        progress.note({b"p%d" % number: number, b"busy": number})
        assert len(progress.numbers) <= 10
        assert progress.numbers[b"busy"] == number
    assert [b"p%d" % number in progress.numbers for number in (90, 97, 98, 99)] == [False, True, True, True]


def test_a_batch_that_outlasts_the_lease_is_applied(log: Log, store_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another consumer has the lease by then. It will not do better: one entry of a million fields takes seconds, and
    the two would take turns for ever."""
    monkeypatch.setattr("etlog_consumer.lease.RENEW_AFTER", 0.0)
    log.publish([saved(1), saved(2)])
    with connect(store_url, part="consumer") as one, connect(store_url, part="consumer") as other:
        slow, next_one = (Stepwise(client, log.keys, monkeypatch) for client in (one, other))
        next_one.consumer.name = "next"
        next_one.consumer._lease._name = "next"
        slow.turn(2)
        log.client.delete(log.keys.lease)  # as if it had taken so long to collect
        next_one.turn(2)
        assert log.client.get(log.keys.lease) == b"next"

        slow.turn()

        assert log.stats() == {"applied": 2}
        assert log.client.get(log.keys.lease) == b"next"
        next_one.turn(3)
        assert log.stats() == {"applied": 2}
    assert log.verify().faults == []
