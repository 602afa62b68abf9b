"""Reads a spool file, whatever may have happened to it."""

import os
from collections import deque
from collections.abc import Callable
from pathlib import Path

from etlog_producer.spool.folder import Descriptor, open_trusted
from etlog_producer.spool.header import HEAD_BYTES, SegmentHeader
from etlog_producer.spool.line import DELIVERED, Line, Mark, decode, decode_unchecked, has_checksums, rescue

#: Bytes that are read at once, and those that are skipped where the disk cannot read.
_BLOCK, _PAGE = 256 * 1024, 4096

#: Pages that cannot be read, until the rest of a file is given up: each attempt may take the disk seconds.
_MOST_FAILURES = 64

#: Bytes of a line; what is longer has lost its ends. An event has at most 64 KiB.
_LONGEST = 1024 * 1024


class SegmentReader:
    """Reads a file in the order of the numbers: by `file`, which stays open, or else by one that it opens at `path`."""

    def __init__(self, path: Path, file: Descriptor | None = None, *, end: Callable[[], int] | None = None) -> None:
        """Read the header. `end` tells up to which byte the file may be read. Raises `OSError`."""
        self.path = path
        self._is_mine = file is None
        self._file = open_trusted(path) if file is None else file
        self._end = end
        self._at = 0  # in the file
        self._rest = b""  # a line whose end is not read yet
        self._texts: list[bytes] = []
        self._next = 0  # of the texts
        self._place = 0  # of that one in the file
        self._rescued: deque[Line] = deque()
        #: Why a part of the file cannot be read.
        self.error: OSError | None = None
        self._failures = 0
        #: The last number so far, and the last one that is noted as delivered.
        self.last = 0
        self.delivered = 0
        #: The header, None if it is damaged.
        self.header: SegmentHeader | None = None
        head = self._read(HEAD_BYTES)
        self.header = SegmentHeader.find(head)
        self._checked = has_checksums(head) if self.header is None else self.header.checked
        self._at = self._failures = 0

    def next(self) -> Line | None:
        """The next event, a damaged line, or None at the end; the file may have grown at the next call.

        A number that was there already is left out: an interrupted write is done again.
        """
        while True:
            if self._rescued:
                line = self._rescued.popleft()
            else:
                if self._next == len(self._texts) and not self._fill():
                    return None
                text, place = self._texts[self._next], self._place
                self._next += 1
                self._place += len(text) + 1
                found = decode(text, place) if self._checked else decode_unchecked(text, place)
                if found is None:
                    if self._is_event_free(text, place):
                        continue
                    if self._checked:
                        self._rescued.extend(rescue(text, place))
                    return Line(0, text, place)
                line = found
            if line.number > self.last:
                self.last = line.number
                return line
            if not self._checked:
                return Line(0, line.event, line.place)

    def _is_event_free(self, text: bytes, place: int) -> bool:
        """Whether a line without an event is as it should be."""
        if text.startswith(DELIVERED):
            mark = Mark.decode(text)
            if mark is not None:
                self.delivered = mark.number
            return mark is not None or not self._checked
        if self._checked:
            return text.startswith(b"{") and SegmentHeader.whole(text) is not None
        return place == 0 and self.header is not None

    def _fill(self) -> bool:
        """Read the next lines. Tells whether there are any."""
        texts: list[bytes] = []
        while not texts:
            block = self._read(_BLOCK)
            if not block and not self._rest:
                self._texts, self._next = [], 0
                return False
            if not block or len(self._rest) > _LONGEST:
                texts, self._rest = [self._rest], block
                self._place -= 1  # it has no end
                continue
            texts = (self._rest + block).split(b"\n")
            self._rest = texts.pop()
        self._texts, self._next = texts, 0
        return True

    def _read(self, most: int) -> bytes:
        """The next bytes. Zeros stand for what cannot be read."""
        most = most if self._end is None else min(most, self._end() - self._at)
        block = b""
        while most > 0 and not block and self._failures < _MOST_FAILURES:
            page = _PAGE - self._at % _PAGE
            try:
                block = os.pread(self._file.fileno(), min(most, page) if self._failures else most, self._at)
                if not block:
                    return b""
            except OSError as e:
                self.error = e
                self._failures += 1
                if self._failures > 1:  # the first is that of a large block
                    block = bytes(page)
        self._at += len(block)
        return block

    def close(self) -> None:
        """Close the file if it was opened here; a lock that another process holds on it stays."""
        if self._is_mine:
            self._file.close()
