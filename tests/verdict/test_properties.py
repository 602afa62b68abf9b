"""What holds of a verdict on any rows, at any time, in any zone, however the rows came to be."""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pytest
from etlog_events.kinds import KUBECOST_KINDS
from etlog_events.timestamps import spell
from etlog_ledger.judge import Judge
from etlog_ledger.marks import MARK_KINDS, Mark
from etlog_ledger.row import Cell, Row
from etlog_ledger.verdict import FAULTS, STATES, SeriesVerdict, Verdict
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from support.labelled import Answer, Rows, rows_of
from support.set_events import events

ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Pacific/Apia")
CATEGORIES = tuple(KUBECOST_KINDS.categories)

#: Before Berlin's clock goes back, New York's too; and half a year later.
BEGINS = (datetime(2026, 10, 23, tzinfo=UTC), datetime(2027, 3, 26, 22, 30, tzinfo=UTC))
STEPS = (timedelta(minutes=5), timedelta(minutes=15), timedelta(hours=1), timedelta(days=1), timedelta(days=7))

#: Cells of a row, one of them known only to a later release.
NAMES = (
    "Loaded", "Saved", "Aggregated", "Totaled", "Reconciled",
    "ComputeError", "ComputeError.Saved", "ComputeError.Reconciled", "ReconcileError", "Verified",
)  # fmt: skip

#: An example is told in a few lines as it stands; to make it smaller takes minutes.
_PHASES = (Phase.explicit, Phase.reuse, Phase.generate)

few = settings(deadline=None, max_examples=20, phases=_PHASES)


def cell(begin: datetime, end: datetime, last: datetime, chance: random.Random, name: str) -> Cell:
    """A cell of events from `begin` to `last`."""
    is_error = "Error" in name
    return Cell(
        n=chance.randint(1, 3),
        first=spell(begin),
        last=spell(last),
        settled=spell(max(begin, end)) if last >= end else None,
        size=None if is_error else chance.choice((None, 0, 1, 90, 100, 110, 100_000, 2**63 - 1)),
        seconds=chance.choice((None, 0.0, 61.5)),
        error=chance.choice(("", "connection reset")) if is_error else None,
    )


@dataclass(frozen=True)
class Series:
    """Sets that come more or less regularly: a share of what comes is `kept`, and one of it is late, in a burst, failed
    or never comes."""

    category: str
    begin: datetime
    step: timedelta
    length: timedelta
    number: int
    stages: Sequence[str]
    kept: float
    wrong: float
    office_hours: bool
    seed: int

    def rows(self) -> dict[str, Row]:
        """Their rows."""
        chance = random.Random(self.seed)
        rows: dict[str, Row] = {}
        for number in range(self.number):
            start = self.begin + number * self.step
            end = start + self.length
            if self.office_hours and start.hour not in range(6, 18):
                continue
            row: Row = {}
            for name in self.stages:
                first = end + self.step * chance.choice((0.01, 0.02, 0.05, 0.3)) * chance.random()
                if chance.random() < self.wrong / 3:
                    first = self.begin + 40 * self.step
                last = first + chance.choice((0, 0, 0, 1)) * self.step
                if chance.random() < self.kept:
                    row[name] = cell(first, end, last, chance, name)
            if chance.random() < self.wrong:
                name = chance.choice(NAMES[5:])
                row[name] = cell(end, end, end + self.step / 10, chance, name)
            if row:
                rows[f"{spell(start)}/{spell(end)}"] = row
        return rows


@dataclass(frozen=True)
class Ledger:
    """Rows of categories: of a few series, and of any events at all."""

    series: Sequence[Series]
    odd: Sequence[bytes]

    def rows(self) -> Rows:
        """Its rows."""
        rows: Rows = {category: {} for category in CATEGORIES}
        for each in self.series:
            rows[each.category].update(each.rows())
        for category, odd in rows_of(self.odd).items():
            rows[category].update(odd)
        return rows


@st.composite
def series(draw: st.DrawFn) -> Series:
    """Any of them."""
    step = draw(st.sampled_from(STEPS))
    return Series(
        draw(st.sampled_from(CATEGORIES)),
        draw(st.sampled_from(BEGINS)) + draw(st.sampled_from((timedelta(0), step / 2, timedelta(minutes=7)))),
        step,
        draw(st.sampled_from((step, step, step, 7 * step, step / 2))),
        draw(st.integers(0, 60)),
        draw(st.lists(st.sampled_from(NAMES[:5]), min_size=1, max_size=3, unique=True)),
        draw(st.sampled_from((1.0, 0.9, 0.5))),
        draw(st.sampled_from((0.0, 0.1, 0.5))),
        draw(st.booleans()),
        draw(st.integers(0, 1000)),
    )


