"""Faults: what is wrong with a log now, in its sets and in the log itself."""

from collections.abc import Iterable

import msgspec
from etlog_ledger.told import starts
from etlog_ledger.verdict import Verdict

#: States of faults of the log itself: events lost, dead letters, no progress, a store that is away or may lose data.
OF_LOG = frozenset({"lost", "dead", "stalled", "store"})


class Fault(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename={"from_": "from"}):
    """A fault, as `text` says it in a sentence; it began at `since`.

    One of sets has a category and, unless its error names no window, the cadence and stages of a problem of the
    verdict, and the span of its windows; else `about` says what it is of: the kind of the error, or which danger.
    `silenced` means that a mark says that people know of it. `count` is how many events are lost or dead.
    """

    state: str
    text: str
    since: str
    about: str | None = None
    category: str | None = None
    every: str | None = None
    length: str | None = None
    stages: tuple[str, ...] = ()
    from_: str | None = None
    to: str | None = None
    sets: int | None = None
    error: str | None = None
    count: int | None = None
    silenced: bool = False

    @property
    def line(self) -> tuple[str | None, ...]:
        """What faults have in common that may be one: the series of their sets, or what is wrong with the log."""
        return self.category, self.every, self.length, None if self.every else self.state, self.about

    def meets(self, other: "Fault") -> bool:
        """Whether it shares a stage of a set with another one, or is of the same kind where there are no sets."""
        if self.line != other.line:
            return False
        if self.from_ is None or self.to is None or other.from_ is None or other.to is None:
            return True
        first, last = starts(self.from_, self.to, self.every, self.length)
        others = starts(other.from_, other.to, other.every, other.length)
        return first < others[1] and others[0] < last and not set(self.stages).isdisjoint(other.stages)


def of_verdict(verdict: Verdict) -> Iterable[Fault]:
    """The faults of sets: the problems, and errors that name no window."""
    for problem in verdict.problems:
        yield Fault(
            state=problem.state,
            text=problem.text,
            since=problem.since,
            category=problem.category,
            every=problem.every,
            length=problem.length,
            stages=tuple(problem.stages),
            from_=problem.from_,
            to=problem.to,
            sets=problem.sets,
            error=problem.error,
            silenced=problem.mark is not None,
        )
    for errors in verdict.errors:
        line = (errors.error or "").strip().partition("\n")[0]
        yield Fault(
            state="failed",
            text=f"{errors.kind} without a window: {line}" if line else f"{errors.kind} without a window",
            since=errors.last,
            about=errors.kind,
            category=errors.category,
            error=errors.error,
        )
