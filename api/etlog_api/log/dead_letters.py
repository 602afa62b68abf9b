"""Dead letters, as far as they may belong to a set: which windows their bytes name."""

import re
from collections.abc import Iterator
from typing import Any

from etlog_events import timestamps
from etlog_events.keys import Keys

from etlog_api.log.story import Span, overlaps

#: Dead letters that are looked through at most, the newest, and how many are read at a time: each may be 64 KiB long.
MOST_LETTERS, AT_ONCE = 500, 50

#: Ids of dead letters that a sentence names.
MOST_NAMED = 5

#: A start and an end, in any order, as in a window. The rest need not be JSON.
_START, _END = rb'"start"\s*:\s*"(?P<start>[^"]{1,64})"', rb'"end"\s*:\s*"(?P<end>[^"]{1,64})"'
_WINDOWS = (re.compile(_START + rb"\s*,\s*" + _END), re.compile(_END + rb"\s*,\s*" + _START))


async def read_dead_letters(client: Any, keys: Keys, span: Span) -> list[str]:
    """The ids of the refused events, among the newest dead letters, that name a window which overlaps the span; the
    oldest first. Raises the driver's errors."""
    found: list[str] = []
    before = "+"
    for _ in range(0, MOST_LETTERS, AT_ONCE):
        letters = await client.xrevrange(keys.dead, max=before, count=AT_ONCE)
        for _, fields in letters:
            if any(overlaps(*window, span) for window in windows_in(fields.get(b"raw", b""))):
                found.append(fields.get(b"id", b"?").decode(errors="backslashreplace"))
        if len(letters) < AT_ONCE:
            break
        before = f"({letters[-1][0].decode()}"
    return found[::-1]


def windows_in(raw: bytes) -> Iterator[Span]:
    """The windows that the bytes of a refused event name, in canonical spelling."""
    for pattern in _WINDOWS:
        for match in pattern.finditer(raw):
            try:
                start, end = (timestamps.canonical(match[name].decode()) for name in ("start", "end"))
            except ValueError:
                continue
            yield start, end


def told(ids: list[str]) -> str:
    """The warning about the dead letters with these ids."""
    shown = ", ".join(ids[:MOST_NAMED]) + (", …" if len(ids) > MOST_NAMED else "")
    events = "event was" if len(ids) == 1 else "events were"
    return f"{len(ids)} {events} refused that may belong to these sets: {shown} (see 'etlog dead')"
