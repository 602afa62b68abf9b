"""Many producers: what a log costs that has known a million, none of which said that it has ended."""

import asyncio
import time
from collections.abc import Iterator, Sequence

from etlog.verification import verify
from etlog_api.status import read_status
from etlog_events.kinds import KUBECOST_KINDS
from etlog_events.publishing import FUNCTION
from etlog_events.scripts import run
from etlog_events.store import connect_async
from etlog_producer.publish import Identity, Publisher

from benchmarks import apply, events, programs
from benchmarks.apply import KEYS
from benchmarks.figures import Bound, Row, WrongResult
from benchmarks.scale import Scale
from benchmarks.store import Store, running

FEW, MANY = 10, 1_000_000

#: Events of the few, and those that either log gets once it has known all of its producers.
COUNT = 100_000

#: Seconds for which a consumer is left alone: it looks after producers every ten.
REST = 12.0

#: Calls in one trip to the store.
TOGETHER = 500

NEW, KNOWN, BLOCK = "apply, each producer new", "apply, one of them", "longest command at rest"
STATUS, VERIFY, TAKEOVER = "status", "verify", "takeover"


def rows(scale: Scale) -> Iterator[Row]:
    """A log of few producers and one of many, one after the other."""
    many = scale.events(MANY)
    texts = [events.text(size) for size in range(scale.events(COUNT))]
    row = Row(f"{FEW} → {many:,} producers")
    with running(append_only=False) as store:
        for _ in range(min(scale.rounds, 2)):
            for producers in (FEW, many):
                _add(row, store, producers, texts)
    for what, most in ((NEW, 3.0), (KNOWN, 1.2)):
        before, after = (row.series[f"{what}, {producers:,}"] for producers in (FEW, many))
        ratios = [a / b for a, b in zip(after.values, before.values, strict=True)]
        row.bounds.append(Bound(f"{what}: {many:,} / {FEW}", ratios, most=most))
    for what, most in ((BLOCK, 30), (STATUS, 50), (VERIFY, 10_000), (TAKEOVER, 1000)):
        row.bound(f"{what}, {many:,}", most=most)
    yield row


def _add(row: Row, store: Store, producers: int, texts: Sequence[bytes]) -> None:
    def add(what: str, value: float, unit: str) -> None:
        row.add(f"{what}, {producers:,}", value, unit, ours=True)

    store.empty()
    first = max(producers, len(texts))
    _introduce(store, producers, first)
    with programs.ready("ours/apply.py", {"url": store.url, "log": KEYS.name, "cap": apply.CAP}) as consumer:
        began = time.perf_counter()
        consumer.go()
        add(NEW, (apply.wait_applied(store, first, consumer) - began) / first * 1e6, "µs/event")

        publisher = Publisher(store.client, KEYS)
        began = time.perf_counter()
        for start in range(0, len(texts), apply.BATCH_EVENTS):
            publisher(Identity("busy"), start + 1, texts[start : start + apply.BATCH_EVENTS])
        seconds = apply.wait_applied(store, first + len(texts), consumer) - began
        add(KNOWN, seconds / len(texts) * 1e6, "µs/event")

        add(BLOCK, _longest_command(store, REST), "ms")

    began = time.perf_counter()
    asyncio.run(_status(store))
    add(STATUS, (time.perf_counter() - began) * 1000, "ms")
    began = time.perf_counter()
    found = verify(store.client, KEYS)
    add(VERIFY, (time.perf_counter() - began) * 1000, "ms")
    if found.faults or found.total.applied != first + len(texts):
        raise WrongResult(f"{found.total.applied} events are applied, and verification says {found.faults}")

    store.client.delete(KEYS.lease)
    publisher(Identity("busy"), len(texts) + 1, texts[:1])
    with programs.ready("ours/apply.py", {"url": store.url, "log": KEYS.name, "cap": apply.CAP}) as consumer:
        began = time.perf_counter()
        consumer.go()
        add(TAKEOVER, (apply.wait_applied(store, first + len(texts) + 1, consumer) - began) * 1000, "ms")


def _introduce(store: Store, producers: int, count: int) -> None:
    """Publish `count` events one by one, from each of the producers in turn."""
    for first in range(0, count, TOGETHER):
        calls = []
        for place in range(first, min(count, first + TOGETHER)):
            who, number = f"host-{place % producers}-{'0' * 32}", place // producers + 1
            calls.append(FUNCTION.call(KEYS.publishing, (who, "0" * 16, "", number, "follow", events.text(place))))
        for outcome, *_ in run(store.client, *calls):
            if outcome != b"OK":
                raise WrongResult("the store refused an event")


def _longest_command(store: Store, seconds: float) -> float:
    """Milliseconds of the longest command that the store runs within so many seconds."""
    client = store.client
    client.config_set("slowlog-log-slower-than", 500)
    client.slowlog_reset()
    time.sleep(seconds)
    slow = client.slowlog_get(-1)
    client.config_set("slowlog-log-slower-than", -1)
    return max((found["duration"] / 1000 for found in slow), default=0.5)


async def _status(store: Store) -> None:
    async with connect_async(store.url, part="benchmark") as client:
        status = await read_status(client, KEYS, KUBECOST_KINDS)
    if status.lag != 0:
        raise WrongResult(f"{status.lag} wait by the status")
