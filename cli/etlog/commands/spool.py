"""`etlog spool`: events that wait on this machine's disk, because their process ended too soon."""

import fcntl
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import sleep, time
from typing import Annotated

import redis
import typer
from etlog_events import store
from etlog_events.settings import Settings
from etlog_producer.publish import Publisher
from etlog_producer.spool.recovery import Orphan, Recovery
from etlog_producer.spool.segment import SegmentReader
from etlog_producer.spool.writer import SpoolFolder

from etlog import logging_setup
from etlog.errors import FAILED, CommandFailed
from etlog.options import LogName, RedisUrl, new_app, settings_of

app = new_app(
    help="""List or deliver events that wait on this machine's disk, because their process ended before the store
    accepted them.

    \b
    etlog spool list
    etlog spool flush --redis-url redis://127.0.0.1:6379/0
    """
)

#: Consecutive attempts that may fail before the command gives up on the store, and the seconds between them.
ATTEMPTS, PAUSE = 5, 0.5


@app.command("list")
def spool_list(redis_url: RedisUrl = None, log: LogName = None) -> None:
    """Show the spool files of a log. A line has their events, their age and their store.

    \b
    etlog spool list
    """
    settings = settings_of(redis_url=redis_url, name=log)
    folder = folder_of(settings)
    found = look(folder)
    typer.echo("\n".join(lines(found)) if found else f"no spool files of log {settings.name} in {folder.path}")


@app.command("flush")
def spool_flush(
    any_store: Annotated[
        bool, typer.Option("--any-store", help="Also files meant for a store at another address.")
    ] = False,
    redis_url: RedisUrl = None,
    log: LogName = None,
) -> None:
    """Deliver the spool files of ended processes. Each event is delivered once, under its original number.

    \b
    etlog spool flush --redis-url redis://127.0.0.1:6379/0
    """
    settings = settings_of(redis_url=redis_url, name=log)
    logging_setup.configure("ERROR", settings.log_format)
    done = flush(settings, any_store=any_store)
    events = sum(orphan.sent for orphan in done)
    typer.echo(f"{events} event{'' if events == 1 else 's'} delivered from the spool to log {settings.name}")
    old = [path for orphan in done for path in orphan.set_aside_as]
    if old:
        raise CommandFailed(
            f"{len(old)} file(s) too old to send: the log may already hold their events without knowing their numbers; "
            f"set aside as {', '.join(map(str, old))}; emit the missing events with 'etlog emit --file'",
            FAILED,
        )
    elsewhere = sum(not file.in_use for file in look(folder_of(settings)))
    if elsewhere:
        raise CommandFailed(
            f"{elsewhere} file(s) for another store remain; see 'etlog spool list' and --any-store", FAILED
        )


@dataclass(frozen=True, slots=True)
class Found:
    """What a spool file holds."""

    path: Path
    producer: str
    store: str
    events: int
    broken: int
    age: float
    bytes: int
    in_use: bool


def folder_of(settings: Settings) -> SpoolFolder:
    """The spool of the log of `settings`."""
    return SpoolFolder(settings.spool_dir.absolute() / settings.name, settings.name, store.shown(settings.redis_url))


def look(folder: SpoolFolder) -> list[Found]:
    """Every file of the folder."""
    found = []
    for file in folder.files():
        try:
            info = file.path.stat()
            reader = SegmentReader(file.path)
        except OSError:  # delivered meanwhile
            continue
        events = broken = 0
        while line := reader.next():
            events, broken = (events + 1, broken) if line.number else (events, broken + 1)
        reader.close()
        header = reader.header
        found.append(
            Found(
                file.path,
                file.producer,
                header.store if header else "?",
                events,
                broken,
                max(0.0, time() - info.st_mtime),
                info.st_size,
                _in_use(file.path),
            )
        )
    return found


def lines(found: Sequence[Found]) -> Iterator[str]:
    """A line per file, under a heading; the path comes last, because it is long and gets copied whole."""
    yield f"{'EVENTS':>9}  {'AGE':>6}  {'STATE':<8}  STORE / FILE"
    for file in found:
        state = "in use" if file.in_use else f"{file.broken} broken" if file.broken else "waiting"
        yield f"{file.events:>9}  {_age(file.age):>6}  {state:<8}  {file.store}  {file.path}"


def flush(settings: Settings, *, any_store: bool = False) -> list[Orphan]:
    """Deliver every file whose producer is gone. Returns what was delivered, or set aside because it is too old.

    Raises `CommandFailed` when the store does not accept it; what remains stays where it is.
    """
    with store.connect(settings.redis_url, part="spool", log=settings.name) as client:
        publish = Publisher(client, settings.keys)
        found = Recovery(folder_of(settings), publish, any_store=any_store)
        failures = 0
        try:
            while True:
                try:
                    found.look()
                    wait = found.step()
                    failures = 0
                except (redis.RedisError, OSError) as e:
                    publish.disconnect()
                    failures += 1
                    if failures == ATTEMPTS:
                        raise CommandFailed(
                            f"the store at {store.shown(settings.redis_url)} cannot be used: {e}; the files are kept",
                            FAILED,
                        ) from e
                    wait = PAUSE
                if wait is None:
                    return found.done
                sleep(wait)
        finally:
            found.release()


def _in_use(path: Path) -> bool:
    lock = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(lock)
    return False


def _age(seconds: float) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
