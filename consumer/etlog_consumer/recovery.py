"""What the active consumer does beside applying: it looks after the log, and closes the accounts of producers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from time import monotonic
from typing import Any

from etlog_events.keys import GROUP, Keys
from etlog_events.sequence import REMEMBERED, RETIRE_AFTER

from etlog_consumer.batch import Gap
from etlog_consumer.progress import MEND, Progress

TIDY = files(__package__).joinpath("prune_producers.lua").read_text()

#: Seconds between two looks, the longest that a loss at the end of the stream stays unnoticed.
EVERY = 10.0


@dataclass(frozen=True, slots=True)
class Findings:
    """What a look has brought to light: where the log stands, what was mended, and losses at the stream's end."""

    cursor: bytes
    mended: Sequence[str]
    gaps: Sequence[Gap]


class Housekeeping:
    """Looks after one log, every `EVERY` seconds."""

    def __init__(self, client: Any, keys: Keys, clock: Callable[[], float] = monotonic) -> None:
        self._client = client
        self._keys = keys
        self._clock = clock
        self._due = 0.0
        self._scan = b"0"  # how far the retired records are looked through

    @property
    def is_due(self) -> bool:
        """Whether it is time for the next look."""
        return self._clock() >= self._due

    def soon(self) -> None:
        """Have the next look at once: something is not as it was."""
        self._due = 0.0

    def look(self, active: Progress, trim: bytes | None = None) -> Findings:
        """Look after the log, and note in `active` what changed with the producers; entries before `trim` may go."""
        keys = self._keys
        with self._client.pipeline(transaction=False) as pipe:  # a full store refuses every transaction
            pipe.eval(MEND, 3, keys.events, keys.cursor, keys.contract, GROUP)
            tidied = (keys.events, keys.cursor, keys.producers, keys.stats, keys.contract, keys.retired)
            times = (int(RETIRE_AFTER * 1000), int(REMEMBERED * 1000))
            pipe.eval(TIDY, len(tidied), *tidied, active.cursor, *times, trim or "", self._scan)
            (cursor, _, *mended), (lost, retired, self._scan) = pipe.execute()
        gaps = []
        for producer, first, last in zip(lost[::3], lost[1::3], lost[2::3], strict=True):
            gaps.append(Gap(producer.decode(errors="backslashreplace"), int(first), int(last)))
            active.numbers[producer] = int(last)
        for producer in retired:
            active.numbers.pop(producer, None)
        self._due = self._clock() + EVERY
        return Findings(cursor, [finding.decode() for finding in mended], gaps)