#: Odd ones are years away from the others, so that there may be thousands of sets between them.
ledgers = st.builds(
    Ledger,
    st.lists(series(), max_size=3),
    st.integers(0, 4).flatmap(lambda number: st.just([]) if number else st.lists(events(), min_size=1, max_size=8)),
)
zones = st.sampled_from(ZONES).map(ZoneInfo)


@st.composite
def moments(draw: st.DrawFn) -> datetime:
    """Times around the sets, and far away from them."""
    if draw(st.integers(0, 9)) == 0:
        far = st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC))
        return draw(far).replace(microsecond=0)
    hours = draw(st.integers(-24, 40)) * (24 if draw(st.integers(0, 7)) == 0 else 1)  # the later, the more is missing
    return draw(st.sampled_from(BEGINS)) + timedelta(hours=hours, seconds=draw(st.integers(0, 3600)))


@st.composite
def marks(draw: st.DrawFn) -> list[Mark]:
    """What people may have said."""
    some = []
    for number in range(draw(st.integers(0, 3))):
        start = draw(st.sampled_from(BEGINS)) + timedelta(hours=draw(st.integers(0, 100)))
        sides = draw(st.sampled_from(((None, None), (start, None), (None, start), (start, start + timedelta(days=1)))))
        some.append(
            Mark(
                id=str(number),
                category=draw(st.sampled_from(CATEGORIES)),
                kind=draw(st.sampled_from(MARK_KINDS)),
                reason="known",
                by="someone",
                at=spell(start),
                every=draw(st.sampled_from((None, None, "1h", "1d"))),
                stage=draw(st.sampled_from((None, None, "Saved"))),
                from_=None if sides[0] is None else spell(sides[0]),
                to=None if sides[1] is None else spell(sides[1]),
                until=draw(st.sampled_from((None, spell(start + timedelta(days=9))))),
            )
        )
    return some


def shown(verdict: Verdict) -> Any:
    """All that a verdict says."""
    of_series = [
        {
            "series": (each.category, each.every, each.length, tuple(each.stages)),
            "delay": msgspec.to_builtins(each.delay),
            "duration": msgspec.to_builtins(each.duration),
            "habits": msgspec.to_builtins(each.habits),
            "counts": {stage: _without_zeros(counts) for stage, counts in each.counts.items()},
            "sets": msgspec.to_builtins(each.sets()),
        }
        for each in verdict.series
    ]
    return {
        "now": verdict.now,
        "summary": dict(verdict.summary),
        "problems": msgspec.to_builtins(list(verdict.problems)),
        "errors": msgspec.to_builtins(list(verdict.errors)),
        "heard": dict(verdict.heard),
        "series": of_series,
    }


def _without_zeros(counts: Any) -> dict[str, int]:
    return {name: number for name, number in counts.items() if number}


def counted(one: SeriesVerdict) -> dict[str, dict[str, int]]:
    """The cells of each stage in each state, by its sets."""
    counts: dict[str, Counter[str]] = {}
    for of_set in one.sets():
        for stage, judged in of_set.stages.items():
            counts.setdefault(stage, Counter())[judged.state] += 1
            counts[stage]["unusual"] += judged.unusual
    return {stage: _without_zeros(of_stage) for stage, of_stage in counts.items()}


@given(ledgers, zones, moments(), marks())
@few
def test_any_rows_can_be_judged_at_any_time(ledger: Ledger, zone: ZoneInfo, now: datetime, said: list[Mark]) -> None:
    """Each expected cell is in one state, and what is summed up is what the sets say."""
    verdict = Judge(KUBECOST_KINDS, zone).judge(ledger.rows(), said, now)

    total: Counter[str] = Counter()
    for one in verdict.series:
        sets = one.sets()
        windows = [(of_set.window.start, of_set.window.end) for of_set in sets]
        assert len(set(windows)) == len(windows)
        assert windows == sorted(windows, key=lambda window: datetime.fromisoformat(window[0]))
        assert {stage for of_set in sets for stage in of_set.stages} <= set(one.stages)
        assert all(judged.state in STATES for of_set in sets for judged in of_set.stages.values())
        counts = counted(one)
        assert {stage: found for stage, of in one.counts.items() if (found := _without_zeros(of))} == counts
        for of_stage in counts.values():
            total.update(of_stage)
    assert _without_zeros(verdict.summary) == _without_zeros(total)
    assert verdict.is_sound == (not any(total[fault] for fault in FAULTS) and not verdict.errors)


