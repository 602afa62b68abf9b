"""Retention: which sets of one category keep their row.

1. Of each length of window, the newest `keep` sets.
2. Unusual lengths of which there is a single row share the room of one: the newest `keep` of them together.
3. At most `MOST_SETS` in all. Unusual lengths give way first, those with the fewest rows first; then the usual length
   that has the most rows. The oldest sets of a length go first.

Usual lengths are those of clocks and calendars, see `is_usual`. So a flood of windows of random lengths pushes out its
own rows, never those of a pipeline.
"""

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache

from etlog_events.validation import NO_WINDOW

#: Sets of a category that have a row at most.
MOST_SETS = 50_000

#: Rows beyond `MOST_SETS` go in lots of this size, because all lengths are looked at to find them.
LOT = 1_000

_DAY = timedelta(days=1)
_CLOCK_CHANGES = (timedelta(0), timedelta(minutes=30), timedelta(hours=1))

#: Days of a week, a month, a quarter and a year, and a few of them.
_DAYS = {*range(1, 8), 14, *range(28, 32), *range(90, 93), 365, 366}


def length_of(interval: str) -> timedelta:
    """The length of a window, to the microsecond."""
    start, _, end = interval.partition("/")
    return datetime.fromisoformat(end) - datetime.fromisoformat(start)


@lru_cache(maxsize=4096)
def is_usual(length: timedelta) -> bool:
    """Whether clocks and calendars have windows of this length: equal parts of a day in whole seconds, and days, weeks,
    months, quarters and years, an hour or half of one longer or shorter where the clock changes."""
    if length.microseconds or not length:
        return False
    if length <= _DAY:
        return not _DAY % length or _DAY - length in _CLOCK_CHANGES
    days = round(length / _DAY)
    return days in _DAYS and abs(length - days * _DAY) in _CLOCK_CHANGES


@dataclass(frozen=True, slots=True)
class Placement:
    """What becomes of sets that are new: `orders` are the lengths that change, each with the sets it keeps, oldest
    first. `refused` are those of the new ones that get no row, `dropped` those that had one and lose it."""

    orders: Mapping[timedelta, Sequence[str]]
    added: Sequence[str]
    refused: Set[str]
    dropped: Sequence[str]


class Retention:
    """The sets of one category that have a row, the newest `keep` of each length."""

    def __init__(self, keep: int, sets: Iterable[str] = ()) -> None:
        self._keep = keep
        self._orders: dict[timedelta, Sequence[str]] = {}
        self._sets: set[str] = set()
        self._single: set[timedelta] = set()
        self._crowded: set[timedelta] = set()
        by_length = _by_length(name for name in sets if name != NO_WINDOW)
        self._note({length: sorted(names, key=_sortable) for length, names in by_length.items()})
        for order in self._orders.values():
            self._sets.update(order)

    def __contains__(self, name: str) -> bool:
        return name in self._sets

    def __len__(self) -> int:
        return len(self._sets)

    @property
    def is_crowded(self) -> bool:
        """Whether rows are to be dropped even if nothing comes: the room has become smaller."""
        return bool(self._crowded)

    def place(self, new: Iterable[str], most: int | None = None) -> Placement:
        """Where sets that have no row yet would go, and what they would push out. Nothing is changed.

        Where the room has become smaller, at most so many sets are pushed out for it, None: all.
        """
        added = list(new)
        orders: dict[timedelta, Sequence[str]] = {}
        for length, names in _by_length(added).items():
            held = self._orders.get(length, ())
            names.sort(key=_sortable)
            in_order = not held or _sortable(held[-1]) < _sortable(names[0])
            orders[length] = [*held, *names] if in_order else sorted([*held, *names], key=_sortable)
        out: list[str] = []
        for length in {*orders, *self._crowded}:
            order = orders.get(length) or self._orders[length]
            surplus = len(order) - self._keep
            if most is not None:
                surplus = min(surplus, most - len(out))
            if surplus > 0:
                out += order[:surplus]
                orders[length] = order[surplus:]
        if orders:
            self._drop_singles(orders, out, most)
        if len(self._sets) + len(added) - len(out) > MOST_SETS:
            self._drop_lot(orders, out, len(self._sets) + len(added) - len(out) - MOST_SETS + LOT)
        refused = set(out).intersection(added)
        return Placement(orders, added, refused, [name for name in out if name not in refused])

    def apply(self, placement: Placement) -> None:
        """Make a placement the state of things; it must be the one made last."""
        self._sets.difference_update(placement.dropped)
        self._sets.update(placement.added)
        self._sets.difference_update(placement.refused)
        self._note(placement.orders)

    def _note(self, orders: Mapping[timedelta, Sequence[str]]) -> None:
        for length, order in orders.items():
            if order:
                self._orders[length] = order
            else:
                self._orders.pop(length, None)
            (self._single.add if _is_single(length, order) else self._single.discard)(length)
            (self._crowded.add if len(order) > self._keep else self._crowded.discard)(length)

    def _drop_singles(self, orders: dict[timedelta, Sequence[str]], out: list[str], most: int | None) -> None:
        """Rule 2."""
        single = {length for length, order in orders.items() if _is_single(length, order)}
        single |= self._single - orders.keys()
        surplus = len(single) - self._keep
        if most is not None:
            surplus = min(surplus, most - len(out))
        if surplus > 0:
            alone = {length: (orders.get(length) or self._orders[length])[0] for length in single}
            for length in sorted(alone, key=lambda length: _sortable(alone[length]))[:surplus]:
                out.append(alone[length])
                orders[length] = ()

    def _drop_lot(self, orders: dict[timedelta, Sequence[str]], out: list[str], surplus: int) -> None:
        """Rule 3."""
        all_orders = {**self._orders, **orders}
        sizes = {length: len(order) for length, order in all_orders.items() if order}
        dropped: dict[timedelta, int] = {}

        def weakness(length: timedelta) -> tuple[int, str]:
            return sizes[length], _sortable(all_orders[length][-1])

        for length in sorted((length for length in sizes if not is_usual(length)), key=weakness):
            if surplus <= 0:
                break
            dropped[length] = min(surplus, sizes.pop(length))
            surplus -= dropped[length]
        while surplus > 0:
            largest, *others = sorted(sizes, key=lambda length: sizes[length], reverse=True)[:2]
            more = sizes[largest] - sizes[others[0]] + 1 if others else surplus
            more = min(more, surplus)
            dropped[largest] = dropped.get(largest, 0) + more
            sizes[largest] -= more
            surplus -= more
        for length, number in dropped.items():
            order = all_orders[length]
            out += order[:number]
            orders[length] = order[number:]


def _is_single(length: timedelta, order: Sequence[str]) -> bool:
    return len(order) == 1 and not is_usual(length)


def _by_length(names: Iterable[str]) -> dict[timedelta, list[str]]:
    by_length: dict[timedelta, list[str]] = {}
    for name in names:
        by_length.setdefault(length_of(name), []).append(name)
    return by_length


def _sortable(interval: str) -> str:
    """Intervals in this spelling sort by start, then by end: with the `Z`, 54.1 seconds would stand before 54."""
    return interval.replace("Z", " ")
