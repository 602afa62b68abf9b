"""`etlog dev`: everything in one terminal, by the part `dev/`."""

import os
from pathlib import Path
from typing import Annotated

import typer
from etlog_events import config as configuration
from etlog_watch.senders import sender_of

from etlog.options import new_app, settings_of, variables_of

app = new_app()


@app.command()
def dev(
    data: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Folder for the log, the sample's sets and the parts' own logs.")
    ] = Path("etlog-data"),
    no_etl: Annotated[bool, typer.Option("--no-etl", help="Run without the sample ETL.")] = False,
    fail: Annotated[bool, typer.Option("--fail", help="Let the sample ETL fail now and then.")] = False,
    seconds: Annotated[
        float | None, typer.Option("--for", metavar="SECONDS", min=0, help="Stop after this many seconds.")
    ] = None,
    port: Annotated[int | None, typer.Option(metavar="N", help="Port of the API.  [env: ETLOG_PORT]")] = None,
    config: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Configuration file; a watcher then runs too.  [env: ETLOG_CONFIG]"),
    ] = None,
) -> None:
    """Run everything in this terminal: store, consumer, API, page and sample ETL. Ctrl-C stops it.

    It starts its own store. A second run with the same folder continues where the first one ended. With a
    configuration file it also tells people of problems, as the [[notify]] tables say.

    \b
    etlog dev
    etlog dev --fail --config etlog.toml

    \b
    Without the sample, and with events from another terminal:
    etlog dev --no-etl --data /tmp/etlog
    etlog emit AssetSetComputeError --error 'no prices'
    etlog log
    """
    given = {"port": port, "config": None if config is None else str(config.absolute())}
    settings = settings_of(**given)
    for index, notify in enumerate(configuration.load(settings).notify):
        sender_of(index, notify, os.environ)  # a mistake is told before anything is started

    from etlog_dev.develop import develop  # noqa: PLC0415 - the help needs no part that may be missing

    environment = {**os.environ, **variables_of(**given)}
    raise typer.Exit(develop(settings, environment, data, etl=not no_etl, fail=fail, seconds=seconds))
