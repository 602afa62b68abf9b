"""Bookmarks: how far `etlog emit --file` has come with a file, for `--resume` to continue there."""

import fcntl
import hashlib
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from time import time
from typing import BinaryIO

import orjson
from etlog_events import store
from etlog_events.sequence import SENT_WITHIN
from etlog_events.settings import Settings

from etlog.errors import FAILED, CommandFailed

#: Bytes by which the fingerprint of a file runs ahead of what is emitted.
BLOCK = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Place:
    """How far a file is delivered: to line `line`, which ends before byte `offset`, and to the event `number` of the
    `producer`, whose process has the `token`. `log_id` is the id of the log, "" where it is not known."""

    producer: str
    number: int = 0
    token: str = ""
    log_id: str = ""
    line: int = 0
    offset: int = 0


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
    the same, so the first locks it until `release`.
    """

    def __init__(self, path: str, settings: Settings, lines: BinaryIO) -> None:
        """Lock it. Raises `CommandFailed` if another run has, or if the folder cannot be written to."""
        self._path = str(Path(path).resolve())
        self._store = store.shown(settings.redis_url)
        folder = settings.spool_dir / settings.name
        self._file = folder / f"{_hash(self._path)}.place"
        # Earlier releases knew the log by the address of its store.
        self._former = folder / f"{_hash(self._path, self._store)}.place"
        self._lock = _Lock(self._file.with_suffix(".lock"), self._path)
        self._lines = lines
        self._place: Place | None = None
        self._ahead = Fingerprint()  # what may be emitted before it is saved again
        self._done = Fingerprint()  # all lines before the current one
        self._line = b""
        self._reach = 0  # how far earlier runs may have emitted

    def load(self, log_id: str) -> Place | None:
        """The saved place, None where there is none. `log_id` is the id of the log that the store holds, "" if none.

        Raises `CommandFailed` when the place is in another log, when the file has changed, or when the place is so old
        that the store may have forgotten which of the file's events it holds.
        """
        try:
            at = self._file if self._file.exists() else self._former
            found = orjson.loads(at.read_bytes())
            age = time() - at.stat().st_mtime
        except (OSError, ValueError):
            return None
        missing = "put the missing events into a new file and emit that"
        if age > SENT_WITHIN:
            raise CommandFailed(
                f"--resume: the run over {self._path} was interrupted more than {SENT_WITHIN // 86400:.0f} days ago, "
                f"so the log may have forgotten which of its events it holds; {missing}",
                FAILED,
            )
        reach, printed, path = found.pop("reach", 0), found.pop("print"), found.pop("file")
        address = found.pop("store", self._store)
        place = Place(**found)
        if place.log_id not in {"", log_id} or (not place.log_id and address != self._store):
            raise CommandFailed(
                f"--resume: the run over {self._path} was interrupted while it emitted into another log, which was at "
                f"{address}; to emit the whole file into this one, leave out --resume",
                FAILED,
            )
        self._ahead.extend(self._lines, place.offset)
        self._done = self._ahead.copy()
        self._ahead.extend(self._lines, reach)
        self._reach = reach
        if path != self._path or self._ahead.text != printed:
            raise CommandFailed(f"--resume: {self._path} has changed in a part that was already emitted; {missing}")
        return place

    def before(self, line: bytes) -> None:
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

    def _save(self, seen: Fingerprint) -> None:
        if self._place is None:
            return
        found = {"file": self._path, "store": self._store, "reach": seen.bytes, "print": seen.text}
        try:
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            fresh = self._file.with_suffix(".new")
            fresh.write_bytes(orjson.dumps(found | asdict(self._place)))
            fresh.replace(self._file)
            self._former.unlink(missing_ok=True)
        except OSError as e:
            raise _unwritable(self._file, e) from e

    def remove(self) -> None:
        """Call it when everything is delivered."""
        self._file.unlink(missing_ok=True)
        self._former.unlink(missing_ok=True)

    def release(self) -> None:
        """Let another run have it."""
        self._lock.release()


class _Lock:
    """A lock that goes with its process. A file that is locked must not be replaced, so it is one of its own."""

    def __init__(self, path: Path, subject: str) -> None:
        self._path = path
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            while True:
                self._fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
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
        except BlockingIOError as e:
            raise CommandFailed(f"--file: another run over {subject} is at work; wait for its end", FAILED) from e
        except OSError as e:
            raise _unwritable(path, e) from e

    def release(self) -> None:
        self._path.unlink(missing_ok=True)
        os.close(self._fd)


def _hash(*texts: str) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]


def _unwritable(path: Path, error: OSError) -> CommandFailed:
    return CommandFailed(f"cannot save the position in {path}: {error.strerror}; set ETLOG_SPOOL_DIR")
