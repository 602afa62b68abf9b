"""The rights of root, by which it may read what a file's mode forbids: trials are not for root alone."""

import ctypes
import sys

_VERSION = 0x20080522

#: The bits of the rights to read, write and search whatever there is.
_READ_ALL = 1 << 1 | 1 << 2


def give_up() -> None:
    """From now on, obey the modes of files in this thread and those that it starts. Any other user does so anyway."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        header, rights = (ctypes.c_uint32 * 2)(_VERSION, 0), (ctypes.c_uint32 * 6)()
        if libc.capget(header, rights) == 0:
            for i in (0, 1):  # those in effect, and those that it may put into effect again
                rights[i] &= ~_READ_ALL
            libc.capset(header, rights)
