"""A row of the ledger: what is known of one set, as JSON text in the hash `sets:<category>`.

    {"Saved":{"n":2,"first":"2022-06-03T11:00:20Z","last":"2022-06-03T11:04:00.5Z","settled":"2022-06-03T11:00:20Z",
              "size":97},"ComputeError":{"n":1,"first":"…Z","last":"…Z","settled":"…Z","error":"403 Forbidden"}}

Its cells are named after actions. A ComputeError whose metadata names a stage has one of its own: `ComputeError.Saved`.
What a row holds depends neither on the order of the events nor on how they came in batches.
"""

from collections.abc import Iterable, Mapping
from typing import TypeAlias, TypeVar

import msgspec
from etlog_events.kinds import ACTIONS

#: Characters of an error that a row keeps.
MAX_ERROR = 500

#: The actions that a ComputeError may name as its stage.
STAGES = tuple(action.name for action in ACTIONS if not action.is_error)

T = TypeVar("T", int, float, str)

_COMPUTE_ERROR = "ComputeError"
_NAMES = tuple(action.name for action in ACTIONS)
_ORDER = {name: place for place, name in enumerate((*_NAMES, *(f"{_COMPUTE_ERROR}.{stage}" for stage in STAGES)))}


class Cell(msgspec.Struct, omit_defaults=True):
    """One action on one set.

    `n` counts its events; `first` and `last` are the earliest and the latest of their times, `settled` the earliest one
    at or after the window's end. `size`, `seconds` (how long the stage took) and `error` (its first `MAX_ERROR`
    characters) are those of the latest event; of several at that time, the greatest values.
    """

    n: int
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


def encode(row: Mapping[str, Cell]) -> bytes:
    """The text of a row: compact JSON, the cells in the order of a set's life."""
    if len(row) > 1:
        row = dict(sorted(row.items(), key=_place))
    return _encode(row)


def cell_of(action: str, stage: str | None = None) -> str:
    """The name of the cell for events of an action; `stage` is what their metadata say."""
    return f"{action}.{stage}" if action == _COMPUTE_ERROR and stage in STAGES else action


def add_events(sums: dict[str, int], row: Mapping[str, Cell], prefix: str) -> None:
    """Add the events that a row tells of to `sums`, by kind; the kinds of the row's category begin with `prefix`."""
    for name, cell in row.items():
        kind = prefix + name.partition(".")[0]
        sums[kind] = sums.get(kind, 0) + cell.n


def merge(row: Row, cells: Mapping[str, Cell]) -> None:
    """Take what further events tell of the set into `row`."""
    for name, cell in cells.items():
        held = row.get(name)
        row[name] = cell if held is None else _merged(held, cell)


def _merged(one: Cell, other: Cell) -> Cell:
    if _is_before(one.last, other.last):
        latest = other
    elif _is_before(other.last, one.last):
        latest = one
    else:
        latest = Cell(
            n=0,
            first="",
            last=one.last,
            size=greatest((one.size, other.size)),
            seconds=greatest((one.seconds, other.seconds)),
            error=greatest((one.error, other.error)),
        )
    settled = one.settled
    if settled is None or (other.settled is not None and _is_before(other.settled, settled)):
        settled = other.settled
    return Cell(
        n=one.n + other.n,
        first=other.first if _is_before(other.first, one.first) else one.first,
        last=latest.last,
        settled=settled,
        size=latest.size,
        seconds=latest.seconds,
        error=latest.error,
    )


def greatest(values: Iterable[T | None]) -> T | None:
    """The greatest of values that may be absent; None where all are."""
    return max((value for value in values if value is not None), default=None)


def _is_before(one: str, other: str) -> bool:
    """Whether a time is before another one. Their texts compare right without the `Z`, which is behind the dot."""
    return one[:-1] < other[:-1]


def _place(cell: tuple[str, Cell]) -> tuple[int, str]:
    """A cell that a later release has made stands last."""
    return _ORDER.get(cell[0], len(_ORDER)), cell[0]
