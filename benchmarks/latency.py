"""The whole path: from `emit()` until the event is in an answer, at a steady thousand events a second."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from benchmarks import answer, apply, programs, services
from benchmarks.figures import Row, WrongResult
from benchmarks.programs import Missing
from benchmarks.scale import Scale
from benchmarks.services import Service
from benchmarks.store import Store, running

#: Events a second.
RATE = 1000

#: So many of the newest are asked for: more than come between two answers.
PATH = "/model/etl/log?kind=AssetSetSaved&limit=300"

OURS, PEERS = "etlog", "redis-py pipeline, careful loop, FastAPI"


def rows(scale: Scale) -> Iterator[Row]:
    """With a file that is written as one would have it."""
    row = Row(f"latency from emit() to the answer, {RATE:,} events/s", "append-only file on")
    count = scale.events(RATE * 5)
    with running(append_only=True) as store:
        for _ in range(scale.rounds):
            for name, path, apply_with, start, environment in (
                (OURS, "ours/steady.py", services.consumer, services.ours, "ours"),
                (PEERS, "peers/redis_steady.py", _careful_loop, answer.careful, "peers"),
            ):
                store.empty()
                try:
                    told = _watched(store, path, apply_with, start, environment, count)
                except Missing as e:
                    row.notes.append(f"{name} is missing: {e}")
                    continue
                for share in ("p50", "p99"):
                    row.add(f"{name}: {share}", told[share], "ms", ours=name == OURS)
    row.bound(f"{OURS}: p50", most=3)
    row.bound(f"{OURS}: p99", most=15)
    yield row


def _watched(
    store: Store,
    path: str,
    apply_with: Callable[[Store], AbstractContextManager[Any]],
    start: Callable[[Store], AbstractContextManager[Service]],
    environment: str,
    count: int,
) -> dict[str, Any]:
    job = {"url": store.url, "log": services.LOG, "stream": apply.KEYS.events, "folder": store.folder / "spool"}
    job |= {"rate": RATE, "count": count}
    with apply_with(store), start(store) as service:
        watching = {"port": service.port, "path": PATH, "count": count, "seconds": count / RATE + 10}
        with (
            programs.ready("shared/watch.py", watching) as watcher,
            programs.ready(path, job, environment_name=environment) as emitter,
        ):
            watcher.go()
            emitter.go()
            emitter.result()
            told = watcher.result()
    if told["seen"] != count:
        raise WrongResult(f"{told['seen']} of {count} events were in an answer")
    return told


@contextmanager
def _careful_loop(store: Store) -> Iterator[None]:
    job = {"url": store.url, "stream": apply.KEYS.events, "prefix": apply.PREFIX, "cap": answer.LENGTH}
    job |= {"count": 10**9, "how": "careful"}
    with programs.ready("peers/redis_loops.py", job, environment_name="peers") as program:
        program.go()
        yield
