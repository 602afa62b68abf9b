"""Stages in processes of their own, all at once: `python emit_events.py URL LOG PROCESSES EVENTS`."""

import multiprocessing
import sys

from etlog_events.kinds import KUBECOST_KINDS
from etlog_producer import Producer

KINDS = sorted(KUBECOST_KINDS.by_name)
WINDOW = ("2022-06-03T10:00:00Z", "2022-06-03T11:00:00Z")


def emit(url: str, log: str, stage: int, events: int) -> None:
    """Emit `events` events, of each kind in turn, beginning with another one in each stage."""
    producer = Producer(url, log=log)
    for number in range(events):
        kind = KINDS[(stage + number) % len(KINDS)]
        producer.emit(kind, size=number, window=WINDOW, error="e", stage=stage)


def main() -> None:
    """Start all stages and wait for their ends."""
    url, log, processes, events = sys.argv[1:]
    context = multiprocessing.get_context("spawn")
    stages = [context.Process(target=emit, args=(url, log, stage, int(events))) for stage in range(int(processes))]
    for stage in stages:
        stage.start()
    for stage in stages:
        stage.join()
    sys.exit(any(stage.exitcode for stage in stages))


if __name__ == "__main__":
    main()
