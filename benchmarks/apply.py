"""Applying: one consumer, full validation, from a backlog to capped lists and counters."""

import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from etlog_events.keys import Keys
from etlog_producer.publish import Identity, Publisher

from benchmarks import events, programs
from benchmarks.figures import Row, WrongResult
from benchmarks.programs import Missing
from benchmarks.scale import Scale
from benchmarks.store import Store, running

KEYS = Keys("benchmark")
PREFIX = KEYS.events.removesuffix("events")

#: Streams that hold all that waits when a turn begins: an entry per event, and an entry per call of `BATCH_EVENTS`.
SINGLE, BATCHES = PREFIX + "single", PREFIX + "batches"

#: Events in one call of a busy stage.
BATCH_EVENTS = 100

#: Events that wait when the clock starts, and the newest that each list keeps.
COUNT, CAP = 200_000, 1000

OURS, CAREFUL, READ = "etlog consumer", "redis-py, careful loop", "redis-py, XREADGROUP NOACK alone"
OURS_BATCHES = f"etlog consumer, {BATCH_EVENTS} events per entry"
BATCH = "FastStream, batches"


@dataclass(frozen=True)
class Contestant:
    """A program, its environment, how much of the work it gets, who fills the stream for it, and what to look at."""

    name: str
    path: str
    environment: str = "peers"
    share: float = 1.0
    options: dict[str, Any] = field(default_factory=dict)
    filled_by: tuple[str, dict[str, Any]] | None = None  # a peer with a format of its own
    applies: bool = True
    ordered: bool = True
    backlog: str = SINGLE


_FASTSTREAM = ("peers/faststream_publish.py", {"pipeline": True})

CONTESTANTS = (
    Contestant(OURS, "ours/apply.py", "ours"),
    Contestant(OURS_BATCHES, "ours/apply.py", "ours", backlog=BATCHES),
    Contestant(CAREFUL, "peers/redis_loops.py", options={"how": "careful"}),
    Contestant("redis-py, naive loop", "peers/redis_loops.py", share=0.005, options={"how": "naive"}),
    Contestant(BATCH, "peers/faststream_apply.py", share=0.05, options={"batch": True}, filled_by=_FASTSTREAM),
    Contestant(
        "FastStream, per message",
        "peers/faststream_apply.py",
        share=0.005,
        options={"batch": False},
        filled_by=_FASTSTREAM,
    ),
    Contestant(
        "taskiq-redis", "peers/taskiq_apply.py", share=0.005, filled_by=("peers/taskiq_publish.py", {}), ordered=False
    ),
    Contestant(READ, "peers/redis_loops.py", options={"how": "only_read"}, applies=False),
)


def rows(scale: Scale) -> Iterator[Row]:
    """In each mode of the store."""
    count = scale.events(COUNT)
    texts = [events.text(size) for size in range(count)]
    for append_only in scale.append_only:
        row = Row(f"apply a backlog of {count:,}", f"append-only file {'on' if append_only else 'off'}")
        missing: dict[str, str] = {}
        with running(append_only=append_only) as store:
            fill(store, texts)
            for _ in range(scale.rounds):
                for contestant in CONTESTANTS:
                    number = scale.events(int(COUNT * contestant.share))
                    try:
                        seconds = _turn(store, contestant, texts[:number])
                    except Missing as e:
                        missing[contestant.name] = str(e)
                        continue
                    row.add(contestant.name, number / seconds, "events/s", ours=contestant.environment == "ours")
        row.notes = [f"{name} is missing: {why}" for name, why in missing.items()]
        row.ratio(OURS_BATCHES, OURS, least=1.2)
        row.ratio(OURS, CAREFUL, least=2.5)
        row.ratio(OURS, BATCH, least=6.0)
        row.ratio(OURS, READ, least=0.6)
        yield row


