"""`etlog sample`: the sample ETL, which is in the part `dev/`."""

from pathlib import Path
from typing import Annotated

import typer

from etlog import logging_setup
from etlog.options import LogName, RedisUrl, new_app, settings_of
from etlog.stopping import until_stopped

app = new_app()


@app.command()
def sample(
    data: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder for the sets.")] = Path("etlog-data/sample"),
    fail: Annotated[bool, typer.Option("--fail", help="Damage a set now and then, so that stages fail.")] = False,
    redis_url: RedisUrl = None,
    log: LogName = None,
) -> None:
    """Run the sample ETL until stopped: it meters this machine and publishes what its stages do with the figures.

    \b
    etlog sample --redis-url redis://127.0.0.1:6379/0
    etlog sample --fail
    """
    settings = settings_of(redis_url=redis_url, name=log)
    logging_setup.configure(settings.log_level, settings.log_format)

    from etlog_dev.sample.run import run  # noqa: PLC0415 - the help needs no part that may be missing

    raise typer.Exit(until_stopped(lambda stop: run(settings, data=data, fail=fail, stop=stop)))
