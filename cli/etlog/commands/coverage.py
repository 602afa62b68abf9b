"""`etlog coverage`: which sets failed, stopped, are missing or unusual, from the API."""

import os
import shlex
from collections.abc import Iterator
from typing import Annotated

import typer
from etlog_ledger.verdict import SetVerdict
from rich.console import Console
from rich.text import Text

from etlog import coverage_report as report
from etlog import coverage_story as story
from etlog.client import Answer, Client, client_of, printable
from etlog.coverage_answer import Coverage, Series, coverage_of
from etlog.coverage_grid import BEYOND_ASCII, grid, legend
from etlog.errors import DONE, FAILED, UNREACHABLE, CommandFailed
from etlog.options import API_URL, ApiUrl, AskedLog, new_app
from etlog.terminal import columns, ending_with_the_reader, prints

app = new_app()


@app.command()
def coverage(
    category: Annotated[str, typer.Option(metavar="NAME", help="Only sets of this category.")] = "",
    stage: Annotated[str, typer.Option(metavar="NAME", help="Only this stage, such as Saved.")] = "",
    state: Annotated[
        str, typer.Option(metavar="STATE", help="Only this state: failed, missing, stopped, unusual, due …")
    ] = "",
    window: Annotated[
        str, typer.Option(metavar="WINDOW", help="Only sets in this window: today, 24h, 7d, start,end …")
    ] = "",
    draw: Annotated[bool, typer.Option("--grid", help="Draw a row per stage, a column per set.")] = False,
    of_set: Annotated[
        str | None, typer.Option("--set", metavar="START/END", help="Tell the story of the set with this window.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the API's answer unchanged.")] = False,
    log: AskedLog = None,
    url: ApiUrl = API_URL,
) -> None:
    """Show what is wrong with the sets of a log, worst first, then how each series stands.

    Exits 1 if anything that is shown is wrong, even if it is acknowledged. If the API requires a token, set
    ETLOG_API_TOKEN.

    \b
    etlog coverage
    etlog coverage --category asset --window 7d --grid
    etlog coverage --set 2022-06-03T10:00:00Z/2022-06-03T11:00:00Z
    etlog coverage --json | jq .data.problems
    """
    chosen = {"category": category, "stage": stage, "state": state, "window": window}
    asked = {"log": log, **chosen}
    interval = None if of_set is None else story.interval_of(of_set)
    if json and draw:
        raise CommandFailed("--json and --grid cannot be combined")
    if interval is not None:
        if draw or window or state:
            raise CommandFailed("--set cannot be combined with --window, --state or --grid: it is one set")
        asked["window"] = ",".join(interval)
    client = client_of(url)
    answer = client.ask("/model/etl/coverage", asked)
    if json:
        with ending_with_the_reader():
            typer.echo(answer.body)
    found = coverage_of(answer)
    code = found.exit_code(answer.at)
    console = Console()
    if json:
        if code == UNREACHABLE:
            raise CommandFailed("the verdict is not of now", code)
    elif interval is not None:
        sets = story.found(found, interval)
        if code != UNREACHABLE:
            code = DONE if story.is_sound(sets) else FAILED
        show(console, tell(console, client, found, sets, interval, answer.at, log))
    else:
        shown = "".join(f", {name} {printable(value)}" for name, value in chosen.items() if value)
        again = _again(log, url)
        show(console, screen(console, found, answer, shown, again, draw=draw))
    raise typer.Exit(code)


def screen(
    console: Console, coverage: Coverage, answer: Answer, shown: str, again: str, *, draw: bool
) -> Iterator[Text]:
    """The lines of the first screen; if the grids are to be drawn, a line per problem and no table.

    `shown` says what was asked for, if not for all; `again` is the command for the same log.
    """
    width, at = columns(console), answer.at
    yield from report.heading(coverage, at, shown, width)
    if draw:
        yield from report.titles(coverage, at, width)
        ascii_only = not prints(console, BEYOND_ASCII)
        listed = report.listed_of(coverage)
        for series in listed:
            yield Text()
            yield from grid(series, coverage.moments(at), console.width, ascii_only=ascii_only)
        if listed:
            yield Text()
            yield from legend(listed, console.width, ascii_only=ascii_only)
        if len(listed) < len(coverage.series):
            yield Text()
            yield from report.unlisted(coverage, listed, width)
    else:
        yield from report.problems(coverage, at, width)
        yield Text()
        yield from report.table(coverage, width)
    yield Text()
    yield from report.closing(coverage, at, again, width)


def _again(log: str | None, url: str) -> str:
    """The command with the options that name this log, but for what the environment says anyway."""
    options = [("--log", log), ("--url", url if url != os.getenv("ETLOG_URL", API_URL) else None)]
    return " ".join(["etlog coverage", *(f"{name} {shlex.quote(value)}" for name, value in options if value)])


def tell(
    console: Console,
    client: Client,
    coverage: Coverage,
    sets: list[tuple[Series, SetVerdict]],
    interval: story.Interval,
    at: float,
    log: str | None,
) -> Iterator[Text]:
    """The lines of a set's story. The log is asked for its events."""
    moments, width = coverage.moments(at), columns(console)
    events = client.get("/model/etl/log", {"log": log, "set": ",".join(interval)})
    yield from report.caution(coverage, at, width)
    for series, each in sets:
        yield from story.story(series, each, moments, width)
        yield Text()
    categories = {series.category for series, _ in sets}
    yield from story.events(events, interval, categories, moments, width)


def show(console: Console, lines: Iterator[Text]) -> None:
    """Print these lines, once all of them are there."""
    everything = list(lines)
    with ending_with_the_reader():
        for line in everything:
            console.print(line, soft_wrap=True)
