"""How many messages a person gets of pipelines with planted faults: `python -m benchmarks.verdict.messages`.

The clock walks through days of noisy pipelines in steps of a minute. Each verdict goes through what `etlog watch` does
with it: incidents, groups of 30 s, and messages to one target that wants all of them and no reminders.
"""

import argparse
import logging
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from etlog_events.config import Notify
from etlog_events.kinds import KUBECOST_KINDS
from etlog_ledger.judge import Judge
from etlog_ledger.marks import Mark
from etlog_ledger.row import Row
from etlog_ledger.verdict import Problem, Verdict
from etlog_watch.faults import Fault, of_verdict
from etlog_watch.incident_store import Kept
from etlog_watch.incidents import GROUPED
from etlog_watch.message import Happened, Message
from etlog_watch.metrics import Metrics
from etlog_watch.sender import SENT, Outcome
from etlog_watch.target import Target
from etlog_watch.teller import Teller, open_incidents

from benchmarks.verdict.pipelines import PIPELINES, Pipeline
from benchmarks.verdict.story import Story, tell
from benchmarks.verdict.walk import Walk

#: Those that a careless alert would tell of most: retries, long tails, re-runs, restarts, hours of rest, batches.
NOISY = (
    "hourly, long tail",
    "hourly, many retries",
    "hourly, re-runs of old sets",
    "hourly and restarts",
    "quarter-hourly, long tail",
    "nightly batch",
    "live, reconciled at night",
    "office hours",
)

_MINUTE = timedelta(minutes=1)

#: A stage of a set: category, cadence, length, stage, start of the window.
Cell = tuple[str, str, str | None, str, str]

_TOLD: tuple[Happened, ...] = ("opened", "changed", "resolved", "expired")
_HEAD = ("pipeline", "faults planted", *_TOLD, "still open", "messages", "a week", "cells")


@dataclass(frozen=True, slots=True)
class Seen:
    """What a verdict says is wrong: faults, and cells with what is wrong with each; and how far back its series go."""

    faults: Sequence[Fault]
    cells: Mapping[Cell, str]
    begins: Mapping[tuple[str, str, str | None], str]

    @classmethod
    def of(cls, verdict: Verdict) -> "Seen":
        """What this one says."""
        cells = {cell: problem.state for problem in verdict.problems for cell in _cells(verdict, problem)}
        begins: dict[tuple[str, str, str | None], str] = {}
        for series in verdict.series:
            key = series.category, series.every, series.length
            begins[key] = min(series.begins, begins.get(key, series.begins))
        return cls(list(of_verdict(verdict)), cells, begins)

    def is_known(self, fault: Fault) -> bool:
        """Whether the ledger still reaches back to the sets of a fault."""
        begins = self.begins.get((fault.category or "", fault.every or "", fault.length))
        return fault.to is None or (begins is not None and begins < fault.to)


class Noting:
    """A judge that notes what it said, by minute: the walk asks for minutes in any order."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self.seen: dict[datetime, Seen] = {}

    def judge(self, rows: Mapping[str, Mapping[str, Row]], marks: Sequence[Mark], now: datetime) -> Verdict:
        """The verdict on these rows."""
        verdict = self._judge.judge(rows, marks, now)
        self.seen[now] = Seen.of(verdict)
        return verdict


class Nowhere:
    """A target that no message is sent to: they are counted instead."""

    async def send(self, _: Message) -> Outcome:
        """Take it."""
        return SENT

    async def close(self) -> None:
        """Nothing is open."""


@dataclass
class Count:
    """What was told of a pipeline in so many days: `problems` and `messages` by what happened.

    `cells` is how often a stage of a set became wrong, became wrong in another way, or was right again.
    """

    name: str
    days: float
    faults: int
    problems: Counter[Happened] = field(default_factory=Counter)
    messages: Counter[Happened] = field(default_factory=Counter)
    still_open: int = 0
    cells: int = 0

    def row(self) -> tuple[str, ...]:
        """Its line of the table."""
        told = [self.problems[happened] for happened in _TOLD]
        messages = sum(self.messages.values())
        numbers = map(str, (self.faults, *told, self.still_open, messages))
        return self.name, *numbers, f"{messages / self.days * 7:.1f}", str(self.cells)


def count(story: Story, seed: int) -> Count:
    """What is told of a story."""
    judge = Noting(Judge(KUBECOST_KINDS, story.pipeline.zone))
    Walk(story, seed=seed, judge=judge).run()
    found = Count(story.pipeline.name, (story.end - story.begin) / timedelta(days=1), len(story.faults))
    notify = Notify("https://hooks.example.com/etlog")
    teller = Teller([Target(0, notify, Nowhere(), UTC)], "default", None, Metrics())
    kept, now, seen = Kept(), min(judge.seen), Seen((), {}, {})
    while now <= story.end:
        before, seen = seen, judge.seen.get(now, seen)
        found.cells += sum(
            before.cells.get(cell) != seen.cells.get(cell) for cell in before.cells.keys() | seen.cells.keys()
        )
        # Half a minute later, what the verdict of this minute brought is told, and nothing of the next one.
        for moment in (now, now + GROUPED):
            kept = teller.next(kept, seen.faults, moment, seen.is_known)
            for message in kept.messages.values():
                found.messages[message.happened] += 1
                found.problems[message.happened] += len(message.problems)
            kept = Kept(kept.revision, kept.incidents, {}, kept.ended)
        now += _MINUTE
    found.still_open = sum(len(of.ids) for one in open_incidents(kept).values() for of in one.told.values())
    return found


def table(counts: Sequence[Count]) -> Iterator[str]:
    """A Markdown table, a line for each pipeline, and their sum."""
    total = Count("all of them", max(each.days for each in counts), sum(each.faults for each in counts))
    for each in counts:
        total.problems.update(each.problems)
        total.messages.update(each.messages)
        total.still_open += each.still_open
        total.cells += each.cells
    yield f"| {' | '.join(_HEAD)} |"
    yield f"|{'---|' * len(_HEAD)}"
    yield from (f"| {' | '.join(each.row())} |" for each in (*counts, total))


def _cells(verdict: Verdict, problem: Problem) -> Iterator[Cell]:
    """The cells that a problem is made of."""
    first, last = (datetime.fromisoformat(text).timestamp() for text in (problem.from_, problem.to))
    of = problem.category, problem.every, problem.length
    for series in verdict.series:
        if (series.category, series.every, series.length) != of:
            continue
        for one in series.sets(start=first, end=last):
            for stage in problem.stages:
                cell = one.stages.get(stage)
                if cell is not None and (cell.state == problem.state or (cell.unusual and problem.state == "unusual")):
                    yield *of, stage, one.window.start


def main() -> int:
    """Count, and print a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.verdict.messages", description=__doc__)
    parser.add_argument("--days", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    logging.disable()
    by_name: dict[str, Pipeline] = {pipeline.name: pipeline for pipeline in PIPELINES}
    counts = []
    for name in NOISY:
        began = time.monotonic()
        counts.append(count(tell(by_name[name], arguments.days, arguments.seed), arguments.seed))
        print(f"{name}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    print(*table(counts), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
