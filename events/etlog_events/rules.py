"""The rules that the values of an event keep, whether they come in a call or as text."""

from datetime import datetime
from functools import lru_cache

from etlog_events import times

#: Bytes of canonical text. A log of a thousand such events still fits into one answer.
MAX_BYTES = 64 * 1024

#: The largest `size`: what a client written in Go can hold.
MAX_SIZE = 2**63 - 1


@lru_cache(maxsize=1024)
def set_window(start: datetime | str, end: datetime | str) -> tuple[str, str]:
    """Start and end of a set's window in canonical spelling. Raises `TypeError` or `ValueError`.

    Cached, because many events tell of few windows.
    """
    first, last = times.spell(start), times.spell(end)
    if times.to_nanoseconds(first) >= times.to_nanoseconds(last):
        raise ValueError(f"it must start before it ends, {first} is not before {last}")
    return first, last
