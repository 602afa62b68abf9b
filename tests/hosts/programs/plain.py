"""A script that emits twenty events and ends: `python -m hosts.programs.plain END`."""

import os
import signal
import sys
import threading

from hosts.emitting import emit, emit_on


def returns() -> None:
    """Nothing more to do."""
    emit(20)


def raises() -> None:
    """An error that no one catches."""
    emit(20)
    raise ValueError


def exits() -> None:
    """Cleanly."""
    emit(20)
    sys.exit(3)


def exits_at_once() -> None:
    """Past everything in `atexit`."""
    emit(20)
    os._exit(3)


def exits_in_a_handler() -> None:
    """A handler for SIGTERM, as many services have one."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))
    emit(20)
    os.kill(os.getpid(), signal.SIGTERM)


def is_terminated() -> None:
    """SIGTERM, to which no one has paid attention."""
    emit(20)
    os.kill(os.getpid(), signal.SIGTERM)
    signal.pause()


def is_terminated_while_it_ends() -> None:
    """SIGTERM in the middle of what `atexit` does, should that take so long."""
    timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGTERM))
    timer.daemon = True
    timer.start()
    emit(20)


def is_interrupted() -> None:
    """Ctrl-C."""
    emit(20)
    os.kill(os.getpid(), signal.SIGINT)


def forks() -> None:
    """Before its first event. The child ends as the parent does."""
    child = os.fork()
    emit(20)
    if child:
        os.waitpid(child, 0)


def forks_at_work() -> None:
    """While the events of the parent are on their way. The child leaves at once."""
    emit(20)
    child = os.fork()
    emit(20)
    if not child:
        os._exit(0)
    os.waitpid(child, 0)


def emits_on() -> None:
    """Until a signal ends it."""
    emit_on()


def emits_on_in_a_thread() -> None:
    """Until a signal ends it, which only the main thread can meet."""
    threading.Thread(target=emit_on, daemon=True).start()
    signal.pause()


if __name__ == "__main__":
    globals()[sys.argv[1]]()
