"""`etlog dead …`."""

from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console

from etlog import dead_letters
from etlog.connection import connected
from etlog.errors import CommandFailed
from etlog.options import LogName, RedisUrl, settings_of

app = typer.Typer(help="Look at, mend, put back or drop the entries that the consumer refused.", no_args_is_help=True)

Ids = Annotated[list[str] | None, typer.Argument(help="Ids of dead letters.", show_default=False)]
Reason = Annotated[str | None, typer.Option(help="Those whose reason contains this text.")]
All = Annotated[bool, typer.Option("--all", help="All of them.")]


@app.command("list")
def dead_list(
    reason: Reason = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
    redis_url: RedisUrl = None,
    log: LogName = None,
) -> None:
    """List dead letters, oldest first."""
    settings = settings_of(redis_url=redis_url, name=log)
    with connected(settings, "dead") as client:
        found = dead_letters.letters(client, settings.keys, dead_letters.Choice(reason=reason))
        if json:
            for letter in found:
                typer.echo(_dump(letter.json()))
        else:
            dead_letters.table(found, Console())


@app.command("show")
def dead_show(ids: Ids, redis_url: RedisUrl = None, log: LogName = None) -> None:
    """Show dead letters with all that was kept of them."""
    settings = settings_of(redis_url=redis_url, name=log)
    with connected(settings, "dead") as client:
        for letter in dead_letters.letters(client, settings.keys, dead_letters.Choice(ids or ())):
            typer.echo(_dump(letter.json()))


@app.command("requeue")
def dead_requeue(
    ids: Ids = None,
    reason: Reason = None,
    every: All = False,
    event: Annotated[str | None, typer.Option(help="The mended event, for one id.")] = None,
    file: Annotated[Path | None, typer.Option(help="A file with the mended event, for one id.", exists=True)] = None,
    force: Annotated[bool, typer.Option("--force", help="Even what would be refused again.")] = False,
    redis_url: RedisUrl = None,
    log: LogName = None,
) -> None:
    """Put dead letters back into the stream, mended or as they are. Each leaves the dead letters in the same step."""
    settings = settings_of(redis_url=redis_url, name=log)
    if event is not None and file is not None:
        raise CommandFailed("give either --event or --file")
    mended = file.read_bytes().strip() if file is not None else event.encode() if event is not None else None
    choice = dead_letters.Choice(ids or (), reason, every)
    with connected(settings, "dead") as client:
        count = dead_letters.requeue(client, settings.keys, choice, mended, settings.kinds, force)
    typer.echo(f"{count} put back into log {settings.name}")


@app.command("drop")
def dead_drop(
    ids: Ids = None, reason: Reason = None, every: All = False, redis_url: RedisUrl = None, log: LogName = None
) -> None:
    """Remove dead letters for good. They stay counted."""
    settings = settings_of(redis_url=redis_url, name=log)
    with connected(settings, "dead") as client:
        count = dead_letters.drop(client, settings.keys, dead_letters.Choice(ids or (), reason, every))
    typer.echo(f"{count} dropped from log {settings.name}")


def _dump(value: Any) -> str:
    """`value` as JSON on one line."""
    return orjson.dumps(value).decode()
