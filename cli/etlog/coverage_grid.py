"""The grid of a series in the terminal: a row for each stage, a column for each set, a character for each cell."""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from itertools import pairwise

from etlog_ledger.cadence import Every
from etlog_ledger.verdict import CellVerdict, SetVerdict
from rich.text import Text

from etlog.client import printable
from etlog.coverage_answer import Series, is_done
from etlog.moments import Moments, seconds_of

#: A name, its character, the one where the output has only ASCII, and a colour, in the order of the legend.
_LEGEND = (
    ("done", "·", ".", ""),
    ("recovered", "+", "+", "green"),
    ("failed", "F", "F", "bold red"),
    ("missing", "M", "M", "bold red"),
    ("stopped", "S", "S", "bold red"),
    ("unusual", "U", "U", "bold yellow"),
    ("due", "-", "-", "cyan"),
    ("waits behind another stage", "b", "b", "cyan"),
    ("waived", "w", "w", "dim"),
    ("not expected", " ", " ", ""),
)

#: What the output must be able to print for more than ASCII.
BEYOND_ASCII = "·"

#: Steps between columns where a set stands next to the one before: a day has 23 to 25 hours, a month 28 to 31 days.
_ADJACENT = 1.5

#: Seconds of a unit of the calendar, roughly.
_SECONDS = {"s": 1.0, "d": 86400.0, "mo": 30.4 * 86400}

#: A column: a set, or None where time is left out between two sets.
Column = SetVerdict | None


def grid(series: Series, moments: Moments, width: int, *, ascii_only: bool) -> Iterator[Text]:
    """The grid of a series in lines of at most `width` columns, in as many bands as it takes, the oldest set first."""
    yield Text(printable(f"{series.name}, {_counted(len(series.sets))}"), style="bold")
    if not series.sets:
        return
    yield Text(f"  {moments.span(series.sets[0].window.start, series.sets[-1].window.end)} {moments.zone}")
    longest = max(map(len, series.stages), default=0)
    label = min(longest, max(width // 3, 3))
    step = _step(series.every)
    columns = list(_columns(series.sets, step))
    room = max(width - label - 1, 1)
    for first in range(0, len(columns), room):
        band = columns[first : first + room]
        for axis in _axes(band, step, moments, room):
            if axis:
                yield Text(" " * (label + 1) + axis)
        for stage in series.stages:
            line = Text(f"{printable(stage)[:label]:<{label}} ")
            for column in band:
                cell = None if column is None else column.stages.get(stage)
                line.append(*_drawn(cell, ascii_only=ascii_only))
            line.rstrip()
            yield line


def legend(all_series: Sequence[Series], width: int, *, ascii_only: bool) -> Iterator[Text]:
    """What the characters in these grids mean, in lines of at most `width` columns."""
    cells = [each.stages.get(stage) for series in all_series for each in series.sets for stage in series.stages]
    drawn = {_drawn(cell, ascii_only=ascii_only)[0] for cell in cells}
    entries = []
    for name, character, plain, style in _LEGEND:
        mark = plain if ascii_only else character
        if mark in drawn:
            entries.append(Text("blank" if mark == " " else mark, style=style) + Text(f" {name}", style=""))
    line = Text()
    for entry in entries:
        if line and len(line) + 2 + len(entry) > width:
            yield line
            line = Text()
        line.append("  " if line else "").append_text(entry)
    yield line


def _drawn(cell: CellVerdict | None, *, ascii_only: bool) -> tuple[str, str]:
    """The character and the colour of a cell."""
    if cell is None:
        name = "not expected"
    elif cell.behind is not None and not is_done(cell):
        name = "waits behind another stage"
    else:
        name = "unusual" if cell.unusual else cell.state
    character, plain, style = next(entry[1:] for entry in _LEGEND if entry[0] == name)
    return (plain if ascii_only else character), style


def _columns(sets: Sequence[SetVerdict], step: float) -> Iterator[Column]:
    yield sets[0]
    for before, after in pairwise(sets):
        if seconds_of(after.window.start) - seconds_of(before.window.start) > step * _ADJACENT:
            yield None
        yield after


def _axes(band: Sequence[Column], step: float, moments: Moments, room: int) -> tuple[str, str]:
    """Two lines above a band: days or years, and hours or days in them, where they begin. Each label begins above the
    column that it is of."""
    starts = [None if column is None else moments.local(column.window.start) for column in band]
    coarse, fine = _labels(step)
    return _axis(starts, coarse, room, at_first=True), _axis(starts, fine, room, at_first=step >= 43200)


#: A label of a time where it is due: it differs from that of the column before, and is not None.
_Label = Callable[[datetime], str | None]


def _labels(step: float) -> tuple[_Label, _Label]:
    """What the coarse and the fine axis say of a column with sets every `step` seconds."""
    if step < 60:
        return _date, lambda time: f"{time:%H:%M}"
    if step < 43200:  # as many hours between labels as leave a column between their texts
        hours = next((hours for hours in (1, 2, 3, 6, 12) if hours * 3600 >= 3 * step), 24)
        return _date, lambda time: f"{time:%H}" if time.hour % hours == 0 else None
    if step < 86000:
        return _date, lambda time: None
    if step < 3 * 86400:
        return (lambda time: f"{time:%Y-%m}"), (lambda time: f"{time:%d}" if time.weekday() == 0 else None)
    if step < 300 * 86400:
        months = 1 if step < 10 * 86400 else 3
        return (lambda time: f"{time:%Y}"), (lambda time: f"{time:%m}" if time.month % months == 1 % months else None)
    return (lambda time: f"{time:%Y}"), (lambda time: None)


def _date(time: datetime) -> str:
    return f"{time:%Y-%m-%d}"


def _axis(starts: Sequence[datetime | None], label: _Label, room: int, *, at_first: bool = False) -> str:
    """A line with a label above each column where it changes, as far as they fit and do not overlap.

    The first column has one where its hour begins, or anyway if `at_first`, unless that leaves no room for the next.
    """
    wanted: list[tuple[int, str]] = []
    before: str | None = None
    seen = False
    for column, start in enumerate(starts):
        if start is None:
            continue
        text = label(start)
        if text is not None and text != before and (seen or at_first or start.minute == start.second == 0):
            wanted.append((column, text))
        before, seen = text, True
    wanted = [(column, text) for column, text in wanted if column + len(text) <= room]
    if at_first and len(wanted) > 1 and wanted[1][0] <= len(wanted[0][1]):
        del wanted[0]
    line = ""
    for column, text in wanted:
        if column >= len(line) + (1 if line else 0):
            line = f"{line:<{column}}{text}"
    return line


def _step(every: str) -> float:
    """Seconds from a set to the next, roughly."""
    try:
        parsed = Every.parse(every)
    except ValueError:  # of a later release
        return float("inf")
    return parsed.number * _SECONDS[parsed.unit]


def _counted(sets: int) -> str:
    return f"{sets:,} set{'' if sets == 1 else 's'}"
