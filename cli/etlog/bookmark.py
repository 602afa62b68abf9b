"""How far `etlog emit --file` has come with a file: what `--resume` goes on from."""

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

#: Bytes that are taken into the fingerprint of a file at once, ahead of what is emitted.
BLOCK = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Place:
    """How far a file is delivered: up to line `line`, which ends before byte `offset` and held event `number`."""

    producer: str
    number: int = 0
    line: int = 0
    offset: int = 0


class Fingerprint:
    """That of the first `bytes` bytes of a file."""

    def __init__(self) -> None:
        self.bytes = 0
        self._hash = hashlib.sha256()

    @property
    def text(self) -> str:
        """The fingerprint."""
        return self._hash.hexdigest()

    def add(self, block: bytes) -> None:
        """Take in what comes next."""
        self._hash.update(block)
        self.bytes += len(block)

    def extend(self, file: BinaryIO, end: int) -> None:
        """Take in the bytes of `file` before `end`, as far as there are any; where it stands stays as it is."""
        while self.bytes < end and (block := os.pread(file.fileno(), min(BLOCK, end - self.bytes), self.bytes)):
            self.add(block)

    def copy(self) -> "Fingerprint":
        """Another one that goes on from here."""
        other = Fingerprint()
        other.bytes, other._hash = self.bytes, self._hash.copy()
        return other


class Bookmark:
    """A small file beside the spool that remembers how far another file is delivered.

    It holds a fingerprint of all bytes of which an event may have been emitted. If one of them has changed, the lines
    are not those that were numbered, and going on would lose some and double others.
    """

    def __init__(self, path: str, settings: Settings, lines: BinaryIO) -> None:
        self._path = str(Path(path).resolve())
        whole = self._path, store.shown(settings.redis_url)
        name = hashlib.sha256("\n".join(whole).encode()).hexdigest()[:16]
        self._file = settings.spool_dir / settings.name / f"{name}.place"
        self._lines = lines
        self._place: Place | None = None
        self._ahead = Fingerprint()  # what may be emitted before the next look at it
        self._done = Fingerprint()  # all lines before the one at hand
        self._line = b""
        self._reach = 0  # up to where earlier runs may have emitted

    def load(self) -> Place | None:
        """The place, None where there is none.

        Raises `CommandFailed` when the file has changed, or when the place is so old that the store may have
        forgotten what it has of the file.
        """
        try:
            found = orjson.loads(self._file.read_bytes())
            age = time() - self._file.stat().st_mtime
        except (OSError, ValueError):
            return None
        missing = "emit what the log does not hold from a file of its own"
        if age > SENT_WITHIN:
            raise CommandFailed(
                f"--resume: the run over {self._path} was interrupted more than {SENT_WITHIN // 86400:.0f} days ago, "
                f"and the log may not know any more what it has of it; {missing}",
                FAILED,
            )
        reach, printed, path = found.pop("reach", 0), found.pop("print"), found.pop("file")
        place = Place(**found)
        self._ahead.extend(self._lines, place.offset)
        self._done = self._ahead.copy()
        self._ahead.extend(self._lines, reach)
        self._reach = reach
        if path != self._path or self._ahead.text != printed:
            raise CommandFailed(f"--resume: {self._path} has changed in what was emitted before; {missing}")
        return place

    def before(self, line: bytes) -> None:
        """`line`, the next one of the file, is at hand: an event of it may be emitted from now on."""
        self._done.add(self._line)
        self._line = line
        if self._done.bytes + len(line) > self._ahead.bytes:
            self._ahead.extend(self._lines, self._done.bytes + len(line) + BLOCK)
            self._save(self._ahead)

    def save(self, place: Place) -> None:
        """Remember `place`."""
        self._place = place
        self._save(self._ahead)

    def stop(self) -> None:
        """Nothing of the line at hand and of those after it was emitted: they may still be mended."""
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
            raise CommandFailed(f"cannot remember the place in {self._file}: {e.strerror}; set ETLOG_SPOOL_DIR") from e

    def remove(self) -> None:
        """All is delivered."""
        self._file.unlink(missing_ok=True)
