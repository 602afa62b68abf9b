"""The state of a log: what of it is wrong, and since when, whichever watcher looks."""

from datetime import UTC, datetime, timedelta

import pytest
from etlog_watch.faults import Fault
from etlog_watch.log_state import STALLED, Memory, State
from support.fakes import Clock

NOW = datetime(2026, 12, 1, 3, tzinfo=UTC)
PUBLISHED = NOW - timedelta(minutes=10)


def state(cursor: bytes = b"1-0", oldest: datetime | None = PUBLISHED, lost: int = 0, *warnings: str) -> State:
    return State(lost, 0, cursor, oldest, warnings)


@pytest.fixture
def memory(clock: Clock) -> Memory:
    """What a watcher remembers that has just begun."""
    return Memory(clock)


def states(memory: Memory, at: State, *known: Fault, now: datetime = NOW) -> list[str]:
    return [fault.state for fault in memory.faults(at, (), known, now)]


def test_a_log_is_stalled_when_nothing_is_applied_for_a_minute(memory: Memory, clock: Clock) -> None:
    """Although events wait; progress ends it, and a clock that is set does not."""
    assert states(memory, state()) == []
    clock.now += STALLED.total_seconds() - 1
    assert states(memory, state(), now=NOW + timedelta(hours=5)) == []
    clock.now += 1
    assert states(memory, state(), now=NOW - timedelta(hours=5)) == ["stalled"]
    assert states(memory, state(b"2-0")) == []
    clock.now += 1000
    assert states(memory, state(b"2-0", None)) == []
    assert states(memory, state(b"2-0")) == []


def test_a_watcher_that_begins_takes_the_word_of_the_one_before(memory: Memory) -> None:
    """A log that was stalled is, until it makes progress."""
    known = Fault(state="stalled", text="nothing is applied", since="2026-12-01T02:50:00Z")

    assert states(memory, state(), known) == ["stalled"]
    assert states(memory, state(b"2-0"), known) == []


def test_what_was_wrong_before_began_then(memory: Memory) -> None:
    """Not when this watcher saw it."""
    danger = "the store may evict the log"
    known = [
        Fault(state="lost", text="1 event was lost", since="2026-11-01T00:00:00Z", count=1),
        Fault(state="store", text=danger, about=danger, since="2026-11-02T00:00:00Z"),
    ]

    found = memory.faults(state(b"1-0", None, 2, danger, "another one"), (), known, NOW)

    assert [(fault.state, fault.since, fault.count) for fault in found] == [
        ("lost", "2026-11-01T00:00:00Z", 2),
        ("store", "2026-11-02T00:00:00Z", None),
        ("store", "2026-12-01T03:00:00Z", None),
    ]
