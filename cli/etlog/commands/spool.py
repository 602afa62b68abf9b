"""`etlog spool …`."""

from typing import Annotated

import typer

from etlog import logging_setup
from etlog.errors import FAILED, CommandFailed
from etlog.options import LogName, RedisUrl, settings_of

app = typer.Typer(help="Events that wait on this machine's disk, because no store took them.", no_args_is_help=True)


@app.command("list")
def spool_list(redis_url: RedisUrl = None, log: LogName = None) -> None:
    """Show the spool files of the log: their events, their age, the store they are for.

    \b
    etlog spool list
    """
    from etlog import spool as spooling  # noqa: PLC0415

    settings = settings_of(redis_url=redis_url, name=log)
    found = spooling.look(spooling.folder_of(settings))
    if found:
        typer.echo("\n".join(spooling.lines(found)))
    else:
        typer.echo(f"no spool files of log {settings.name} in {spooling.folder_of(settings).path}")


@app.command("flush")
def spool_flush(
    any_store: Annotated[
        bool, typer.Option("--any-store", help="Also files that were meant for a store at another address.")
    ] = False,
    redis_url: RedisUrl = None,
    log: LogName = None,
) -> None:
    """Deliver the spool files of processes that are gone, each event once, under its original number.

    \b
    etlog spool flush --redis-url redis://127.0.0.1:6379/0
    """
    from etlog import spool as spooling  # noqa: PLC0415

    settings = settings_of(redis_url=redis_url, name=log)
    logging_setup.configure("ERROR", settings.log_format)
    done = spooling.flush(settings, any_store=any_store)
    events = sum(orphan.sent for orphan in done)
    left = spooling.look(spooling.folder_of(settings))
    typer.echo(f"{events} event{'' if events == 1 else 's'} delivered from the spool to log {settings.name}")
    elsewhere = sum(not file.in_use for file in left)
    old = [path for orphan in done for path in orphan.set_aside_as]
    if old:
        raise CommandFailed(
            f"{len(old)} file(s) are too old to be sent, for the log may have their events and no longer know it; "
            f"set aside as {', '.join(map(str, old))}; emit what it does not hold with 'etlog emit --file'",
            FAILED,
        )
    if elsewhere:
        raise CommandFailed(
            f"{elsewhere} file(s) for another store are left; see 'etlog spool list', and --any-store", FAILED
        )
