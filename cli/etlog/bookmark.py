"""Bookmarks: how far `etlog emit --file` has come with a file, for `--resume` to continue there."""

import errno
import fcntl
import hashlib
import os
import re
import stat
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import monotonic, sleep, time
from typing import BinaryIO

import msgspec
from etlog_events import store
from etlog_events.sequence import SENT_WITHIN
from etlog_events.settings import Settings
from etlog_producer.errors import FolderRefused
from etlog_producer.spool.folder import SpoolFolder

from etlog.errors import FAILED, CommandFailed

#: Bytes by which the fingerprint of a file runs ahead of what is emitted.
BLOCK = 1024 * 1024

#: Seconds for which a lock may be in other hands and yet no run be at work: another one looks for what can be removed.
TIDIED_WITHIN = 0.5

_MISSING = "put the missing events into a new file and emit that"


@dataclass(frozen=True, slots=True)
class Place:
    """How far a file is delivered: to line `line`, which ends before byte `offset` and is behind so many `events`, and
    to the event `number` of the `producer`, whose process has the `token`. `log_id` is the id of the log, "" where it
    is not known. `finished` says that this is the end of the file, and the producer has ended."""

    producer: str
    number: int = 0
    token: str = ""
    log_id: str = ""
    line: int = 0
    offset: int = 0
    events: int = 0
    finished: bool = False


class _Saved(msgspec.Struct):
    """A bookmark as it is in its file; earlier releases wrote less."""

    file: str
    print: str
    producer: str
    number: int
    offset: int
    line: int
    store: str | None = None
    reach: int = 0
    token: str = ""
    log_id: str = ""
    events: int | None = None
    finished: bool = False

    @property
    def place(self) -> Place:
        """The place that it marks."""
        events = self.number if self.events is None else self.events
        place = (self.producer, self.number, self.token, self.log_id, self.line, self.offset)
        return Place(*place, events=events, finished=self.finished)


class Fingerprint:
    """The fingerprint of the first `bytes` bytes of a file."""

    def __init__(self) -> None:
        self.bytes = 0
        self._hash = hashlib.sha256()

    @property
    def text(self) -> str:
        """It as text."""
        return self._hash.hexdigest()

    def add(self, block: bytes) -> None:
        """Add the bytes that come next."""
        self._hash.update(block)
        self.bytes += len(block)

    def extend(self, file: BinaryIO, end: int) -> None:
        """Add the bytes of `file` up to `end`, as far as there are any. Its position does not change."""
        while self.bytes < end and (block := os.pread(file.fileno(), min(BLOCK, end - self.bytes), self.bytes)):
            self.add(block)

    def copy(self) -> "Fingerprint":
        """A fingerprint that continues from here on its own."""
        other = Fingerprint()
        other.bytes, other._hash = self.bytes, self._hash.copy()
        return other


