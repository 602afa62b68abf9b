"""The end of a producer, which no interrupt keeps from being finished.

Producer.close -> Closing.run -> Sender.finish -> Delivery.end -> Inbox.drain -> SpoolWriter.append
"""

import _thread
from collections.abc import Callable

from etlog_producer.sender import Sender
from etlog_producer.threads import Thread

#: Seconds between two looks of a caller whether the thread has finished.
POLL = 0.1

#: Times that `finish` may fail in a caller. Signals that arrive this often are a mistake.
MOST_ATTEMPTS = 100


class Closing:
    """Runs one `finish` of a sender, in a thread of its own: what signal handlers raise is raised in the callers, who
    only wait. Where no thread is available, a caller runs it, and again if it is interrupted."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender
        self._finish: Callable[[], None] | None = None
        self._thread: Thread | None = None
        self._at_work = _thread.allocate_lock()
        self._worker = 0  # the thread that holds it
        self._is_over = False
        self._error: Exception | None = None

    def run(self, finish: Callable[[], None]) -> None:
        """Run `finish`, or wait until the one that came before is done. What is raised in this thread meanwhile is
        raised afterwards, the first of it.

        A caller that has interrupted its own thread in what `finish` waits for does not wait for it.
        """
        if self._finish is None:
            self._finish = finish
        interrupt: BaseException | None = None
        attempts = 0
        while not self._is_over and attempts < MOST_ATTEMPTS:
            try:
                if interrupt is not None:
                    self._sender.end_by(0.0)
                while not self._is_over:
                    if self._worker == _thread.get_ident():
                        return
                    self._go_on()
                    if self._sender.is_interrupted:
                        return
            except BaseException as e:
                interrupt = interrupt or e
                attempts += 1
        if interrupt is not None:
            raise interrupt
        if self._error is not None:
            raise self._error

    def _go_on(self) -> None:
        """See that the work is done, and wait a moment for it."""
        if self._thread is not None:
            if not self._sender.is_interrupted:
                self._thread.join(POLL)
            return
        if self._sender.is_unused:
            self._work()
            return
        try:
            thread = Thread(self._work_in_thread)
            thread.start()
            self._thread = thread
        except RuntimeError:  # none is available
            if not self._sender.is_interrupted:
                self._work()

    def _work_in_thread(self) -> None:
        try:
            self._work()
        except Exception as e:
            self._error = e
            self._is_over = True

    def _work(self) -> None:
        with self._at_work:
            if self._is_over:
                return
            assert self._finish is not None
            try:
                self._worker = _thread.get_ident()
                self._finish()
                self._is_over = True
            finally:
                self._worker = 0
