"""A row of the ledger: what is known of one set, as JSON text in the hash `sets:<category>`.

    {"Saved":{"n":2,"first":"2022-06-03T11:00:20Z","last":"2022-06-03T11:04:00.5Z","settled":"2022-06-03T11:00:20Z",
              "size":97},"ComputeError":{"n":1,"first":"…Z","last":"…Z","settled":"…Z","error":"403 Forbidden"}}

Its cells are named after actions. A ComputeError whose metadata names a stage has one of its own: `ComputeError.Saved`.
What a row holds depends neither on the order of the events nor on how they came in batches.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Annotated, TypeAlias, TypeVar

import msgspec
from etlog_events import timestamps
from etlog_events.kinds import ACTIONS
from etlog_events.validation import NO_WINDOW

#: Characters of an error that a row keeps.
MAX_ERROR = 500

#: The actions that a ComputeError may name as its stage.
STAGES = tuple(action.name for action in ACTIONS if not action.is_error)

T = TypeVar("T", int, float, str)

_COMPUTE_ERROR = "ComputeError"
_NAMES = tuple(action.name for action in ACTIONS)
_ORDER = {name: place for place, name in enumerate((*_NAMES, *(f"{_COMPUTE_ERROR}.{stage}" for stage in STAGES)))}


class Cell(msgspec.Struct, omit_defaults=True, gc=False):
    """One action on one set.

    `n` counts its events; `first` and `last` are the earliest and the latest of their times, `settled` the earliest one
    at or after the window's end. `size`, `seconds` (how long the stage took) and `error` (its first `MAX_ERROR`
    characters) are those of the latest event; of several at that time, the greatest values.
    """

    n: Annotated[int, msgspec.Meta(ge=1)]
    first: str
    last: str
    settled: str | None = None
    size: int | None = None
    seconds: float | None = None
    error: str | None = None


#: The cells of a set by their names.
Row: TypeAlias = dict[str, Cell]

_decode = msgspec.json.Decoder(Row).decode
_encode = msgspec.json.Encoder().encode


def decode(text: bytes) -> Row:
    """The row that `text` spells. Raises `ValueError` for anything else."""
    try:
        return _decode(text)
    except (msgspec.MsgspecError, RecursionError) as e:
        raise ValueError(f"not a row of the ledger: {e}") from e


def decode_foreign(text: bytes) -> Row | None:
    """The row that a text spells which anyone may have written; None where it spells none, or one without times."""
    try:
        row = decode(text)
        for cell in row.values():
            for time in {cell.first, cell.last, cell.last if cell.settled is None else cell.settled}:
                if time[10:11] != "T" or time[-1:] != "Z":
                    return None
                datetime.fromisoformat(time)
    except ValueError:
        return None
    return row


def is_interval(text: str) -> bool:
    """Whether a field of the hash may be called so: `<start>/<end>` of a window in canonical spelling, or `-`."""
    start, _, end = text.partition("/")
    is_canonical = timestamps.is_canonical
    return text == NO_WINDOW or (is_canonical(start) and is_canonical(end) and start[:-1] < end[:-1])


def action_of(cell: str) -> str:
    """The action of a cell, by its name."""
    return cell.partition(".")[0]


def encode(row: Mapping[str, Cell]) -> bytes:
    """The text of a row: compact JSON."""
    return _encode(row)


def in_order(row: Mapping[str, Cell]) -> Row:
    """The same cells in the order of a set's life; those that only a later release knows stand last."""
    return {name: row[name] for name in sorted(row, key=_place)}


def cell_of(action: str, stage: str | None = None) -> str:
    """The name of the cell for events of an action; `stage` is what their metadata say."""
    return f"{action}.{stage}" if action == _COMPUTE_ERROR and stage in STAGES else action


def add_events(sums: dict[str, int], row: Mapping[str, Cell], prefix: str) -> None:
    """Add the events that a row tells of to `sums`, by kind; the kinds of the row's category begin with `prefix`."""
    for name, cell in row.items():
        kind = prefix + action_of(name)
        sums[kind] = sums.get(kind, 0) + cell.n


def merge(row: Row, further: Mapping[str, Cell]) -> Row:
    """The row with what further events tell of its set; both rows are given up for it, and `further` is in order."""
    news = False
    for name, cell in further.items():
        held = row.get(name)
        if held is None:
            row[name] = cell
            news = True
        else:
            _add(held, cell)
    return in_order(row) if news else row


def _add(held: Cell, further: Cell) -> None:
    held.n += further.n
    if _is_before(further.first, held.first):
        held.first = further.first
    if further.settled is not None and (held.settled is None or _is_before(further.settled, held.settled)):
        held.settled = further.settled
    if _is_before(held.last, further.last):
        held.last, held.size, held.seconds, held.error = further.last, further.size, further.seconds, further.error
    elif further.last == held.last:
        held.size = _greater(held.size, further.size)
        held.seconds = _greater(held.seconds, further.seconds)
        held.error = _greater(held.error, further.error)


def _greater(one: T | None, other: T | None) -> T | None:
    return other if one is None or (other is not None and other > one) else one


def greatest(values: Iterable[T | None]) -> T | None:
    """The greatest of values that may be absent; None where all are."""
    return max((value for value in values if value is not None), default=None)


def _is_before(one: str, other: str) -> bool:
    """Whether a time is before another one. Their texts compare right without the `Z`, which is behind the dot."""
    return one[:-1] < other[:-1]


def _place(name: str) -> tuple[int, str]:
    return _ORDER.get(name, len(_ORDER)), name
