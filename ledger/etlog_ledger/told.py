"""Who was told of problems, and when: as watchers keep it of incidents, as JSON in a hash of the log.

    told = Told(incidents_of(fields))
    told.of(problem)                        when people were told of this problem, or None

An incident goes on while what is wrong grows or turns into something else. A problem belongs to the one with which it
shares a stage of a set.
"""

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate

import msgspec
from etlog_events import schedule
from etlog_events.timestamps import canonical, from_nanoseconds, to_nanoseconds

from etlog_ledger.verdict import Problem, ToldShown

#: How the name of a field begins that holds an incident, and the field that counts the changes.
INCIDENT, REVISION = b"incident:", "revision"


#: Seconds of the units of lengths; of months about so many.
_UNITS = {"s": 1, "d": 86_400, "mo": 30 * 86_400}


class FaultySets(msgspec.Struct, frozen=True, rename={"from_": "from"}):
    """What of an incident says which sets are wrong: the fields of a `Problem`. Faults of the log itself have none."""

    category: str | None = None
    every: str | None = None
    length: str | None = None
    stages: tuple[str, ...] = ()
    from_: str | None = None
    to: str | None = None


class ToldTarget(msgspec.Struct, frozen=True):
    """When a target was told of an incident, `first` and last (`at`): RFC 3339 in UTC, to the second."""

    first: str
    at: str


class ToldIncident(msgspec.Struct, frozen=True):
    """An incident: its faults, and what targets were told, by their keys. After one that `is_closed`, what is wrong is
    another one."""

    faults: tuple[FaultySets, ...]
    told: Mapping[str, ToldTarget] = {}
    is_closed: bool = False


_decode = msgspec.json.Decoder(ToldIncident).decode


def incidents_of(fields: Mapping[bytes, bytes]) -> list[ToldIncident]:
    """The incidents that someone was told of: `fields` is what `HGETALL` answers of their hash. What is not one is left
    out."""
    found = [_decode_foreign(text) for name, text in sorted(fields.items()) if name.startswith(INCIDENT)]
    return [incident for incident in found if incident is not None and incident.told and not incident.is_closed]


def _decode_foreign(text: bytes) -> ToldIncident | None:
    """The incident that a text holds, whoever wrote it."""
    try:
        incident = _decode(text)
        told = {key: ToldTarget(_second(of.first), _second(of.at)) for key, of in incident.told.items()}
    except (ValueError, msgspec.MsgspecError, RecursionError):
        return None
    return msgspec.structs.replace(incident, told=told)


def _second(time: str) -> str:
    return f"{canonical(time)[:19]}Z"


class Told:
    """What people were told of `incidents`, found by problems."""

    def __init__(self, incidents: Sequence[ToldIncident] = ()) -> None:
        self.incidents = incidents
        lines: dict[object, list[tuple[str, str, ToldIncident]]] = {}
        for incident in incidents:
            for sets in incident.faults:
                if sets.from_ is not None and sets.to is not None:
                    span = starts(sets.from_, sets.to, sets.every, sets.length)
                    for stage in sets.stages:  # faults of one stage hardly ever overlap, those of a series may all do
                        line = sets.category, sets.every, sets.length, stage
                        lines.setdefault(line, []).append((*span, incident))
        self._lines = {line: _Line(spans) for line, spans in lines.items()}

    def of(self, problem: Problem) -> ToldShown | None:
        """When people were told of a problem; None if no one was."""
        first, last = starts(problem.from_, problem.to, problem.every, problem.length)
        targets: dict[str, list[ToldTarget]] = {}
        for stage in problem.stages:
            line = self._lines.get((problem.category, problem.every, problem.length, stage))
            for incident in line.overlapping(first, last) if line is not None else ():
                for key, told in incident.told.items():
                    targets.setdefault(key, []).append(told)
        if not targets:
            return None
        times = [told for of_target in targets.values() for told in of_target]
        return ToldShown(min(told.first for told in times), max(told.at for told in times), len(targets))


class _Line:
    """Incidents of a stage on a line of time, each with the start and the end of some of its sets."""

    def __init__(self, spans: Iterable[tuple[str, str, ToldIncident]]) -> None:
        self._spans = sorted(spans, key=lambda one: one[0])
        self._ends = list(accumulate((end for _, end, _ in self._spans), max))  # the latest of those up to each

    def overlapping(self, first: str, last: str) -> Iterable[ToldIncident]:
        """Those that overlap a span."""
        place = bisect_left(self._spans, last, key=lambda one: one[0])
        while place > 0 and self._ends[place - 1] > first:
            place -= 1
            _, end, incident = self._spans[place]
            if end > first:
                yield incident


def starts(first: str, to: str, every: str | None, length: str | None) -> tuple[str, str]:
    """The span in which the windows of a run start, as texts that compare; the run spans `first` to `to`.

    Windows that are longer than their step overlap, so the last of them starts long before its end.
    """
    if every is None or length is None:
        return _comparable(first), _comparable(to)
    try:
        end = to_nanoseconds(to) - _nanoseconds(length) + _nanoseconds(every) // 2
        return _comparable(first), _comparable(from_nanoseconds(end))
    except (ValueError, OverflowError):  # someone else wrote it
        return _comparable(first), _comparable(to)


def _nanoseconds(length: str) -> int:
    number, unit = schedule.length(length)
    return number * _UNITS[unit] * 10**9


def _comparable(time: str) -> str:
    """A canonical time compares as a text without its `Z`."""
    return time[:-1]
