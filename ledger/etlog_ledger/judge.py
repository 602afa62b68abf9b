"""The judge: rows, marks, expectations, zone, now -> verdict. `docs/verdict.md` explains its rules."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo

from etlog_events.kinds import Kinds
from etlog_events.validation import NO_WINDOW

from etlog_ledger.cadence import Every, Grid, Window, group
from etlog_ledger.expectations import Expectation
from etlog_ledger.judged import JudgedSeries
from etlog_ledger.marks import Mark, Marks
from etlog_ledger.problems import Words, order
from etlog_ledger.row import STAGES, Row, action_of
from etlog_ledger.series import MOST_PLACES, Series, SetFacts, moment_of
from etlog_ledger.verdict import STATES, Problem, Verdict, WindowlessErrors

#: Seconds since 1970: windows beyond are not judged, as no calendar reaches from one to the next.
_EARLIEST, _LATEST = -62_000_000_000.0, 253_000_000_000.0

#: Seconds: ten years. No pipeline has longer windows, and the calendar ends a few of those behind.
_LONGEST = 10 * 366 * 86_400.0


class Judge:
    """Judges the sets of one log, of which the ledger keeps the newest `keep` of each cadence.

    What it remembers from one verdict to the next only saves time.
    """

    def __init__(
        self, kinds: Kinds, zone: tzinfo, expectations: Sequence[Expectation] = (), keep: int = MOST_PLACES
    ) -> None:
        self._zone = zone
        self._prefixes = kinds.categories
        self._categories = {
            category: _Category(zone, [e for e in expectations if e.category == category], keep)
            for category in kinds.categories
        }

    def judge(self, rows: Mapping[str, Mapping[str, Row]], marks: Iterable[Mark], now: datetime) -> Verdict:
        """The verdict on these rows, category -> interval -> row, as of `now`.

        A row that changes is another object the next time.
        """
        moment = now.timestamp()
        active = Marks(marks, moment)
        words = Words(self._zone, moment)
        series: list[JudgedSeries] = []
        problems: list[Problem] = []
        errors: list[WindowlessErrors] = []
        heard: dict[str, str] = {}
        for category, known in self._categories.items():
            of_category = rows.get(category, {})
            known.update(of_category, moment)
            for kind, last in known.heard.items():
                heard[self._prefixes[category] + kind] = last
            errors += self._windowless(category, of_category.get(NO_WINDOW), known.last_done, heard)
            for one in known.series:
                found = JudgedSeries(
                    category,
                    one,
                    known.declared[one.grid],
                    active.of(category, str(one.grid.every)),
                    words,
                    self._zone,
                    moment,
                    known.succeeded.get(one.grid),
                )
                series.append(found)
                problems += found.problems
        problems.sort(key=order)
        summary: Counter[str] = Counter(dict.fromkeys((*STATES, "unusual"), 0))
        for found in series:
            for counts in found.counts.values():
                summary.update(counts)
        return Verdict(moment, dict(summary), problems, errors, series, heard)

    def _windowless(
        self, category: str, row: Row | None, last_done: str, heard: dict[str, str]
    ) -> list[WindowlessErrors]:
        """The errors of a category that name no window, and happened after its last set was done."""
        found: dict[str, WindowlessErrors] = {}
        for name, cell in (row or {}).items():
            kind = self._prefixes[category] + action_of(name)
            heard[kind] = max(heard.get(kind, ""), cell.last, key=_comparable)
            if name in STAGES or _comparable(cell.last) <= _comparable(last_done):
                continue
            known = found.get(kind)
            count = cell.n + (known.count if known else 0)
            if known is None or _comparable(known.last) < _comparable(cell.last):
                found[kind] = WindowlessErrors(category, kind, count, cell.last, cell.error)
            else:
                found[kind] = WindowlessErrors(category, kind, count, known.last, known.error)
        return list(found.values())


def _comparable(time: str) -> str:
    """Texts of times compare right without the `Z`."""
    return time[:-1]


@dataclass(frozen=True, slots=True)
class _Members:
    """A grid and the sets on it, by their place."""

    grid: Grid
    places: Mapping[int, str]


class _Category:
    """What is known of a category: its sets and series, and what was heard of it last.

    `heard` has the last time of each action, `last_done` of all that are no errors.
    """

    def __init__(self, zone: tzinfo, expectations: Sequence[Expectation], keep: int) -> None:
        self._zone = zone
        self._expectations = expectations
        self._keep = keep
        self._rows: Mapping[str, Row] = {}
        self._facts: dict[str, SetFacts] = {}
        self._members: list[_Members] = []
        self.series: list[Series] = []
        self.succeeded: dict[Grid, float] = {}
        self.declared: dict[Grid, list[Expectation]] = {}
        self._last: dict[str, str] = {}  # by cell
        self.heard: dict[str, str] = {}
        self.last_done = ""
        self._group()

    def update(self, rows: Mapping[str, Row], now: float) -> None:
        """Take what changed: in the rows, and by the time."""
        changed = set[str]()
        if rows is not self._rows:
            changed = self._take(rows)
            self._rows = rows
        before = {one.grid: one for one in self.series}
        series = [
            one
            if (one := before.get(of.grid)) is not None
            and changed.isdisjoint(of.places.values())
            and one.number == len(of.places)
            and one.is_at(now)
            else Series(
                of.grid,
                {place: self._facts[name] for place, name in of.places.items()},
                now,
                self._zone,
                self._first(of),
                any(expectation.every in {None, of.grid.every} for expectation in self._expectations),
                one,
            )
            for of in self._members
        ]
        if any(one is not before.get(one.grid) for one in series) or len(series) != len(before):
            succeeded = _succeeded(series)
            self.declared = _declared(self._expectations, series, succeeded)
            self.succeeded = {
                grid: begin
                for grid, begin in succeeded.items()
                if all(expectation.every != grid.every for expectation in self.declared[grid])
            }
        self.series = series

    def _take(self, rows: Mapping[str, Row]) -> set[str]:
        """Take other rows; the names of those that changed."""
        changed = set[str]()
        facts: dict[str, SetFacts] = {}
        is_new = False
        for name, row in rows.items():
            known = self._facts.get(name)
            if known is not None and known.row is row:
                facts[name] = known
            elif name != NO_WINDOW:
                if known is None:
                    window = _window(name, self._zone)
                    if window is None:
                        continue
                    is_new = True
                else:
                    window = known.window
                facts[name] = SetFacts(window, row)
                changed.add(name)
        is_other = is_new or len(facts) != len(self._facts)
        before, self._facts = self._facts, facts
        if is_other:
            self._group()
        if before.keys() <= facts.keys() and all(
            self._is_heard(before[name], facts[name]) for name in changed & before.keys()
        ):
            self._hear([facts[name] for name in changed])
        else:
            self._last = {}
            self._hear(facts.values())
        return changed

    def _is_heard(self, before: SetFacts, after: SetFacts) -> bool:
        """Whether a row tells at least of all times of which it told before."""
        return all(
            name in after.row and _comparable(cell.last) <= _comparable(after.row[name].last)
            for name, cell in before.row.items()
        )

    def _group(self) -> None:
        names = sorted(self._facts)
        self._members = [
            _Members(grid, {grid.place(self._facts[names[number]].window): names[number] for number in numbers})
            for grid, numbers in group([self._facts[name].window for name in names], self._zone)
        ]
        seen = {of.grid.every for of in self._members}
        for every in {one.every for one in self._expectations if one.since is not None} - seen:
            if every is not None:
                self._members.append(_Members(Grid.of(every, self._zone), {}))
        self._members.sort(key=lambda of: (of.grid.seconds, of.grid.length, of.grid.phase, str(of.grid.zone)))

    def _first(self, of: _Members) -> int | None:
        """The place from which sets are declared, as far as the ledger keeps them; None where none are."""
        begins = [
            one.since.timestamp()
            for one in self._expectations
            if one.since is not None and one.every in {None, of.grid.every}
        ]
        if not begins:
            return None
        first = of.grid.first_from(min(max(min(begins), _EARLIEST), _LATEST))
        return max(first, max(of.places) - self._keep + 1) if of.places else first

    def _hear(self, facts: Iterable[SetFacts]) -> None:
        heard = self._last
        for one in facts:
            for name, cell in one.row.items():
                last = heard.get(name)
                if last is None or last[:-1] < cell.last[:-1]:
                    heard[name] = cell.last
        self.last_done = max((last for name, last in heard.items() if name in STAGES), key=_comparable, default="")
        self.heard = {}
        for name, last in heard.items():
            action = action_of(name)
            self.heard[action] = max(self.heard.get(action, ""), last, key=_comparable)


def _window(name: str, zone: tzinfo) -> Window | None:
    """The window of a set, None for one that is not judged."""
    start, _, end = name.partition("/")
    first, last = moment_of(start), moment_of(end)
    return Window.of(first, last, zone) if _EARLIEST < first < last < _LATEST and last - first <= _LONGEST else None


def _succeeded(series: Sequence[Series]) -> dict[Grid, float]:
    """The series that another one of the category took the place of, and when the other one began: from there on,
    their sets are not expected. It begins when they end, and does all that they did."""
    found = {}
    others = [(one.window(0)[0], one) for one in series if len(one.sets) > _SUCCEEDS]
    for one in series:
        if not one.is_expected:
            continue
        last = one.window(one.newest)[1]
        for begin, other in others:
            if (
                other is not one
                and abs(begin - last) <= max(one.step, other.step)
                and set(one.stages) <= set(other.stages)
                and other.window(other.newest)[1] > last
            ):
                found[one.grid] = begin
    return found


#: Sets behind the first that make a series the successor of another one, or one that is declared with no cadence.
_SUCCEEDS = 2


def _declared(
    expectations: Sequence[Expectation], series: Sequence[Series], succeeded: Mapping[Grid, float]
) -> dict[Grid, list[Expectation]]:
    """The expectations of each series.

    Of those of one cadence, they speak of that with the most sets: others are re-runs of odd spans. One that names no
    cadence speaks of all that have some sets, or of the only one.
    """
    main: dict[tuple[Every, str], Series] = {}
    for one in series:
        key = one.grid.every, str(one.grid.window_length)
        if key not in main or _weight(one, succeeded) > _weight(main[key], succeeded):
            main[key] = one
    found: dict[Grid, list[Expectation]] = {one.grid: [] for one in series}
    for one in main.values():
        is_regular = len(one.sets) > _SUCCEEDS or len(series) == 1
        found[one.grid] = [
            expectation
            for expectation in expectations
            if expectation.every == one.grid.every or (expectation.every is None and is_regular)
        ]
    return found


def _weight(series: Series, succeeded: Mapping[Grid, float]) -> tuple[bool, int]:
    return series.grid not in succeeded, len(series.sets)
