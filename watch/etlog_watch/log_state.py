"""The state of a log itself: what of it is wrong beside its sets."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any

import msgspec
from etlog_events import timestamps
from etlog_events.keys import Keys
from etlog_events.sequence import number_of
from etlog_events.store.health import store_warnings
from etlog_ledger.marks import DEAD_LETTERS, LOST_EVENTS, Mark, acknowledgement
from etlog_ledger.reading.connection import Command, Connection

from etlog_watch.faults import Fault

#: How long nothing is applied, although events wait, before that is a fault: a consumer that takes over needs a few
#: seconds.
STALLED = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class State:
    """What the store says of a log: events `lost` and `dead`, the `cursor`, when the `oldest` entry was published that
    waits, and warnings about the store."""

    lost: int
    dead: int
    cursor: bytes | None
    oldest: datetime | None
    warnings: Sequence[str]


async def read_state(connection: Connection, keys: Keys, *, of_store: bool) -> State:
    """The state of a log, and warnings `of_store`, if that is asked. Raises the driver's errors."""
    questions: list[Command] = [("GET", keys.cursor), ("HMGET", keys.stats, "lost", "dead")]
    cursor, stats, *info = await connection.ask(*questions, *([("INFO",)] if of_store else []))
    after = "-" if cursor is None else b"(" + cursor
    [waiting] = await connection.ask(("XRANGE", keys.events, after, "+", "COUNT", 1))
    lost, dead = (number_of(number or b"") for number in stats)
    return State(lost, dead, cursor, _published(waiting[0]) if waiting else None, store_warnings(*info) if info else ())


class Memory:
    """What a watcher remembers of the state of a log: where it stood, and since when by `clock`, in seconds."""

    def __init__(self, clock: Callable[[], float] = monotonic) -> None:
        self._clock = clock
        self._cursor: tuple[bytes | None, float] | None = None

    def faults(self, state: State, marks: Iterable[Mark], open_faults: Iterable[Fault], now: datetime) -> list[Fault]:
        """The faults of the log itself. Those that are open began when they did, whoever saw that."""
        known = {(fault.state, fault.about): fault.since for fault in open_faults if fault.category is None}
        found = [*self._losses(state, list(marks), now), *self._stalled(state, ("stalled", None) in known)]
        found += [Fault(state="store", text=warning, about=warning, since="") for warning in state.warnings]
        spelled = timestamps.from_datetime(now)
        return [
            msgspec.structs.replace(fault, since=fault.since or known.get((fault.state, fault.about), spelled))
            for fault in found
        ]

    def _losses(self, state: State, marks: Sequence[Mark], now: datetime) -> Iterable[Fault]:
        for name, present, losses, words in (
            ("lost", state.lost, LOST_EVENTS, ("1 event was lost", "events were lost", "etlog status")),
            ("dead", state.dead, DEAD_LETTERS, ("1 dead letter", "dead letters", "etlog dead list")),
        ):
            mark = acknowledgement(marks, losses, present, now.timestamp())
            number = present - (0 if mark is None else mark.count or 0)
            if number > 0:
                one, many, command = words
                text = f"{one if number == 1 else f'{number:,} {many}'}; '{command}' says more"
                yield Fault(state=name, text=text, since="", count=number)

    def _stalled(self, state: State, is_known: bool) -> Iterable[Fault]:
        now = self._clock()
        if self._cursor is None:  # a watcher that begins takes the word of the one before
            self._cursor = state.cursor, now - (STALLED.total_seconds() if is_known else 0.0)
        elif self._cursor[0] != state.cursor or state.oldest is None:
            self._cursor = state.cursor, now
        if state.oldest is not None and now - self._cursor[1] >= STALLED.total_seconds():
            since = timestamps.from_datetime(state.oldest)
            yield Fault(state="stalled", text=f"nothing is applied although events wait since {since}", since=since)


def _published(entry: Any) -> datetime:
    milliseconds = int(entry[0].partition(b"-")[0])
    try:
        return datetime.fromtimestamp(milliseconds // 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return datetime.max.replace(tzinfo=UTC)  # someone else chose that id
