"""Bookmarks: how far `etlog emit --file` has come with a file, for `--resume` to continue there."""

import hashlib
import os
from dataclasses import asdict, dataclass
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
    """How far a file is delivered: to line `line`, which ends before byte `offset`, and to event `number` of it."""

    producer: str
    number: int = 0
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
    those that were numbered, and to continue would lose some events and double others.
    """

    def __init__(self, path: str, settings: Settings, lines: BinaryIO) -> None:
        self._path = str(Path(path).resolve())
        whole = self._path, store.shown(settings.redis_url)
        name = hashlib.sha256("\n".join(whole).encode()).hexdigest()[:16]
        self._file = settings.spool_dir / settings.name / f"{name}.place"
        self._lines = lines
        self._place: Place | None = None
        self._ahead = Fingerprint()  # what may be emitted before it is saved again
        self._done = Fingerprint()  # all lines before the current one
        self._line = b""
        self._reach = 0  # how far earlier runs may have emitted

    def load(self) -> Place | None:
        """The saved place, None where there is none.

        Raises `CommandFailed` when the file has changed, or when the place is so old that the store may have
        forgotten which of the file's events it holds.
        """
        try:
            found = orjson.loads(self._file.read_bytes())
            age = time() - self._file.stat().st_mtime
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
        place = Place(**found)
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

    def stop(self) -> None:
        """Save that nothing from the current line on was emitted, so that these lines may still be corrected."""
        if self._done.bytes >= self._reach:
            self._save(self._done)

    def _save(self, seen: Fingerprint) -> None:
        if self._place is None:
            return
        found = {"file": self._path, "reach": seen.bytes, "print": seen.text}
        try:
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            fresh = self._file.with_suffix(".new")
            fresh.write_bytes(orjson.dumps(found | asdict(self._place)))
            fresh.replace(self._file)
        except OSError as e:
            raise CommandFailed(f"cannot save the position in {self._file}: {e.strerror}; set ETLOG_SPOOL_DIR") from e

    def remove(self) -> None:
        """Call it when everything is delivered."""
        self._file.unlink(missing_ok=True)
