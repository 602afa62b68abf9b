"""One spool file: a header, then one event per line. Anyone can read it with `less`.

    {"log":"default","producer":"host-17-9f8e7d6c","store":"redis://127.0.0.1:6379/0","log_id":"c3ab…","token":"…",…}
    701 {"kind":"AllocationSetSaved",…}
    702 {"kind":"AllocationSetTotaled",…}
    # delivered 701

Its name is `<producer>.<first number>.<token>.spool`, so that two processes under one id never share a file. A name
that ends with `.taken.spool` says that another process publishes under the id. The owner of a file holds a lock on it
(`flock`) as long as it lives, so that a process that gets the lock knows that the owner is gone.
"""

import fcntl
import os
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO

import orjson

_NAME = re.compile(r"(?P<producer>.+)\.(?P<first>[0-9]{20})(?:\.(?P<token>[0-9a-f]{1,32})(?P<taken>\.taken)?)?\.spool")
_TOKEN = re.compile(r"[0-9a-f]{1,32}")
_DELIVERED = b"# delivered "

#: Bytes of a header that are kept free for the id of the log. Those that etlog makes take forty.
LOG_ID_BYTES = 64

#: Bytes of the id of a producer from which a longer one is made. The store takes 256.
_MOST_OF_ID = 200


@dataclass(frozen=True, slots=True)
class SpoolFile:
    """A spool file by its name; `token` is "" in those of earlier releases."""

    path: Path
    producer: str
    first: int
    token: str = ""
    taken: bool = False

    @classmethod
    def named(cls, path: Path) -> "SpoolFile | None":
        """The file at `path`, None if its name is not that of a spool file."""
        match = _NAME.fullmatch(path.name)
        if not match:
            return None
        return cls(path, match["producer"], int(match["first"]), match["token"] or "", match["taken"] is not None)

    @property
    def owner(self) -> tuple[str, str, int]:
        """The same for the files that are sent under one id: those of one process, and each alone that is `taken`."""
        return self.producer, self.token, self.first if self.taken else 0

    @property
    def id_of_its_own(self) -> str:
        """The id for a file that is `taken`: the same at each attempt, so that none doubles the events of another."""
        producer = self.producer.encode()[:_MOST_OF_ID].decode(errors="ignore")
        return f"{producer}~{self.token}-{self.first}"

    def take(self) -> "SpoolFile":
        """Rename it to what it is called once its id is known to be taken. Raises `OSError`."""
        name = _name(self.producer, self.first, self.token, taken=True)
        return replace(self, taken=True, path=self.path.rename(self.path.with_name(name)))


def _name(producer: str, first: int, token: str, *, taken: bool = False) -> str:
    if not token:
        return f"{producer}.{first:020d}.spool"
    if not _TOKEN.fullmatch(token):  # someone made it who makes others
        token = blake2b(token.encode(), digest_size=8).hexdigest()
    return f"{producer}.{first:020d}.{token}{'.taken' if taken else ''}.spool"


@dataclass(frozen=True, slots=True)
class SegmentHeader:
    """Where the events of a file belong, and whose they are; `store` is an address without secrets.

    `log_id` is the id of the log, "" as long as the owner has not reached the store. `resumable` says that the id of
    the producer is noted elsewhere, for another run to go on under it. A header of an earlier release has neither these
    nor the token; `complete` tells.
    """

    log: str
    producer: str
    store: str
    log_id: str = ""
    token: str = ""
    resumable: bool = False
    complete: bool = True

    def encode(self) -> bytes:
        """The first line of a file. It is equally long for each `log_id`, so that one can be written over another."""
        fields = asdict(self)
        del fields["complete"]
        longest = len(orjson.dumps(fields | {"log_id": ""})) + LOG_ID_BYTES
        return orjson.dumps(fields).ljust(longest) + b"\n"

    @classmethod
    def read(cls, file: BinaryIO) -> "SegmentHeader | None":
        """The header at the start of `file`, None if there is none."""
        try:
            fields = orjson.loads(file.readline(4096))
            return cls(
                str(fields["log"]),
                str(fields["producer"]),
                str(fields["store"]),
                str(fields.get("log_id", "")),
                str(fields.get("token", "")),
                bool(fields.get("resumable", True)),
                "token" in fields,
            )
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
        self.path = folder / _name(header.producer, first, header.token)
        self.first = first
        self.last = first - 1
        # Under another name until it is locked: an unlocked file looks as if its owner were dead.
        unlocked = folder / f".{self.path.name}.new"
        self._fd = os.open(unlocked, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_TRUNC, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._header = header
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

    def know_log(self, log_id: str) -> None:
        """Note in the header that the events are for the log with this id. Raises `OSError`."""
        before, now = self._header, replace(self._header, log_id=log_id)
        text = now.encode()
        if len(text) != len(before.encode()):  # an id that someone made who makes longer ones
            return
        header = os.open(self.path, os.O_WRONLY)  # the other descriptor only appends
        try:
            os.pwrite(header, text, 0)
        finally:
            os.close(header)
        self._header = now

    def mark(self, delivered: int) -> None:
        """Note for people that the store has everything up to `delivered`: what counts is what the store says."""
        self._write(b"%b%d\n" % (_DELIVERED, delivered))

    def _write(self, text: bytes) -> None:
        written = os.write(self._fd, text)
        if written < len(text):  # the disk is full: half a line must not stay
            os.ftruncate(self._fd, self.bytes)
            raise OSError(28, "No space left on device")
        self.bytes += written

    def take(self) -> None:
        """Say by the name of the file that another process publishes under its id. Raises `OSError`."""
        self.path = SpoolFile(self.path, self._header.producer, self.first, self._header.token).take().path

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
