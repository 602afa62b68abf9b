"""What the walk through a pipeline has shown, as a table, and which bounds are broken."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import median

from benchmarks.verdict.story import Story
from benchmarks.verdict.walk import FalseAlarm, Outcome

_DAY = 86_400

#: False alarms of a pipeline in three months, at most.
_MOST_ALARMS = 1

_HEAD = (
    "pipeline", "false alarms", "a month", "while learning", "after a change", "faults", "missed", "late",
    "stop told after", "hole", "failure", "usual delay",
)  # fmt: skip


@dataclass(frozen=True)
class Run:
    """A pipeline's results: `late` are faults told after their limit, `forgotten` those that were told and then not,
    while they lasted. `told` is how long after its begin each fault was told, in minutes."""

    name: str
    seed: int
    days: int
    alarms: Sequence[FalseAlarm]
    learning: Sequence[FalseAlarm]
    settling: Sequence[FalseAlarm]
    faults: int
    missed: Sequence[str]
    late: Sequence[str]
    forgotten: Sequence[str]
    told: Sequence[tuple[str, float, float]]
    judged: int
    sampled: int
    differing: int
    seconds: float
    learned_in: float

    @property
    def broken(self) -> Iterator[str]:
        """A sentence for each bound that is broken."""
        allowed = max(_MOST_ALARMS, round(_MOST_ALARMS * self.days / 90))
        name = f"{self.name} (seed {self.seed})"
        if len(self.alarms) > allowed:
            yield f"{name}: {len(self.alarms)} false alarms in {self.days} days, at most {allowed} allowed"
        if self.missed:
            yield f"{name}: {len(self.missed)} faults missed"
        if self.late:
            yield f"{name}: {len(self.late)} faults told late"
        if self.forgotten:
            yield f"{name}: {len(self.forgotten)} faults no longer told before they were repaired"
        if self.differing:
            yield f"{name}: {self.differing} of {self.sampled} sampled minutes have another verdict than assumed"


def summed_up(story: Story, outcome: Outcome, seed: int) -> Run:
    """The results of a walk."""
    pipeline, begin = story.pipeline, story.begin.timestamp()
    learned = begin + pipeline.learning * _DAY
    changed = None if pipeline.changes is None else begin + pipeline.changes * _DAY
    settled = None if changed is None else changed + pipeline.settling * _DAY
    learning, settling, others = [], [], []
    for alarm in outcome.alarms:
        if alarm.at < learned:
            learning.append(alarm)
        elif changed is not None and settled is not None and changed <= alarm.at < settled:
            settling.append(alarm)
        else:
            others.append(alarm)
    # A fault so near the end that it need not be told yet is none.
    faults = [each for each in outcome.faults if each.limits and max(each.limits.values()) < story.end.timestamp()]
    faults = [each for each in faults if each.began >= learned]
    missed, late = [], []
    for fault in faults:
        late_stages, missed_stages = [], []
        for stage, limit in fault.limits.items():
            cell, told = fault.cells[stage], fault.told.get(stage)
            if told is None and (fault.called == "unusual" or cell.done is None or limit < cell.done):
                missed_stages.append(f"{stage} by {_clock(limit)}")
            elif told is not None and told > limit:
                after, allowed = (_minutes(each - cell.reference) for each in (told, limit))
                late_stages.append(f"{stage} {after} after it was due, at {_clock(told)}; {allowed} allowed")
        if missed_stages:
            missed.append(f"{fault}: {', '.join(missed_stages)}")
        if late_stages:
            late.append(f"{fault}: {', '.join(late_stages)}")
    return Run(
        name=pipeline.name,
        seed=seed,
        days=round((story.end.timestamp() - begin) / _DAY),
        alarms=others,
        learning=learning,
        settling=settling,
        faults=len(faults),
        missed=missed,
        late=late,
        forgotten=[f"{fault}: {', '.join(sorted(fault.forgotten))}" for fault in faults if fault.forgotten],
        told=[(fault.kind, min(fault.told.values()) - fault.began, fault.usual) for fault in faults if fault.told],
        judged=outcome.judged,
        sampled=outcome.sampled,
        differing=outcome.differing,
        seconds=outcome.seconds,
        learned_in=pipeline.learning,
    )


def lines(run: Run) -> Iterator[str]:
    """What was wrong of a pipeline, to become a case, after a line that sums it up."""
    wrong = f"{len(run.alarms)} false alarms, {len(run.missed)} missed, {len(run.late)} late"
    cost = f"{run.judged:,} verdicts in {run.seconds:.0f} s, {run.seconds / max(1, run.judged) * 1000:.1f} ms each"
    yield f"{run.name}, seed {run.seed}: {wrong}, {len(run.forgotten)} forgotten of {run.faults} faults; {cost}"
    for word, alarms in (
        ("false", run.alarms),
        ("false while learning", run.learning),
        ("false after a change", run.settling),
    ):
        for alarm in alarms:
            yield f"{word}: {_clock(alarm.at)} until {_clock(alarm.until)}: {alarm.text} [{alarm.detail}]"
    for word, sentences in (("missed", run.missed), ("late", run.late), ("forgotten", run.forgotten)):
        yield from (f"{word}: {sentence}" for sentence in sentences)


def table(runs: Sequence[Run]) -> Iterator[str]:
    """A Markdown table, one line a pipeline; runs of several seeds are added up."""
    yield f"| {' | '.join(_HEAD)} |"
    yield f"|{'---|' * len(_HEAD)}"
    for name in dict.fromkeys(run.name for run in runs):
        same = [run for run in runs if run.name == name]
        months = sum(run.days - run.learned_in for run in same) / 30
        alarms = sum(len(run.alarms) for run in same)
        told = [each for run in same for each in run.told]
        cells = [
            name,
            str(alarms),
            f"{alarms / months:.2f}" if months else "",
            str(sum(len(run.learning) for run in same)),
            str(sum(len(run.settling) for run in same)),
            str(sum(run.faults for run in same)),
            str(sum(len(run.missed) for run in same)),
            str(sum(len(run.late) for run in same)),
            _after(told, ("stop", "stage stops")),
            _after(told, ("hole", "hole of a stage")),
            _after(told, ("failure", "repaired failure", "retry")),
            _minutes(median([usual for _, _, usual in told if usual] or [0])),
        ]
        yield f"| {' | '.join(cells)} |"


def _after(told: Iterable[tuple[str, float, float]], kinds: Sequence[str]) -> str:
    """How long after its set was due a fault was told: half of them, and all of them."""
    seconds = sorted(after for kind, after, _ in told if kind in kinds)
    return f"{_minutes(median(seconds))}, {_minutes(seconds[-1])}" if seconds else ""


def _minutes(seconds: float) -> str:
    minutes = seconds / 60
    return f"{minutes / 60:.1f} h" if minutes >= 120 else f"{minutes:.0f} min"


def _clock(moment: float) -> str:
    return f"{datetime.fromtimestamp(moment, UTC):%F %H:%M}Z"
