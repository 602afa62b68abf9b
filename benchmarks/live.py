"""The live log: many clients, a steady flow of events."""

import time
from collections.abc import Iterator

from benchmarks import apply, programs, services
from benchmarks.figures import Row, WrongResult
from benchmarks.scale import Scale
from benchmarks.store import Store, running

CLIENTS, RATE = 500, 200

#: Seconds after the last event in which it must have reached all clients.
REST = 1.0


def rows(scale: Scale) -> Iterator[Row]:
    """One service for all clients."""
    clients = max(100, int(CLIENTS * scale.part))
    row = Row(f"live log: {clients} clients, {RATE} events/s")
    count = max(2 * RATE, int(8 * RATE * scale.part))
    with running(append_only=False) as store:
        for _ in range(scale.rounds):
            store.empty()
            _subscribe(store, row, clients, count)
    row.bound("p99", most=100)
    row.bound("processor of the API", most=1.0)
    yield row


def _subscribe(store: Store, row: Row, clients: int, count: int) -> None:
    emitting = {"url": store.url, "log": services.LOG, "folder": store.folder / "spool", "rate": RATE, "count": count}
    with services.consumer(store), services.ours(store) as service:
        job = {"port": service.port, "path": "/model/etl/log/stream", "clients": clients}
        with (
            programs.ready("shared/subscribers.py", job) as subscribers,
            programs.ready("ours/steady.py", emitting) as emitter,
        ):
            subscribers.go()
            began, cpu = time.perf_counter(), service.cpu()
            emitter.go()
            emitter.result()
            apply.wait_applied(store, count, subscribers)
            cores = (service.cpu() - cpu) / (time.perf_counter() - began)
            time.sleep(REST)
            subscribers.go()
            told = subscribers.result()
    if told["least"] != count or told["most"] != count:
        raise WrongResult(f"clients got {told['least']} to {told['most']} events instead of {count}")
    row.add("p50", told["p50"], "ms", ours=True)
    row.add("p99", told["p99"], "ms", ours=True)
    row.add("processor of the API", cores, "cores", ours=True)
