"""A series: the sets of a category of one cadence, and what is learned of its stages."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, tzinfo
from itertools import combinations, islice

from etlog_events.schedule import spell_only

from etlog_ledger import habit, lateness, sizes
from etlog_ledger.cadence import Grid, Window, instant_of, local_of
from etlog_ledger.lateness import Lateness
from etlog_ledger.row import STAGES, Cell, Row, action_of
from etlog_ledger.sizes import NO_SIZES, Sizes
from etlog_ledger.verdict import Habit, Quantiles

#: Places of a series that are judged at most, the newest; and those behind its last set, or ahead of the present.
MOST_PLACES, MOST_AHEAD = 20_000, 5_000

#: The share of sets whose stage has an event after the window's end, from which on this is what makes them done.
_SETTLES = 0.9

#: Sets from which a duration is told.
_NEWEST = 200

_HOUR, _DAY = 3600, 86_400

_NEVER = float("-inf")

#: The weekday of 1 January 1970, where Monday is 0.
_THURSDAY = 3


def moment_of(text: str) -> float:
    """Seconds since 1970 of a time in canonical spelling."""
    return datetime.fromisoformat(text).timestamp()


@dataclass(frozen=True, slots=True)
class Failure:
    """An error of a set: when it happened last, and the stage that its event names, if it names one."""

    stage: str | None
    moment: float
    cell: Cell


class SetFacts:
    """What a row tells: when each stage was done, and what failed."""

    __slots__ = ("done", "failures", "row", "settled", "window")

    def __init__(self, window: Window, row: Row) -> None:
        self.window = window
        self.row = row
        self.done: dict[str, float] = {}
        self.settled = True
        self.failures: list[Failure] = []
        for name, cell in row.items():
            if name in _STAGES:
                if cell.settled is not None:
                    self.done[name] = moment_of(cell.settled)
                else:
                    self.done[name] = moment_of(cell.last)
                    self.settled = False
            elif (action := action_of(name)) == "ReconcileError":
                self.failures.append(Failure("Reconciled", moment_of(cell.last), cell))
            elif action == "ComputeError":
                stage = name.partition(".")[2]
                self.failures.append(Failure(stage if stage in _STAGES else None, moment_of(cell.last), cell))


_STAGES = frozenset(STAGES)

#: The stages in the order in which they are usually named.
_PLACE_OF = {name: number for number, name in enumerate(STAGES)}


@dataclass(frozen=True, slots=True)
class Learned:
    """What is known of one stage: when it was done, by place, and what follows from this.

    `begun` are places where it has events, but none after the end of the window, though it usually has. `past` are the
    places whose windows have ended, from which habit is learned: when it was done, or the set failed. `last` is the
    last of them done, or -1. `unreached` are those to which a backfill of what was before the stage began has not come.
    """

    column: list[float | None]
    begun: frozenset[int]
    past: list[float | None]
    last: int
    unreached: range
    habit: habit.Habit
    lateness: Lateness
    sizes: Sizes

    @property
    def is_habitual(self) -> bool:
        """Whether it was done often enough to be expected."""
        return self.lateness.occasions >= habit.OCCASIONS and self.habit.now is not None


class Series:
    """The sets of one grid by place, counted from `base`, and what is known of their stages at a moment.

    They begin with the first set, or with the place `first` if that is earlier; `is_declared` means that the
    configuration speaks of them. `ended` is the last place whose window has ended, `newest` the last one with a set,
    and `number` how many sets it was given: those of a far future, which a wrong clock makes, are left out.
    """

    def __init__(
        self,
        grid: Grid,
        sets: Mapping[int, SetFacts],
        now: float,
        zone: tzinfo,
        first: int | None = None,
        is_declared: bool = False,
        before: "Series | None" = None,
    ) -> None:
        self.number = len(sets)
        ended = grid.last_ended(now)
        sets = {place: sets[place] for place in sets if place <= ended + MOST_AHEAD}
        newest = max(sets) if sets else (first or 0) - 1
        base = min((place for place in sets if place > newest - MOST_PLACES), default=newest + 1)
        if first is not None:
            base = min(base, max(first, newest - MOST_PLACES))
        self.grid = grid
        self.base = base
        self.newest = newest - base
        self.sets = {place - base: sets[place] for place in sorted(sets) if place >= base}
        self.ended = self._ended_by(now)
        self.failed = {place: facts for place, facts in self.sets.items() if facts.failures}
        self.step = grid.seconds
        self._zone = zone
        self._is_declared = is_declared
        self._windows: dict[int, tuple[float, float]] = {}
        self._clocks: dict[int, tuple[int, float]] = {}
        if before is not None and before.base == base:
            self._windows, self._clocks = before._windows, before._clocks
        known = {} if before is None else before.learned
        is_same = before is not None and before.failed.keys() == self.failed.keys()
        self.learned: dict[str, Learned] = {
            name: self._learned(name, known.get(name), is_same)
            for name in sorted({name for facts in self.sets.values() for name in facts.done})
        }
        self.stages = self._ordered()

    def _ordered(self) -> list[str]:
        """The stages in the order in which most of the newest sets pass through them, by those for which all were done:
        some caught one of them up later, and in a batch the sets differ by more than the stages."""
        whole = (facts.done for facts in reversed(self.sets.values()) if len(facts.done) == len(self.learned))
        some = list(islice(whole, _NEWEST))
        names = sorted(self.learned, key=_PLACE_OF.__getitem__)
        before = dict.fromkeys(names, 0)
        for one, other in combinations(names, 2):
            later = sum((done[one] > done[other]) - (done[one] < done[other]) for done in some)
            before[one if later > 0 else other] += 1
        return sorted(names, key=before.__getitem__)

    def _learned(self, name: str, before: Learned | None, is_same: bool) -> Learned:
        """What is known of a stage, or was `before`; `is_same` means that the same sets failed."""
        column, begun = self._column(name)
        # A window that has not ended tells nothing of habits and delays. A set that failed was tried: that is a habit.
        past = column[: max(self.ended + 1, 0)]
        for place, facts in self.failed.items():
            if place < len(past) and past[place] is None:
                past[place] = facts.failures[-1].moment
        found: list[int | None] = [None] * (self.newest + 1)
        for place, facts in self.sets.items():
            if (cell := facts.row.get(name)) is not None:
                found[place] = None if cell.size is None else max(cell.size, 0)  # whoever wrote the row
        known = NO_SIZES if before is None else before.sizes
        known = known if known.sizes == found else sizes.learn(found, self.step, known)
        if before is not None and before.past == past and before.column == column and is_same:
            return replace(before, column=column, begun=begun, past=past, sizes=known)
        done = [place for place in range(len(past)) if column[place] is not None]
        unreached = self._unreached(name, done)
        for place in unreached:
            past[place] = self.window(place)[1]
        newest = done[-lateness.NEWEST :]
        sound = [place for place in newest if not self.sets[place].failures]
        delays = [
            (self.sets[place].window.end, self.sets[place].done[name])
            for place in (sound if len(sound) * 2 > len(newest) else newest)
        ]
        return Learned(
            column,
            begun,
            past,
            done[-1] if done else -1,
            unreached,
            habit.learn(past, self.clock, self.step),
            lateness.learn(delays, self.step),
            known,
        )

    def _unreached(self, name: str, done: Sequence[int]) -> range:
        """The places behind the last one of a backfill, as far as their windows ended before the stage began: what is
        caught up of the time before is a favour, and goes on from the oldest."""
        if not done:
            return range(0)
        began = min(self.sets[place].done[name] for place in done)
        live = bisect_right(done, began, key=lambda place: self.sets[place].window.end)
        if not 0 < live < len(done):
            return range(0)
        return range(
            done[live - 1] + 1, bisect_right(range(done[live]), began, key=lambda place: self.window(place)[1])
        )

    def _column(self, name: str) -> tuple[list[float | None], frozenset[int]]:
        column: list[float | None] = [None] * (self.newest + 1)
        early = []
        early_by = lateness.grace(self.step)  # clocks differ
        number = 0
        for place, facts in self.sets.items():
            moment = facts.done.get(name)
            if moment is not None:
                column[place] = moment
                number += place <= self.ended
                if not facts.settled and facts.row[name].settled is None and moment < facts.window.end - early_by:
                    early.append(place)
        ended = sum(place <= self.ended for place in early)
        if not early or number - ended < _SETTLES * number or number == 0:
            return column, frozenset()
        for place in early:
            column[place] = None
        return column, frozenset(early)

    def _ended_by(self, now: float) -> int:
        return min(self.grid.last_ended(now) - self.base, self.newest + MOST_AHEAD)

    @property
    def is_expected(self) -> bool:
        """Whether a stage is expected by habit."""
        return any(learned.is_habitual for learned in self.learned.values())

    def is_at(self, now: float) -> bool:
        """Whether no further window has ended by `now` that tells anything."""
        ended = self._ended_by(now)
        is_awaited = self._is_declared or self.is_expected
        return ended == self.ended or (min(ended, self.ended) >= self.newest and not is_awaited)

    def clock(self, place: int) -> tuple[int, float]:
        """The weekday and the time of day at which the window of a place begins, in the pipeline's zone."""
        known = self._clocks.get(place)
        if known is None:
            local = local_of(self.window(place)[0], self._zone)
            known = self._clocks[place] = (int(local // _DAY + _THURSDAY) % 7, local % _DAY)
        return known

    def window(self, place: int) -> tuple[float, float]:
        """The ends of the window of a place, seconds since 1970."""
        known = self._windows.get(place)
        if known is None:
            known = self._windows[place] = self.grid.window(self.base + place)
        return known

    def due(self, name: str, place: int, has_stopped: bool = False) -> float:
        """When a stage of the set at a place is overdue, learned from the others; seconds since 1970.

        Once the stage `has_stopped` with the set before, there is no reason to wait for a set that is just late.
        """
        learned = self.learned[name]
        _, end = self.window(place)
        seconds = learned.lateness.due(
            place, lambda other: self._delay(learned, self.same_time(place, other)), has_stopped
        )
        least = self._held_up(name, place, seconds)
        if seconds <= _HOUR or self._zone is UTC:
            return max(end + seconds, least)
        # A clock that changed meanwhile: some pipelines follow it, others do not.
        local = self._local_end(place) + seconds
        return max(end + seconds, least, instant_of(local, self._zone))

    def same_time(self, place: int, other: int) -> int:
        """The place near another one whose window begins at the same time of day as that of `place`: clocks change."""
        if self._zone is UTC or self.step >= _DAY or not 0 <= other <= self.newest:
            return other
        apart = (self.clock(place)[1] - self.clock(other)[1] + _DAY / 2) % _DAY - _DAY / 2
        return other + round(apart / self.step)

    def _held_up(self, name: str, place: int, seconds: float) -> float:
        """When a set is overdue at the earliest because a stage before this one was late with it: twice as long after
        that one as usual, and `seconds` after one that was overdue itself."""
        facts = self.sets.get(place)
        least = _NEVER
        if facts is None or not facts.done:
            return least
        known = self.learned[name].lateness
        for other in self.stages:
            if other == name:
                break
            before, moment = self.learned[other].lateness, facts.done.get(other)
            if moment is not None and before.limit is not None and known.median is not None:
                apart = 2 * (known.median - (before.median or 0.0)) + known.grace
                is_overdue = moment > facts.window.end + before.limit
                least = max(least, moment + (max(apart, seconds) if is_overdue else apart))
        return least

    def _delay(self, learned: Learned, place: int) -> float | None:
        """How long after the end of its window a set was done, by the clocks of the pipeline."""
        moment = learned.column[place] if 0 <= place < len(learned.past) else None
        if moment is None:
            return None
        return local_of(moment, self._zone) - self._local_end(place)

    def _local_end(self, place: int) -> float:
        """When the clocks of the pipeline show the end of a window, if they do not change within it."""
        start, end = self.window(place)
        return (
            local_of(start, self._zone) + min(end - start, self.grid.length)
            if self.grid.unit == "s"
            else local_of(end, self._zone)
        )

    def habit_of(self, name: str) -> Habit:
        """When a stage is expected, in the words of the configuration."""
        learned = self.learned[name]
        limit = learned.lateness.limit or 0.0
        due: float | str = -(-limit // 60) * 60.0
        if learned.lateness.is_batch and learned.last >= 0:
            done = local_of(self.sets[learned.last].done[name], self._zone) + learned.lateness.grace
            due = f"{int(done % _DAY // _HOUR):02d}:{int(done % _HOUR // 60):02d}"
        return Habit(due, spell_only(habit.hours(learned.habit.now, self.step)) or None)

    def durations(self, name: str) -> Quantiles | None:
        """How long a stage took with the newest sets, as far as its events tell."""
        newest = islice(reversed(self.sets.values()), _NEWEST)
        cells = (facts.row.get(name) for facts in newest)
        return quantiles(sorted(cell.seconds for cell in cells if cell is not None and cell.seconds is not None))

    def delays(self, name: str) -> Quantiles | None:
        """How long after the end of the window a stage is done."""
        return quantiles(self.learned[name].lateness.delays)


def quantiles(ordered: Sequence[float]) -> Quantiles | None:
    """The quantiles of sorted durations in seconds; None without any."""
    if not ordered:
        return None
    return Quantiles(*(round(lateness.quantile(ordered, share), 3) for share in (0.5, 0.95)))
