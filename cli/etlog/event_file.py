"""A file of events, one per line: delivered in order, in bounded memory, and resumed where it was interrupted."""

import os
import stat
import sys
from collections import deque
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from time import monotonic
from typing import BinaryIO, Literal

from etlog_events import store
from etlog_events.errors import InvalidEvent
from etlog_events.event import Event
from etlog_events.settings import Settings
from etlog_producer import Producer
from etlog_producer.errors import IdTaken
from etlog_producer.publish import Identity, Publisher
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from etlog.bookmark import Bookmark, Place
from etlog.connection import connected
from etlog.errors import FAILED, CommandFailed

#: Seconds without progress after which the run gives up on the store. A restart takes less.
PATIENCE = 10

#: Lines after which the run waits for the store to catch up. Bounds the memory that a large file takes.
ROUND = 5_000

#: Bytes of a line that are read. More than any spelling of an event has, and far less than memory has.
MAX_LINE = 1024 * 1024

#: Seconds by which the saved position lags behind: a store that crashes may lose its last second.
LAG = 2.0

OnError = Literal["stop", "skip"]


@dataclass(frozen=True, slots=True)
class Emitted:
    """What became of a file: events that this run delivered, those that earlier runs had delivered, if it continues
    them, and invalid lines that it skipped."""

    events: int
    before: int = 0
    skipped: int = 0


def emit_file(path: str, settings: Settings, *, on_error: OnError = "stop", resume: bool = False) -> Emitted:
    """Deliver one event per line, from the file at `path` or from standard input for `-`; a terminal shows progress.

    With `resume` the run continues where the last one over the file was interrupted; after one that was not, with what
    was appended since. `on_error` says whether an invalid line ends the run or is reported and skipped. Raises
    `StoreError` when the store cannot be used, and `CommandFailed` when the file cannot be read or its run cannot be
    continued, a line is invalid, or the store goes away for good.
    """
    with _open(path) as lines, _progress() as progress, ExitStack() as stack:
        is_file = path != "-" and stat.S_ISREG(os.fstat(lines.fileno()).st_mode)
        if resume and not is_file:
            raise CommandFailed("--resume requires a file: standard input and pipes cannot be read again")
        with connected(settings, "emit") as client:  # a store that cannot be used is an error now
            log_id = (client.get(settings.keys.id) or b"").decode(errors="replace")
        bookmark = Bookmark(path, settings, lines) if is_file else None
        if bookmark:
            stack.callback(bookmark.release)
        place = bookmark.load(log_id) if bookmark and resume else None
        if bookmark and place and place.finished and place.offset == os.fstat(lines.fileno()).st_size:
            bookmark.finish(place)  # it is kept for as long again
            return Emitted(0, place.events)
        resumed = place if place and not place.finished else None
        there = _delivered_after(resumed, settings) if resumed else 0
        producer = Producer(
            settings=settings,
            resume=(resumed.producer, resumed.number, resumed.token) if resumed else None,
            resumable=bookmark is not None,
        )
        stack.enter_context(producer)
        start = Place(*producer.resume_point, log_id)
        if place:
            start = replace(start, line=place.line, offset=place.offset, events=place.events)
            lines.seek(place.offset)
        run = _Run(producer, settings, on_error, bookmark, progress)
        end, skipped = run.emit(lines, start)
        # Only now may the store forget the producer. A run that went on under its id would count again.
        if bookmark:
            bookmark.finish(end)
        producer.close(final=True)
        before = min(start.events + there, end.events)
        return Emitted(end.events - before, before, skipped)


def _delivered_after(place: Place, settings: Settings) -> int:
    """How many events after `place` the interrupted run had delivered. They are sent again, and recognized."""
    with connected(settings, "emit") as client:
        try:
            held = Publisher(client, settings.keys)(Identity(place.producer, place.token), place.number + 1, []).held
        except IdTaken:  # the store has lost them, and this run goes on under another id
            return 0
    return max(0, held - place.number)


class _Run:
    """One run over the lines of a file."""

    def __init__(
        self, producer: Producer, settings: Settings, on_error: OnError, bookmark: Bookmark | None, progress: Progress
    ) -> None:
        self._producer = producer
        self._settings = settings
        self._on_error = on_error
        self._bookmark = bookmark
        self._progress = progress
        self._id = producer.id
        self._log_id = ""
        self._passed: deque[tuple[float, Place]] = deque()  # delivered places, and since when

    def emit(self, lines: BinaryIO, start: Place) -> tuple[Place, int]:
        """Deliver everything after `start`, to which `lines` is positioned. Returns the end, and how many lines were
        skipped as invalid."""
        size = os.fstat(lines.fileno()).st_size or None  # a pipe does not know
        task = self._progress.add_task("emitting", total=size, completed=start.offset)
        kinds = self._settings.kinds
        self._log_id = start.log_id
        count = held = start.events
        skipped, number, read, line = 0, start.line, start.offset, b"\n"
        if self._bookmark:
            self._bookmark.save(start)
        for number, line in enumerate(iter(partial(lines.readline, MAX_LINE), b""), start=start.line + 1):
            read += len(line)
            if self._bookmark:
                self._bookmark.begin_line(line)
            text = line.strip()
            if not text:
                continue
            try:
                self._producer.publish(Event.decode(text, kinds))
            except InvalidEvent as e:
                if self._on_error == "skip":
                    skipped += 1
                    self._progress.console.print(f"line {number} skipped: {e.reason}", markup=False, soft_wrap=True)
                    continue
                self._deliver(held)
                if self._bookmark:
                    self._bookmark.stop()
                raise CommandFailed(f"line {number}: {e.reason}; the {count} events before it are delivered") from e
            count += 1
            if count % ROUND == 0:
                self._deliver(held)
                held = count
                self._progress.update(task, completed=read)
                self._remember(self._place(number, read, count))
        self._deliver(held)
        # A last line without an end has it in what is appended.
        return self._place(number if line.endswith(b"\n") else number - 1, read, count), skipped

    def _place(self, line: int, offset: int, events: int) -> Place:
        return Place(*self._producer.resume_point, self._producer.log_id or self._log_id, line, offset, events)

    def _remember(self, place: Place) -> None:
        """Save the last place that the store is sure to have on disk."""
        if self._bookmark is None:
            return
        if place.producer != self._id:
            # The former id was taken, or given up after a long rest: nothing follows under it any more.
            self._id = place.producer
            self._passed.clear()
            self._bookmark.save(place)
        self._passed.append((monotonic(), place))
        sure = None
        while self._passed and self._passed[0][0] < monotonic() - LAG:
            sure = self._passed.popleft()[1]
        if sure:
            self._bookmark.save(sure)

    def _deliver(self, held: int) -> None:
        """Wait until the store holds every event so far, for as long as it accepts any; it already holds `held`.

        Raises `CommandFailed` when the store is given up.
        """
        patience = PATIENCE
        while not self._producer.flush(1.0):
            patience = patience - 1 if self._producer.last_error else PATIENCE
            if not patience:
                reason = str(self._producer.last_error).rstrip(".")
                self._producer.close(0)
                raise CommandFailed(
                    f"the store at {store.shown(self._settings.redis_url)} no longer accepts events: {reason}; "
                    f"{held} events are delivered; continue with --resume when it is back",
                    FAILED,
                )
        if self._bookmark:
            self._bookmark.know_log(self._producer.log_id)


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
