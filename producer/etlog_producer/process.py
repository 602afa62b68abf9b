"""The end and the forks of a process, of which its producers are told."""

import atexit

# The first connection needs this module, in the sender's thread. A fork at that very moment would leave it broken in
# the child for ever ("unknown encoding: idna"), so it is imported before there is any thread.
import encodings.idna  # noqa: F401
import os
import sys
import weakref
from typing import Protocol


class Tracked(Protocol):
    """What is told of the end and the forks of its process."""

    def close(self) -> None:
        """The process ends."""

    def restart_after_fork(self) -> None:
        """This process was forked off: what is in memory belongs to the parent."""


_tracked: "weakref.WeakSet[Tracked]" = weakref.WeakSet()


def track(thing: Tracked) -> None:
    """Tell `thing` of forks and of the end, as long as anything else refers to it."""
    _tracked.add(thing)


def close_at_end_of_child() -> None:
    """Notice the end of a multiprocessing child too: it leaves by `os._exit`, past everything in `atexit`."""
    process = sys.modules.get("multiprocessing.process")
    if process is not None and process.parent_process() is not None:
        from multiprocessing.util import Finalize  # noqa: PLC0415

        Finalize(None, _close_all, exitpriority=10)


@atexit.register
def _close_all() -> None:
    for thing in list(_tracked):
        thing.close()


def _restart_all_after_fork() -> None:
    for thing in list(_tracked):
        thing.restart_after_fork()


os.register_at_fork(after_in_child=_restart_all_after_fork)
