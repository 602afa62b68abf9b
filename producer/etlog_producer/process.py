"""The ends and the forks of a process, of which its producers are told.

A process ends in more ways than `atexit` hears of. Children of multiprocessing and billiard run finalizers and leave by
`os._exit`; the work horses of RQ and the tasks of Airflow only leave by `os._exit`; a pool ends its workers by SIGTERM.
Each of these is met here. What no process hears of, SIGKILL above all, only `durable=True` can meet.
"""

import atexit

# The first connection needs this module, in the sender's thread. A fork at that very moment would leave it broken in
# the child for ever ("unknown encoding: idna"), so it is imported before there is any thread.
import encodings.idna  # noqa: F401
import os
import signal
import sys
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from time import monotonic
from types import FrameType
from typing import Any, NoReturn, Protocol

from etlog_producer import signals
from etlog_producer.threads import Thread

#: Seconds that producers get, together, to deliver what waits when their process ends.
END_TIMEOUT = 5.0

#: The same where whoever ends the process expects it to be gone at once. It takes as long again at most to leave what
#: was not delivered in the spool.
SUDDEN_TIMEOUT = 2.0

#: Signals by which people and programs, such as batch schedulers, end a process that has no handler for them.
_ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU)

#: Packages whose children run finalizers before they leave by `os._exit`.
_WITH_FINALIZERS = ("multiprocessing", "billiard")


class Tracked(Protocol):
    """What is told of the end and the forks of its process."""

    def end(self, timeout: float, *, patient: bool) -> None:
        """The process ends in `timeout` seconds. One that is not `patient` waits for no store that is away."""

    def keep(self) -> None:
        """The process ends right after this, wherever it was interrupted: put what there is into files."""

    @property
    def is_interrupted(self) -> bool:
        """Whether the caller has interrupted it in its own thread, so that it can end only when the caller returns."""

    def restart_after_fork(self) -> None:
        """This process was forked off: what is in memory belongs to the parent."""


# By address, because a set of weak references cannot be read while another thread adds to it.
_tracked: "dict[int, weakref.ref[Tracked]]" = {}

#: The process in which this was imported, and the one whose end is seen to.
_imported_in = os.getpid()
_seen_to = 0

#: Whether signals are not met yet: only the main thread can see to that, and it has not come by.
is_deaf = False

#: The process that a signal has told to end.
_signalled = 0

_exit_at_once = os._exit


def track(thing: Tracked) -> None:
    """Tell `thing` of forks and of the end, as long as anything else refers to it."""
    address = id(thing)
    _tracked[address] = weakref.ref(thing, lambda _: _tracked.pop(address, None))
    meet_signals()


def see_to_the_end() -> None:
    """Be told of the end of this process, in whatever way it comes. Called by whoever has something to lose, again in
    each process: what the parent had registered may have been cleared or be run in the parent alone."""
    global _seen_to  # noqa: PLW0603 - a fact about the process
    if _seen_to == os.getpid():
        return
    _seen_to = os.getpid()
    if _seen_to != _imported_in:  # else it is registered, and what was registered later may still emit
        atexit.unregister(_end_all)
        atexit.register(_end_all)
    for package in _WITH_FINALIZERS:
        if _is_child_of(package):
            sys.modules[f"{package}.util"].Finalize(None, _end_all, exitpriority=10)
    meet_signals()
    if not is_deaf:
        signals.watch(_is_unheard)
    if os._exit is _exit_at_once:
        os._exit = _exit_in_order


def _is_child_of(package: str) -> bool:
    """Whether this process was started by `package`, which was imported for that."""
    process = sys.modules.get(f"{package}.process")
    current = None if process is None else process.current_process()
    return getattr(current, "_parent_pid", None) is not None and f"{package}.util" in sys.modules


def _all() -> list[Tracked]:
    return [thing for reference in list(_tracked.values()) if (thing := reference()) is not None]


@atexit.register
def _end_all(timeout: float = END_TIMEOUT, *, patient: bool = True) -> None:
    """End all producers within `timeout` seconds. An exception out of one, such as an interrupt, hurries the others."""
    deadline = monotonic() + timeout
    interrupted: BaseException | None = None
    for thing in _all():
        try:
            thing.end(max(0.0, deadline - monotonic()), patient=patient)
        except BaseException as e:
            interrupted = interrupted or e
            deadline = 0.0
    if interrupted is not None:
        raise interrupted


