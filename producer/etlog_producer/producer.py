"""`Producer`: what an ETL stage publishes its events with."""

import logging
import re
from datetime import datetime
from os import getpid
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Any, NamedTuple, get_args

from etlog_events import store
from etlog_events.errors import InvalidEvent, SettingsError
from etlog_events.event import Event, WindowPair, new_text
from etlog_events.keys import Keys
from etlog_events.publishing import CALL_EVENTS
from etlog_events.sequence import MAX_PRODUCER_BYTES, MAX_SEQ
from etlog_events.settings import Settings, log_name, store_url

from etlog_producer import process
from etlog_producer.closing import Closing
from etlog_producer.delivery import Delivery, ResumePoint, Stats
from etlog_producer.errors import FolderRefused, ProducerClosed
from etlog_producer.inbox import WhenFull
from etlog_producer.publish import Acks, Publisher
from etlog_producer.sender import Sender
from etlog_producer.spool.folder import SpoolFolder
from etlog_producer.spool.recovery import Recovery
from etlog_producer.spool.writer import MAX_BYTES
from etlog_producer.stage import Stage

logger = logging.getLogger("etlog.producer")

#: What the store takes as the token of a process.
_TOKEN = re.compile(r"[!-~]{0,64}")

#: Seconds that `close()` waits for the store.
CLOSE_TIMEOUT = process.END_TIMEOUT

#: Seconds between two looks of `aflush` whether all is delivered: doubled from the first to the last.
POLL_FIRST, POLL_LAST = 0.001, 0.02

#: Batches that are sent together. A busy stage lets the sender's thread work only every 5 ms, so it must carry much at
#: a time to keep up; and a disk confirms once a second, however much that is.
BATCHES, CONFIRMED_BATCHES = 8, 20


class _Life(NamedTuple):
    """What a producer is in one process."""

    sender: Sender
    closing: Closing


