"""`etlog emit`: one event from the command line, or many from a file."""

import os
import sys
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import BinaryIO

from etlog_events import store
from etlog_events.errors import InvalidEvent
from etlog_events.event import Event
from etlog_events.settings import Settings
from etlog_producer import Producer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from etlog.errors import FAILED, CommandFailed

#: Seconds without any progress after which the store is given up. A restart takes less.
PATIENCE = 10

#: Lines between two looks at whether the store keeps up; bounds the memory that a large file takes.
ROUND = 5_000

#: Bytes of a line that are read. More than an event may have, in any spelling, and far less than memory has.
MAX_LINE = 1024 * 1024


def emit_one(event: Event, settings: Settings) -> int:
    """Deliver `event`. Returns 1. Raises `StoreError` or `CommandFailed` when the store does not take it."""
    _reach(settings.redis_url)
    with Producer() as producer:
        producer.publish(event)
        _deliver(producer, settings.redis_url)
    return 1


def emit_file(path: str, settings: Settings) -> int:
    """Deliver one event a line, from the file at `path` or standard input for `-`, and show progress on a terminal.

    Returns the number of events. Raises `StoreError` when the store cannot be used, and `CommandFailed` when the file
    cannot be read, when a line is no event (those before it are delivered), or when the store goes away for good.
    """
    with _open(path) as lines, _progress() as progress:
        _reach(settings.redis_url)
        with Producer() as producer:
            return _emit_lines(producer, lines, settings, progress)


def _emit_lines(producer: Producer, lines: BinaryIO, settings: Settings, progress: Progress) -> int:
    size = os.fstat(lines.fileno()).st_size or None  # a pipe does not know
    task = progress.add_task("emitting", total=size)
    url, kinds = settings.redis_url, settings.kinds
    count = held = read = 0
    for number, line in enumerate(iter(partial(lines.readline, MAX_LINE), b""), start=1):
        read += len(line)
        text = line.strip()
        if not text:
            continue
        try:
            producer.publish(Event.decode(text, kinds))
        except InvalidEvent as e:
            _deliver(producer, url, held)
            raise CommandFailed(f"line {number}: {e.reason}; the {count} events before it are delivered") from e
        count += 1
        if count % ROUND == 0:
            _deliver(producer, url, held)
            held = count
            progress.update(task, completed=read)
    _deliver(producer, url, held)
    return count


def _reach(url: str) -> None:
    """Raise `StoreError` unless the store at `url` can be used, which a producer would not say before long."""
    with store.connect(url, part="emit") as client, store.translated(url):
        client.ping()


def _deliver(producer: Producer, url: str, held: int = 0) -> None:
    """Wait until the store holds what was emitted, as long as it takes anything at all; it holds `held` already.

    Raises `CommandFailed` when it is given up.
    """
    patience = PATIENCE
    while not producer.flush(1.0):
        patience = patience - 1 if producer.last_error else PATIENCE
        if not patience:
            reason = str(producer.last_error).rstrip(".")
            producer.close(0)
            raise CommandFailed(
                f"the store at {store.shown(url)} takes nothing any more: {reason}; "
                f"only of the first {held} events it is certain that they are delivered",
                FAILED,
            )


def _open(path: str) -> AbstractContextManager[BinaryIO]:
    if path == "-":
        if sys.stdin is None:
            raise CommandFailed("--file: standard input is closed")
        return nullcontext(sys.stdin.buffer)
    try:
        return Path(path).open("rb")
    except OSError as e:
        raise CommandFailed(f"--file: cannot read {path}: {e.strerror}") from e


def _progress() -> Progress:
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
