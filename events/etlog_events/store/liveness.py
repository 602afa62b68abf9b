"""Whether an idle connection still leads to the store: what the system watches, and when a connection is checked.

Firewalls, load balancers and NATs forget an idle connection. Some of them go on accepting what is sent on it and drop
it, so the system sees nothing wrong, and a command would wait until its timeout. Afterwards nobody could tell whether
it was executed. So nothing but PING is sent on a connection that was idle, until that is answered.
"""

import socket
import time
from collections.abc import Callable
from functools import lru_cache, partial

#: Seconds for which an idle connection is trusted. One that is in constant use is never idle for so long.
TRUSTED = 1.0

#: Seconds of idleness after which a connection is replaced without a check. Few devices forget one sooner.
REPLACED = 30.0

#: Seconds to wait for the answer to PING. Enough for a packet that has to be sent twice, and a third of what the API
#: has for a request, so that a new connection can still answer it. A store that is busy for longer gets that, too.
PING_TIMEOUT = 0.5

#: Options of TCP, by name. Seconds of silence before the system asks the other end, which also keeps the connection
#: known on its way, where 60 s is the shortest memory in use; seconds between further attempts; their number.
#: Milliseconds for which what was sent may stay unconfirmed: a path that takes nothing for so long is broken. On Linux
#: it also holds for those attempts, instead of their number.
_TCP = {"TCP_KEEPIDLE": 20, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 3000}

#: What the first of them is called on macOS.
_ALIASES = {"TCP_KEEPIDLE": "TCP_KEEPALIVE"}


@lru_cache(maxsize=1)
def tcp_options() -> dict[int, int]:
    """Options for the sockets of TCP, by number: those that this system knows."""
    options = {}
    for name, value in _TCP.items():
        number = getattr(socket, name, None) or getattr(socket, _ALIASES.get(name, name), None)
        if number is not None and _takes(number, value):
            options[number] = value
    return options


def _takes(option: int, value: int) -> bool:
    """Whether this system takes an option that Python knows: a sandbox may refuse it, and then every connection."""
    try:
        with socket.socket() as probe:
            probe.setsockopt(socket.IPPROTO_TCP, option, value)
    except OSError:
        return False
    return True


def _clock() -> Callable[[], float]:
    """A clock that no one sets and that goes on while the machine sleeps, as the monotonic one of Linux does not."""
    for name in ("CLOCK_BOOTTIME", "CLOCK_MONOTONIC"):  # of Linux, of macOS
        number = getattr(time, name, None)
        if number is not None:
            try:
                time.clock_gettime(number)
            except OSError:  # a kernel without it
                continue
            return partial(time.clock_gettime, number)
    return time.monotonic


#: Seconds, of a clock that is only good for differences.
now = _clock()


def is_trusted(idle_since: float) -> bool:
    """Whether a connection that is idle since then, by `now`, is used without a check."""
    return 0 <= now() - idle_since < TRUSTED


def may_be_asked(idle_since: float) -> bool:
    """Whether such a connection is worth a check. Otherwise a new one is made."""
    return now() - idle_since < REPLACED


def ping_timeout(answer_timeout: float | None) -> float:
    """Seconds to wait for the answer to PING where a command waits for `answer_timeout`."""
    return PING_TIMEOUT if answer_timeout is None else min(PING_TIMEOUT, answer_timeout)
