"""The verdict: what each stage did with each set, as it is shown. `etlog_ledger.judge` makes it.

The structs are encoded as they stand: their JSON is that of `GET /model/etl/coverage`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import msgspec

#: What a stage of a set may be, in the order in which summaries name it. `recovered` is done after an error, `missing`
#: a hole, `stopped` the end of the series; `due` is expected, but not overdue; `waived` by a mark.
State = Literal["done", "recovered", "failed", "missing", "stopped", "due", "waived"]
STATES: tuple[State, ...] = ("done", "recovered", "failed", "missing", "stopped", "due", "waived")

#: What a problem may be, the worst first. Sizes that are unusual are those of sets that are done.
Fault = Literal["failed", "missing", "stopped", "unusual"]
FAULTS: tuple[Fault, ...] = ("failed", "missing", "stopped", "unusual")


class Span(msgspec.Struct, frozen=True):
    """The window of a set: RFC 3339 in UTC."""

    start: str
    end: str


class Quantiles(msgspec.Struct, frozen=True):
    """Seconds that half of the sets, and 95 of 100, took at most."""

    p50: float
    p95: float


class Habit(msgspec.Struct, frozen=True, omit_defaults=True):
    """When a stage is expected: `due` seconds after the end of the window, or at a time of the day, `only` for some of
    the sets, as `[[expect]]` spells it. `declared` by the configuration, or else learned."""

    due: float | str
    only: str | None = None
    declared: bool = False


class CellVerdict(msgspec.Struct, frozen=True, omit_defaults=True):
    """A stage of a set. Times are RFC 3339 in UTC.

    `count`, `first`, `last`, `size` and `seconds` are those of its events; `error` is the last one, also where it is
    `recovered`, and `failed` when that happened. `usual` is the size that is usual, where this one is not. `due` is
    when the set is overdue. `behind` names the stage whose failure this one waits for.
    """

    state: State
    count: int = 0
    first: str | None = None
    last: str | None = None
    size: int | None = None
    seconds: float | None = None
    error: str | None = None
    failed: str | None = None
    unusual: bool = False
    usual: int | None = None
    due: str | None = None
    behind: str | None = None


class SetVerdict(msgspec.Struct, frozen=True):
    """A set, and what is known or expected of its stages, in their usual order."""

    window: Span
    stages: Mapping[str, CellVerdict]


class MarkShown(msgspec.Struct, frozen=True):
    """The mark that covers a problem. `until` is when it ends, RFC 3339 in UTC."""

    id: str
    kind: str
    reason: str
    by: str
    at: str
    until: str | None


class ToldShown(msgspec.Struct, frozen=True):
    """When people were told of a problem, at first and last, RFC 3339 in UTC, and how many targets were."""

    first: str
    last: str
    targets: int


class Problem(
    msgspec.Struct,
    frozen=True,
    omit_defaults=True,
    rename={"from_": "from", "last_done": "lastDone", "usual_delay": "usualDelay"},
):
    """A run of adjacent expected sets with the same fault in the same stages.

    `from_` and `to` span their windows, of which `sets` are wrong; `since` is when the first of them became so.
    `usual_delay` is in seconds. `mark` silences the problem, but does not end it. `text` says all of it in a sentence.
    The judge does not know whether people were `told`: that is added where it is shown.
    """

    id: str
    category: str
    every: str
    stages: Sequence[str]
    state: Fault
    from_: str
    to: str
    sets: int
    since: str
    text: str
    last_done: str | None
    usual_delay: float | None
    mark: MarkShown | None
    length: str | None = None
    size: int | None = None
    usual: int | None = None
    error: str | None = None
    told: ToldShown | None = msgspec.field(default_factory=lambda: None)  # encoded even if it is None, as `mark` is


class WindowlessErrors(msgspec.Struct, frozen=True):
    """Errors of a category that name no window, the last of which came after its last set that was done. `count` is of
    all of them in the ledger, which does not know how many came since."""

    category: str
    kind: str
    count: int
    last: str
    error: str | None


class SeriesVerdict(Protocol):
    """The sets of a category that have one length, step and phase. `begins` is when the oldest window starts.

    `every` is their step; `length` is that of the windows where it differs. `counts` are the cells of each stage in
    each state, `unusual` ones once more. `delay` and `duration` are in seconds.
    """

    @property
    def category(self) -> str: ...
    @property
    def every(self) -> str: ...
    @property
    def length(self) -> str | None: ...
    @property
    def begins(self) -> str: ...
    @property
    def stages(self) -> Sequence[str]: ...
    @property
    def delay(self) -> Mapping[str, Quantiles]: ...
    @property
    def duration(self) -> Mapping[str, Quantiles]: ...
    @property
    def habits(self) -> Mapping[str, Habit]: ...
    @property
    def counts(self) -> Mapping[str, Mapping[str, int]]: ...
    def sets(
        self, *, newest: int | None = None, start: float | None = None, end: float | None = None
    ) -> list[SetVerdict]:
        """Sets by time, the oldest first: the `newest`, and those that overlap the span from `start` to `end`, which
        are seconds since 1970."""


@dataclass(frozen=True, slots=True, eq=False)
class Verdict:
    """What is complete and what is not, as of `now` (seconds since 1970).

    `summary` counts cells by state, and `unusual` ones. `heard` is when each kind of event happened last.
    """

    now: float
    summary: Mapping[str, int]
    problems: Sequence[Problem]
    errors: Sequence[WindowlessErrors]
    series: Sequence[SeriesVerdict]
    heard: Mapping[str, str]

    @property
    def is_sound(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems and not self.errors
