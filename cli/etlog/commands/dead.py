"""`etlog dead`: dead letters are listed, shown, requeued or dropped."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from etlog import dead_letters
from etlog.connection import connected
from etlog.dead_letters import Choice, Letter
from etlog.errors import CommandFailed
from etlog.options import LogName, RedisUrl, new_app, settings_of

app = new_app(
    help="""List, repair, requeue or drop dead letters: events that the consumer refused, with the reason of each.

    \b
    etlog dead list
    etlog dead requeue --reason 'unknown kind'
    etlog dead drop --all
    """
)

Ids = Annotated[list[str] | None, typer.Argument(metavar="ID", help="Ids of dead letters.", show_default=False)]
Reason = Annotated[str | None, typer.Option(metavar="TEXT", help="Those whose reason contains this text.")]
All = Annotated[bool, typer.Option("--all", help="All of them.")]


@app.command("list")
def dead_list(
    reason: Reason = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object per line.")] = False,
    redis_url: RedisUrl = None,
    log: LogName = None,
) -> None:
    """List dead letters, oldest first.

    \b
    etlog dead list --reason 'unknown kind'
    etlog dead list --json | jq -r .reason | sort | uniq -c
    """
    settings = settings_of(redis_url=redis_url, name=log)
    with connected(settings, "dead") as client:
        found = dead_letters.letters(client, settings.keys, Choice(reason=reason))
        if json:
            for letter in found:
                typer.echo(_dump(letter.json()))
        else:
            show(found)


@app.command("show")
def dead_show(ids: Ids, redis_url: RedisUrl = None, log: LogName = None) -> None:
    """Print dead letters whole, as JSON.

    \b
    etlog dead show 1654275474092-0
    """
    settings = settings_of(redis_url=redis_url, name=log)
    with connected(settings, "dead") as client:
        for letter in dead_letters.letters(client, settings.keys, Choice(ids or ())):
            typer.echo(_dump(letter.json()))


@app.command("requeue")
def dead_requeue(
    ids: Ids = None,
    reason: Reason = None,
    every: All = False,
    event: Annotated[str | None, typer.Option(metavar="JSON", help="The repaired event, for one id.")] = None,
    file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A file with the repaired event, for one id.", exists=True)
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Requeue even what would be refused again.")] = False,
    redis_url: RedisUrl = None,
    log: LogName = None,
) -> None:
    """Put dead letters back into the stream, repaired or unchanged. Each stops being a dead letter in the same step.

    \b
    etlog dead requeue --reason 'unknown kind'
    etlog dead requeue 1654275474092-0 --file repaired.json
    """
    settings = settings_of(redis_url=redis_url, name=log)
    if event is not None and file is not None:
        raise CommandFailed("give either --event or --file")
    repaired = file.read_bytes().strip() if file is not None else event.encode() if event is not None else None
    choice = Choice(ids or (), reason, every)
    with connected(settings, "dead") as client:
        count = dead_letters.requeue(client, settings.keys, choice, repaired, settings.kinds, force)
    typer.echo(f"{count} requeued into log {settings.name}")


@app.command("drop")
def dead_drop(
    ids: Ids = None, reason: Reason = None, every: All = False, redis_url: RedisUrl = None, log: LogName = None
) -> None:
    """Delete dead letters for good. They stay counted.

    \b
    etlog dead drop 1654275474092-0
    etlog dead drop --all
    """
    settings = settings_of(redis_url=redis_url, name=log)
    with connected(settings, "dead") as client:
        count = dead_letters.drop(client, settings.keys, Choice(ids or (), reason, every))
    typer.echo(f"{count} dropped from log {settings.name}")


def show(found: Iterator[Letter]) -> None:
    """Print dead letters as a table."""
    table = Table("id", "event", "producer", "seq", "reason", "text", box=None)
    for column in table.columns:
        column.overflow = "fold"
    for column in table.columns[:2]:
        column.no_wrap = True  # to be copied
    for letter in found:
        cells = (letter.id, letter.event, letter.producer, letter.seq, letter.reason, letter.text[:60])
        table.add_row(*(Text(cell) for cell in cells))  # as text: brackets in it are not markup
    Console().print(table if table.row_count else "no dead letters")


def _dump(value: Any) -> str:
    return orjson.dumps(value).decode()
