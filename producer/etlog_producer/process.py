"""The ends and the forks of a process, as far as its producers must know of them."""

import atexit

# The first connection needs this module, in the sender's thread. A fork at that very moment would leave it broken in
# the child for ever ("unknown encoding: idna"), so it is here before any thread is.
import encodings.idna  # noqa: F401
import os
import sys
import weakref
from typing import Protocol


class Lives(Protocol):
    """What is told of them."""

    def close(self) -> None:
        """The process ends."""

    def begin_again(self) -> None:
        """This process was forked off: what is in memory belongs to the parent."""


_alive: "weakref.WeakSet[Lives]" = weakref.WeakSet()


def follow(thing: Lives) -> None:
    """Tell `thing` of forks and of the end, as long as somebody holds it."""
    _alive.add(thing)


def close_at_end_of_child() -> None:
    """Make the end of a multiprocessing child known: it leaves by `os._exit`, past everything in `atexit`."""
    process = sys.modules.get("multiprocessing.process")
    if process is not None and process.parent_process() is not None:
        from multiprocessing.util import Finalize  # noqa: PLC0415

        Finalize(None, _close_all, exitpriority=10)


@atexit.register
def _close_all() -> None:
    for thing in list(_alive):
        thing.close()


def _begin_again_in_child() -> None:
    for thing in list(_alive):
        thing.begin_again()


os.register_at_fork(after_in_child=_begin_again_in_child)
