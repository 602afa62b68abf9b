"""Work that runs until Ctrl-C or a signal ends it."""

import signal
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def until_stopped(work: Callable[[threading.Event], T]) -> T:
    """What `work(stop)` returns or raises; a signal sets `stop`. Call it in the main thread.

    The work runs in a thread, and signals arrive through a socket: a handler that set the event itself could deadlock
    with a main thread that is just waiting for it.
    """
    ears, mouth = socket.socketpair()
    mouth.setblocking(False)
    stop = threading.Event()
    signal.set_wakeup_fd(mouth.fileno(), warn_on_full_buffer=False)
    before = {number: signal.signal(number, lambda *_: None) for number in _SIGNALS}
    try:
        with ThreadPoolExecutor(1, thread_name_prefix="etlog-work") as pool:
            outcome = pool.submit(work, stop)
            outcome.add_done_callback(lambda _: mouth.send(b"\0"))
            ears.recv(1)
            stop.set()
            return outcome.result()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(-1)
        ears.close()
        mouth.close()