def _end_all_soon(timeout: float = SUDDEN_TIMEOUT, then: Callable[[], None] | None = None) -> None:
    """`_end_all` where a process is expected to be gone: it waits for no store that is away, nor for ever for a disk.

    `then` follows. This does not wait for either if it has interrupted its own thread in what they have to wait for.
    """

    def end() -> None:
        with suppress(Exception):
            _end_all(timeout, patient=False)
        if then is not None:
            then()

    is_interrupted = _is_interrupted()
    ending = Thread(end)
    try:
        ending.start()
    except RuntimeError:  # no thread is available
        end()
    else:
        if not is_interrupted:
            _wait_for(ending)


def _wait_for(ending: Thread) -> None:
    """Wait for it, whatever signal handlers raise meanwhile: the process is to end, and that only hurries it."""
    deadline = monotonic() + 2 * SUDDEN_TIMEOUT
    hurries = is_told = False
    while monotonic() < deadline:
        try:
            if hurries and not is_told:
                is_told = True
                Thread(lambda: _end_all(0.0, patient=False)).start()
            if ending.join(deadline - monotonic()):
                return
        except BaseException:
            hurries = True


def _is_interrupted() -> bool:
    return any(thing.is_interrupted for thing in _all())


@wraps(os._exit)
def _exit_in_order(status: int) -> NoReturn:
    try:
        with suppress(Exception):
            _end_all_soon()
            for thing in _all():
                if thing.is_interrupted:  # its end would come when this returns, which it does not
                    thing.keep()
    finally:
        _exit_at_once(status)


def meet_signals() -> None:
    """Let the signals that end a process end the producers before, where they were left at their default."""
    global is_deaf  # noqa: PLW0603 - a fact about the process
    is_deaf = threading.current_thread() is not threading.main_thread()
    if is_deaf:
        return
    for number in _ENDING:
        if signal.getsignal(number) is signal.SIG_DFL and not _is_caught_outside_of_python(number):
            with suppress(ValueError):  # an interpreter that may not
                signal.signal(number, _on_signal)
    of_billiard = _handler_of_billiard()
    if of_billiard is not None and signal.getsignal(signal.SIGTERM) is of_billiard:
        signal.signal(signal.SIGTERM, _on_sigterm_of_billiard)


def _is_unheard(number: int) -> bool:
    return signal.getsignal(number) in {_on_signal, _on_sigterm_of_billiard} and _signalled != os.getpid()


def _handler_of_billiard() -> Any:
    """What SIGTERM calls in the children of billiard, which it makes exit."""
    return getattr(sys.modules.get("billiard.common"), "_shutdown_cleanup", None)


def _on_sigterm_of_billiard(number: int, frame: FrameType | None) -> None:
    """End the producers first: a cold shutdown of Celery sends SIGTERM twice within milliseconds, and the second one
    would kill a child that is exiting."""
    global _signalled  # noqa: PLW0603 - a fact about the process
    _signalled = os.getpid()
    signal.signal(number, signal.SIG_IGN)
    try:
        _end_all_soon()
    finally:
        signal.signal(number, _handler_of_billiard())
        os.kill(os.getpid(), number)


def _on_signal(number: int, frame: FrameType | None) -> None:
    """End the producers, then the process by the same signal. A second signal hurries the first one's end.

    The main thread may be interrupted in what the end has to wait for: then the signal comes again when that is over.
    """
    global _signalled  # noqa: PLW0603 - a fact about the process
    gevent = sys.modules.get("gevent")
    if gevent is not None and isinstance(gevent.getcurrent(), gevent.hub.Hub):  # its loop cannot wait for anything
        gevent.spawn(_on_signal, number, None)
        return
    timeout = 0.0 if _signalled == os.getpid() else SUDDEN_TIMEOUT
    _signalled = os.getpid()
    if _is_interrupted():
        _end_all_soon(timeout, then=lambda: os.kill(os.getpid(), number))
        return
    try:
        _end_all_soon(timeout)
    finally:
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        _exit_at_once(128 + number)  # the first process of a container outlives a signal that has no handler


def _is_caught_outside_of_python(number: int) -> bool:
    """Whether the program around Python has a handler of its own, of which Python does not know."""
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as status:  # noqa: PTH123 - quicker
            caught = next(line for line in status if line.startswith("SigCgt:"))
        return bool(int(caught.split()[1], 16) >> (number - 1) & 1)
    except (OSError, StopIteration, ValueError, IndexError):
        return False


def _restart_all_after_fork() -> None:
    global _seen_to, _signalled  # noqa: PLW0603 - facts about the process
    _seen_to = _signalled = 0  # its number may be that of its parent
    signals.forget()
    for number in _ENDING:
        if signal.getsignal(number) is _on_signal:  # it has nothing to lose yet
            signal.signal(number, signal.SIG_DFL)
    for thing in _all():
        thing.restart_after_fork()


os.register_at_fork(after_in_child=_restart_all_after_fork)
