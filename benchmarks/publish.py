"""Publishing: from `emit(kind, size, window)` to delivered, by one process and by four."""

import json
import pickle
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from shutil import which
from typing import Any

from benchmarks import events
from benchmarks.figures import Row, WrongResult
from benchmarks.programs import Missing, Program
from benchmarks.scale import Scale
from benchmarks.store import Store, running

LOG = "benchmark"
STREAM = f"etlog:{{{LOG}}}:events"

OURS, SCRIPT = "etlog emit", "etlog script, encoded"
PIPELINE, ENCODED, LIMIT = "redis-py pipeline", "redis-py pipeline, encoded", "redis-benchmark -P 100"


@dataclass(frozen=True)
class Contestant:
    """A program, its environment, how much of the work it gets, and where its events are found afterwards."""

    name: str
    path: str
    found: Callable[[Any], Iterator[dict[str, Any]]]
    environment: str = "ours"
    share: float = 1.0
    options: dict[str, Any] = field(default_factory=dict)


def _in_stream(client: Any) -> Iterator[dict[str, Any]]:
    yield from map(json.loads, events.texts(client, STREAM))


def _of_faststream(client: Any) -> Iterator[dict[str, Any]]:
    for fields in events.entries(client, STREAM):
        raw = fields[b"__data__"]
        yield json.loads(raw[raw.index(b'{"kind"') :])


def _of_taskiq(client: Any) -> Iterator[dict[str, Any]]:
    for fields in events.entries(client, STREAM):
        yield json.loads(fields[b"data"])["args"][0]


def _of_arq(client: Any) -> Iterator[dict[str, Any]]:
    names = client.zrange("arq:queue", 0, -1)
    jobs = client.mget([b"arq:job:" + name for name in names])
    yield from sorted((pickle.loads(job)["a"][0] for job in jobs), key=lambda event: event["metadata"]["size"])


ONE = (
    Contestant(OURS, "ours/publish.py", _in_stream),
    Contestant(PIPELINE, "peers/redis_pipeline.py", _in_stream, "peers"),
    Contestant(SCRIPT, "ours/script.py", _in_stream),
    Contestant(ENCODED, "peers/redis_pipeline.py", _in_stream, "peers", options={"encoded": True}),
    Contestant(
        "FastStream, pipelines", "peers/faststream_publish.py", _of_faststream, "peers", 0.05, {"pipeline": True}
    ),
    Contestant("FastStream, one by one", "peers/faststream_publish.py", _of_faststream, "peers", 0.01),
    Contestant("taskiq-redis", "peers/taskiq_publish.py", _of_taskiq, "peers", 0.01),
    Contestant("arq", "peers/arq_publish.py", _of_arq, "arq", 0.01),
)

#: Events of the fastest.
COUNT = 100_000

PROCESSES = 4


def rows(scale: Scale) -> Iterator[Row]:
    """Both kinds of work, in each mode of the store."""
    for append_only in scale.append_only:
        conditions = f"append-only file {'on' if append_only else 'off'}"
        with running(append_only=append_only) as store:
            yield _one(scale, store, Row("publish, one process", conditions))
            yield _four(scale, store, Row("publish, 4 processes", conditions))


def _one(scale: Scale, store: Store, row: Row) -> Row:
    missing = {}
    for _ in range(scale.rounds):
        for contestant in ONE:
            count = scale.events(int(COUNT * contestant.share))
            store.empty()
            try:
                seconds = together(store, contestant, count, 1)
                check(contestant.found(store.client), count, 1)
                row.add(contestant.name, count / seconds, "events/s", ours=contestant.path.startswith("ours"))
            except Missing as e:
                missing[contestant.name] = str(e)
        _add_limit(row, store, scale.events(COUNT), missing)
    row.notes = [f"{name} is missing: {why}" for name, why in missing.items()]
    row.ratio(OURS, PIPELINE, least=2.0)
    row.ratio(SCRIPT, ENCODED, least=2.5)
    return row


def _four(scale: Scale, store: Store, row: Row) -> Row:
    missing: dict[str, str] = {}
    count = scale.events(COUNT // 2)
    for _ in range(scale.rounds):
        for contestant in ONE[:2]:
            store.empty()
            try:
                seconds = together(store, contestant, count, PROCESSES)
                check(contestant.found(store.client), count, PROCESSES)
                row.add(contestant.name, count * PROCESSES / seconds, "events/s", ours=contestant is ONE[0])
            except Missing as e:
                missing[contestant.name] = str(e)
        _add_limit(row, store, count * PROCESSES, missing)
    row.notes = [f"{name} is missing: {why}" for name, why in missing.items()]
    row.ratio(OURS, PIPELINE, least=1.5)
    row.ratio(OURS, LIMIT, least=0.45)
    return row


def together(store: Store, contestant: Contestant, count: int, processes: int) -> float:
    """Seconds until so many processes, which begin together, have each published `count` events."""
    job = {"url": store.url, "log": LOG, "stream": STREAM, "folder": store.folder / "spool", "count": count}
    job |= contestant.options
    with ExitStack() as stack:
        started = [Program(contestant.path, job, environment_name=contestant.environment) for _ in range(processes)]
        for each in started:
            stack.callback(each.end)
        for each in started:
            each.wait_ready()
        began = time.perf_counter()
        for each in started:
            each.go()
        results: list[float] = [each.result()["seconds"] for each in started]
        # What one process took it knows best; of several only the whole counts, less the end of an interpreter.
        return results[0] if processes == 1 else min(time.perf_counter() - began, max(results) + 0.01)


def check(found: Iterator[dict[str, Any]], count: int, processes: int) -> None:
    """Every event is there, once for each process, in the order in which each built them."""
    seen = [0] * count
    for event in found:
        size = event["metadata"]["size"]
        if event["kind"] != events.KINDS[size & 1] or event["metadata"]["window"] != events.WINDOW or not event["time"]:
            raise WrongResult(f"an event is wrong: {event}")
        seen[size] += 1
        if size and seen[size] > seen[size - 1]:
            raise WrongResult(f"event {size} came before the one that it follows")
    if any(number != processes for number in seen):
        raise WrongResult(f"{sum(seen)} events arrived instead of {count * processes}")


def _add_limit(row: Row, store: Store, count: int, missing: dict[str, str]) -> None:
    """The same entry again and again, from C: what the store can take."""
    program = which("redis-benchmark")
    if program is None:
        missing[LIMIT] = "install redis-tools"
        return
    store.empty()
    entry = ["producer", "producer-1", "seq", "1", "event", events.text(1).decode()]
    command = [program, "-h", "127.0.0.1", "-p", str(store.port), "-P", "100", "-n", str(count), "--csv"]
    output = subprocess.run([*command, "XADD", STREAM, "*", *entry], capture_output=True, text=True, check=True).stdout
    if store.client.xlen(STREAM) < count:
        raise WrongResult("redis-benchmark published less than it was asked to")
    row.add(LIMIT, float(output.splitlines()[-1].rsplit('","', 7)[1]), "events/s")
