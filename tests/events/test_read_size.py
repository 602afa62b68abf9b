"""How many entries are asked for, by what the last read brought."""

from collections.abc import Sequence

import pytest
from etlog_events.entry import MOST_EVENTS, NAMES
from etlog_events.read_size import MOST_BATCHES, USUAL_BYTES, ReadSize, measured
from hypothesis import given, settings
from hypothesis import strategies as st

FIRST, ENTRIES, EVENTS, SIZE = 64, 1000, 2000, 2 * 1024 * 1024


@pytest.fixture
def size() -> ReadSize:
    """One that knows nothing of the entries yet."""
    return ReadSize(FIRST, entries=ENTRIES, events=EVENTS, size=SIZE)


def after(size: ReadSize, number: int, *, events: int = 1, each: int = 100) -> int:
    """What is asked for after a read of so many entries, of so many events and bytes each."""
    size.follow([events] * number, [each] * number)
    return size.count


def test_it_doubles_after_a_full_read_of_small_entries(size: ReadSize) -> None:
    """Up to the most entries."""
    assert size.count == FIRST
    assert [after(size, size.count) for _ in range(6)] == [128, 256, 512, ENTRIES, ENTRIES, ENTRIES]


def test_a_read_that_is_not_full_does_not_raise_it(size: ReadSize) -> None:
    """There was no more to read; nothing at all tells nothing either."""
    assert after(size, FIRST - 1) == FIRST
    assert after(size, 0) == FIRST
    assert after(size, FIRST) == 2 * FIRST


@pytest.mark.parametrize("number", [1, FIRST])
def test_it_falls_at_once_to_what_fits(size: ReadSize, number: int) -> None:
    """In bytes or in events, whether the read was full or not; and grows step by step from there."""
    assert after(size, number, each=64 * 1024) == SIZE // (64 * 1024)
    assert after(size, number, events=500, each=64 * 1024) == EVENTS // 500
    assert [after(size, size.count) for _ in range(3)] == [8, 16, 32]


def test_the_average_counts(size: ReadSize) -> None:
    """One long event among short ones does not slow down those who read them."""
    size.follow([1] * FIRST, [100] * (FIRST - 1) + [64 * 1024])

    assert size.count == 2 * FIRST


def test_of_entries_of_several_events_a_few_hundred_are_asked_for(size: ReadSize) -> None:
    """However small they are: those that follow may be full."""
    assert [after(size, size.count, events=2) for _ in range(4)] == [128, MOST_BATCHES, MOST_BATCHES, MOST_BATCHES]


def test_after_a_huge_entry_one_is_asked_for(size: ReadSize) -> None:
    """Even if the others were small: nobody knows how many more there are."""
    assert after(size, 1, each=USUAL_BYTES) == SIZE // USUAL_BYTES
    size.follow([1] * 100, [100] * 99 + [USUAL_BYTES + 1])
    assert size.count == 1
    assert after(size, 1, each=SIZE * 50) == 1
    assert after(size, 1) == 2


def test_an_entry_of_nothing_is_one_like_any_other(size: ReadSize) -> None:
    """It takes no byte."""
    assert after(size, FIRST, each=0) == 2 * FIRST


def test_events_are_not_limited_where_no_limit_is_given() -> None:
    """Whoever only counts them has no need to."""
    size = ReadSize(FIRST, entries=ENTRIES, size=SIZE)

    assert after(size, FIRST, events=MOST_EVENTS, each=1000) == 2 * FIRST


def test_the_first_read_is_not_above_the_most() -> None:
    """Of a reader that takes few."""
    assert ReadSize(FIRST, entries=2, size=SIZE).count == 2


@given(
    st.lists(
        st.lists(
            st.tuples(st.sampled_from([1, 2, 500, 100_000]), st.sampled_from([0, 1, 300, 65_536, 3_000_000])),
            max_size=80,
        ),
        max_size=20,
    )
)
@settings(deadline=None)
def test_the_next_read_fits_if_its_entries_are_like_the_last(reads: list[list[tuple[int, int]]]) -> None:
    """Or it is one entry; and it is at most twice the last one."""
    size = ReadSize(FIRST, entries=ENTRIES, events=EVENTS, size=SIZE)
    for read in reads:
        before, events, sizes = size.count, [each for each, _ in read], [each for _, each in read]
        size.follow(events, sizes)
        assert 1 <= size.count <= min(ENTRIES, 2 * before)
        if read and size.count > 1:
            assert size.count * sum(sizes) <= SIZE * len(read)
            assert size.count * sum(events) <= EVENTS * len(read)


@pytest.mark.parametrize(
    ("fields", "events"),
    [
        ([b"producer", b"p", b"seq", b"1", *(part for name in NAMES[:7] for part in (name, b"x"))], 7),
        ([b"producer", b"p", b"seq", b"1"], 1),
        ([b"event", b"x", b"event.1", b"x", b"event.2", b"x"], 3),
        ([b"event", b"x", b"producer", b"p", b"seq", b"1", b"event.1", b"x"], 2),
        ([b"seq", b"1", b"producer", b"p", b"event", b"x", b"event.1", b"x"], 2),
        ([b"event", b"x", b"event.9", b"x"], 2),
        ([b"x", b""], 1),
    ],
)
def test_events_and_bytes_are_measured(fields: Sequence[bytes], events: int) -> None:
    """Whoever wrote the entry: what may become a dead letter counts, too."""
    assert measured([(b"1-0", fields)] * 2) == ([events] * 2, [sum(map(len, fields))] * 2)
