"""Folding: what a batch notes of the events of a set becomes the cells that it adds to the set's row."""

from collections.abc import Mapping, Sequence

from etlog_events.kinds import Kinds
from etlog_events.validation import NO_WINDOW, Note

from etlog_ledger.row import MAX_ERROR, Cell, Row, cell_of, greatest, in_order

#: The notes of a batch: by the name of the kind and the interval of the set.
Notes = Mapping[tuple[str, str], Sequence[Note]]


def fold(notes: Notes, kinds: Kinds) -> dict[str, dict[str, Row]]:
    """The rows that these notes alone make: category -> interval -> row."""
    rows: dict[str, dict[str, Row]] = {}
    for (name, interval), of_set in notes.items():
        kind = kinds.by_name[name]
        row = rows.setdefault(kind.category, {}).setdefault(interval, {})
        if kind.action.is_error:
            for cell_name, of_cell in _by_cell(kind.action.name, of_set).items():
                row[cell_name] = cell(interval, of_cell)
        else:
            row[kind.action.name] = cell(interval, of_set)
    for of_category in rows.values():
        for interval, row in of_category.items():
            if len(row) > 1:
                of_category[interval] = in_order(row)
    return rows


def cell(interval: str, notes: Sequence[Note]) -> Cell:
    """The cell that these notes make, at least one, which are all of one set and action."""
    if len(notes) == 1:
        first = last = notes[0][0]
        size, seconds, error = _told(notes[0])
    else:
        times = [note[0] for note in notes]
        first, last = min(times), max(times)
        size, seconds, error = _told(notes[times.index(last)])
        if times.count(last) > 1:
            latest = [_told(note) for note in notes if note[0] == last]
            size, seconds, error = (greatest(values) for values in zip(*latest, strict=True))
    settled = None
    if interval != NO_WINDOW:
        end = interval.partition("/")[2][:-1].encode()
        if last >= end:
            settled = first if first >= end else min(note[0] for note in notes if note[0] >= end)
    text = first.decode() + "Z"
    return Cell(
        n=len(notes),
        first=text,
        last=text if last is first else last.decode() + "Z",
        settled=None if settled is None else text if settled is first else settled.decode() + "Z",
        size=size,
        seconds=seconds,
        error=error,
    )


def _told(note: Note) -> tuple[int | None, float | None, str | None]:
    """The size, the seconds and the error of an event, as a cell holds them."""
    _, digits, facts = note
    size = None if digits is None else int(digits)
    if facts is None:
        return size, None, None
    return size, facts.seconds, facts.error and facts.error[:MAX_ERROR]


def _by_cell(action: str, notes: Sequence[Note]) -> dict[str, list[Note]]:
    by_cell: dict[str, list[Note]] = {}
    for note in notes:
        facts = note[2]
        by_cell.setdefault(cell_of(action, facts and facts.stage), []).append(note)
    return by_cell
