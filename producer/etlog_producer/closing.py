"""The end of a producer, which no interrupt keeps from being finished."""

import _thread
from collections.abc import Callable

from etlog_producer.threads import Thread

#: Seconds between two looks of a caller whether another has finished.
LOOK = 0.1

#: Times that `finish` may fail in a caller. Signals that arrive this often are a mistake.
MOST_ATTEMPTS = 100


class Closing:
    """Runs one `finish`, in a thread of its own: exceptions of signal handlers are raised in others, which only wait.

    Where no thread is to be had, and where `must_run_here`, because the caller has interrupted itself in what a thread
    would have to wait for, `finish` runs in the caller, and again if it is interrupted. `hurry` is called when a caller
    waits no longer.
    """

    def __init__(self, *, hurry: Callable[[], None], must_run_here: Callable[[], bool]) -> None:
        self._finish: Callable[[], None] | None = None
        self._hurry = hurry
        self._must_run_here = must_run_here
        self._thread: Thread | None = None
        self._at_work = _thread.allocate_lock()
        self._worker = 0  # the thread that holds it
        self._is_over = False
        self._error: Exception | None = None

    def run(self, finish: Callable[[], None]) -> None:
        """Run `finish`, or wait until the one that came before is done. What is raised in this thread meanwhile is
        raised afterwards, the first of it."""
        if self._finish is None:
            self._finish = finish
        interrupt: BaseException | None = None
        attempts = 0
        while not self._is_over and attempts < MOST_ATTEMPTS:
            try:
                if interrupt is not None:
                    self._hurry()
                while not self._is_over:
                    self._go_on()
            except BaseException as e:
                interrupt = interrupt or e
                attempts += 1
        if interrupt is not None:
            raise interrupt
        if self._error is not None:
            raise self._error

    def _go_on(self) -> None:
        """Do the work, or wait a moment for whoever does."""
        if self._must_run_here() or self._worker == _thread.get_ident():
            self._work()
        elif self._thread is not None:
            self._thread.join(LOOK)
        elif self._at_work.acquire(timeout=LOOK):  # no other caller is at it
            self._at_work.release()
            try:
                thread = Thread(self._work_in_thread)
                thread.start()
                self._thread = thread
            except RuntimeError:
                self._work()

    def _work_in_thread(self) -> None:
        try:
            self._work()
        except Exception as e:
            self._error = e
            self._is_over = True

    def _work(self) -> None:
        is_nested = self._worker == _thread.get_ident()
        if not is_nested and not self._at_work.acquire(blocking=False):
            return
        self._worker = _thread.get_ident()
        try:
            assert self._finish is not None
            self._finish()
            self._is_over = True
        finally:
            if not is_nested:
                self._worker = 0
                self._at_work.release()
