"""`etlog bugreport`: the API's bug report in a file."""

from collections.abc import Mapping
from pathlib import Path

from rich.console import Console
from rich.progress import DownloadColumn, Progress, TextColumn

from etlog.client import Client
from etlog.errors import FAILED, CommandFailed


def save(client: Client, path: Path, parameters: Mapping[str, str]) -> int:
    """Write the report to `path`, showing progress on a terminal; returns its bytes. A partial file is not left."""
    console = Console(stderr=True)
    columns = (TextColumn("downloading"), DownloadColumn())
    part = path.with_name(path.name + ".part")
    try:
        with (
            client.download("/model/etl/bugreport", parameters) as pieces,
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
