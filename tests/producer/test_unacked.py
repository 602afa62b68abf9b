"""What is not acknowledged: what waits, in order and in batches, and what can be sent again."""

import pytest
from etlog_events.publishing import CALL_EVENTS
from etlog_producer import unacked
from etlog_producer.unacked import BATCH_BYTES, KEEP_SECONDS, Unacked


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def events(first: int, last: int) -> list[bytes]:
    """Events that say their number."""
    return [b"%d" % number for number in range(first, last + 1)]


@pytest.fixture
def clock() -> Clock:
    """A clock that stands still."""
    return Clock()


def test_without_events_there_is_no_batch() -> None:
    """There is nothing to deliver."""
    waiting = Unacked()

    assert (len(waiting), waiting.batch(), waiting.delivered) == (0, [], 0)


def test_a_batch_is_offered_until_it_is_delivered() -> None:
    """An attempt that failed is repeated with the same events."""
    waiting = Unacked()
    waiting.extend(events(1, 3))

    assert waiting.batch() == waiting.batch() == events(1, 3)
    waiting.deliver(3)

    assert (len(waiting), waiting.batch(), waiting.delivered) == (0, [], 3)


def test_a_batch_may_be_delivered_in_part() -> None:
    """What the store does not hold waits on, under its own number."""
    waiting = Unacked()
    waiting.extend(events(1, 5))

    waiting.deliver(2)

    assert (waiting.batch(), waiting.delivered) == (events(3, 5), 2)


def test_an_old_answer_changes_nothing() -> None:
    """The store holds what it held."""
    waiting = Unacked()
    waiting.extend(events(1, 5))
    waiting.deliver(4)

    waiting.deliver(2)

    assert (waiting.batch(), waiting.delivered) == (events(5, 5), 4)


def test_a_batch_has_a_limited_number_of_events() -> None:
    """A large batch would hold up the store."""
    waiting = Unacked()
    waiting.extend(events(1, CALL_EVENTS + 1))

    assert waiting.batch() == events(1, CALL_EVENTS)
    waiting.deliver(CALL_EVENTS)
    assert waiting.batch() == events(CALL_EVENTS + 1, CALL_EVENTS + 1)


def test_a_batch_has_a_limited_number_of_bytes() -> None:
    """However large the events are."""
    waiting = Unacked()
    waiting.extend([b"x" * (BATCH_BYTES // 4)] * 6)

    assert len(waiting.batch()) == 4


def test_an_event_larger_than_a_batch_still_goes() -> None:
    """Alone, rather than never."""
    waiting = Unacked()
    waiting.extend([b"x" * (BATCH_BYTES + 1), b"y"])

    assert [len(event) for event in waiting.batch()] == [BATCH_BYTES + 1]


def test_a_rewind_brings_delivered_events_back_in_order(clock: Clock) -> None:
    """The store lost its tail, and gets it again under the same numbers."""
    waiting = Unacked(clock)
    waiting.extend(events(1, 8))
    waiting.deliver(6)

    assert waiting.rewind(2)

    assert (waiting.batch(), waiting.delivered, len(waiting)) == (events(3, 8), 2, 6)


def test_a_rewind_can_be_repeated(clock: Clock) -> None:
    """A store may lose its tail twice."""
    waiting = Unacked(clock)
    waiting.extend(events(1, 6))
    waiting.deliver(6)

    assert waiting.rewind(4)
    waiting.deliver(6)
    assert waiting.rewind(0)

    assert waiting.batch() == events(1, 6)


def test_a_rewind_to_what_is_held_changes_nothing(clock: Clock) -> None:
    """There is nothing to send again."""
    waiting = Unacked(clock)
    waiting.extend(events(1, 3))
    waiting.deliver(3)

    assert waiting.rewind(3)

    assert (waiting.batch(), waiting.delivered) == ([], 3)


def test_delivered_events_are_kept_for_some_seconds(clock: Clock) -> None:
    """As long as a store may take to write them down; then only the later ones can be sent again."""
    waiting = Unacked(clock)
    waiting.extend(events(1, 6))
    waiting.deliver(2)
    clock.now += KEEP_SECONDS
    waiting.deliver(4)
    clock.now += 0.1
    waiting.deliver(5)

    assert not waiting.rewind(0)

    assert (waiting.batch(), waiting.delivered) == (events(3, 6), 2)


def test_a_rewind_past_what_is_kept_tells_how_far_it_came(clock: Clock) -> None:
    """The rest is lost, and the next number says how much."""
    waiting = Unacked(clock)
    waiting.extend(events(1, 3))
    waiting.deliver(2)
    clock.now += KEEP_SECONDS + 1
    waiting.deliver(3)

    assert not waiting.rewind(1)
    assert (waiting.batch(), waiting.delivered) == (events(3, 3), 2)


def test_a_limited_number_of_events_is_kept(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy stage does not fill its memory with what is delivered."""
    monkeypatch.setattr(unacked, "KEEP_EVENTS", 3)
    waiting = Unacked(clock)
    waiting.extend(events(1, 10))
    waiting.deliver(10)

    assert not waiting.rewind(0)
    assert waiting.batch() == events(8, 10)


def test_a_limited_number_of_bytes_is_kept(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Large events count for more; what was rewound and delivered again is counted once."""
    monkeypatch.setattr(unacked, "KEEP_BYTES", 10)
    waiting = Unacked(clock)
    waiting.extend([b"aaaa", b"bbbb", b"cccc", b"dddd"])

    for _ in range(5):
        waiting.deliver(4)
        assert not waiting.rewind(0)
        assert waiting.batch() == [b"cccc", b"dddd"]
