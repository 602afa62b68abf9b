"""Marks: what people said of sets, as JSON in the hash `marks`, by id. The field `revision` counts their changes.

marks = Marks(marks_of(fields), now).of("asset", "1h")
marks.waiver("Saved", start, end)                  the newest mark that makes this cell `waived`, or None
marks.silencer(["Saved"], [(start, end), …])       the newest mark that silences a problem of these cells, or None
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from heapq import heappop, heappush
from typing import Literal, get_args

import msgspec
from etlog_events.timestamps import canonical, to_nanoseconds

from etlog_ledger.cadence import Every

#: `expected-empty`: no set comes, or an empty one, and that is right. `waived`: it does not matter. `retired`: none
#: comes any more. `repairing` and `acknowledged`: it is wrong, and someone knows.
MarkKind = Literal["expected-empty", "waived", "retired", "repairing", "acknowledged"]
MARK_KINDS: tuple[MarkKind, ...] = get_args(MarkKind)

#: Marks that make cells `waived`. The others change no state: they silence what is wrong.
WAIVING: frozenset[MarkKind] = frozenset({"expected-empty", "waived", "retired"})

#: What a mark may be of instead of a category: losses of the log itself.
LOST_EVENTS, DEAD_LETTERS = "lost-events", "dead-letters"

#: The field of the hash that holds no mark, but the number of changes.
REVISION = "revision"

_ALWAYS = float("inf")


class Mark(msgspec.Struct, frozen=True, omit_defaults=True, rename={"from_": "from"}):
    """A mark on the sets of `category`: of one cadence (`every`), of one stage, and those whose window overlaps the
    span `from_` to `to` (start included, end excluded); None means all of them, and an open side. One that is `exact`
    is on the set alone whose window is that span: a mark on an hour is not one on its day.

    `at` is when it was made, `by` whom; it ends at `until`. All times are RFC 3339 in UTC. `count` is how many events
    were lost or dead when those were acknowledged.
    """

    id: str
    category: str
    kind: MarkKind
    reason: str
    by: str
    at: str
    every: str | None = None
    stage: str | None = None
    from_: str | None = None
    to: str | None = None
    exact: bool = False
    until: str | None = None
    count: int | None = None


#: Characters of a reason: a sentence or two, because it stands wherever the mark is shown; of who says it; of an id.
LONGEST_REASON, LONGEST_NAME = 500, 200

_decode = msgspec.json.Decoder(Mark).decode
_encode = msgspec.json.Encoder().encode

_TIMES = ("at", "from_", "to", "until")


def encode(mark: Mark) -> bytes:
    """The text of a mark: compact JSON. Raises `ValueError` for text that is not UTF-8."""
    return _encode(mark)


def decode_foreign(name: bytes, text: bytes) -> Mark | None:
    """The mark that a field of the hash holds, whoever wrote it; None where it holds none.

    Its id is the name of the field. Its times and its cadence are spelled as etlog spells them.
    """
    try:
        mark = _decode(text)
        spelled = {field: canonical(time) for field in _TIMES if (time := getattr(mark, field)) is not None}
        if mark.every is not None:
            spelled["every"] = str(Every.parse(mark.every))
        mark = msgspec.structs.replace(mark, id=name.decode(), **spelled)
    except (ValueError, msgspec.MsgspecError, RecursionError):
        return None
    if mark.exact and (mark.from_ is None or mark.to is None):
        return None
    if len(mark.reason) > LONGEST_REASON or max(len(mark.id), len(mark.by)) > LONGEST_NAME:
        return None
    return mark


def marks_of(fields: Mapping[bytes, bytes]) -> list[Mark]:
    """The marks of a log, the oldest first: `fields` is what `HGETALL` answers of its hash. What is no mark is left
    out."""
    found = [decode_foreign(name, text) for name, text in fields.items() if name != REVISION.encode()]
    return sorted((mark for mark in found if mark is not None), key=_age)


def is_over(mark: Mark, now: float) -> bool:
    """Whether it has ended by `now`, seconds since 1970."""
    return mark.until is not None and _seconds(mark.until) <= now


def covers(mark: Mark, category: str, every: str, stage: str, start: float, end: float) -> bool:
    """Whether it is on the stage of the set of this category and cadence whose window is `start` to `end`, in seconds
    since 1970. Whether it is over does not matter."""
    if mark.category != category or mark.every not in {None, every} or mark.stage not in {None, stage}:
        return False
    first, last = _span(mark)
    return _key(first, last) == _key(start, end) if mark.exact else max(first, start) < min(last, end)


def acknowledgement(marks: Iterable[Mark], losses: str, present: int, now: float) -> Mark | None:
    """The mark by which most of the events that are lost (`LOST_EVENTS`) or dead (`DEAD_LETTERS`) are acknowledged.

    `present` is how many there are. One of more than those is from before the log began anew, and says nothing.
    """
    found = [
        mark
        for mark in marks
        if mark.category == losses
        and mark.kind not in WAIVING
        and 0 < (mark.count or 0) <= present
        and not is_over(mark, now)
    ]
    return max(found, key=lambda mark: (mark.count, *_age(mark)), default=None)


class Marks:
    """The marks that are not over at `now`, seconds since 1970, found by what they are on."""

    def __init__(self, marks: Iterable[Mark], now: float) -> None:
        self._of_category: dict[str, list[Mark]] = {}
        self._of_series: dict[tuple[str, str], SeriesMarks] = {}
        for mark in sorted(marks, key=_age):
            if not is_over(mark, now):
                self._of_category.setdefault(mark.category, []).append(mark)

    def of(self, category: str, every: str) -> "SeriesMarks":
        """Those on sets of this category and cadence."""
        found = self._of_series.get((category, every))
        if found is None:
            some = [mark for mark in self._of_category.get(category, ()) if mark.every in {None, every}]
            found = self._of_series[category, every] = SeriesMarks(some)
        return found


class SeriesMarks:
    """The marks on the sets of one series, false where there are none. To ask for a cell takes a few microseconds,
    however many there are."""

    def __init__(self, marks: Sequence[Mark]) -> None:
        self._marks = marks
        self._lines: dict[tuple[bool, str], _Line] = {}

    def __bool__(self) -> bool:
        return bool(self._marks)

    def waiver(self, stage: str, start: float, end: float) -> Mark | None:
        """The newest mark that makes this cell `waived`; the window of its set is in seconds since 1970."""
        return self._newest(True, stage, start, end)

    def silencer(self, stages: Iterable[str], windows: Iterable[tuple[float, float]]) -> Mark | None:
        """The newest mark that silences these stages of the sets with these windows; None where one of them is not
        silenced by any."""
        newest = None
        windows = list(windows)
        for stage in stages:
            for start, end in windows:
                mark = self._newest(False, stage, start, end)
                if mark is None:
                    return None
                if newest is None or _age(mark) > _age(newest):
                    newest = mark
        return newest

    def _newest(self, waives: bool, stage: str, start: float, end: float) -> Mark | None:
        if not self._marks:
            return None
        line = self._lines.get((waives, stage))
        if line is None:
            some = [mark for mark in self._marks if (mark.kind in WAIVING) is waives and mark.stage in {None, stage}]
            line = self._lines[waives, stage] = _Line(some)
        return line.newest(start, end)


class _Line:
    """Marks on a line of time: it is cut where one begins or ends, and each piece knows the newest mark on it."""

    def __init__(self, marks: Sequence[Mark]) -> None:
        self._marks = marks  # the oldest first; below, a mark is its place among them, and -1 is none
        self._exact: dict[tuple[float, float], int] = {}
        spans = []
        for place, mark in enumerate(marks):
            first, last = _span(mark)
            if mark.exact:
                self._exact[_key(first, last)] = place
            elif first < last:
                spans.append((first, last, place))
        self._cuts = sorted({cut for first, last, _ in spans for cut in (first, last)})
        self._newest_from: list[int] = []
        spans.sort(reverse=True)
        begun: list[tuple[int, float]] = []  # the newest first, and when each ends
        for cut in self._cuts:
            while spans and spans[-1][0] <= cut:
                _, last, place = spans.pop()
                heappush(begun, (-place, last))
            while begun and begun[0][1] <= cut:
                heappop(begun)
            self._newest_from.append(-begun[0][0] if begun else -1)

    def newest(self, start: float, end: float) -> Mark | None:
        """The newest mark on a window."""
        place = self._exact.get(_key(start, end), -1) if self._exact else -1
        first = max(0, bisect_right(self._cuts, start) - 1)
        pieces = self._newest_from[first : bisect_left(self._cuts, end)]
        place = max(place, *pieces) if pieces else place
        return self._marks[place] if place >= 0 else None


def _age(mark: Mark) -> tuple[str, str]:
    """What sorts marks by when they were made. Their times compare as texts without the `Z`."""
    return mark.at[:-1], mark.id


def _span(mark: Mark) -> tuple[float, float]:
    first = -_ALWAYS if mark.from_ is None else _seconds(mark.from_)
    return first, _ALWAYS if mark.to is None else _seconds(mark.to)


def _key(start: float, end: float) -> tuple[float, float]:
    """What windows that are the same have in common, however their seconds were reckoned."""
    return round(start, 3), round(end, 3)


def _seconds(time: str) -> float:
    return to_nanoseconds(time) / 1e9
