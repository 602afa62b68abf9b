"""Answers of `/model/etl/coverage`: a verdict, or what of it was asked for, as JSON."""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
from etlog_events import timestamps
from etlog_ledger.reading.coverage import Judged, View
from etlog_ledger.told import Told
from etlog_ledger.verdict import (
    CellVerdict,
    Habit,
    Problem,
    Quantiles,
    SeriesVerdict,
    SetVerdict,
    Verdict,
    WindowlessErrors,
)

from etlog_api.coverage_query import CoverageQuery
from etlog_api.envelope import JSON, enveloped
from etlog_api.log.cache import MAX_ANSWERS, MAX_BYTES
from etlog_api.negotiation import Body

T = TypeVar("T")

#: Sets of each series that are shown unless a window is asked for, the newest.
NEWEST = 48


@dataclass(frozen=True, slots=True)
class Pipeline:
    """Whose verdict it is: the name of the log, the name of its zone, and a digest of what is expected of it."""

    log: str
    zone: str
    expectations: str


class _Series(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A series as it is shown."""

    category: str
    every: str
    length: str | None = None
    stages: Sequence[str]
    delay: Mapping[str, Quantiles]
    duration: Mapping[str, Quantiles]
    habits: Mapping[str, Habit]
    sets: Sequence[SetVerdict]


class _Data(msgspec.Struct, frozen=True):
    """The data of an answer."""

    log: str
    now: str
    zone: str
    cursor: str | None
    suspended: str | None
    expectations: str
    watched: bool
    summary: Mapping[str, int]
    problems: Sequence[Problem]
    errors: Sequence[WindowlessErrors]
    series: Sequence[_Series]


def _plain(value: Any) -> Any:
    """What the encoder does not know itself."""
    if isinstance(value, Mapping):
        return dict(value)
    raise NotImplementedError


_encode = msgspec.json.Encoder(enc_hook=_plain).encode


def answer(view: View, query: CoverageQuery, pipeline: Pipeline) -> bytes:
    """The body that answers `query`."""
    judged = view.judged
    verdict, cursor = judged.verdict, judged.ledger.cursor
    data = _Data(
        log=pipeline.log,
        now=timestamps.from_datetime(judged.now),
        zone=pipeline.zone,
        cursor=None if cursor is None else cursor.decode(errors="backslashreplace"),
        suspended=view.suspended,
        expectations=pipeline.expectations,
        watched=judged.told is not None,
        summary=verdict.summary,
        problems=[_shown(problem, judged.told) for problem in verdict.problems if _is_asked(problem, query)],
        errors=_errors(verdict, query),
        series=[shown for series in verdict.series if (shown := _series(series, query)) is not None],
    )
    return enveloped(_encode(data), view.warning)


def _is_asked(problem: Problem, query: CoverageQuery) -> bool:
    """A window does not hide what is wrong outside of it."""
    return (
        (query.categories is None or problem.category in query.categories)
        and (query.stages is None or not query.stages.isdisjoint(problem.stages))
        and (query.states is None or problem.state in query.states)
    )


def _shown(problem: Problem, told: Told | None) -> Problem:
    """A problem with when people were told of it."""
    of_problem = None if told is None else told.of(problem)
    return problem if of_problem is None else msgspec.structs.replace(problem, told=of_problem)


def _errors(verdict: Verdict, query: CoverageQuery) -> list[WindowlessErrors]:
    """They are of no set and may be of any stage; among states they are failures."""
    if query.states is not None and "failed" not in query.states:
        return []
    return [error for error in verdict.errors if query.categories is None or error.category in query.categories]


def _series(series: SeriesVerdict, query: CoverageQuery) -> _Series | None:
    """What of a series is asked for. None where that is none of its stages, or no set where only some are asked for."""
    if query.categories is not None and series.category not in query.categories:
        return None
    stages = [stage for stage in series.stages if query.stages is None or stage in query.stages]
    if not stages:
        return None
    sets = _sets(series, stages, query)
    if not sets and (query.states is not None or query.window is not None):
        return None
    return _Series(
        category=series.category,
        every=series.every,
        length=series.length,
        stages=stages,
        delay=_only(series.delay, stages),
        duration=_only(series.duration, stages),
        habits=_only(series.habits, stages),
        sets=sets,
    )


def _sets(series: SeriesVerdict, stages: Sequence[str], query: CoverageQuery) -> list[SetVerdict]:
    """The sets that are asked for, the oldest first; without a window, at most `NEWEST`."""
    if query.states is not None and not any(
        series.counts.get(stage, {}).get(state) for stage in stages for state in query.states
    ):
        return []
    window = query.window
    if window is not None:
        if window.start_ns is not None and window.start_ns == window.end_ns:
            return []  # a week that begins at this instant
        start, end = (None if side is None else side / 1e9 for side in (window.start_ns, window.end_ns))
        return _asked(series.sets(start=start, end=end), query)
    newest = NEWEST
    while True:
        sets = series.sets(newest=newest)
        asked = _asked(sets, query)
        if len(asked) >= NEWEST or len(sets) < newest:
            return asked[-NEWEST:]
        newest *= 8


def _asked(sets: Sequence[SetVerdict], query: CoverageQuery) -> list[SetVerdict]:
    if query.stages is None and query.states is None:
        return list(sets)
    found = []
    for each in sets:
        cells = each.stages if query.stages is None else _only(each.stages, query.stages)
        if cells and (query.states is None or any(_is_in(cell, query.states) for cell in cells.values())):
            found.append(each if cells is each.stages else SetVerdict(each.window, cells))
    return found


def _is_in(cell: CellVerdict, states: frozenset[str]) -> bool:
    return cell.state in states or (cell.unusual and "unusual" in states)


def _only(of_stages: Mapping[str, T], stages: Sequence[str] | frozenset[str]) -> Mapping[str, T]:
    return {stage: value for stage, value in of_stages.items() if stage in stages}


class CoverageCache:
    """Bodies by query, each made once per verdict. The least recently used ones go first.

    `logs` is how many logs share the bytes.
    """

    def __init__(self, pipeline: Pipeline, logs: int = 1) -> None:
        self._pipeline = pipeline
        self._logs = logs
        self._judged: Judged | None = None
        self._bodies: OrderedDict[tuple[CoverageQuery, str | None, str | None], asyncio.Future[Body]] = OrderedDict()
        self._bytes = 0

    async def body(self, view: View, query: CoverageQuery) -> Body:
        """The answer to `query` on what `view` shows. A thread makes it: a window may have all sets in it."""
        if view.judged is not self._judged:
            self._bodies.clear()
            self._bytes = 0
            self._judged = view.judged
        key = (query, view.suspended, view.warning)
        made = self._bodies.get(key)
        if made is None:
            made = self._bodies[key] = asyncio.ensure_future(asyncio.to_thread(self._made, view, query))
            made.add_done_callback(lambda made: self._note(key, made))
        else:
            self._bodies.move_to_end(key)
        return await asyncio.shield(made)

    def _made(self, view: View, query: CoverageQuery) -> Body:
        return Body(answer(view, query, self._pipeline), JSON)

    def _note(self, key: tuple[CoverageQuery, str | None, str | None], made: "asyncio.Future[Body]") -> None:
        """Count what was made, unless another verdict came meanwhile."""
        if self._bodies.get(key) is not made:
            return
        if made.cancelled() or made.exception() is not None:
            del self._bodies[key]
            return
        self._bytes += len(made.result().text)
        while len(self._bodies) > 1 and (len(self._bodies) > MAX_ANSWERS or self._bytes > MAX_BYTES // self._logs):
            _, dropped = self._bodies.popitem(last=False)
            if dropped.done() and not dropped.cancelled() and dropped.exception() is None:
                self._bytes -= len(dropped.result().text)
