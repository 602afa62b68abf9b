"""What the API learned of a log, as a configuration file that declares the same."""

import json
import math
from collections.abc import Iterator, Sequence

import msgspec
from etlog_events import schedule
from etlog_events.windows import parse_timezone
from etlog_ledger.cadence import Every
from etlog_ledger.verdict import Habit, Quantiles

from etlog.client import printable
from etlog.errors import CommandFailed

#: Up to so many minutes, a time until a set is due is rounded up to a multiple of so many.
_ROUNDED = ((5, 1), (60, 5), (360, 15), (math.inf, 60))

_HEAD = """\
# What etlog has learned of the log {log}, as of {now}.
# Read it and edit it: for the stages that it names it replaces what is learned.
# Then check it with 'etlog config check FILE', and name it with ETLOG_CONFIG."""


class Series(msgspec.Struct, frozen=True):
    """What an answer says of a series, as far as it matters here."""

    category: str
    every: str
    habits: dict[str, Habit] = {}
    delay: dict[str, Quantiles] = {}


class Coverage(msgspec.Struct, frozen=True):
    """The same of a log."""

    log: str
    now: str
    zone: str
    suspended: str | None = None
    series: Sequence[Series] = ()


class _Answer(msgspec.Struct, frozen=True):
    data: Coverage


def decode(body: bytes) -> Coverage:
    """What is in an answer of the API. Raises `CommandFailed` where it is not understood."""
    try:
        return msgspec.json.decode(body, type=_Answer).data
    except msgspec.DecodeError as e:
        raise CommandFailed(f"the answer of the API is not understood ({e}): is it of the same release?") from e


def suggest(coverage: Coverage) -> Iterator[str]:
    """The paragraphs of a configuration file that declares what was learned; comments say what could not be."""
    yield _HEAD.format(log=printable(coverage.log), now=printable(coverage.now))
    yield "version = 1"
    yield _log(coverage)
    of_cadence: dict[tuple[str, str], list[Series]] = {}
    for series in coverage.series:
        of_cadence.setdefault((series.category, series.every), []).append(series)
    tables = [table for several in of_cadence.values() for table in _tables(coverage.log, several)]
    yield from tables or ["# No stage has a habit yet: it takes at least three sets, each done on its own."]


def _log(coverage: Coverage) -> str:
    for spelled in (coverage.zone, coverage.zone.removeprefix("UTC")):  # Python writes +05:30 as UTC+05:30
        try:
            parse_timezone(spelled)
        except ValueError:
            continue
        return _table("log", name=coverage.log, zone=spelled)
    return _table("log", name=coverage.log)


def _tables(log: str, several: Sequence[Series]) -> Iterator[str]:
    """The tables for the series of one category and cadence, which an expectation cannot tell apart."""
    category, every = several[0].category, several[0].every
    learned: dict[str, set[tuple[str, str | None]]] = {}
    for series in several:
        for stage, habit in series.habits.items():
            if habit.declared:
                yield _remark(category, every, [stage], "declared already")
            else:
                learned.setdefault(stage, set()).add((_due(habit.due), habit.only or None))
    alike: dict[tuple[str, str | None], list[str]] = {}
    for stage, habits in learned.items():
        if len(habits) > 1 or any(stage not in series.habits for series in several):
            yield _remark(category, every, [stage], "left to habit, which differs between the series of this cadence")
        else:
            alike.setdefault(min(habits), []).append(stage)
    for (due, only), stages in alike.items():
        try:
            Every.parse(every)
            schedule.parse_due(due)
            schedule.parse_only(only or "mon")
        except ValueError as e:
            yield _remark(category, every, stages, f"left to habit: {e}")
            continue
        lines = [f"# {printable(stage)}: {told}" for stage in stages for told in _delays(stage, several)]
        optional = {} if only is None else {"only": only}
        lines.append(_table("expect", log=log, category=category, every=every, stages=stages, due=due, **optional))
        yield "\n".join(lines)


def _remark(category: str, every: str, stages: Sequence[str], text: str) -> str:
    return "# " + printable(f"{', '.join(stages)} of {category}, every {every}: {text}.")


def _delays(stage: str, several: Sequence[Series]) -> Iterator[str]:
    for delay in (series.delay[stage] for series in several if stage in series.delay):
        yield f"half are done {_seconds(delay.p50)} after the end, 95 of 100 by {_seconds(delay.p95)}"


def _table(header: str, /, **values: str | list[str]) -> str:
    return "\n".join([f"[[{header}]]", *(f"{key} = {_toml(value)}" for key, value in values.items())])


def _toml(value: str | list[str]) -> str:
    """Texts of TOML are those of JSON, but that they never hold a DEL."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _due(due: float | str) -> str:
    """When a set is due, as the file spells it; a time after the end of the window is rounded up."""
    if isinstance(due, str):
        return due
    minutes = max(math.ceil(due / 60), 0)
    step = next(step for most, step in _ROUNDED if minutes <= most)
    minutes = -(-minutes // step) * step
    return f"{minutes}m" if minutes % 60 or not minutes else f"{minutes // 60}h"


def _seconds(seconds: float) -> str:
    for unit, size in (("s", 1), ("min", 60)):
        if seconds < 120 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 3600:.1f} h"
