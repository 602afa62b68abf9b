"""A thread that may be begun anywhere: also by a signal handler or a finalizer that has interrupted `threading`, which
takes locks that it could not get."""

import _thread
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress


class Thread:
    """A daemon thread that calls `work` once."""

    def __init__(self, work: Callable[[], None]) -> None:
        self._work = work
        self._running = _thread.allocate_lock()
        self._ended = False

    def start(self) -> None:
        """Begin. Raises `RuntimeError` where no thread is available."""
        self._running.acquire()
        _thread.start_new_thread(self._run, ())

    def join(self, timeout: float) -> bool:
        """Wait for the end, at most `timeout` seconds; tell whether it has come."""
        if not self._ended and self._running.acquire(timeout=max(0.0, timeout)):
            self._running.release()
        return self._ended

    def _run(self) -> None:
        try:
            self._work()
        finally:
            self._ended = True
            self._running.release()


class Wake:
    """Wakes a thread that waits. Unlike `threading.Event` it may be set by what has interrupted its `set`."""

    def __init__(self) -> None:
        self._asleep = _thread.allocate_lock()
        self._asleep.acquire()

    def set(self) -> None:
        """Wake it now, or when it next waits."""
        if self._asleep.locked():
            with suppress(RuntimeError):  # another did so at the same moment
                self._asleep.release()

    def clear(self) -> None:
        """Take back a `set` that no one has waited for."""
        self._asleep.acquire(blocking=False)

    def wait(self, timeout: float) -> bool:
        """Wait until it is set, at most `timeout` seconds; tell whether it was, and take that back."""
        return self._asleep.acquire(timeout=timeout)


@contextmanager
def held_signals() -> Iterator[None]:
    """Hold signals back: no handler interrupts what is done inside, as long as no other thread takes them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
