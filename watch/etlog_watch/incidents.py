"""Incidents: faults from when they open until someone was told that they ended. Pure: the caller brings the time.

An incident has a random id. A fault belongs to the incident with which it shares a stage of a set; where it joins two,
the older one goes on. So a run of sets that grows, moves on, or turns from `stopped` into `missing` stays one incident.
"""

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import accumulate, islice
from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta

from etlog_watch.faults import Fault
from etlog_watch.message import Happened

#: What opens, changes or ends is told after so long, together with all that happens meanwhile.
GROUPED = timedelta(seconds=30)

#: Incidents that are opened at once, and told at once: a step of the store must not take long. The rest follows.
MOST_NEW = 2000

#: How long after a target was told of lost events or dead letters it is told of more of them.
MORE_AFTER = timedelta(hours=1)

#: A time with its zone: what someone else wrote without one does not compare.
Moment: TypeAlias = Annotated[datetime, Meta(tz=True)]


class Told(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a target was told of an incident last: the states of its faults, and how many events were lost or dead.

    `ids` are those by which it knows the incident: first its own, then those of incidents that it took in. `at` is when
    it was told anything last, `first` when it was told that it opened.
    """

    ids: Annotated[tuple[str, ...], Meta(min_length=1)]
    first: Moment
    at: Moment
    states: tuple[str, ...]
    count: int | None = None


class Incident(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An incident: what is wrong, or was before it `ended`, and what each target was told, by its key.

    `changed` is when its faults had other states last, or when it ended. An incident is `expired` if its sets left the
    ledger before anything was done about them. It `is_closed` once a target was told that it ended: what is wrong
    after that is another one.
    """

    id: str
    opened: Moment
    changed: Moment
    faults: Annotated[tuple[Fault, ...], Meta(min_length=1)]
    ended: Literal["resolved", "expired"] | None = None
    is_closed: bool = False
    told: Mapping[str, Told] = {}

    @property
    def states(self) -> Sequence[str]:
        """The states of its faults."""
        return _states(self.faults)


@dataclass(frozen=True, slots=True)
class Notice:
    """That something happened to an incident, of which a target is to be told that knows it by these ids."""

    happened: Happened
    ids: Sequence[str]
    incident: Incident
    faults: Sequence[Fault]


@dataclass(frozen=True, slots=True)
class Policy:
    """What one target is told: of faults that it `wants`, again after `remind`, and nothing while it `is_quiet`."""

    key: str
    wants: Callable[[Fault], bool]
    remind: timedelta | None = None
    is_quiet: Callable[[datetime], bool] = lambda _: False


def advanced(
    incidents: Iterable[Incident],
    faults: Iterable[Fault],
    now: datetime,
    new_id: Callable[[], str],
    is_known: Callable[[Fault], bool] = lambda _: True,
) -> list[Incident]:
    """The incidents once these are the faults; the same objects where nothing is to be kept of what changed.

    `is_known` says of a fault that is over whether its sets are still in the ledger.
    """
    everything = list(incidents)
    older = [incident for incident in everything if not incident.is_closed]
    older.sort(key=lambda incident: (incident.opened, incident.id))
    faults = list(faults)
    nodes = _Nodes(len(older) + len(faults))  # the incidents, the oldest first, and behind them the faults
    known = _Spans((fault, place) for place, incident in enumerate(older) for fault in incident.faults)
    others = _Spans((fault, len(older) + place) for place, fault in enumerate(faults))
    for place, fault in enumerate(faults, len(older)):
        for other in (*known.meeting(fault), *others.meeting(fault)):
            nodes.join(place, other)
    members: dict[int, list[Fault]] = {}
    for place, fault in enumerate(faults, len(older)):
        members.setdefault(nodes.first(place), []).append(fault)
    told: dict[int, dict[str, Told]] = {}
    for place, incident in enumerate(older):
        of_first = told.setdefault(nodes.first(place), {})
        for key, of_target in incident.told.items():
            known_as = of_first.setdefault(key, of_target)
            if known_as is not of_target:
                of_first[key] = msgspec.structs.replace(known_as, ids=(*known_as.ids, *of_target.ids))
    found = [
        _with(incident, members.pop(place, ()), told[place], now, is_known)
        for place, incident in enumerate(older)
        if nodes.first(place) == place
    ]
    found += [incident for incident in everything if incident.is_closed]
    groups = islice(members.values(), MOST_NEW)
    found += [Incident(id=new_id(), opened=now, changed=now, faults=tuple(group)) for group in groups]
    return [incident for incident in found if not is_over(incident, now)]


def due(incidents: Sequence[Incident], policy: Policy, now: datetime) -> list[Notice]:
    """What a target is to be told now: nothing until the first of what waits has waited for `GROUPED`, then all."""
    if policy.is_quiet(now):
        return []
    waiting = [(since, notice) for incident in incidents for since, notice in _notices(incident, policy, now)]
    if not any(_has_passed(GROUPED, since, now) for since, _ in waiting):
        return []
    return [notice for _, notice in waiting[:MOST_NEW]]


def told(incident: Incident, notices: Mapping[str, Notice], now: datetime) -> Incident:
    """An incident once targets, by their keys, were told of these notices."""
    found, is_closed = dict(incident.told), incident.is_closed
    for key, notice in notices.items():
        if notice.happened in {"resolved", "expired"}:
            found.pop(key, None)
            is_closed = True
            continue
        before = found.get(key)
        found[key] = Told(
            ids=tuple(notice.ids),
            first=before.first if before is not None else now,
            at=now,
            states=_states(notice.faults),
            count=_count(notice.faults),
        )
    return msgspec.structs.replace(incident, told=found, is_closed=is_closed)


def for_targets(incident: Incident, keys: Iterable[str]) -> Incident:
    """An incident without what was told to targets that there are no more."""
    known = set(keys)
    if known.issuperset(incident.told):
        return incident
    return msgspec.structs.replace(incident, told={key: of for key, of in incident.told.items() if key in known})


def _notices(incident: Incident, policy: Policy, now: datetime) -> Iterable[tuple[datetime, Notice]]:
    """What a target does not know of an incident, and since when it is to."""
    before = incident.told.get(policy.key)
    ids = (incident.id,) if before is None else before.ids
    wanted = [fault for fault in incident.faults if policy.wants(fault)]
    if incident.ended is not None:
        if before is not None:
            yield incident.changed, Notice(incident.ended, ids, incident, wanted or incident.faults)
        return
    wanted = [fault for fault in wanted if not fault.silenced]
    if not wanted:
        return
    if before is None:
        yield incident.opened, Notice("opened", ids, incident, wanted)
    elif not set(before.states).issuperset(_states(wanted)):
        yield incident.changed, Notice("changed", ids, incident, wanted)
    elif (_count(wanted) or 0) > (before.count or 0) and _has_passed(MORE_AFTER, before.at, now):
        yield before.at, Notice("changed", ids, incident, wanted)
    elif policy.remind is not None and _has_passed(policy.remind, before.at, now):
        yield before.at, Notice("reminder", ids, incident, wanted)


def _with(
    incident: Incident,
    faults: Sequence[Fault],
    told: Mapping[str, Told],
    now: datetime,
    is_known: Callable[[Fault], bool],
) -> Incident:
    """An incident with the faults that belong to it now."""
    if faults:
        is_same = incident.ended is None and _states(faults) == incident.states
        changed = incident.changed if is_same else now
        found = Incident(id=incident.id, opened=incident.opened, changed=changed, faults=tuple(faults), told=told)
    elif incident.ended is None:
        ended: Literal["resolved", "expired"] = "resolved" if any(map(is_known, incident.faults)) else "expired"
        found = msgspec.structs.replace(incident, changed=now, ended=ended, told=told)
    else:
        found = incident
    return incident if found == incident else found


def is_over(incident: Incident, now: datetime) -> bool:
    """Whether nothing is to be said of an incident any more. What ended a moment ago may come back."""
    has_rested = incident.is_closed or _has_passed(GROUPED, incident.changed, now)
    return incident.ended is not None and not incident.told and has_rested


def _has_passed(span: timedelta, since: datetime, now: datetime) -> bool:
    """Whether so much time has passed; also when the clock was set back by as much, and no one knows how much has."""
    return abs(now - since) >= span


class _Nodes:
    """Numbers that are joined to groups, each of which is known by its first."""

    def __init__(self, number: int) -> None:
        self._before = list(range(number))

    def first(self, node: int) -> int:
        """The first of a node's group."""
        while self._before[node] != node:
            self._before[node] = node = self._before[self._before[node]]
        return node

    def join(self, one: int, other: int) -> None:
        """Make one group of those of two nodes."""
        first, second = sorted((self.first(one), self.first(other)))
        self._before[second] = first


class _Spans:
    """Faults by what they have in common, by stage and by time, each with a node."""

    def __init__(self, faults: Iterable[tuple[Fault, int]]) -> None:
        self._lines: dict[object, list[tuple[str, Fault, int]]] = {}
        for fault, node in faults:
            for line in _lines(fault):
                self._lines.setdefault(line, []).append((_sortable(fault.from_), fault, node))
        self._ends: dict[object, list[str]] = {}  # the latest end of those up to each
        for line, of_line in self._lines.items():
            of_line.sort(key=lambda one: one[0])
            self._ends[line] = list(accumulate((_sortable(fault.to) for _, fault, _ in of_line), max))

    def meeting(self, fault: Fault) -> Iterator[int]:
        """The nodes of those that a fault meets."""
        for line in _lines(fault):
            of_line = self._lines.get(line, ())
            until = _sortable(fault.to)
            place = bisect_left(of_line, until, key=lambda one: one[0]) if until else len(of_line)
            while place > 0 and (fault.from_ is None or self._ends[line][place - 1] > _sortable(fault.from_)):
                place -= 1
                if fault.meets(of_line[place][1]):
                    yield of_line[place][2]


def _lines(fault: Fault) -> Iterable[object]:
    return [(*fault.line, stage) for stage in fault.stages or (None,)]


def _sortable(time: str | None) -> str:
    """Texts of times compare right without the `Z`."""
    return "" if time is None else time[:-1]


def _states(faults: Iterable[Fault]) -> tuple[str, ...]:
    return tuple(sorted({fault.state for fault in faults}))


def _count(faults: Iterable[Fault]) -> int | None:
    counts = [fault.count for fault in faults if fault.count is not None]
    return sum(counts) if counts else None
