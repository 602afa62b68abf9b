"""Processes that emit forty events: `python -m hosts.programs.pools MODULE METHOD WAY`. The module is `multiprocessing`
or `billiard`."""

import sys
from importlib import import_module
from typing import Any

from hosts.emitting import emit, emit_on


def emit_and_go_on(emitted: Any) -> None:
    """Emit a while, say so, and go on."""
    emit(20)
    emitted.set()
    emit_on()


def main(module: str, method: str, way: str) -> None:
    """Start the processes, and let them end."""
    context = import_module(module).get_context(method)
    if way == "process":
        processes = [context.Process(target=emit, args=(20,)) for _ in range(2)]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
    elif way == "terminated process":
        emitted = context.Event()
        process = context.Process(target=emit_and_go_on, args=(emitted,))
        process.start()
        emitted.wait()
        process.terminate()
        process.join()
    elif way == "with Pool":
        with context.Pool(2) as pool:
            pool.map(emit, [1] * 40, chunksize=1)
    elif way == "recycled Pool":
        pool = context.Pool(2, maxtasksperchild=10)
        pool.map(emit, [1] * 40, chunksize=1)
        pool.close()
        pool.join()


if __name__ == "__main__":
    main(*sys.argv[1:])
