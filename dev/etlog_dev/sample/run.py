"""Starts the processes of the sample ETL, watches them, and stops them."""

import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from multiprocessing import connection, resource_tracker
from multiprocessing.process import BaseProcess
from pathlib import Path
from time import monotonic

from etlog_events.errors import EtlogError
from etlog_events.settings import Settings
from etlog_producer import Producer

from etlog_dev.sample.category import Category
from etlog_dev.sample.faults import Faults
from etlog_dev.sample.meter import AllocationMeter, read_assets
from etlog_dev.sample.reconciler import Reconciler
from etlog_dev.sample.schedule import ticks

logger = logging.getLogger("etlog.sample")

PARTS = ("allocation", "asset", "reconciler")

#: Seconds between looks at the processes.
WATCH = 0.1

#: Seconds for a stopped process to deliver its last events.
FLUSH_TIMEOUT = 1.0

#: Seconds until a process that does not stop is killed. It may be waiting for an unreachable store.
STOP_TIMEOUT = 2.5


def run(settings: Settings, *, data: Path, fail: bool, stop: threading.Event) -> int:
    """Run the sample ETL until `stop` is set, with its sets in the folder `data`; `fail` injects faults.

    Returns 0, or 1 when a process ended by itself, after stopping the others.
    """
    publish_to = (settings.redis_url, settings.name, settings.spool_dir)
    context = multiprocessing.get_context("spawn")
    processes: list[BaseProcess] = [
        context.Process(target=work, args=(part, *publish_to, data, fail), name=part, daemon=True) for part in PARTS
    ]
    started: list[BaseProcess] = []
    try:
        with _without_interrupts():
            for process in processes:
                process.start()
                started.append(process)
        while not stop.wait(WATCH):
            for process in started:
                if process.exitcode is not None:
                    logger.error(
                        "The sample's %s process ended with exit code %d",
                        process.name,
                        process.exitcode,
                        extra={"action": "sample_process_ended"},
                    )
                    return 1
        return 0
    finally:
        _stop(started)


def work(part: str, url: str, log: str, spool_dir: Path, data: Path, fail: bool) -> None:
    """The whole life of one process: it ticks until it gets SIGTERM or its parent ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process of a terminal; the parent decides
    wait = _wait_for_stop()
    try:
        producer = Producer(settings=Settings(redis_url=url, name=log, spool_dir=spool_dir))
    except EtlogError as e:
        logger.error("The sample's %s process cannot start: %s", part, e)
        raise SystemExit(1) from e
    tick = _work_of(part, data, producer, fail)
    for now in ticks(wait):
        tick(now)
    producer.close(FLUSH_TIMEOUT)


def _work_of(part: str, data: Path, producer: Producer, fail: bool) -> Callable[[datetime], None]:
    if part == "reconciler":
        return Reconciler(data=data, producer=producer).tick
    meter = AllocationMeter() if part == "allocation" else read_assets
    on_saved = Faults(part) if fail else lambda _: None
    return Category(part, meter=meter, data=data, producer=producer, on_saved=on_saved).tick


def _wait_for_stop() -> Callable[[float], bool]:
    """A function that waits for some seconds; SIGTERM or the end of the parent cuts that short, and it returns True.

    The signal only writes to a pipe: a handler that sets a `threading.Event` can deadlock with a wait for it.
    """
    told, tell = os.pipe()
    os.set_blocking(tell, False)
    signal.set_wakeup_fd(tell)
    signal.signal(signal.SIGTERM, lambda *_: None)
    parent = multiprocessing.parent_process()
    sources = [told] if parent is None else [told, parent.sentinel]
    return lambda seconds: bool(connection.wait(sources, seconds))


def _stop(processes: list[BaseProcess]) -> None:
    for process in processes:
        process.terminate()
    deadline = monotonic() + STOP_TIMEOUT
    for process in processes:
        process.join(max(deadline - monotonic(), 0.0))
        if process.exitcode is None:
            logger.warning("The sample's %s process does not stop, so it is killed", process.name)
            process.kill()
            process.join()


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Processes started in the block ignore Ctrl-C from their first instant, before they can arrange that."""
    resource_tracker.ensure_running()  # if the first process started it, that would unblock the signal
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
