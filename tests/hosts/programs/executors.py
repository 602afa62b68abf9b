"""Executors whose processes emit forty events: `python -m hosts.programs.executors KIND WAY`."""

import multiprocessing
import sys
from concurrent.futures import Executor, ProcessPoolExecutor

from hosts.emitting import emit


def executor_of(kind: str) -> Executor:
    """An executor with two processes."""
    if kind == "loky":
        from loky import get_reusable_executor  # noqa: PLC0415

        loky: Executor = get_reusable_executor(max_workers=2)
        return loky
    return ProcessPoolExecutor(2, multiprocessing.get_context(kind))


def main(kind: str, way: str) -> None:
    """Use an executor, and let it end."""
    executor = executor_of(kind)
    list(executor.map(emit, [1] * 40))
    if way == "shut down":
        executor.shutdown()


if __name__ == "__main__":
    main(*sys.argv[1:])
