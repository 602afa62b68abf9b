"""The state of a log itself: what of it is wrong beside its sets."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from etlog_events import timestamps
from etlog_events.keys import Keys
from etlog_events.sequence import number_of
from etlog_events.store.health import store_warnings
from etlog_ledger.marks import DEAD_LETTERS, LOST_EVENTS, Mark, acknowledgement
from etlog_ledger.reading.connection import Connection

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


async def read_state(connection: Connection, keys: Keys) -> State:
    """The state of a log. Raises the driver's errors."""
    cursor, stats, info = await connection.ask(("GET", keys.cursor), ("HMGET", keys.stats, "lost", "dead"), ("INFO",))
    after = "-" if cursor is None else b"(" + cursor
    [waiting] = await connection.ask(("XRANGE", keys.events, after, "+", "COUNT", 1))
    lost, dead = (number_of(number or b"") for number in stats)
    return State(lost, dead, cursor, _published(waiting[0]) if waiting else None, store_warnings(info))


class Memory:
    """What a watcher remembers of the state of a log, to say since when something is wrong."""

    def __init__(self) -> None:
        self._cursor: tuple[bytes | None, datetime] | None = None
        self._since: dict[str, str] = {}

    def faults(self, state: State, marks: Iterable[Mark], now: datetime) -> Iterable[Fault]:
        """The faults of the log itself."""
        found = [*self._losses(state, list(marks), now), *self._stalled(state, now)]
        found += [Fault(state="store", text=warning, since="") for warning in state.warnings]
        since = {self._name(fault): fault.since or self._known(fault, now) for fault in found}
        self._since = since
        for fault in found:
            yield Fault(state=fault.state, text=fault.text, since=since[self._name(fault)], count=fault.count)

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

    def _stalled(self, state: State, now: datetime) -> Iterable[Fault]:
        if self._cursor is None or self._cursor[0] != state.cursor or state.oldest is None:
            self._cursor = state.cursor, now
        stands = now - self._cursor[1]
        if state.oldest is not None and stands >= STALLED:
            since = timestamps.from_datetime(state.oldest)
            yield Fault(state="stalled", text=f"nothing is applied although events wait since {since}", since=since)

    def _known(self, fault: Fault, now: datetime) -> str:
        return self._since.get(self._name(fault)) or timestamps.from_datetime(now)

    def _name(self, fault: Fault) -> str:
        return fault.text if fault.state == "store" else fault.state


def _published(entry: Any) -> datetime:
    milliseconds = int(entry[0].partition(b"-")[0])
    try:
        return datetime.fromtimestamp(milliseconds // 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return datetime.max.replace(tzinfo=UTC)  # someone else chose that id
