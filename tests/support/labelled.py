"""Logs of which a person has said what is wrong, and how well a verdict on one agrees with that."""

import gzip
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo

import msgspec
from etlog_events.event import Event
from etlog_events.kinds import CATEGORIES, KUBECOST_KINDS, Kinds
from etlog_events.validation import Note, noter
from etlog_ledger.fold import fold
from etlog_ledger.judge import Judge
from etlog_ledger.row import Row
from etlog_ledger.verdict import CellVerdict, Problem, SetVerdict, Verdict

#: An event: kind, start and end of its window or None, time, size or None, error or None.
Told: TypeAlias = tuple[str, str | None, str | None, str, int | None, str | None]

#: Category -> interval -> row.
Rows: TypeAlias = dict[str, dict[str, Row]]

#: What a cell that is wrong is called: `absent` is a hole or the end of the series, which the eye cannot tell apart.
_CALLED = {"failed": "failed", "missing": "absent", "stopped": "absent"}


@dataclass(frozen=True, order=True)
class WrongCell:
    """A stage of a set that is `failed`, `absent` or `unusual`; `start` is that of the window."""

    category: str
    stage: str
    start: datetime
    fault: str
    every: str

    def __str__(self) -> str:
        return f"{self.category} {self.stage} {self.start:%Y-%m-%dT%H:%M}Z {self.fault} (every {self.every})"


@dataclass(frozen=True)
class LabelledLog:
    """A log, and what a person calls wrong in it at `now`, who knows no more than its events and the pipeline's zone.

    `doubtful` cells, told without fault and cadence, may be called wrong or not.
    """

    name: str
    why: str
    now: datetime
    zone: ZoneInfo
    events: Sequence[Told]
    wrong: frozenset[WrongCell]
    doubtful: frozenset[tuple[str, str, datetime]]

    def __str__(self) -> str:
        return self.name

    @property
    def categories(self) -> dict[str, str]:
        """The categories of its events beyond those that every log has: name -> prefix."""
        prefixes = {kind[: kind.index("Set") + 3] for kind, *_ in self.events} - set(CATEGORIES.values())
        return {prefix.removesuffix("Set").lower(): prefix for prefix in sorted(prefixes)}

    @property
    def kinds(self) -> Kinds:
        """The kinds of its events."""
        return Kinds({**CATEGORIES, **self.categories}) if self.categories else KUBECOST_KINDS

    def texts(self) -> list[bytes]:
        """Its events as the log holds them, in order of arrival."""
        kinds = self.kinds
        return [
            Event.new(
                kind, size=size, window=(start, end) if start and end else None, error=error, time=time, kinds=kinds
            ).encode()
            for kind, start, end, time, size, error in self.events
        ]

    def judged(self) -> Verdict:
        """The verdict of a new judge."""
        kinds = self.kinds
        return Judge(kinds, self.zone).judge(rows_of(self.texts(), kinds), (), self.now)


@dataclass(frozen=True)
class Answer:
    """What an answer of the API, or a verdict, tells of sets and problems."""

    series: Sequence["SeriesTold"]
    problems: Sequence[Problem]

    @classmethod
    def of(cls, verdict: Verdict) -> "Answer":
        """What a verdict tells."""
        series = [SeriesTold(each.category, each.every, each.sets()) for each in verdict.series]
        return cls(series, verdict.problems)

    def wrong(self) -> Iterator[WrongCell]:
        """The cells that it calls wrong."""
        for series in self.series:
            for of_set in series.sets:
                start = datetime.fromisoformat(of_set.window.start)
                for stage, cell in of_set.stages.items():
                    fault = fault_of(cell)
                    if fault:
                        yield WrongCell(series.category, stage, start, fault, series.every)


class SeriesTold(msgspec.Struct, frozen=True):
    """The sets of a series, as far as they are compared."""

    category: str
    every: str
    sets: Sequence[SetVerdict]


class _Data(msgspec.Struct, frozen=True):
    problems: list[Problem]
    series: list[SeriesTold]


def answer_of(data: Any) -> Answer:
    """What `data` of an answer tells. Raises `msgspec.ValidationError` if it is not spelled as promised."""
    told = msgspec.convert(data, _Data)
    return Answer(told.series, told.problems)


def fault_of(cell: CellVerdict) -> str | None:
    """What of a cell is wrong, if anything is."""
    return _CALLED.get(cell.state, "unusual" if cell.unusual else None)


@dataclass(frozen=True)
class Score:
    """How an answer differs from what a person said; nothing differs if it is falsy.

    `missed` are cells that are wrong and are not called so, `alarmed` those that are called wrong and are not.
    `untold` is by how many cells the problems differ from the cells.
    """

    missed: Sequence[WrongCell]
    alarmed: Sequence[WrongCell]
    untold: int
    problems: Sequence[Problem]

    def __bool__(self) -> bool:
        return bool(self.missed or self.alarmed or self.untold)

    def __str__(self) -> str:
        cells = f"{len(self.missed)} missed, {len(self.alarmed)} wrongly alarmed, {self.untold} told otherwise"
        return f"{cells}, {len(self.problems)} problems"

    def lines(self, most: int = 5) -> Iterator[str]:
        """What differs, cell by cell, and the problems."""
        for word, cells in (("missed", self.missed), ("false", self.alarmed)):
            yield from (f"{word}: {cell}" for cell in cells[:most])
            if len(cells) > most:
                yield f"{word}: and {len(cells) - most} more"
        yield from (f"problem: {problem.text}" for problem in self.problems[:most])


def score(log: LabelledLog, answer: Answer) -> Score:
    """How an answer differs from what a person said of the log."""
    found = set(answer.wrong())
    alarmed = [cell for cell in found - log.wrong if (cell.category, cell.stage, cell.start) not in log.doubtful]
    told = sum(problem.sets * len(problem.stages) for problem in answer.problems)
    return Score(sorted(log.wrong - found), sorted(alarmed), abs(told - len(found)), answer.problems)


def rows_of(texts: Iterable[bytes], kinds: Kinds = KUBECOST_KINDS) -> Rows:
    """The rows that events make, as the consumer makes them."""
    note = noter(kinds)
    notes: dict[tuple[str, str], list[Note]] = {}
    for text in texts:
        kind, _, interval, noted = note(text)
        notes.setdefault((kind.name, interval), []).append(noted)
    return fold(notes, kinds)


def labelled(path: Path) -> list[LabelledLog]:
    """The logs of a file: JSON, gzipped, one a line."""
    with gzip.open(path, "rt") as lines:
        return [_log(json.loads(line)) for line in lines]


def _log(line: dict[str, Any]) -> LabelledLog:
    return LabelledLog(
        line["name"],
        line["why"],
        datetime.fromisoformat(line["now"]),
        ZoneInfo(line["zone"]),
        [tuple(event) for event in line["events"]],
        frozenset(
            WrongCell(category, stage, datetime.fromisoformat(start), fault, every)
            for category, stage, start, fault, every in line["wrong"]
        ),
        frozenset((category, stage, datetime.fromisoformat(start)) for category, stage, start in line["doubtful"]),
    )
