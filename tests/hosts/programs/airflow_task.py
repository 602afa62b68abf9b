"""Ends a task as Airflow does: `python -m hosts.programs.airflow_task RELEASE`.

Airflow itself is too much to install for this. It calls the listener in a process that it has forked off, and both
releases leave that by `os._exit`: 2 runs no function of `atexit`, 3 only those that were registered after the fork.
"""

import atexit
import os
import signal
import sys
from contextlib import suppress
from types import ModuleType
from typing import Any, NoReturn

from etlog_producer.integrations.outcome import Outcome
from hosts.emitting import WINDOW, emit, note, producer


def task(task_instance: str, error: object) -> Outcome:
    """The mapping of the listener."""
    return Outcome("AssetSetSaved", size=1, window=WINDOW, metadata={"name": task_instance})


def child_of(release: str, listener: Any) -> NoReturn:
    """The process of a task, from its fork to its end."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if release == "3":
        atexit._clear()
    emit(5)
    name = f"{os.getpid()}-success"
    listener.on_task_instance_success("running", name)
    note(name)
    if release == "3":
        atexit._run_exitfuncs()
    with suppress(OSError):
        sys.stdout.flush()
    os._exit(0)


def main(release: str) -> None:
    """Fork off two tasks, one after the other."""
    listeners: Any = ModuleType("airflow.listeners")
    listeners.hookimpl = lambda function: function
    sys.modules["airflow"] = ModuleType("airflow")
    sys.modules["airflow.listeners"] = listeners
    from etlog_producer.integrations.airflow import EtlogListener  # noqa: PLC0415

    listener = EtlogListener(producer, task)
    emit(1)  # the parent's producer is at work when it forks
    for _ in range(2):
        child = os.fork()
        if not child:
            child_of(release, listener)
        os.waitpid(child, 0)


if __name__ == "__main__":
    main(sys.argv[1])
