"""`etlog spool`: events that wait on this disk, because their process ended before the store took them."""

import fcntl
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import sleep, time

import redis
from etlog_events import store
from etlog_events.settings import Settings
from etlog_producer.publish import Publisher
from etlog_producer.spool.recovery import Orphan, Recovery
from etlog_producer.spool.segment import SegmentReader
from etlog_producer.spool.writer import SpoolFolder

from etlog.errors import FAILED, CommandFailed

#: Attempts in a row that may fail before the store is given up, and the seconds between them.
ATTEMPTS, PAUSE = 5, 0.5


@dataclass(frozen=True, slots=True)
class Found:
    """A spool file, looked at."""

    path: Path
    producer: str
    store: str
    events: int
    broken: int
    age: float
    bytes: int
    in_use: bool


def folder_of(settings: Settings) -> SpoolFolder:
    """The spool of the log that the settings name."""
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
    """A line a file, under a heading; the path comes last, for it is long and wants to be copied whole."""
    yield f"{'EVENTS':>9}  {'AGE':>6}  {'STATE':<8}  STORE / FILE"
    for file in found:
        state = "in use" if file.in_use else f"{file.broken} broken" if file.broken else "waiting"
        yield f"{file.events:>9}  {_age(file.age):>6}  {state:<8}  {file.store}  {file.path}"


def flush(settings: Settings, *, any_store: bool = False) -> list[Orphan]:
    """Deliver every file whose producer is gone. Returns what was delivered, or set aside because it is too old.

    Raises `CommandFailed` when the store does not take it; what is left stays where it is.
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
