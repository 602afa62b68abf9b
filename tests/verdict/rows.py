"""Rows of assets that are made for a rule, and the verdict on them."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

from etlog_events.kinds import KUBECOST_KINDS
from etlog_ledger.judge import Judge
from etlog_ledger.row import Cell, Row
from etlog_ledger.verdict import Verdict

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
MONDAY = datetime(2026, 11, 2, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")

#: Of a set, by its start: how many seconds after its end each stage was done.
Delays = Callable[[datetime], dict[str, float]]

Rows = dict[str, Row]


def spelled(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


def cell(end: datetime, seconds: float, **more: object) -> Cell:
    time = spelled(end + timedelta(seconds=seconds))
    return Cell(**{"n": 1, "first": time, "last": time, "settled": time if seconds >= 0 else None, **more})  # type: ignore[arg-type]


def sets(starts: Iterable[datetime], length: timedelta, delays: Delays, size: int | None = None) -> Rows:
    """The rows of sets that begin then, as far as a stage was done."""
    found: Rows = {}
    for start in starts:
        done = {stage: cell(start + length, seconds, size=size) for stage, seconds in delays(start).items()}
        if done:
            found[f"{spelled(start)}/{spelled(start + length)}"] = done
    return found


def every(length: timedelta, number: int, first: datetime = MONDAY) -> list[datetime]:
    return [first + place * length for place in range(number)]


def judged(rows: Rows, now: datetime, zone: tzinfo = UTC) -> Verdict:
    return Judge(KUBECOST_KINDS, zone).judge({"asset": rows}, (), now)


def told(verdict: Verdict) -> list[tuple[str, tuple[str, ...], int]]:
    return [(problem.state, tuple(problem.stages), problem.sets) for problem in verdict.problems]
