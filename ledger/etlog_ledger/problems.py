"""Problems: runs of adjacent sets with the same fault, and the sentence that tells each."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, tzinfo
from hashlib import blake2b
from itertools import pairwise

from etlog_events.timestamps import from_nanoseconds

from etlog_ledger.verdict import FAULTS, Fault, Problem

#: Faults of what was not done.
_ABSENT = frozenset({"missing", "stopped"})

#: The calendar that can be spelled, in seconds since 1970.
_FIRST, _LAST = -62_135_596_800.0, 253_402_300_799.0


def runs(places: Sequence[int], parts: Callable[[int], bool]) -> list[tuple[int, ...]]:
    """The runs of ascending places that are adjacent: `parts` says of a place whether it parts those around it."""
    found: list[list[int]] = [[places[0]]]
    for before, place in pairwise(places):
        if any(parts(other) for other in range(before + 1, place)):
            found.append([])
        found[-1].append(place)
    return [tuple(run) for run in found]


def merged(
    of_stages: Mapping[str, Mapping[Fault, Iterable[tuple[int, ...]]]],
    order: Sequence[str],
    is_due: Callable[[str, int], bool],
) -> dict[tuple[Fault, tuple[int, ...]], list[str]]:
    """The stages that have the same fault in the same places, by fault and places; the worst first.

    What is absent in one stage is so in another one that is only not overdue yet (`is_due`) in the rest of the run:
    later stages are overdue later.
    """
    begun: dict[tuple[Fault, int], dict[tuple[int, ...], list[str]]] = {}
    for stage in order:
        for fault, of_fault in of_stages.get(stage, {}).items():
            for run in of_fault:
                begun.setdefault((fault, run[0]), {}).setdefault(run, []).append(stage)
    found: dict[tuple[Fault, tuple[int, ...]], list[str]] = {}
    for (fault, _), together in begun.items():
        longest = max(together, key=len)
        for run, stages in together.items():
            rest = set(longest).difference(run)
            waits = fault in _ABSENT and set(longest).issuperset(run)
            waits = waits and all(is_due(stage, place) for stage in stages for place in rest)
            found.setdefault((fault, longest if waits else run), []).extend(stages)
    for stages in found.values():
        stages.sort(key=order.index)
    return {key: found[key] for key in sorted(found, key=lambda key: (FAULTS.index(key[0]), key[1]))}


def id_of(category: str, every: str, length: str | None, fault: Fault, stage: str, start: str) -> str:
    """An id that stays the same while a problem grows: by its first stage, and when its first window starts."""
    text = "|".join((category, every, length or "", fault, stage, start))
    return blake2b(text.encode(), digest_size=8).hexdigest()


def order(problem: Problem) -> tuple[int, str, str, str]:
    """The worst first; of equal ones by category and beginning."""
    return FAULTS.index(problem.state), problem.category, problem.from_, problem.id


class Words:
    """Windows in words, in the zone of the pipeline, as of `now`."""

    def __init__(self, zone: tzinfo, now: float) -> None:
        self._zone = zone
        self._today = datetime.fromtimestamp(now, zone)

    def span(self, start: float, end: float) -> str:
        """`11:00 to 12:00`, `24 Nov 23:00 to 25 Nov 00:00`, `24 Nov`, `20 Nov to 24 Nov`, `Nov 2026`."""
        first, last = datetime.fromtimestamp(start, self._zone), datetime.fromtimestamp(end, self._zone)
        if _is_midnight(first) and _is_midnight(last):
            months = (last.year - first.year) * 12 + last.month - first.month
            if first.day == last.day == months == 1:
                return f"{first:%b %Y}"
            final = datetime.fromtimestamp(end - 1, self._zone)
            return self._date(first) if first.date() == final.date() else f"{self._date(first)} to {self._date(final)}"
        form = "%H:%M:%S" if first.second or last.second else "%H:%M"
        if first.date() == last.date():
            return f"{self._moment(first, form)} to {last:{form}}"
        return f"{self._moment(first, form)} to {self._moment(last, form)}"

    def _moment(self, moment: datetime, form: str) -> str:
        time = f"{moment:{form}}"
        return time if moment.date() == self._today.date() else f"{self._date(moment)} {time}"

    def _date(self, moment: datetime) -> str:
        year = "" if moment.year == self._today.year else f" {moment.year}"
        return f"{moment.day} {moment:%b}{year}"


def _is_midnight(moment: datetime) -> bool:
    return not (moment.hour or moment.minute or moment.second or moment.microsecond)


def sentence(
    words: Words,
    category: str,
    stages: Sequence[str],
    fault: Fault,
    sets: int,
    span: tuple[float, float],
    last: tuple[float, float] | None,
    error: str | None,
    size: int | None,
    usual: int | None,
) -> str:
    """What a problem is; `span` are the ends of its windows, `last` those of the last one done before it stopped."""
    subject = f"{category} {', '.join(stages)} {fault}"
    many = "1 set" if sets == 1 else f"{sets:,} sets"
    if fault == "stopped":
        if last is None:
            return f"{subject}: never done, {many}, {words.span(*span)}"
        return f"{subject}: last {words.span(*last)}, {many} since"
    where = words.span(*span)
    if sets > 1:
        where = f"{many}, {where}"
    if fault == "failed":
        line = _first_line(error or "")
        return f"{subject}: {where}: {line}" if line else f"{subject}: {where}"
    if fault == "unusual" and size is not None:
        records = "1 record" if size == 1 else f"{size:,} records"
        return f"{subject}: {where}: {records}, usually about {usual:,}"
    return f"{subject}: {where}"


def _first_line(error: str) -> str:
    """What an error says at first; of a traceback, at last."""
    lines = [line.strip() for line in error.splitlines() if line.strip()] or [""]
    return lines[-1] if lines[0].startswith("Traceback (most recent call last)") else lines[0]


def text_of(moment: float) -> str:
    """A moment, RFC 3339 in UTC, to the microsecond; beyond the calendar, its ends."""
    return from_nanoseconds(round(min(max(moment, _FIRST), _LAST) * 1e6) * 1000)
