"""A ledger that consumers who die in the middle of their work leave exact."""

import json
import random
import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from etlog_consumer import Consumer, Target
from etlog_events import publishing, scripts
from etlog_events.event import Event
from etlog_events.keys import Keys
from etlog_events.kinds import KUBECOST_KINDS
from etlog_events.store import connect
from support.consumers import CaughtUp, Consuming, consumer_process
from support.ledgers import faults, ledger, unrowed
from support.recomputed import counted, recomputed
from support.samples import batches
from support.servers import wait_until
from support.stream import Client, counters

EVENTS = 20_000

#: Consumers that are dropped in the middle of a step, and processes that are killed.
DROPPED, KILLED = 8, 2

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


def some_events(chance: random.Random) -> Iterator[bytes]:
    """Events of hundreds of sets, without an order, and of all kinds."""
    kinds = list(KUBECOST_KINDS.by_name.values())
    for size in range(EVENTS):
        kind, length = chance.choice(kinds), timedelta(hours=chance.choice([1, 1, 24]))
        start = EPOCH + chance.randrange(150) * length
        has_window = not kind.action.is_error or chance.random() < 0.8
        yield Event.new(
            kind.name,
            size=size % 1000,
            window=(start, start + length) if has_window else None,
            error=chance.choice(["403 Forbidden", "é" * 600]) if kind.action.is_error else None,
            time=start + length + timedelta(seconds=chance.choice([-60, -0.5, 0, 0.25, 30])),
            metadata={"seconds": chance.choice([0, 1.5, -1, "1"]), "stage": chance.choice(["Saved", "Totaled", "x"])},
        ).encode()


def publish(client: Client, keys: Keys, texts: Sequence[bytes], first: int) -> None:
    """Append events, numbered from `first` on, in entries of one and of several."""
    calls = []
    for batch in batches(texts):
        calls.append(publishing.FUNCTION.call(keys.publishing, ("p", "", "", first, "follow", *batch)))
        first += len(batch)
    scripts.run(client, *calls)


def drop_in_the_middle(store_url: str, keys: Keys, turns: int) -> None:
    """Let a consumer take over and work for some turns, with batches in hand at the end that no one gets."""
    with connect(store_url, part="consumer") as client:
        client.delete(keys.lease)
        consumer = Consumer(client, Target(keys, KUBECOST_KINDS, 1000), retain=10**6)
        for _ in range(turns):
            consumer._turn(threading.Event())


def kill_at_work(store_url: str, keys: Keys, client: Client) -> None:
    """Let a consumer take over and kill it as soon as it applies."""
    client.delete(keys.lease)
    before = client.get(keys.cursor)
    with consumer_process(store_url, keys.name):
        wait_until(lambda: client.get(keys.cursor) != before, what="it to be at work")


def test_the_rows_of_20_000_events_are_exact_whoever_dies_over_them(
    store_url: str, client: Client, keys: Keys, consuming: Consuming, caught_up: CaughtUp
) -> None:
    """Consumers are dropped with batches in hand, and killed; the events come without an order."""
    chance = random.Random(14)
    texts = list(some_events(chance))
    ends: list[Any] = ["drop"] * DROPPED + ["kill"] * KILLED
    chance.shuffle(ends)
    each = EVENTS // (len(ends) + 1)
    for place, end in enumerate(ends):
        publish(client, keys, texts[place * each : (place + 1) * each], place * each + 1)
        if end == "drop":
            drop_in_the_middle(store_url, keys, chance.randrange(1, 5))
        else:
            kill_at_work(store_url, keys, client)
        assert faults(client, keys) == []
    publish(client, keys, texts[len(ends) * each :], len(ends) * each + 1)
    client.delete(keys.lease)
    with consuming():
        caught_up()

    assert counters(client, keys) == counted(texts)
    assert faults(client, keys) == []
    assert unrowed(client, keys) == {}
    assert ledger(client, keys) == recomputed(texts)
    assert json.loads(client.hget(keys.stats, "applied")) == EVENTS
