"""What `emit` costs a stage: time while the sender is busy, memory for waiting events, import time, price of durable.

    python -m benchmarks.emit [address of a store]

Without an address it starts its own server. Exits with 1 when a promise is broken or a count is wrong.
"""

import gc
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

from etlog_events.store import connect
from etlog_producer import Producer

from benchmarks.store import running

WINDOW = ("2022-06-03T10:00:00Z", "2022-06-03T11:00:00Z")
EVENTS = 100_000

failures: list[str] = []


def check(name: str, value: float, most: float, unit: str) -> None:
    """Print a figure beside its bound."""
    good = value <= most
    print(f"{name:<48} {value:>9.1f} {unit:<4} at most {most:g} {'ok' if good else 'BROKEN'}")
    if not good:
        failures.append(name)


def percentile(times: Sequence[int], share: float) -> float:
    """In microseconds."""
    return sorted(times)[int(len(times) * share)] / 1000


def timed(url: str, log: str, *, durable: bool = False, in_stage: bool = False) -> tuple[float, float]:
    """p50 and p99 of a call with size and window, of `emit` or of a stage's step, and the check that every event
    arrived in order."""
    with connect(url, part="benchmark") as client, Producer(url, log=log, durable=durable) as producer:
        client.delete(f"etlog:{{{log}}}:events", f"etlog:{{{log}}}:producers")
        clock = time.perf_counter_ns
        emit: Any = partial(producer.emit, "AssetSetSaved", window=WINDOW)
        if in_stage:
            emit = producer.stage("AssetSet", window=WINDOW).saved
        emit(size=0)
        assert producer.flush(10)
        times = []
        for size in range(1, EVENTS):
            before = clock()
            emit(size=size)
            times.append(clock() - before)
        waiting = producer.stats().emitted - producer.stats().delivered
        assert waiting > 0, "the sender was not busy to the end"
        assert producer.flush(60)
        record: Any = client.hget(f"etlog:{{{log}}}:producers", producer.id)
        assert record.startswith(f"published={EVENTS} ".encode())
        client.delete(f"etlog:{{{log}}}:events", f"etlog:{{{log}}}:producers")
    return percentile(times, 0.5), percentile(times, 0.99)


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def memory() -> float:
    """MiB that 100,000 waiting events take in a process whose store is down, spool and sender at work."""
    with Producer("redis://127.0.0.1:1/0", log="memory") as producer:
        producer.emit("AssetSetSaved", size=0, window=WINDOW)
        gc.collect()
        before = resident()
        for size in range(EVENTS):
            producer.emit("AssetSetSaved", size=size, window=WINDOW)
        gc.collect()
        taken = resident() - before
        stats = producer.stats()
        assert stats.waiting + stats.spooled == EVENTS + 1
        producer.close(0)
        assert producer.stats().spooled == EVENTS + 1
    return taken / 2**20


def import_time(statement: str) -> float:
    """Milliseconds of CPU for a process that does nothing else, the median of some."""
    code = f"import time; t=time.process_time(); {statement}; print(time.process_time()-t)"
    return statistics.median(
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout) * 1000
        for _ in range(9)
    )


def main() -> int:
    """All figures."""
    logging.disable()
    with ExitStack() as started:
        os.environ["ETLOG_SPOOL_DIR"] = started.enter_context(tempfile.TemporaryDirectory())
        url = sys.argv[1] if len(sys.argv) > 1 else started.enter_context(running(append_only=False)).url
        check("memory for 100,000 waiting events", memory(), 25, "MiB")
        # The best of some rounds: what else the machine does meanwhile is not the price of a call.
        p50, p99 = min(timed(url, "benchmark") for _ in range(5))
        check("emit, p50, sender busy", p50, 5, "us")
        check("emit, p99, sender busy", p99, 50, "us")
        p50, p99 = min(timed(url, "benchmark", in_stage=True) for _ in range(5))
        check("step of a stage, p50, sender busy", p50, 8, "us")
        check("step of a stage, p99, sender busy", p99, 50, "us")
        p50, p99 = timed(url, "benchmark", durable=True)
        print(f"{'emit with durable=True, p50, p99':<48} {p50:>9.1f} us   {p99:.1f} us")
        redis_only = import_time("import redis")
        ours = import_time("import etlog_producer")
        print(f"{'import redis, import etlog_producer':<48} {redis_only:>9.1f} ms   {ours:.1f} ms")
    print("; ".join(f"broken: {name}" for name in failures) or "every promise is kept, and every event was counted")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
