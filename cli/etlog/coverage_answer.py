"""The answer of `/model/etl/coverage` as `etlog coverage` reads it."""

from collections.abc import Mapping, Sequence

import msgspec
from etlog_ledger.verdict import FAULTS, CellVerdict, Habit, Problem, Quantiles, SetVerdict, WindowlessErrors

from etlog.client import Answer
from etlog.errors import DONE, FAILED, UNREACHABLE, CommandFailed
from etlog.moments import Moments, seconds_of

#: Seconds. A verdict is of the last 10 s, and judged anew each second; one that is older says nothing of now.
OLDEST = 60.0


class Series(msgspec.Struct, frozen=True):
    """The sets of a category that have one length, step and phase, as far as they are shown."""

    category: str
    every: str
    sets: Sequence[SetVerdict]
    stages: Sequence[str] = ()
    delay: Mapping[str, Quantiles] = {}
    duration: Mapping[str, Quantiles] = {}
    habits: Mapping[str, Habit] = {}
    length: str | None = None

    @property
    def name(self) -> str:
        """`asset, every 1h`."""
        return f"{self.category}, {self.cadence}"

    @property
    def cadence(self) -> str:
        """`every 1h`, or `7d every 1d`, where the sets overlap."""
        return f"{'' if self.length is None else f'{self.length} '}every {self.every}"

    def covers(self, problem: Problem) -> bool:
        """Whether `problem` may be one of these sets."""
        mine = (self.category, self.every, self.length)
        return mine == (problem.category, problem.every, problem.length)


class Coverage(msgspec.Struct, frozen=True):
    """What is complete and what is not, as of `now`; `suspended` says why that is not the present, `warning` why it
    soon may not be. Watchers tell people of problems where the log is `watched`."""

    log: str
    now: str
    zone: str
    summary: Mapping[str, int]
    problems: Sequence[Problem]
    errors: Sequence[WindowlessErrors]
    series: Sequence[Series]
    suspended: str | None = None
    watched: bool = False
    warning: str | None = None

    def age(self, at: float) -> float:
        """Seconds from `now` to `at`."""
        return max(0.0, at - seconds_of(self.now))

    def is_present(self, at: float) -> bool:
        """Whether it says how things stood at `at`."""
        return self.suspended is None and self.age(at) <= OLDEST

    def exit_code(self, at: float) -> int:
        """What `etlog coverage` exits with. A mark silences a problem, but does not solve it."""
        if not self.is_present(at):
            return UNREACHABLE
        return FAILED if self.problems or self.errors else DONE

    def by_urgency(self) -> list[Problem]:
        """The problems: those that are not marked before those that are, what lasts before what is over, the worst
        first, and the latest of these. Of sizes it is not known whether they last."""
        latest = sorted(self.problems, key=lambda problem: -seconds_of(problem.since))
        return sorted(
            latest,
            key=lambda problem: (
                problem.mark is not None,
                problem.state == "unusual",
                is_over(problem),
                FAULTS.index(problem.state),
            ),
        )

    def hidden(self) -> list[Problem]:
        """The problems of which no set is shown, though sets of their series are: theirs are older."""
        return [
            problem
            for problem in self.problems
            if not self.sets_of(problem) and any(series.covers(problem) and series.sets for series in self.series)
        ]

    def expects_nothing(self) -> bool:
        """Whether no stage has a habit, nor is declared: what does not come is not missed then."""
        return not any(series.habits for series in self.series)

    def sets_of(self, problem: Problem) -> list[SetVerdict]:
        """The sets of a problem, as far as they are shown, the oldest first."""
        start, end = seconds_of(problem.from_), seconds_of(problem.to)
        return [
            each
            for series in self.series
            if series.covers(problem)
            for each in series.sets
            if seconds_of(each.window.start) >= start and seconds_of(each.window.end) <= end
        ]

    def done_before(self, problem: Problem) -> SetVerdict | None:
        """The last set before a problem of which its first stage was done, if it is shown."""
        start = seconds_of(problem.from_)
        done = [
            each
            for series in self.series
            if series.covers(problem)
            for each in series.sets
            if seconds_of(each.window.start) < start and is_done(each.stages.get(problem.stages[0]))
        ]
        return max(done, key=lambda each: seconds_of(each.window.start), default=None)

    def is_sound(self, series: Series) -> bool:
        """Whether nothing is wrong with a series: in none of the sets that are shown, and in none before them."""
        return not any(map(series.covers, self.problems)) and not any(
            is_wrong(cell) for each in series.sets for cell in each.stages.values()
        )

    def moments(self, at: float) -> Moments:
        """Times in the zone of the pipeline."""
        return Moments(self.zone, at)


def is_over(problem: Problem) -> bool:
    """Whether its stages did other sets since it began."""
    if problem.state == "stopped" or problem.last_done is None:
        return False
    return seconds_of(problem.last_done) > seconds_of(problem.since)


def is_done(cell: CellVerdict | None) -> bool:
    """Whether the stage did the set."""
    return cell is not None and cell.state in {"done", "recovered"}


def is_wrong(cell: CellVerdict) -> bool:
    """Whether the stage of the set is a problem, or part of one."""
    return cell.unusual or cell.state in FAULTS


def first_line(error: str) -> str:
    """What an error says at first; of a traceback, at last."""
    lines = [line.strip() for line in error.splitlines() if line.strip()]
    if not lines:
        return "no text"
    return lines[-1] if lines[0].startswith("Traceback (most recent call last)") else lines[0]


def coverage_of(answer: Answer) -> Coverage:
    """The coverage in an answer. Raises `CommandFailed` for one that is of another release."""
    try:
        envelope = msgspec.json.decode(answer.body, type=_Envelope)
        seconds_of(envelope.data.now)
    except ValueError as e:
        raise CommandFailed(f"the API's answer is not understood, is it of another release? {e}") from e
    return msgspec.structs.replace(envelope.data, warning=envelope.warning)


class _Envelope(msgspec.Struct):
    data: Coverage
    warning: str | None = None
