"""Marks of a log: read, put and removed, each in one step."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import tzinfo
from typing import Any

from etlog_events import contract
from etlog_events.keys import Keys
from etlog_events.scripts import Script
from etlog_events.sequence import number_of
from etlog_events.timestamps import to_nanoseconds
from etlog_ledger.cadence import Grid, Window, group
from etlog_ledger.marks import LOST_EVENTS, REVISION, Mark, encode, is_over, marks_of
from etlog_ledger.row import is_interval

from etlog.errors import FAILED, CommandFailed

SCRIPT = Script.load("etlog_events:contract.lua", "etlog:marks.lua")

#: Marks of a log: more than people ever make, and few enough that whoever judges the log reads all of them.
MOST = 1000

#: Seconds after its end for which a mark can still be listed. Whoever writes one then removes it.
KEPT = 30 * 86400

#: Names of sets that one command reads: a millisecond of the store's time.
AT_ONCE = 1000

#: Seconds by which times may differ that were reckoned in other ways.
_SAME = 0.001

#: The units of cadences, the shortest first.
_UNITS = ("s", "d", "mo")


@dataclass(frozen=True, slots=True)
class Found:
    """The marks of a log, the oldest first, and the names of the fields beside them that hold none."""

    marks: list[Mark]
    broken: list[str]


def read(client: Any, keys: Keys) -> Found:
    """The marks of a log. Raises the driver's errors."""
    fields: dict[bytes, bytes] = client.hgetall(keys.marks)
    marks = marks_of(fields)
    others = fields.keys() - {REVISION.encode()} - {mark.id.encode() for mark in marks}
    return Found(marks, sorted(name.decode(errors="backslashreplace") for name in others))


def put(client: Any, keys: Keys, mark: Mark, now: float) -> None:
    """Put a mark into the log. Raises `CommandFailed` where it has `MOST` already, the driver's errors, and
    `OtherContract`."""
    if _change(client, keys, mark.id.encode(), encode(mark), now) == b"full":
        raise CommandFailed(
            f"log {keys.name} has {MOST:,} marks, which is the limit; remove one that 'etlog mark list' shows",
            FAILED,
        )


def remove(client: Any, keys: Keys, mark_id: str, now: float) -> None:
    """Remove a mark, or a field that holds none. Raises `CommandFailed` where there is none of that id, the driver's
    errors, and `OtherContract`."""
    name = mark_id.encode(errors="surrogateescape")  # as the machine gave it: someone else may have written any bytes
    if mark_id == REVISION or _change(client, keys, name, b"", now) == b"unknown":
        raise CommandFailed(f"log {keys.name} has no mark {mark_id!r}; 'etlog mark list' shows them", FAILED)


def losses(client: Any, keys: Keys, of: str) -> int:
    """How many events of the log are lost, or dead letters. Raises the driver's errors."""
    return number_of(client.hget(keys.stats, "lost" if of == LOST_EVENTS else "dead") or b"")


def doubt(client: Any, keys: Keys, mark: Mark, zone: tzinfo) -> str | None:
    """Why no set may ever match the mark, in a sentence; None where one does, or may come.

    A set that is missing has no row. So what is asked is whether the ledger has a series of that cadence, with a place
    for the one set that is meant, and whether the mark ends before it begins. Raises the driver's errors.
    """
    windows = [Window.of(start, end, zone) for start, end in _windows(client, keys, mark.category)]
    if not windows:
        return f"the ledger holds no set of {mark.category} yet"
    first, last = (None if time is None else _seconds(time) for time in (mark.from_, mark.to))
    try:
        series = [(grid, min(windows[number].start for number in numbers)) for grid, numbers in group(windows, zone)]
        cadences = sorted(
            {grid.every for grid, _ in series}, key=lambda every: (_UNITS.index(every.unit), every.number)
        )
        series = [(grid, begin) for grid, begin in series if mark.every in {None, str(grid.every)}]
        if not series:
            known = ", ".join(map(str, cadences))
            return f"the ledger holds no set of {mark.category} that comes every {mark.every}, only every {known}"
        if mark.exact and first is not None and last is not None:
            series = [(grid, begin) for grid, begin in series if _has_place(grid, Window.of(first, last, zone))]
            if not series:
                return f"no set of {mark.category} in the ledger has such a window"
    except OverflowError:  # windows at the ends of the calendar, of which nothing is judged
        return None
    if last is not None and last <= min(begin for _, begin in series):
        return f"it ends before the oldest set of {mark.category} in the ledger begins"
    return None


def _change(client: Any, keys: Keys, name: bytes, text: bytes, now: float) -> bytes:
    """What the script answers."""
    old = [mark.id for mark in read(client, keys).marks if is_over(mark, now - KEPT)]
    with contract.translated(f"log {keys.name}", "etlog"):
        answer: bytes = SCRIPT.run(client, (keys.contract, keys.marks), (MOST, name, text, *old))
    return answer


def _windows(client: Any, keys: Keys, category: str) -> Iterator[tuple[float, float]]:
    """The windows of the sets in the ledger, in seconds since 1970."""
    first = 0
    while names := client.zrange(keys.changes(category), first, first + AT_ONCE - 1):
        for interval in (name.decode(errors="replace") for name in names):
            start, _, end = interval.partition("/")
            if end and is_interval(interval):
                yield _seconds(start), _seconds(end)
        first += AT_ONCE


def _has_place(grid: Grid, window: Window) -> bool:
    """Whether a series has a set with this window, or may have one."""
    start, end = grid.window(grid.place(window))
    return abs(start - window.start) < _SAME and abs(end - window.end) < _SAME


def _seconds(time: str) -> float:
    return to_nanoseconds(time) / 1e9
