"""`etlog emit`: one event from the command line, or many from a file."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from etlog_events import store
from etlog_events.errors import InvalidEvent
from etlog_events.event import Event
from etlog_events.kinds import Kinds
from etlog_producer import Producer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from etlog.errors import CommandFailed

#: Seconds to wait for the store.
TIMEOUT = 5.0

#: Lines between two looks at whether the store keeps up; bounds the memory that a large file takes.
ROUND = 5000


def deliver(producer: Producer, url: str) -> None:
    """Wait until the store holds what was emitted. Raises `CommandFailed` when it does not."""
    if not producer.flush(TIMEOUT):
        reason = producer.last_error or "it does not answer"
        raise CommandFailed(
            f"not delivered, the store at {store.shown(url)} cannot be used: {reason}; "
            "name another with --redis-url or ETLOG_REDIS_URL"
        )


def emit_lines(producer: Producer, lines: BinaryIO, size: int | None, url: str, kinds: Kinds) -> int:
    """Emit one event a line and show progress on a terminal; `size` is the bytes to come, if known.

    Returns the number of events. Raises `CommandFailed` with the number of the first line that is no event; the lines
    before it are delivered.
    """
    count = 0
    with _progress() as progress:
        task = progress.add_task("emitting", total=size)
        for number, line in _numbered(lines):
            try:
                event = Event.decode(line, kinds)
            except InvalidEvent as e:
                deliver(producer, url)
                raise CommandFailed(f"line {number}: {e.reason}; {count} events before it are delivered") from e
            producer.publish(event)
            count += 1
            progress.advance(task, len(line) + 1)
            if count % ROUND == 0:
                deliver(producer, url)
        deliver(producer, url)
    return count


def open_lines(path: str) -> tuple[BinaryIO, int | None]:
    """The lines of a file, or of standard input for `-`, and their bytes where known. Raises `CommandFailed`."""
    if path == "-":
        return sys.stdin.buffer, None
    try:
        return Path(path).open("rb"), Path(path).stat().st_size
    except OSError as e:
        raise CommandFailed(f"cannot read {path}: {e.strerror}") from e


def _numbered(lines: BinaryIO) -> Iterator[tuple[int, bytes]]:
    for number, line in enumerate(lines, start=1):
        text = line.strip()
        if text:
            yield number, text


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
