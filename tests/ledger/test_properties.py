"""The ledger is the same whatever the order of the events, their batches, and who applies them."""

import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import msgspec
import pytest
from etlog_consumer import Consumer, Target, consumer
from etlog_events.event import Event
from etlog_events.keys import Keys
from etlog_events.kinds import KUBECOST_KINDS
from etlog_events.store import connect
from etlog_events.validation import Note, noter
from etlog_ledger.fold import fold
from etlog_ledger.row import Row, decode, encode, merge
from hypothesis import given, settings
from hypothesis import strategies as st
from support.ledgers import faults, ledger, unrowed
from support.recomputed import Ledger, counted, recomputed
from support.set_events import events
from support.stream import Client, counters, is_applied, raw_entries, stats


def batch_rows(texts: Sequence[bytes]) -> dict[str, dict[str, Row]]:
    """The rows that a batch of these events makes."""
    note = noter(KUBECOST_KINDS)
    notes: dict[tuple[str, str], list[Note]] = {}
    for text in texts:
        kind, _, interval, noted = note(text)
        notes.setdefault((kind.name, interval), []).append(noted)
    return fold(notes, KUBECOST_KINDS)


def applied(batches: Sequence[Sequence[bytes]]) -> dict[tuple[str, str], bytes]:
    """The texts of the rows after these batches, one after another, as a consumer keeps them."""
    texts: dict[tuple[str, str], bytes] = {}
    for batch in batches:
        for category, rows in batch_rows(batch).items():
            for interval, row in rows.items():
                held = decode(texts.get((category, interval), b"{}"))
                texts[category, interval] = encode(merge(held, row))
    return texts


def canonical(texts: Sequence[bytes]) -> list[bytes]:
    """The events as the log holds them."""
    return [Event.decode(text).encode() for text in texts]


def without_empty(rows: Ledger) -> Ledger:
    """The categories that have rows."""
    return {category: of_category for category, of_category in rows.items() if of_category}


@given(st.lists(events(), max_size=30))
@settings(deadline=None, max_examples=60)
def test_a_batch_makes_the_rows_of_a_recomputation(texts: list[bytes]) -> None:
    """Of any events, in any spelling."""
    assert msgspec.to_builtins(batch_rows(texts)) == without_empty(recomputed(canonical(texts)))


@given(st.lists(events(), max_size=30), st.randoms(), st.lists(st.integers(0, 30)))
@settings(deadline=None, max_examples=60)
def test_neither_order_nor_batches_matter_to_the_text_of_a_row(
    texts: list[bytes], chance: Any, cuts: list[int]
) -> None:
    """To the byte, so that a reader may compare rows."""
    shuffled = texts[:]
    chance.shuffle(shuffled)
    ends = sorted({*(cut for cut in cuts if cut < len(texts)), len(texts)})
    batches = [shuffled[first:last] for first, last in zip([0, *ends], ends, strict=False)]

    assert applied(batches) == applied([texts])
    assert applied([[text] for text in shuffled]) == applied([texts])


@pytest.fixture(autouse=True)
def without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """A read that finds nothing comes back at once."""
    monkeypatch.setattr(consumer, "BLOCK_MS", 1)


class Applying:
    """Two consumers of one log that take turns, and what is published into it."""

    def __init__(self, client: Client, keys: Keys, consumers: Sequence[Consumer]) -> None:
        self.client = client
        self.keys = keys
        self._consumers = consumers
        self._published = 0
        self.repeated = 0

    def publish(self, texts: Sequence[bytes]) -> None:
        """Append an entry of these events, as a client that numbers them by itself."""
        if texts:
            self._append({"producer": "p", "seq": self._published + 1} | _fields(texts))
            self._published += len(texts)

    def repeat(self, place: int) -> None:
        """Append an entry of before once more, as a client does that did not get its answer."""
        found = raw_entries(self.client, self.keys)
        if found:
            fields = found[place % len(found)][1]
            self._append(fields)
            self.repeated += len(fields) - 2

    def turn(self, who: int) -> None:
        """One step of a consumer, if it has the lease or believes so."""
        self._consumers[who]._turn(threading.Event())

    def take_over(self, who: int) -> None:
        """A consumer gets the lease; the other one goes on until it sees that it was overtaken."""
        self.client.delete(self.keys.lease)
        self._consumers[who]._lease.doubt()
        self.turn(who)

    def finish(self) -> None:
        """Apply all that is there."""
        self.take_over(0)
        while not (is_applied(self.client, self.keys) and self._consumers[0]._batch is None):
            self.turn(0)

    def _append(self, fields: Any) -> None:
        self.client.xadd(self.keys.events, fields)


def _fields(texts: Sequence[bytes]) -> dict[str, Any]:
    return {f"event.{place}" if place else "event": text for place, text in enumerate(texts)}


@contextmanager
def applying(url: str, most_bytes: int) -> Iterator[Applying]:
    """Two consumers on a log that is gone afterwards; they keep the texts of so many rows in memory."""
    keys = Keys(f"test-{uuid.uuid4().hex[:12]}")
    target = Target(keys, KUBECOST_KINDS, 1000)
    with ExitStack() as stack:
        client = stack.enter_context(connect(url, part="test"))
        own = [stack.enter_context(connect(url, part="consumer")) for _ in range(2)]
        consumers = [Consumer(each, target, retain=10**6, most_bytes=most_bytes) for each in own]
        yield Applying(client, keys, consumers)
        client.delete(*client.scan_iter(match=keys.events.replace("events", "*"), count=1000))


#: After an entry of so many events comes one of these.
WHAT = ("nothing", "turn", "turn", "other turns", "takeover", "take back", "repeat")


@given(
    st.lists(events(), min_size=1, max_size=40),
    st.lists(st.tuples(st.integers(0, 6), st.sampled_from(WHAT)), max_size=10),
    st.sampled_from([1, 4, 1000]),
)
@settings(deadline=None, max_examples=20)
def test_any_entries_batches_duplicates_and_takeovers_leave_the_rows_of_a_recomputation(
    store_url: str, texts: list[bytes], steps: list[tuple[int, str]], most_bytes: int
) -> None:
    """In the store, by real consumers; and whatever is in a row is counted, once."""
    with applying(store_url, most_bytes) as log:
        left = texts
        log.publish(left[:1])
        left = left[1:]
        for number, what in steps:
            log.publish(left[:number])
            left = left[number:]
            match what:
                case "turn":
                    log.turn(0)
                case "other turns":
                    log.turn(1)
                case "takeover":
                    log.take_over(1)
                case "take back":
                    log.take_over(0)
                case "repeat":
                    log.repeat(number)
            assert faults(log.client, log.keys) == []
        log.publish(left)
        log.finish()

        expected = recomputed(canonical(texts))
        assert ledger(log.client, log.keys) == expected
        assert unrowed(log.client, log.keys) == {}
        assert counters(log.client, log.keys) == counted(canonical(texts))
        assert faults(log.client, log.keys) == []
        found = stats(log.client, log.keys)
        assert (found["applied"], found.get("duplicate", 0)) == (len(texts), log.repeated)
        assert "rebuilt" not in found