class Bookmark:
    """A small file beside the spool that records how far another file is delivered.

    It holds a fingerprint of all bytes that may have been emitted. If one of them changes, the lines are no longer
    those that were numbered, and to continue would lose some events and double others. Two runs over one file would do
    the same, so the first locks it until `release`. It stays for 60 days when the file is finished: without one, no run
    is continued.
    """

    def __init__(self, path: str, settings: Settings, lines: BinaryIO) -> None:
        """Lock it. What runs over this file and others have left, and no one needs, is removed.

        Raises `CommandFailed` if another run has it, or if the folder cannot be written to.
        """
        self._path = str(Path(path).resolve())
        self._store = store.shown(settings.redis_url)
        self._folder = SpoolFolder(settings.spool_dir / settings.name, settings.name, self._store)
        self._file = self._folder.path / f"{_hash(self._path)}.place"
        # Earlier releases knew the log by the address of its store.
        self._former = self._folder.path / f"{_hash(self._path, self._store)}.place"
        try:
            self._folder.make()
            _tidy(self._folder.path)
            self._lock = _Lock.of(self._file, TIDIED_WITHIN)
        except BlockingIOError as e:
            raise CommandFailed(f"--file: another run over {self._path} is at work; wait for its end", FAILED) from e
        except OSError as e:
            raise _unwritable(e.filename or self._file, e) from e
        self._lines = lines
        self._place: Place | None = None
        self._ahead = Fingerprint()  # what may be emitted before it is saved again
        self._done = Fingerprint()  # all lines before the current one
        self._line = b""
        self._reach = 0  # how far earlier runs may have emitted

    def load(self, log_id: str) -> Place:
        """The saved place. `log_id` is the id of the log that the store holds, "" if none.

        Raises `CommandFailed` when there is none, when it is in another log, when the file has changed, or when the
        place is so old that the store may have forgotten which of the file's events it holds.
        """
        saved, age = self._read()
        place = saved.place
        if age > SENT_WITHIN and not place.finished:
            raise CommandFailed(
                f"--resume: the run over {self._path} was interrupted more than {SENT_WITHIN // 86400:.0f} days ago, "
                f"so the log may have forgotten which of its events it holds; {_MISSING}",
                FAILED,
            )
        address = self._store if saved.store is None else saved.store
        if place.log_id not in {"", log_id} or (not place.log_id and address != self._store):
            happened = "emitted" if place.finished else "was interrupted while it emitted"
            raise CommandFailed(
                f"--resume: the run over {self._path} {happened} into another log, which was at "
                f"{address}; to emit the whole file into this one, leave out --resume",
                FAILED,
            )
        self._ahead.extend(self._lines, place.offset)
        self._done = self._ahead.copy()
        self._ahead.extend(self._lines, saved.reach)
        self._reach = saved.reach
        if saved.file != self._path or self._ahead.text != saved.print or self._splits_line(place.offset):
            raise CommandFailed(f"--resume: {self._path} has changed in a part that was already emitted; {_MISSING}")
        return place

    def _read(self) -> tuple[_Saved, float]:
        """What is saved, and how many seconds ago."""
        for path in (self._file, self._former):
            try:
                return _load(path)
            except FileNotFoundError:
                pass
            except ValueError as e:
                raise CommandFailed(
                    f"--resume: the bookmark {path} is damaged, so it is not known how far {self._path} was emitted; "
                    f"{_MISSING}",
                    FAILED,
                ) from e
            except OSError as e:
                raise CommandFailed(
                    f"--resume: the bookmark {path} cannot be used: {e.strerror}; without it, it is not known how far "
                    f"{self._path} was emitted",
                    FAILED,
                ) from e
        raise CommandFailed(
            f"--resume: there is no bookmark of a run over {self._path} in {self._folder.path}, so there is nothing to "
            "continue; leave out --resume to emit it from its start"
        )

    def _splits_line(self, offset: int) -> bool:
        """Whether a line ended at `offset` that goes on now."""
        around = os.pread(self._lines.fileno(), 2, offset - 1) if offset else b""
        return len(around) == 2 and around[:1] != b"\n" and around[1:] not in (b"\n", b"\r")

    def begin_line(self, line: bytes) -> None:
        """Call it with the next line of the file, before its event is emitted."""
        self._done.add(self._line)
        self._line = line
        if self._done.bytes + len(line) > self._ahead.bytes:
            self._ahead.extend(self._lines, self._done.bytes + len(line) + BLOCK)
            self._save(self._ahead)

    def save(self, place: Place) -> None:
        """Save `place`."""
        self._place = place
        self._save(self._ahead)

    def know_log(self, log_id: str) -> None:
        """Save the id of the log, once it is known: the first write to a log makes it."""
        if log_id and self._place is not None and not self._place.log_id:
            self._place = replace(self._place, log_id=log_id)
            self._save(self._ahead)

    def stop(self) -> None:
        """Save that nothing from the current line on was emitted, so that these lines may still be corrected."""
        if self._done.bytes >= self._reach:
            self._save(self._done)

    def finish(self, place: Place) -> None:
        """Save that all is delivered, and that `place` is the end of the file. Only then may the producer end."""
        self._done.add(self._line)
        self._line = b""
        self._place = replace(place, finished=True)
        # On the disk: should the former place come back after a power cut, a run would go on under the id of a producer
        # that the store has forgotten, and everything would count again.
        self._save(self._done, lasting=True)

    def _save(self, seen: Fingerprint, *, lasting: bool = False) -> None:
        if self._place is None:
            return
        found = {"file": self._path, "store": self._store, "reach": seen.bytes, "print": seen.text}
        try:
            self._folder.make()
            fresh = self._file.with_suffix(".new")
            fresh.unlink(missing_ok=True)  # of a run that was killed
            with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(msgspec.json.encode(found | asdict(self._place)))
                if lasting:
                    file.flush()
                    os.fsync(file.fileno())
            fresh.replace(self._file)
            if lasting:
                _sync(self._folder.path)
            self._former.unlink(missing_ok=True)
        except OSError as e:
            raise _unwritable(self._file, e) from e

    def release(self) -> None:
        """Let another run have it."""
        self._lock.release()


