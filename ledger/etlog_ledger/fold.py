"""Folding: what a batch notes of the events of a set becomes the cells that it adds to the set's row."""

from collections.abc import Mapping, Sequence

from etlog_events.kinds import Kinds
from etlog_events.validation import NO_WINDOW, Note

from etlog_ledger.row import MAX_ERROR, Cell, Row, cell_of, greatest

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
    return rows


def cell(interval: str, notes: Sequence[Note]) -> Cell:
    """The cell that these notes make, at least one, which are all of one set and action."""
    if len(notes) == 1:
        [(first, digits, facts)] = notes
        last, size = first, None if digits is None else int(digits)
        seconds, error, _ = facts or (None, None, None)
    else:
        times = [note[0] for note in notes]
        first, last = min(times), max(times)
        latest = [note for note in notes if note[0] == last]
        size = greatest(None if digits is None else int(digits) for _, digits, _ in latest)
        told = [facts for *_, facts in latest if facts]
        seconds, error = greatest(facts.seconds for facts in told), greatest(_cut(facts.error) for facts in told)
    settled = None
    if interval != NO_WINDOW:
        end = interval.partition("/")[2][:-1].encode()
        if last >= end:
            settled = first if first >= end else min(note[0] for note in notes if note[0] >= end)
    return Cell(
        n=len(notes),
        first=first.decode() + "Z",
        last=last.decode() + "Z",
        settled=None if settled is None else settled.decode() + "Z",
        size=size,
        seconds=seconds,
        error=_cut(error),
    )


def _cut(error: str | None) -> str | None:
    return error if error is None else error[:MAX_ERROR]


def _by_cell(action: str, notes: Sequence[Note]) -> dict[str, list[Note]]:
    by_cell: dict[str, list[Note]] = {}
    for note in notes:
        facts = note[2]
        by_cell.setdefault(cell_of(action, facts and facts.stage), []).append(note)
    return by_cell
