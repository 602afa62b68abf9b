"""`etlog spool`: events that wait on this machine's disk, because their process ended too soon."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import sleep
from typing import Annotated

import redis
import typer
from etlog_events import store
from etlog_events.errors import StoreUnavailable
from etlog_events.settings import Settings
from etlog_producer.errors import FolderRefused
from etlog_producer.publish import Publisher
from etlog_producer.spool.recovery import Recovery

from etlog import logging_setup
from etlog.errors import FAILED, MISUSED, UNREACHABLE, CommandFailed
from etlog.options import LogName, RedisUrl, new_app, settings_of
from etlog.spool_files import File, State, files, folder_of, held_log_id

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
    """Show the spool files of a log. A line has the events that are not delivered yet, their age and their store.

    \b
    etlog spool list
    """
    settings = settings_of(redis_url=redis_url, name=log)
    folder = folder_of(settings)
    with _refusing():
        found = files(folder)
        log_id = None
        # A store that is down must not hold up the others.
        if any(file.header and file.header.log_id for file in found):
            log_id = held_log_id(settings, settings.name)
        found = files(folder, log_id, read=True)
    typer.echo("\n".join(lines(found)) if found else f"no spool files of log {settings.name} in {folder.path}")


@app.command("flush")
def spool_flush(
    any_store: Annotated[bool, typer.Option("--any-store", help="Also files meant for another log or store.")] = False,
    redis_url: RedisUrl = None,
    log: LogName = None,
) -> None:
    """Deliver the spool files of ended processes. Each event is delivered once, under its original number.

    \b
    etlog spool flush --redis-url redis://127.0.0.1:6379/0
    """
    settings = settings_of(redis_url=redis_url, name=log)
    logging_setup.configure("CRITICAL", settings.log_format)
    found = flush(settings, any_store=any_store)
    events = sum(orphan.sent for orphan in found.done)
    typer.echo(f"{events} event{'' if events == 1 else 's'} delivered from the spool to log {settings.name}")
    if lost := sum(orphan.lost for orphan in found.done):
        are = "event is" if lost == 1 else "events are"
        typer.echo(f"{lost} {are} missing or damaged in the spool files; the log counts them as lost", err=True)
    if left := "; ".join(remaining(found, settings.name)):
        raise CommandFailed(left, FAILED)


def remaining(found: Recovery, log: str) -> Iterator[str]:
    """What is still on the disk, or was not sent, and why: a sentence for each kind."""
    broken = {path: damage for orphan in found.done for path, damage in orphan.broken_as.items()}
    if broken:
        yield (
            f"{_counted(len(broken))} damaged: the intact events were sent, and the others count as lost; set aside as "
            + ", ".join(f"{path} ({damage})" for path, damage in broken.items())
        )
    old = [path for orphan in found.done for path in orphan.set_aside_as]
    if old:
        yield (
            f"{_counted(len(old))} too old to send: the log may already hold their events without knowing their "
            f"numbers; set aside as {', '.join(map(str, old))}; emit the missing events with 'etlog emit --file'"
        )
    if found.unusable:
        kept = ", ".join(f"{path} ({why})" for path, why in found.unusable.items())
        yield f"{_counted(len(found.unusable))} not sent: {kept}"
    if earlier := found.for_earlier_logs:
        yield (
            f"{_counted(len(earlier))} for an earlier log {log} of this store ({', '.join(map(str, earlier))}), "
            "which was deleted and begun again; --any-store sends them to the new one"
        )
    others = [path for paths in found.for_other_logs.values() for path in paths if path not in earlier]
    remain = [
        *([f"{_counted(len(others))} for another log ({', '.join(map(str, others))})"] if others else []),
        *([f"{_counted(len(found.for_other_stores))} for another store"] if found.for_other_stores else []),
    ]
    if remain:
        whichever = "although this is another log" if others else "whichever log this is"
        yield (
            f"{' and '.join(remain)} left; 'etlog spool list' names the store of each: flush it there. "
            f"--any-store sends them here, {whichever}"
        )


def _counted(number: int) -> str:
    return f"{number} file{'' if number == 1 else 's'}"


@contextmanager
def _refusing() -> Iterator[None]:
    """A folder that this user must not read is a mistake of the caller."""
    try:
        yield
    except FolderRefused as e:
        advice = "set ETLOG_SPOOL_DIR" if e.owner is None else f"run this as user {e.owner} or as root"
        raise CommandFailed(f"{e.reason}; {advice}", MISUSED) from e
    except OSError as e:
        raise CommandFailed(e.strerror or str(e), MISUSED) from e


def lines(found: Sequence[File]) -> Iterator[str]:
    """A line per file, under a heading; the path comes last, because it is long and gets copied whole."""
    yield f"{'EVENTS':>9}  {'AGE':>6}  {'STATE':<11}  STORE / FILE"
    for file in found:
        waits = file.state in {State.WAITING, State.DELIVERED}
        state = f"{file.damaged} broken" if file.damaged and waits else file.state.value
        address = file.header.store if file.header else "?"
        yield f"{file.undelivered:>9}  {_age(file.age):>6}  {state:<11}  {address}  {file.path}"


def flush(settings: Settings, *, any_store: bool = False) -> Recovery:
    """Deliver every file whose producer is gone. Returns the recovery, which tells what became of which.

    Raises `CommandFailed` when the store does not accept it; what remains stays where it is.
    """
    folder = folder_of(settings)
    with _refusing():
        folder.owner()
    with store.connect(settings.redis_url, part="spool", log=settings.name) as client:
        publish = Publisher(client, settings.keys)
        found = Recovery(folder, publish, any_store=any_store)
        failures = 0
        try:
            found.look()
            while True:
                try:
                    wait = found.step()
                    failures = 0
                except (redis.RedisError, StoreUnavailable, OSError) as e:
                    publish.disconnect()
                    failures += 1
                    if failures == ATTEMPTS:
                        away = isinstance(e, redis.ConnectionError | redis.TimeoutError | StoreUnavailable)
                        raise CommandFailed(
                            f"the store at {store.shown(settings.redis_url)} cannot be used: "
                            f"{str(e).rstrip('.')}; the files are kept",
                            UNREACHABLE if away else FAILED,
                        ) from e
                    wait = PAUSE
                if wait is None:
                    return found
                sleep(wait)
        finally:
            found.release()


def _age(seconds: float) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
