"""Sees that the main thread runs the handlers of signals.

Python runs a handler between two steps of the main thread. A signal that comes just as that begins to wait in C code,
for a lock that other processes share for instance, is not seen before the wait is over, which may be never: the worker
of a pool that is being terminated waits so. That is why a thread is told of signals as well, and sends one again to the
main thread until its handler has run.
"""

import os
import signal
import socket
import struct
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from time import sleep

from etlog_producer.threads import Thread

#: Seconds that the main thread has to run a handler, before the signal is sent again.
PATIENCE = 0.05

#: The descriptors by which this process tells itself of signals, if it does: one to read, one to write.
_here: list[int] = []

#: What the kernel says of who has written: the numbers of a process, a user and a group.
_CREDENTIALS = struct.Struct("3i")


def watch(is_unheard: Callable[[int], bool]) -> None:
    """Watch this process from now on, in the main thread. `is_unheard` tells of the number of a signal that has come
    whether its handler is one of ours and has not run yet.

    Where something else is told of signals, such as the loop of asyncio, it wakes the main thread itself.
    """
    if not sys.platform.startswith("linux") or "gevent" in sys.modules:
        return
    with suppress(OSError, RuntimeError, ValueError):
        told, tells = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        told.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        tells.setblocking(False)
        _here[:] = told.fileno(), tells.detach()
        Thread(lambda: _listen(told, is_unheard)).start()
        before = signal.set_wakeup_fd(_here[1], warn_on_full_buffer=False)
        if before != -1:
            signal.set_wakeup_fd(before)


def forget() -> None:
    """This process was forked off: what it is told must not reach its parent."""
    if _here:
        with suppress(OSError, ValueError):
            before = signal.set_wakeup_fd(-1)
            if before != _here[1]:
                signal.set_wakeup_fd(before)
        while _here:
            with suppress(OSError):
                os.close(_here.pop())


def _listen(told: socket.socket, is_unheard: Callable[[int], bool]) -> None:
    process = os.getpid()
    main = threading.main_thread().ident or 0
    while True:
        text, ancillary, _, _ = told.recvmsg(1, socket.CMSG_SPACE(_CREDENTIALS.size))
        # A child of which Python does not know tells its signals here, too.
        if not text or not ancillary or _CREDENTIALS.unpack(ancillary[0][2])[0] != process:
            continue
        sleep(PATIENCE)
        while is_unheard(text[0]):
            signal.pthread_kill(main, text[0])
            sleep(PATIENCE)
