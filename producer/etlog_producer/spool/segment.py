"""One spool file: a header, then one event per line. Anyone can read it with `less`.

    {"log":"default","producer":"host-17-9f8e7d6c","store":"redis://127.0.0.1:6379/0"}
    701 {"kind":"AllocationSetSaved",…}
    702 {"kind":"AllocationSetTotaled",…}
    # delivered 701

Its name is `<producer>.<first number>.spool`. Its owner holds a lock on it (`flock`) as long as it lives, so that a
process that gets the lock knows that the owner is gone.
"""

import fcntl
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import orjson

_NAME = re.compile(r"(?P<producer>.+)\.(?P<first>[0-9]{20})\.spool")
_DELIVERED = b"# delivered "


@dataclass(frozen=True, slots=True)
class SpoolFile:
    """A spool file by its name."""

    path: Path
    producer: str
    first: int

    @classmethod
    def named(cls, path: Path) -> "SpoolFile | None":
        """The file at `path`, None if its name is not that of a spool file."""
        match = _NAME.fullmatch(path.name)
        return cls(path, match["producer"], int(match["first"])) if match else None


@dataclass(frozen=True, slots=True)
class SegmentHeader:
    """Where the events of a file belong; `store` is an address without secrets."""

    log: str
    producer: str
    store: str

    def encode(self) -> bytes:
        """The first line of a file."""
        return orjson.dumps({"log": self.log, "producer": self.producer, "store": self.store}) + b"\n"

    @classmethod
    def read(cls, file: BinaryIO) -> "SegmentHeader | None":
        """The header at the start of `file`, None if there is none."""
        try:
            fields = orjson.loads(file.readline(4096))
            return cls(str(fields["log"]), str(fields["producer"]), str(fields["store"]))
        except (ValueError, KeyError, TypeError):
            return None


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a file: an event and its number, or a broken line, which has the number 0."""

    number: int
    event: bytes


class Segment:
    """A file that its owner writes: consecutive numbers from `first` to `last`."""

    def __init__(self, folder: Path, header: SegmentHeader, first: int) -> None:
        """Make the file, readable by this user alone. Raises `OSError`."""
        self.path = folder / f"{header.producer}.{first:020d}.spool"
        self.first = first
        self.last = first - 1
        # Under another name until it is locked: an unlocked file looks as if its owner were dead.
        unlocked = folder / f".{self.path.name}.new"
        self._fd = os.open(unlocked, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_TRUNC, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            start = header.encode()
            self.bytes = os.write(self._fd, start)
            if self.bytes < len(start):
                raise OSError(28, "No space left on device")
            unlocked.rename(self.path)
        except OSError:
            os.close(self._fd)
            unlocked.unlink(missing_ok=True)
            raise

    def append(self, events: Sequence[bytes]) -> None:
        """Add events under the numbers after `last`: all of them, or none and an `OSError`."""
        number = self.last + 1
        if len(events) == 1:
            text = b"%d %b\n" % (number, events[0])
        else:
            text = b"".join([b"%d %b\n" % (number + i, event) for i, event in enumerate(events)])
        self._write(text)
        self.last += len(events)

    def mark(self, delivered: int) -> None:
        """Note for people that the store has everything up to `delivered`: what counts is what the store says."""
        self._write(b"%b%d\n" % (_DELIVERED, delivered))

    def _write(self, text: bytes) -> None:
        written = os.write(self._fd, text)
        if written < len(text):  # the disk is full: half a line must not stay
            os.ftruncate(self._fd, self.bytes)
            raise OSError(28, "No space left on device")
        self.bytes += written

    def release(self) -> None:
        """Let go of the file and its lock: anyone may send what is in it."""
        os.close(self._fd)

    def delete(self) -> None:
        """Remove the file: the store has all of it."""
        self.path.unlink(missing_ok=True)
        os.close(self._fd)


class SegmentReader:
    """Reads a file from the line after its header, in the order of the numbers."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("rb")
        self.header = SegmentHeader.read(self._file)
        self._before = 0

    def next(self) -> Line | None:
        """The next line with an event, a broken one, or None at the end; the file may have grown at the next call."""
        while text := self._file.readline():
            if text.startswith(_DELIVERED):
                continue
            digits, _, event = text.rstrip(b"\n").partition(b" ")
            number = int(digits) if digits.isdigit() and len(digits) < 17 else 0
            if number <= self._before or not _is_object(event):
                return Line(0, text)
            self._before = number
            return Line(number, event)
        return None

    def close(self) -> None:
        """Close the file; a lock that another process holds on it stays."""
        self._file.close()


def _is_object(text: bytes) -> bool:
    try:
        return isinstance(orjson.loads(text), dict)
    except ValueError:
        return False
