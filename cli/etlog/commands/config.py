"""`etlog config`: the configuration file is checked, or made of what was learned."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from textwrap import wrap
from typing import Annotated

import typer
from etlog_events import config as configuration
from etlog_events import schedule
from etlog_events.config import Config, Expect, Notify
from etlog_events.errors import ConfigError
from etlog_events.schedule import EVERY_DAY, MIDNIGHT, Hours
from etlog_events.settings import Settings
from rich.console import Console

from etlog import suggestions
from etlog.client import client_of, printable
from etlog.errors import DONE, MISUSED, UNREACHABLE, CommandFailed
from etlog.options import API_URL, ApiUrl, AskedLog, new_app, settings_of

app = new_app(
    help="""Check the configuration file, or make one of what etlog has learned of a log.

    \b
    etlog config check etlog.toml
    etlog config suggest > etlog.toml
    """
)


@app.command("check")
def config_check(
    file: Annotated[
        Path | None, typer.Argument(metavar="FILE", help="File to check.  [env: ETLOG_CONFIG]", show_default=False)
    ] = None,
) -> None:
    """Check the configuration file, and say what it means. Every mistake is one line on standard error, and the exit
    code is 2. Logs and categories are those of ETLOG_NAMES and ETLOG_CATEGORIES: set them as for the API.

    \b
    etlog config check etlog.toml
    ETLOG_NAMES=nightly,hourly etlog config check etlog.toml
    """
    settings = settings_of()
    path = file or settings.config
    if path is None:
        raise CommandFailed("name the file to check, or set ETLOG_CONFIG; see 'etlog config check --help'")
    try:
        config = configuration.read(path, settings)
    except ConfigError as e:
        for problem in e.problems:
            typer.echo(f"etlog: {problem}", err=True)
        raise typer.Exit(MISUSED) from e
    console = Console()
    for line in words(path, config, settings):
        # In a pipe, each stays on one line, for `grep`.
        for part in wrap(line, console.width, subsequent_indent="    ") if console.is_terminal else [line]:
            typer.echo(part)


@app.command("suggest")
def config_suggest(log: AskedLog = None, url: ApiUrl = API_URL) -> None:
    """Print a configuration file that declares what etlog has learned of a log: which stages do which sets, and when
    they are due, rounded up. Read it, edit it, then use 'etlog config check'.

    \b
    etlog config suggest > etlog.toml
    etlog config suggest --log nightly
    """
    coverage = suggestions.decode(client_of(url).get("/model/etl/coverage", {"log": log}))
    typer.echo("\n\n".join(suggestions.suggest(coverage)))
    if coverage.suspended is not None:
        typer.echo(f"etlog: the verdict is suspended: {printable(coverage.suspended)}", err=True)
    raise typer.Exit(DONE if coverage.suspended is None else UNREACHABLE)


def words(path: Path, config: Config, settings: Settings) -> Iterator[str]:
    """What a configuration means, a line for each table."""
    parts = [
        _number(len(config.logs), "log"),
        _number(len(config.expect), "expectation"),
        _number(len(config.notify), "notification"),
    ]
    yield f"{path} is right: {', '.join(parts)}."
    for index, log in enumerate(config.logs):
        yield f"log[{index}]: {log.name} is in the zone {log.zone or f'{settings.timezone}, of ETLOG_TIMEZONE'}"
    for index, expect in enumerate(config.expect):
        yield f"expect[{index}]: {_expectation(expect)}"
    for index, notify in enumerate(config.notify):
        yield f"notify[{index}]: {_notification(notify)}"
    if len(config.expect) > 1:
        yield "Where several expectations match a set, the last one counts."


def _expectation(expect: Expect) -> str:
    stages = _listed(expect.stages, "and")
    verb = "is" if len(expect.stages) == 1 else "are"
    of = f"{expect.category} in {f'log {expect.log}' if expect.log else 'every log'}"
    cadence = f"every {expect.every}" if expect.every else "of any cadence"
    if isinstance(expect.due, timedelta):
        due = f"{_span(expect.due)} after the end of the window"
    else:
        due = f"at the first {expect.due:%H:%M} after the end of the window"
    text = f"{stages} of {of}, {cadence}, {verb} due {due}"
    if expect.only:
        text += f", if it starts {' or '.join(map(_hours, expect.only))}"
    if expect.excepted:
        text += f", but not on {_listed([day.isoformat() for day in sorted(expect.excepted)], 'or')}"
    return text + (f", from {expect.since.isoformat()} on" if expect.since else "")


def _hours(hours: Hours) -> str:
    if hours.start == hours.end == MIDNIGHT:
        return f"any time {hours}"
    days = "any day " if hours.days == EVERY_DAY else ""
    return f"{days}{hours}{' (the next day)' if MIDNIGHT < hours.end <= hours.start else ''}"


def _notification(notify: Notify) -> str:
    what = "everything" if set(notify.on) == set(configuration.NOTICES) else _listed(notify.on, "and")
    of = f" of {notify.category}" if notify.category else ""
    where = f" in log {notify.log}" if notify.log else ""
    way = "by Apprise" if not notify.is_webhook else "signed" if notify.secret else "not signed"
    remind = f"reminders every {_span(notify.remind)}" if notify.remind else "no reminders"
    quiet = f", quiet {schedule.spell_only(notify.quiet)}" if notify.quiet else ""
    return f"{notify.shown} is told of {what}{of}{where}, {way}, {remind}{quiet}"


def _span(span: timedelta) -> str:
    """A time as the file spells it, in the largest unit that divides it."""
    seconds = int(span.total_seconds())
    unit, size = next((unit, size) for unit, size in (("h", 3600), ("m", 60), ("s", 1)) if seconds % size == 0)
    return f"{seconds // size}{unit}" if seconds else "0m"


def _listed(items: Sequence[str], word: str) -> str:
    return f" {word} ".join(filter(None, (", ".join(items[:-1]), items[-1])))


def _number(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