class Producer:
    """Publishes the events of this process to a log. Make one per process, and share it between threads.

    `url` is the address of the store, `log` the name of the log, `spool_dir` the folder for events on disk. What is
    not given comes from `settings`, and so do the categories; without settings, from the variables `ETLOG_REDIS_URL`,
    `ETLOG_NAME`, `ETLOG_SPOOL_DIR` and `ETLOG_CATEGORIES`. Nothing is sent before the first event.

    `acks` says when an event counts as delivered: `"memory"`, the store answered; `"fsync"`, it is on the store's
    disk (Redis 7.2 or Valkey, with `appendonly yes`); `"replica"`, a replica has it. With `durable`, an event is in a
    file before `emit` returns, so that even SIGKILL of this process loses nothing. What does not fit in memory goes
    to files in `spool_dir`, at most `spool_bytes` for one log; `when_full` says what happens to an event when those
    are full as well: `"drop_newest"` counts and forgets it, `"block"` makes `emit` wait, `"raise"` makes it raise
    `SpoolFull`.

    `resume` continues the numbers of a producer that is gone, from its `resume_point` at some event: what is emitted
    now must be what that one emitted next. Events that the store already has are recognized. A producer that another
    may resume must be `resumable`, as one that resumes is: the store remembers it for 90 days, or until
    `close(final=True)`.

    Raises `SettingsError`, naming what is wrong.
    """

    def __init__(
        self,
        url: str | None = None,
        *,
        log: str | None = None,
        acks: Acks = "memory",
        durable: bool = False,
        when_full: WhenFull = "drop_newest",
        spool_dir: str | Path | None = None,
        spool_bytes: int = MAX_BYTES,
        resume: tuple[str, int] | tuple[str, int, str] | None = None,
        resumable: bool = False,
        settings: Settings | None = None,
    ) -> None:
        if settings is None:
            settings = Settings.from_environment()
        self._url = settings.redis_url if url is None else _argument("url", store_url, url)
        self._keys = settings.keys if log is None else Keys(_argument("log", log_name, log))
        self._kinds = settings.kinds
        self._acks: Acks = _choice("acks", get_args(Acks), acks)
        self._when_full: WhenFull = _choice("when_full", get_args(WhenFull), when_full)
        self._durable = durable
        self._spool_bytes = spool_bytes
        self._folder = SpoolFolder(
            Path(settings.spool_dir if spool_dir is None else spool_dir).absolute() / self._keys.name,
            self._keys.name,
            store.shown(self._url),
        )
        if durable:
            try:
                self._folder.make()
            except FolderRefused as e:
                raise SettingsError(f"durable=True requires a folder for its files, but {e.strerror}") from e
            except OSError as e:
                raise SettingsError(
                    f"durable=True requires a folder for its files, but {self._folder.path} cannot be created "
                    f"({e.strerror}); choose another with spool_dir or ETLOG_SPOOL_DIR"
                ) from e
        self._resumable = resumable
        self._closed = False
        life = self._life(None if resume is None else _resume_point(*resume))
        #: By process. Whatever forked it, a child has one of its own, under another id and without the parent's events.
        self._lives = {getpid(): life}
        process.track(self)

    def restart_after_fork(self) -> None:
        """Start over in a process that was forked off.

        Python calls this in a child that it knows of, whose number may be that of its parent: each can be the first one
        of a container. Programs that Python is a part of may fork without telling it, so every method looks at the
        number as well.
        """
        former, self._lives = self._lives, {getpid(): self._life(lingers=False)}
        for life in former.values():
            life.sender.abandon()

    def _life(self, resume: ResumePoint | None = None, *, lingers: bool = True) -> "_Life":
        """One that begins now. It does not linger in a process of which no one knows how it ends."""
        client = store.connect(self._url, part="producer", log=self._keys.name)
        publish = Publisher(client, self._keys, self._acks)
        delivery = Delivery(
            self._folder,
            spool_bytes=self._spool_bytes,
            durable=self._durable,
            when_full=self._when_full,
            batch_events=CALL_EVENTS * (BATCHES if self._acks == "memory" else CONFIRMED_BATCHES),
            resume=resume,
            resumable=self._resumable,
        )
        sender = Sender(publish, delivery, Recovery(self._folder, publish), owner=self, lingers=lingers)
        return _Life(sender, Closing(sender))

    @property
    def _here(self) -> "_Life":
        """The life in this process. Where several threads ask for it first, they get the same."""
        life = self._lives.get(getpid())
        if life is None:
            former = list(self._lives.items())
            life = self._lives.setdefault(getpid(), self._life(lingers=False))
            for pid, other in former:
                if self._lives.pop(pid, None) is not None:
                    other.sender.abandon()
        return life

    @property
    def _sender(self) -> Sender:
        """The sender of this process."""
        return self._here.sender

    @property
    def id(self) -> str:
        """This producer's id: host, process and a random part. Its events are numbered under it.

        After a week without events it takes another, and when another process publishes under the same.
        """
        return self._sender.id

    @property
    def log_id(self) -> str:
        """The id of the log, by which it is known wherever it moves; "" until the store has answered."""
        return self._sender.log_id

    @property
    def resume_point(self) -> ResumePoint:
        """What `resume` takes to go on after all that was emitted so far: id, number of the last event, token."""
        return self._sender.resume_point

    def emit(
        self,
        kind: str,
        *,
        size: int | None = None,
        window: WindowPair | None = None,
        error: str | None = None,
        time: datetime | str | None = None,
        **metadata: Any,
    ) -> None:
        """Accept an event, to be delivered in the background; takes microseconds and never blocks on the store.

        `size` is the number of records in the set, `window` its start and end (aware datetimes or RFC 3339 texts),
        `error` what failed, `time` when it happened (now if not given); further keywords are kept as metadata.
        Raises `InvalidEvent`, naming the fault, for an event that breaks a rule; `ProducerClosed` after `close`; and
        `SpoolFull` where `when_full` says so.
        """
        text = new_text(kind, size, window, error, time, metadata, self._kinds)
        if self._closed:
            raise ProducerClosed
        self._sender.put(text)

    def publish(self, event: Event) -> None:
        """Accept an event that was made or decoded before, as `emit` does.

        Raises `InvalidEvent` for more than 64 KiB or metadata that is not JSON-serializable; `ProducerClosed` and
        `SpoolFull` as `emit` does.
        """
        if self._closed:
            raise ProducerClosed
        self._sender.put(event.encode())

    def stats(self) -> Stats:
        """The producer's accounts: what it accepted, and where each of those events is now."""
        return self._sender.stats

    @property
    def last_error(self) -> str | None:
        """Why the last attempt to publish failed; None if it succeeded."""
        return self._sender.last_error

    def stage(self, prefix: str, *, window: WindowPair | None = None) -> Stage:
        """A stage at work on the set of `window`; `prefix` is that of its category, such as `AllocationSet`.

        Raises `InvalidEvent` for a prefix that no kind begins with.
        """
        prefixes = self._kinds.categories.values()
        if prefix not in prefixes:
            raise InvalidEvent(f"unknown prefix {prefix!r}; a prefix is one of {', '.join(prefixes)}")
        return Stage(self.emit, prefix, window)

    def flush(self, timeout: float | None = None) -> bool:
        """Wait until the store holds every event emitted before the call, at most `timeout` seconds.

        Returns whether it does. If not, the events are in the spool as well by then, and so outlive this process
        however it ends. Without a timeout it waits as long as the store is away. Raises `AcksUnavailable`
        when the store cannot give the acknowledgement that was asked for, and `OtherContract` when the log follows
        a contract that this version does not know. After either of them the producer keeps the events and goes on
        trying.
        """
        return self._sender.flush(timeout)

    async def aflush(self, timeout: float | None = None) -> bool:  # noqa: ASYNC109 - `flush`, for a coroutine
        """`flush` without blocking the event loop, but for the writing of what is undelivered at its end. Its task may
        be cancelled at any time."""
        from asyncio import sleep  # noqa: PLC0415 - a plain stage need not pay for it

        sender = self._sender
        waiting = sender.waiting()
        deadline = None if timeout is None else monotonic() + timeout
        pause = POLL_FIRST
        try:
            # No thread waits here: one could not be cancelled, and the end of the loop would wait for it.
            while not waiting.is_over and (deadline is None or monotonic() < deadline):
                sender.help(pause)
                await sleep(pause if deadline is None else max(0.0, min(pause, deadline - monotonic())))
                pause = min(2 * pause, POLL_LAST)
            return waiting.is_delivered
        finally:
            if not waiting.is_delivered:
                sender.keep()

    def close(self, timeout: float = CLOSE_TIMEOUT, *, final: bool = False) -> None:
        """Deliver what waits, at most `timeout` seconds, and stop. What could not be delivered goes to spool files.

        A producer that has delivered all its events tells the store that it has ended, one that may be resumed only if
        this is `final`, and gives a moment to spool files that others left. An exception that is raised in this thread
        meanwhile, such as an interrupt, ends the waiting, and is raised again when all is kept. A signal handler that
        has interrupted the producer itself does not wait for the end, which comes when it has returned.
        """
        self._close(timeout, final=final, patient=True)

    def end(self, timeout: float, *, patient: bool) -> None:
        """`close`, at the end of the process. One that is not `patient` waits for no store that is away."""
        self._close(timeout, final=False, patient=patient)

    def keep(self) -> None:
        """Put into the spool what is undelivered and in memory alone; it is still sent from there."""
        self._sender.keep()

    @property
    def is_interrupted(self) -> bool:
        """Whether the caller, a signal handler, has interrupted the producer in the middle of its work."""
        return self._sender.is_interrupted

    def _close(self, timeout: float, *, final: bool, patient: bool) -> None:
        sender, closing = self._here
        self._closed = True
        sender.end_by(monotonic() + timeout, patient=patient)
        closing.run(lambda: self._finish(sender, final=final))

    def _finish(self, sender: Sender, *, final: bool) -> None:
        paths = sender.finish(final=final)
        stats = sender.stats
        left = []
        if stats.spooled:
            left.append(f"{_events(stats.spooled)} undelivered, kept in {', '.join(map(str, paths))}")
        if stats.lost:
            left.append(f"{_events(stats.lost)} lost")
        if stats.dropped:
            left.append(f"{_events(stats.dropped)} dropped")
        if left:
            logger.warning(
                "Closed with %s; the store is %s%s",
                "; ".join(left),
                store.shown(self._url),
                ". The next producer of this log on this machine sends them, or 'etlog spool flush'"
                if stats.spooled
                else "",
                extra={
                    "action": "closed_undelivered",
                    "undelivered": stats.spooled,
                    "dropped": stats.dropped,
                    "lost": stats.lost,
                    "paths": [str(path) for path in paths],
                },
            )

    def __enter__(self) -> "Producer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def _events(number: int) -> str:
    return f"{number} event{'' if number == 1 else 's'}"


def _argument(name: str, check: Any, value: str) -> str:
    try:
        checked: str = check(value)
    except ValueError as e:
        raise SettingsError(f"{name} {e}") from e
    return checked


def _resume_point(producer: str, number: int, token: str = "") -> ResumePoint:
    """What the store would refuse for ever is refused at once."""
    if not 0 < len(producer.encode()) <= MAX_PRODUCER_BYTES:
        raise SettingsError(f"resume must begin with the id of a producer, 1 to {MAX_PRODUCER_BYTES} bytes")
    if not 0 <= number < MAX_SEQ:
        raise SettingsError(f"resume must give the number of an event, 0 to 2^53-2, not {number}")
    if not _TOKEN.fullmatch(token):
        raise SettingsError("resume must end with a token: at most 64 characters of ASCII, and no space")
    return ResumePoint(producer, number, token)


def _choice(name: str, choices: tuple[Any, ...], value: Any) -> Any:
    if value not in choices:
        raise SettingsError(f"{name} must be one of {', '.join(choices)}, not {value!r}")
    return value
