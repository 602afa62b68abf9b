"""Idle: what consumer and API take while nothing happens."""

import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks import answer, services
from benchmarks.figures import Row
from benchmarks.scale import Scale
from benchmarks.store import running

#: Seconds of which one measurement is made.
SPAN = 8.0


def rows(scale: Scale) -> Iterator[Row]:
    """Both processes together, with a full log that was read once."""
    row = Row("idle: consumer and API together")
    with running(append_only=True) as store:
        answer.fill(store)
        with services.consumer(store) as consumer, services.ours(store) as api:
            api.get(answer.WHOLE)
            processes = [consumer.process.pid, api.process.pid]
            time.sleep(min(SPAN, 2 * scale.seconds))  # what a start leaves to do is done
            for _ in range(scale.rounds):
                before, began = sum(map(services.cpu_of, processes)), time.perf_counter()
                time.sleep(SPAN * scale.part if scale.part < 1 else SPAN)
                share = (sum(map(services.cpu_of, processes)) - before) / (time.perf_counter() - began)
                row.add("processor", 100 * share, "% of a core", ours=True)
                row.add("memory", sum(map(_resident, processes)), "MiB", ours=True)
    row.bound("processor", most=1.0)
    row.bound("memory", most=130)
    yield row


def _resident(process: int) -> float:
    """MiB of a process in memory."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024