@given(ledgers, zones, moments(), marks())
@few
def test_problems_say_what_the_cells_say(ledger: Ledger, zone: ZoneInfo, now: datetime, said: list[Mark]) -> None:
    """Each cell that is wrong is in one problem, and each problem has an id that no other has."""
    verdict = Judge(KUBECOST_KINDS, zone).judge(ledger.rows(), said, now)

    wrong = list(Answer.of(verdict).wrong())
    assert sum(problem.sets * len(problem.stages) for problem in verdict.problems) == len(wrong)
    assert len({problem.id for problem in verdict.problems}) == len(verdict.problems)
    for problem in verdict.problems:
        first, last = (datetime.fromisoformat(text) for text in (problem.from_, problem.to))
        within = [
            each
            for each in wrong
            if (each.category, each.every) == (problem.category, problem.every)
            and each.stage in problem.stages
            and first <= each.start < last
        ]
        assert len(within) >= problem.sets * len(problem.stages), problem.text
        assert problem.text
        msgspec.convert(msgspec.to_builtins(problem), type(problem))


@given(ledgers, zones, moments(), st.randoms(use_true_random=False))
@few
def test_the_order_of_the_rows_does_not_matter(ledger: Ledger, zone: ZoneInfo, now: datetime, chance: Any) -> None:
    """Each replica reads them in another one."""
    rows = ledger.rows()
    shuffled: Rows = {}
    for category in chance.sample(list(rows), len(rows)):
        names = list(rows[category])
        chance.shuffle(names)
        shuffled[category] = {name: rows[category][name] for name in names}

    one, other = (Judge(KUBECOST_KINDS, zone).judge(each, (), now) for each in (rows, shuffled))

    assert shown(other) == shown(one)


@given(st.lists(st.tuples(ledgers, st.booleans(), moments(), marks()), min_size=2, max_size=3), zones)
@settings(deadline=None, max_examples=8, phases=_PHASES)
def test_a_judge_that_remembers_says_what_a_new_one_says(
    turns: Sequence[tuple[Ledger, bool, datetime, list[Mark]]], zone: ZoneInfo
) -> None:
    """Whatever changed since: rows that are new, different or gone, marks, and the time, which may go back."""
    remembering = Judge(KUBECOST_KINDS, zone)
    rows: Rows = {}
    for changed, only_added, now, said in turns:
        rows = {
            category: {**rows.get(category, {}), **of_category} if only_added else dict(of_category)
            for category, of_category in changed.rows().items()
        }
        again = Judge(KUBECOST_KINDS, zone).judge(rows, said, now)

        assert shown(remembering.judge(rows, said, now)) == shown(again)


@given(ledgers, zones, moments(), st.integers(1, 5), st.integers(-100, 100), st.integers(0, 100))
@few
def test_sets_can_be_asked_for_by_number_and_by_time(
    ledger: Ledger, zone: ZoneInfo, now: datetime, newest: int, since: int, hours: int
) -> None:
    """They are those of all sets, in their order."""
    start = now.timestamp() + 3600 * since
    end = start + 3600 * hours
    for one in Judge(KUBECOST_KINDS, zone).judge(ledger.rows(), (), now).series:
        sets = one.sets()

        assert one.sets(newest=newest) == sets[-newest:]
        if hours:
            assert one.sets(start=start, end=end) == [
                each
                for each in sets
                if datetime.fromisoformat(each.window.start).timestamp() < end
                and datetime.fromisoformat(each.window.end).timestamp() > start
            ]


@pytest.mark.parametrize("kind", ["expected-empty", "waived", "retired"])
@given(ledgers, zones, moments())
@settings(deadline=None, max_examples=10, phases=_PHASES)
def test_nothing_is_wrong_with_sets_that_are_waived(kind: Any, ledger: Ledger, zone: ZoneInfo, now: datetime) -> None:
    """All that a mark covers."""
    said = [Mark(category, category, kind, "test", "someone", spell(now)) for category in CATEGORIES]

    verdict = Judge(KUBECOST_KINDS, zone).judge(ledger.rows(), said, now)

    assert [problem.text for problem in verdict.problems] == []


@given(ledgers, zones, moments())
@few
def test_acknowledging_changes_no_state(ledger: Ledger, zone: ZoneInfo, now: datetime) -> None:
    """It stands in the problems that it covers."""
    said = [Mark(category, category, "acknowledged", "test", "someone", spell(now)) for category in CATEGORIES]

    plain, marked = (Judge(KUBECOST_KINDS, zone).judge(ledger.rows(), some, now) for some in ((), said))

    assert shown(marked)["series"] == shown(plain)["series"]
    assert [problem.state for problem in marked.problems] == [problem.state for problem in plain.problems]
    assert all(problem.mark is not None for problem in marked.problems)
