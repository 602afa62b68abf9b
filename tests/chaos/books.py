"""What the processes of a trial note of each event, in memory that they share with the harness.

It outlives them, however they end.
"""

import mmap
import os
from enum import IntEnum
from pathlib import Path

#: Numbers that the events of a trial may have, from 1 on.
MOST = 60_000

_PHASE, _RELEASED, _HEAD = 0, 1, 16


class Phase(IntEnum):
    """What a process is doing."""

    STARTING = 0
    EMITTING = 1
    FLUSHING = 2
    RESTING = 3
    HOLDING = 4
    CLOSING = 5


class Fate(IntEnum):
    """What became of a call of `emit`. One that has only begun may have raised, or be the last before the end: its
    event may be there or not."""

    NONE = 0
    BEGUN = 1
    RETURNED = 2
    REFUSED = 3


class Books:
    """The fates of the events of a trial, by their numbers. The file is made by who opens it first."""

    def __init__(self, path: Path) -> None:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        os.ftruncate(file, _HEAD + MOST + 1)
        self._bytes = mmap.mmap(file, _HEAD + MOST + 1)
        os.close(file)

    def note(self, number: int, fate: Fate) -> None:
        """Note what became of the event `number`."""
        self._bytes[_HEAD + number] = fate

    def of(self, fate: Fate) -> set[int]:
        """The numbers of the events with this fate."""
        return {number for number, noted in enumerate(self._bytes[_HEAD:]) if noted == fate}

    def returned(self, first: int, last: int) -> int:
        """How many of these calls have returned, in any way."""
        noted = self._bytes[_HEAD + first : _HEAD + last + 1]
        return len(noted) - noted.count(Fate.NONE) - noted.count(Fate.BEGUN)

    @property
    def phase(self) -> Phase:
        """What the process is doing, or the one that said so last."""
        return Phase(self._bytes[_PHASE])

    @phase.setter
    def phase(self, phase: Phase) -> None:
        self._bytes[_PHASE] = phase

    @property
    def released(self) -> bool:
        """Whether the process that has emitted all may come to its end."""
        return bool(self._bytes[_RELEASED])

    def release(self) -> None:
        """Let it come to its end."""
        self._bytes[_RELEASED] = 1

    def close(self) -> None:
        """Let go of the memory."""
        self._bytes.close()