def fill(store: Store, texts: Sequence[bytes], producers: int = 1) -> None:
    """Lay `texts` down as streams from which turns take their copies; the single ones are interleaved by producer."""
    client = store.client
    store.empty()
    for first in range(0, len(texts), 1000):
        pipe = client.pipeline(transaction=False)
        for place, text in enumerate(texts[first : first + 1000], first):
            producer, number = f"producer-{place % producers}", place // producers + 1
            pipe.xadd(SINGLE, {"producer": producer, "seq": number, "event": text})
        pipe.execute()
    publisher = Publisher(client, Keys("backlog"))
    for first in range(0, len(texts), BATCH_EVENTS):
        publisher(Identity("producer-0"), first + 1, texts[first : first + BATCH_EVENTS])
    client.rename(Keys("backlog").events, BATCHES)


def _turn(store: Store, contestant: Contestant, texts: Sequence[bytes]) -> float:
    job = {"url": store.url, "log": KEYS.name, "stream": KEYS.events, "prefix": PREFIX, "cap": CAP}
    job |= {"count": len(texts), **contestant.options}
    clear(store)
    if contestant.filled_by is None:
        lay_out(store, len(texts), contestant.backlog)
    else:
        path, options = contestant.filled_by
        with programs.ready(path, {**job, **options}, environment_name=contestant.environment) as program:
            program.go()
            program.result()
    with programs.ready(contestant.path, job, environment_name=contestant.environment) as program:
        began = time.perf_counter()
        program.go()
        if contestant.applies:
            seconds = wait_applied(store, len(texts), program) - began
            check(store, texts, same_bytes=contestant.filled_by is None, ordered=contestant.ordered)
        else:
            seconds = program.result()["seconds"]
    return seconds


def clear(store: Store) -> None:
    """Leave nothing but what is to be copied."""
    kept = {SINGLE.encode(), BATCHES.encode()}
    names = [name for name in store.client.scan_iter(count=1000) if name not in kept]
    if names:
        store.client.delete(*names)


def lay_out(store: Store, count: int, backlog: str = SINGLE) -> None:
    """A copy of the first `count` events of a backlog."""
    client = store.client
    client.copy(backlog, KEYS.events, replace=True)
    most = count // BATCH_EVENTS if backlog == BATCHES else count
    if client.xlen(backlog) > most:
        client.delete(KEYS.events)
        pipe = client.pipeline(transaction=False)
        for entry_id, fields in client.xrange(backlog, count=most):
            pipe.xadd(KEYS.events, fields, id=entry_id)
        pipe.execute()


def wait_applied(store: Store, count: int, program: programs.Program) -> float:
    """When the counters told of `count` events, by `perf_counter`."""
    applied, deadline = 0, time.perf_counter() + 120
    while applied < count:
        applied = sum(map(int, store.client.hvals(KEYS.counters)))
        now = time.perf_counter()
        if now > deadline or (applied < count and program.process.poll() not in {None, 0}):
            raise WrongResult(f"only {applied} of {count} events were applied")
        time.sleep(0.003)
    return now


def check(
    store: Store, texts: Sequence[bytes], *, same_bytes: bool = True, ordered: bool = True, cap: int = CAP
) -> None:
    """Counters and lists are what the events say; bytes for bytes where the format is ours."""
    expected: dict[str, list[bytes]] = {"allocation": [], "asset": []}
    for number, text in enumerate(texts):
        expected["asset" if number & 1 else "allocation"].append(text)
    counters = {
        "AllocationSetSaved": len(expected["allocation"]),
        "AssetSetSaved": len(expected["asset"]),
    }
    found = {name.decode(): int(number) for name, number in store.client.hgetall(KEYS.counters).items()}
    if found != counters:
        raise WrongResult(f"the counters are {found} instead of {counters}")
    for category, all_of_it in expected.items():
        wanted, items = all_of_it[-cap:], store.client.lrange(KEYS.log(category), 0, -1)
        if not ordered:
            good = len(items) == len(wanted)
        elif same_bytes:
            good = items == wanted
        else:
            good = [_without_time(item) for item in items] == [_without_time(item) for item in wanted]
        if not good:
            raise WrongResult(f"the list of category {category} is not the newest {len(wanted)} events in order")


def _without_time(text: bytes) -> Any:
    event = json.loads(text)
    event.pop("time")
    return event
