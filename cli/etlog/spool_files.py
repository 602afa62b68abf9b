"""The spool files of this machine, as commands and metrics tell of them."""

import fcntl
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from time import time

import redis
from etlog_events import store
from etlog_events.keys import Keys
from etlog_events.settings import Settings
from etlog_producer.errors import FileRefused
from etlog_producer.spool.folder import Descriptor, SpoolFolder, open_trusted
from etlog_producer.spool.header import SegmentHeader
from etlog_producer.spool.line import Mark, decode, decode_unchecked
from etlog_producer.spool.reader import SegmentReader
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

#: Seconds that a list or a scrape waits for the store to tell the id of a log. Without it, files only wait.
TIMEOUT = 1.0

#: Bytes at the end of a file in which its last event is looked for. One has at most 64 KiB.
TAIL = 128 * 1024

logger = logging.getLogger("etlog.cli")


class State(Enum):
    """What a spool file is about to do. One that is delivered only awaits its deletion. It may be for another log than
    the one that the store holds, or for one that its damaged header does not tell; it may be unreadable, or ignored,
    such as one that someone else has put there; and it may be set aside: damaged, or too old to be sent."""

    IN_USE = "in use"
    WAITING = "waiting"
    DELIVERED = "delivered"
    OTHER_LOG = "other log"
    UNKNOWN_LOG = "unknown log"
    UNREADABLE = "unreadable"
    IGNORED = "ignored"
    BROKEN = "broken"
    OLD = "old"


#: By the end of their names, files that are set aside.
_SET_ASIDE = {".broken": State.BROKEN, ".old": State.OLD}


@dataclass(frozen=True, slots=True)
class File:
    """A spool file by what its name and its header say; `age` is in seconds, since it was last written to.
    `undelivered` events are those behind its last mark; they and the `damaged` lines are known where it was read
    whole."""

    path: Path
    header: SegmentHeader | None
    age: float
    state: State
    undelivered: int = 0
    damaged: int = 0


def folder_of(settings: Settings, log: str | None = None) -> SpoolFolder:
    """The spool of the log called `log`, by default that of `settings`."""
    name = settings.name if log is None else log
    return SpoolFolder(settings.spool_dir.absolute() / name, name, store.shown(settings.redis_url))


def files(folder: SpoolFolder, log_id: str | None = None, *, read: bool = False) -> list[File]:
    """Every file, those that are set aside as well; with `read`, each is read whole. `log_id` is the id of the log that
    the store holds, "" if it holds none, None if that is not known. Raises `OSError` where the folder is not to be
    read."""
    owner = folder.owner()
    found = []
    for path in [*(file.path for file in folder.files()), *_set_aside(folder.path)]:
        with suppress(FileNotFoundError):  # delivered meanwhile
            found.append(_file(path, owner, log_id, read=read))
    return found


def _file(path: Path, owner: int | None, log_id: str | None, *, read: bool) -> File:
    age = max(0.0, time() - path.lstat().st_mtime)
    aside = _SET_ASIDE.get(path.suffix)
    try:
        with open_trusted(path, owner) as opened:
            reader = SegmentReader(path, opened)
            header = reader.header
            if aside:
                state = aside
            elif _is_locked(opened):
                state = State.IN_USE
            else:
                state = _state(opened, header, log_id)
            numbers, damaged = _lines(reader) if read else ([], 0)
            undelivered = sum(number > reader.delivered for number in numbers)
            return File(path, header, age, state, undelivered, damaged)
    except FileNotFoundError:
        raise
    except FileRefused:
        return File(path, None, age, aside or State.IGNORED)
    except OSError:
        return File(path, None, age, aside or State.UNREADABLE)


def _state(file: Descriptor, header: SegmentHeader | None, log_id: str | None) -> State:
    if header is None:
        return State.UNKNOWN_LOG
    if log_id is not None and header.log_id not in {"", log_id}:
        return State.OTHER_LOG
    return State.DELIVERED if _is_delivered(file, header) else State.WAITING


def _is_delivered(file: Descriptor, header: SegmentHeader) -> bool:
    """Whether the last event of a file is marked as delivered. Only the end of the file is read."""
    size = os.fstat(file.fileno()).st_size
    decoded = decode if header.has_checksums else decode_unchecked
    delivered = 0
    for text in reversed(os.pread(file.fileno(), TAIL, max(0, size - TAIL)).split(b"\n")):
        if mark := Mark.decode(text):
            delivered = max(delivered, mark.number)
        elif line := decoded(text, 0):
            return line.number <= delivered
    return False


def _lines(reader: SegmentReader) -> tuple[list[int], int]:
    """The numbers of the events of a file, and how many of its lines are damaged."""
    numbers, damaged = [], 0
    while line := reader.next():
        if line.is_damaged:
            damaged += 1
        else:
            numbers.append(line.number)
    return numbers, damaged


def of_other_logs(folder: SpoolFolder, log_id: str) -> list[Path]:
    """The files that are kept because the store holds another log than theirs: that with this id, "" if none."""
    with suppress(OSError):
        return [file.path for file in files(folder, log_id) if file.state is State.OTHER_LOG]
    return []


def held_log_id(settings: Settings, log: str) -> str | None:
    """The id of the log called `log` that the store holds, "" if it holds none, None if it does not say."""
    try:
        with store.connect(
            settings.redis_url, part="spool", log=log, answer_timeout=TIMEOUT, socket_connect_timeout=TIMEOUT
        ) as client:
            held: bytes | None = client.get(Keys(log).id)
    except (redis.RedisError, OSError):
        return None
    return (held or b"").decode(errors="replace")


class SpoolMetrics(Collector):
    """How many spool files of each log are on this machine, by their state, as they are at a scrape."""

    def __init__(self, settings: Settings, log_id: Callable[[Settings, str], str | None] = held_log_id) -> None:
        self._settings = settings
        self._log_id = log_id
        self._refused: set[str] = set()  # logs whose folders are not to be read, as was said

    def describe(self) -> Iterable[GaugeMetricFamily]:
        """The metric without its values: nothing is looked at before a scrape."""
        return [GaugeMetricFamily("etlog_spool_files", "Spool files on this machine", labels=["log", "state"])]

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The metric."""
        for gauge in self.describe():
            for log in self._settings.logs:
                for state, number in self._numbers(log).items():
                    gauge.add_metric([log, state.value], number)
            yield gauge

    def _numbers(self, log: str) -> dict[State, int]:
        folder = folder_of(self._settings, log)
        numbers = dict.fromkeys(State, 0)
        try:
            found = files(folder)
            if any(file.state is State.WAITING and file.header and file.header.log_id for file in found):
                found = files(folder, self._log_id(self._settings, log))
        except OSError as e:
            if log not in self._refused:
                self._refused.add(log)
                logger.warning("Cannot look for spool files: %s", e.strerror or e, extra={"action": "spool_refused"})
            return numbers
        for file in found:
            numbers[file.state] += 1
        return numbers


def _set_aside(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if path.suffix in _SET_ASIDE)
    except OSError:
        return []


def _is_locked(file: Descriptor) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(file, fcntl.LOCK_UN)  # a process that comes to send it must not find it locked while it is read
    return False
