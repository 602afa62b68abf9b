"""`etlog bugreport`: the API's bug report as a file."""

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import DownloadColumn, Progress, TextColumn

from etlog.client import Client, client_of
from etlog.errors import FAILED, CommandFailed
from etlog.options import API_URL, ApiUrl, AskedLog, new_app

app = new_app()


@app.command()
def bugreport(
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="File to write.")] = Path(
        "etlog-bugreport.zip"
    ),
    log: AskedLog = None,
    url: ApiUrl = API_URL,
) -> None:
    """Save a zip with the log, the status, the settings without their secrets, and the store's own figures.

    \b
    etlog bugreport -o report.zip
    """
    typer.echo(f"{save(client_of(url), output, log):,} bytes written to {output}")


def save(client: Client, path: Path, log: str | None) -> int:
    """Write the report to `path`, with progress on a terminal; returns its size in bytes. Leaves no partial file."""
    console = Console(stderr=True)
    columns = (TextColumn("downloading"), DownloadColumn())
    part = path.with_name(path.name + ".part")
    try:
        with (
            client.download("/model/etl/bugreport", {"log": log}) as pieces,
            part.open("wb") as file,
            Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress,
        ):
            task = progress.add_task("", total=None)
            for piece in pieces:
                file.write(piece)
                progress.advance(task, len(piece))
        part.replace(path)
    except OSError as e:
        raise CommandFailed(f"cannot write {path}: {e.strerror}", FAILED) from e
    finally:
        part.unlink(missing_ok=True)
    return path.stat().st_size