class _Lock:
    """A lock that goes with its process. A file that is locked must not be replaced, so it is one of its own."""

    def __init__(self, path: Path) -> None:
        """Raises `BlockingIOError` while another process holds it, and other kinds of `OSError`."""
        self._path = path
        while True:
            self._fd = _open_own(path, os.O_RDWR | os.O_CREAT)
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if os.path.samestat(os.fstat(self._fd), path.stat()):
                    return
            except FileNotFoundError:  # another run has just ended, and this is the file that it removed
                pass
            except OSError:
                os.close(self._fd)
                raise
            os.close(self._fd)

    @classmethod
    def of(cls, file: Path, patience: float = 0.0) -> "_Lock":
        """The lock of the bookmark `file`; waits at most `patience` seconds for it. Raises `OSError`."""
        deadline = monotonic() + patience
        while True:
            try:
                # Also where `file` is another file of the bookmark, or the lock: a hash has no dot.
                return cls(file.with_suffix(".lock"))
            except BlockingIOError:
                if monotonic() >= deadline:
                    raise
            sleep(0.01)

    def release(self) -> None:
        self._path.unlink(missing_ok=True)
        os.close(self._fd)


#: The names of a bookmark's files.
_NAME = re.compile(r"[0-9a-f]{16}\.(place|new|lock)")


def _tidy(folder: Path) -> None:
    """Remove what is left of other runs: bookmarks of finished ones after 60 days, and at once the other files of those
    that were killed."""
    with suppress(OSError):
        for path in list(folder.iterdir()):
            if _NAME.fullmatch(path.name) and (path.suffix != ".place" or _is_over(path)):
                with suppress(OSError):  # another run is at work, or has done the same
                    lock = _Lock.of(path)
                    try:
                        if path.suffix == ".new" or _is_over(path):
                            path.unlink()
                    finally:
                        lock.release()


def _is_over(path: Path) -> bool:
    """Whether it is a bookmark that no one needs. That of an interrupted run is kept, because it says why not to begin
    again."""
    try:
        old = time() - path.lstat().st_mtime > SENT_WITHIN
        return old and path.suffix == ".place" and _load(path)[0].finished
    except (OSError, ValueError):
        return False


def _load(path: Path) -> tuple[_Saved, float]:
    """The bookmark in a file, and its age in seconds. Raises `OSError`, and `ValueError` for what is none."""
    with os.fdopen(_open_own(path, os.O_RDONLY), "rb") as file:
        try:
            return msgspec.json.decode(file.read(), type=_Saved), time() - os.fstat(file.fileno()).st_mtime
        except (msgspec.MsgspecError, RecursionError) as e:
            raise ValueError(f"{path} is no bookmark: {e}") from e


def _open_own(path: Path, flags: int) -> int:
    """Open a file of this user, without waiting as a pipe would. Raises `OSError`, also for whatever else is there."""
    file = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    found = os.fstat(file)
    if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
        os.close(file)
        raise PermissionError(errno.EPERM, "it is not a file of this user", str(path))
    return file


def _sync(folder: Path) -> None:
    with suppress(OSError):  # not every file system can
        opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)


def _hash(*texts: str) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]


def _unwritable(path: Path | str, error: OSError) -> CommandFailed:
    advice = "" if isinstance(error, FolderRefused) else "; set ETLOG_SPOOL_DIR"
    return CommandFailed(f"cannot save the position in {path}: {error.strerror}{advice}")
