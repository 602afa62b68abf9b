"""The story of one set: what each stage did when, and the events that tell of it."""

from collections.abc import Iterator
from textwrap import wrap
from typing import Any

import orjson
from etlog_events import timestamps
from etlog_ledger.verdict import CellVerdict, SetVerdict
from rich.text import Text

from etlog.client import printable
from etlog.coverage_answer import Coverage, Series, is_wrong
from etlog.errors import CommandFailed
from etlog.moments import Moments, in_words, seconds_of

#: Columns of a state.
_STATE = len("recovered") + 2

_STYLES = {
    **{"done": "green", "recovered": "green", "due": "cyan", "waived": "dim"},
    **dict.fromkeys(("failed", "missing", "stopped"), "bold red"),
}

#: Other sets that are named where the one that was asked for is not known.
MOST_OTHERS = 5

#: Start and end of a set's window, canonical.
Interval = tuple[str, str]


def interval_of(text: str) -> Interval:
    """The window that START/END or START,END spells. Raises `CommandFailed`."""
    start, separator, end = text.partition("/" if "/" in text else ",")
    try:
        if not separator:
            raise ValueError("it has one time only")
        window = timestamps.canonical(start.strip()), timestamps.canonical(end.strip())
        if seconds_of(window[0]) >= seconds_of(window[1]):
            raise ValueError("it must end after its start")
    except ValueError as e:
        example = "2022-06-03T10:00:00Z/2022-06-03T11:00:00Z"
        raise CommandFailed(f"--set must be the window of a set, START/END such as {example}: {e}") from e
    return window


def found(coverage: Coverage, interval: Interval) -> list[tuple[Series, SetVerdict]]:
    """The sets with exactly this window, of each series. Raises `CommandFailed` where there is none, naming others."""
    overlapping = [(series, each) for series in coverage.series for each in series.sets]
    exact = [(series, each) for series, each in overlapping if (each.window.start, each.window.end) == interval]
    if exact:
        return exact
    others = [f"{series.category} {each.window.start}/{each.window.end}" for series, each in overlapping]
    more = ", …" if len(others) > MOST_OTHERS else ""
    hint = f"; these overlap it: {', '.join(others[:MOST_OTHERS])}{more}" if others else ""
    raise CommandFailed(f"the log knows no set {'/'.join(interval)}{printable(hint)}")


def is_sound(sets: list[tuple[Series, SetVerdict]]) -> bool:
    """Whether nothing is wrong with these sets."""
    return not any(is_wrong(cell) for _, each in sets for cell in each.stages.values())


def story(series: Series, each: SetVerdict, moments: Moments, width: int) -> Iterator[Text]:
    """What each stage did with a set."""
    span = moments.span(each.window.start, each.window.end)
    yield Text(f"{printable(series.name)}: {span} {moments.zone}", style="bold")
    label = max(map(len, each.stages), default=0)
    end = seconds_of(each.window.end)
    indent = 2 + label + 2 + _STATE
    for stage, cell in each.stages.items():
        head = Text(f"  {printable(stage):<{label}}  ") + Text(f"{cell.state:<{_STATE}}", style=_STYLES[cell.state])
        for fact in _facts(cell, end, moments):
            for line in wrap(fact, max(width - indent, 20), subsequent_indent="  ", break_on_hyphens=False):
                yield head + Text(line)
                head = Text(" " * indent)
        if head.plain.strip():
            head.rstrip()
            yield head
    if not each.stages:
        yield Text("  nothing is expected of it, and nothing was done")


def events(log: bytes, interval: Interval, categories: set[str], moments: Moments, width: int) -> Iterator[Text]:
    """The events of a set in an answer of `/model/etl/log`, the oldest first, and its warning."""
    answer = orjson.loads(log)
    told = [
        event
        for category, items in answer["data"].items()
        if category in categories
        for event in items
        if _window(event) == interval
    ]
    yield Text("Its events, the oldest first:" if told else "None of its events is in the log any more.", style="bold")
    kinds = max((len(event["kind"]) for event in told), default=0)
    for event in sorted(told, key=lambda event: event["time"].rstrip("Z")):
        moment = moments.moment(event["time"])
        line = f"  {moment}  {printable(event['kind']):<{kinds}}  {printable(_details(event))}".rstrip()
        yield from map(Text, wrap(line, max(width, 20), subsequent_indent="    ", break_on_hyphens=False))
    if "warning" in answer:
        yield from (
            Text(line, style="yellow") for line in wrap(f"Warning: {printable(answer['warning'])}", max(width, 20))
        )


def _facts(cell: CellVerdict, end: float, moments: Moments) -> Iterator[str]:
    """What is known of a stage of a set whose window ends at `end`."""
    if cell.first is not None:
        times = (
            "" if cell.count < 2 or cell.last is None else f", {cell.count} times, last at {moments.moment(cell.last)}"
        )
        took = "" if cell.seconds is None else f", took {in_words(cell.seconds)}"
        yield f"done at {moments.moment(cell.first)}, {_after(cell.first, end)}{times}{took}"
    if cell.size is not None:
        usual = "" if cell.usual is None else f", usually about {cell.usual:,}"
        yield f"{'unusual: ' if cell.unusual else ''}{cell.size:,} record{'' if cell.size == 1 else 's'}{usual}"
    if cell.failed is not None:
        yield f"failed at {moments.moment(cell.failed)}, {_after(cell.failed, end)}"
    if cell.error is not None:
        lines = [line for line in cell.error.splitlines() if line.strip()] or ["no text"]
        yield f"error: {printable(lines[0])}"
        yield from (f"  {printable(line)}" for line in lines[1:])
    if cell.behind is not None:
        yield f"waits behind {printable(cell.behind)}"
    if cell.due is not None and cell.first is None:
        verb = "due" if seconds_of(cell.due) > moments.now else "was due"
        yield f"{verb} by {moments.moment(cell.due)}, {moments.ago(cell.due)}"


def _after(time: str, end: float) -> str:
    seconds = seconds_of(time) - end
    return f"{in_words(abs(seconds))} {'after' if seconds >= 0 else 'before'} the end"


def _window(event: dict[str, Any]) -> Interval | None:
    window = event["metadata"].get("window")
    return None if window is None else (window["start"], window["end"])


def _details(event: dict[str, Any]) -> str:
    metadata = {name: value for name, value in event["metadata"].items() if name not in {"window", "error"}}
    error = event["metadata"].get("error")
    parts = [] if error is None else [error]
    return "  ".join(parts + [f"{name}={orjson.dumps(value).decode()}" for name, value in metadata.items()])
