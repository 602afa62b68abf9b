"""Expectations: what the configuration declares of the sets of one log, in the zone of its pipeline."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from enum import Enum
from hashlib import sha256
from typing import Final

from etlog_events.config import Config
from etlog_events.schedule import Hours as Hours  # noqa: PLC0414 - who makes an expectation finds them here
from etlog_events.schedule import spell_only

from etlog_ledger.cadence import Every

#: The ends of the calendar: what is beyond them is at them.
_EARLIEST, _LATEST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)

_DAY = timedelta(days=1)

#: Characters of a digest: 48 bits, which tell apart all configurations that a log will ever have.
_DIGEST = 12


class NotExpected(Enum):
    """That a stage is declared not to do a set."""

    NOT_EXPECTED = "not expected"


NOT_EXPECTED: Final = NotExpected.NOT_EXPECTED


@dataclass(frozen=True, slots=True)
class Expectation:
    """One `[[expect]]`: these stages of a category, of one cadence or of any (None), are expected.

    They are due a length of time after the end of the window, or at the first such time of the day after it, in the
    pipeline's zone. `only` are the hours in which windows start that are expected, none of them meaning always;
    `excepted` are dates on which none is. Windows that start before `since` are judged by habit.
    """

    category: str
    stages: Sequence[str]
    due: timedelta | time
    every: Every | None = None
    only: Sequence[Hours] = ()
    excepted: frozenset[date] = field(default_factory=frozenset)
    since: datetime | None = None

    def __post_init__(self) -> None:
        """Keep `since` in UTC: two times of one zone compare as its clock shows them, which may go back."""
        if self.since is not None:
            object.__setattr__(self, "since", _in_utc(self.since))

    def covers(self, start: datetime) -> bool:
        """Whether it speaks of a window that starts then (aware, in the pipeline's zone): by `since` and `only`."""
        return self.holds_at(start) and (not self.only or any(start in hours for hours in self.only))

    def holds_at(self, start: datetime) -> bool:
        """Whether a window that starts then (aware) is not from before `since`."""
        return self.since is None or start >= self.since

    def excepts(self, start: datetime) -> bool:
        """Whether windows of that day are excepted. One in the hours of a night belongs to the day before."""
        if not self.excepted:
            return False
        days = [hours.day_of(start) for hours in self.only if start in hours]
        return self.excepted.issuperset(days or [start.date()])

    def due_at(self, end: datetime) -> datetime:
        """When a set is due, in UTC, whose window ends then (aware, in the pipeline's zone).

        A time of the day that clocks skip is that much later; of one that comes twice, the first counts.
        """
        if isinstance(self.due, timedelta):
            try:
                return _in_utc(end) + self.due
            except OverflowError:
                return _LATEST
        after = _in_utc(end)
        # A day more on both sides: where a zone crosses the date line, a whole day is skipped.
        for days in range(-1, 4):
            try:
                day = end.date() + days * _DAY
            except OverflowError:
                continue
            found = _in_utc(datetime.combine(day, self.due, end.tzinfo))
            if found > after:
                return found
        return _LATEST


@dataclass(frozen=True, slots=True)
class Declared:
    """What is declared of one stage of a series: the expectations that name it, in their order."""

    expectations: tuple[Expectation, ...]

    def due(self, start: datetime, end: datetime) -> datetime | NotExpected | None:
        """When the set with this window (aware, in the pipeline's zone) is due, in UTC.

        The last expectation that covers it counts. `NOT_EXPECTED` where that one excepts it, or where some hold at
        its start and none covers it; None where none holds yet: then habit counts.
        """
        holds = False
        for expectation in reversed(self.expectations):
            if not expectation.holds_at(start):
                continue
            if expectation.covers(start):
                return NOT_EXPECTED if expectation.excepts(start) else expectation.due_at(end)
            holds = True
        return NOT_EXPECTED if holds else None


def declared(expectations: Iterable[Expectation], category: str, every: Every, stage: str) -> Declared | None:
    """What is declared of a stage of the series of this category and cadence; None where nothing is.

    To be asked once per stage of a series, not per set.
    """
    found = tuple(
        expectation
        for expectation in expectations
        if expectation.category == category and stage in expectation.stages and expectation.every in {None, every}
    )
    return Declared(found) if found else None


def of_log(config: Config, log: str, zone: tzinfo) -> tuple[tzinfo, tuple[Expectation, ...]]:
    """The zone of a log's pipeline, which is `zone` unless the configuration says otherwise, and what is expected."""
    zone = config.zone_of(log, zone)
    return zone, tuple(
        Expectation(
            expect.category,
            expect.stages,
            expect.due,
            Every.parse(expect.every) if expect.every is not None else None,
            expect.only,
            expect.excepted,
            _instant(expect.since, zone) if expect.since is not None else None,
        )
        for expect in config.expect
        if expect.log in {None, log}
    )


def digest(zone: tzinfo, expectations: Iterable[Expectation]) -> str:
    """Twelve hexadecimal digits that are the same wherever zone and expectations are, and others where they are not."""
    told = [str(zone)]
    for expectation in expectations:
        told += [
            expectation.category,
            ",".join(expectation.stages),
            str(expectation.due),
            str(expectation.every),
            spell_only(expectation.only),
            ",".join(day.isoformat() for day in sorted(expectation.excepted)),
            str(expectation.since),
        ]
    return sha256("\n".join(told).encode()).hexdigest()[:_DIGEST]


def _instant(moment: date | datetime, zone: tzinfo) -> datetime:
    if not isinstance(moment, datetime):
        moment = datetime.combine(moment, time())
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=zone)


def _in_utc(moment: datetime) -> datetime:
    """A time in UTC, or that end of the calendar beyond which it is."""
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        return _EARLIEST if moment.year == 1 else _LATEST
