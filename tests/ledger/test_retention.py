"""Retention: which sets keep their row, and that no flood of windows takes it from those of a pipeline."""

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import chain

import pytest
from etlog_events.validation import NO_WINDOW
from etlog_ledger import retention
from etlog_ledger.retention import LOT, MOST_SETS, Retention, is_usual, length_of
from hypothesis import given, settings
from hypothesis import strategies as st

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def window(place: float, length: timedelta = HOUR) -> str:
    """The interval of the window that begins `place` of its lengths after the epoch."""
    return interval(EPOCH + place * length, length)


def interval(start: datetime, length: timedelta) -> str:
    """The interval of the window of this length that begins at `start`."""
    return f"{spelled(start)}/{spelled(start + length)}"


def spelled(time: datetime) -> str:
    """Canonical text of a time."""
    whole, _, fraction = time.isoformat().removesuffix("+00:00").partition(".")
    return f"{whole}.{fraction.rstrip('0')}Z" if fraction else f"{whole}Z"


def insert(held: Retention, *sets: str, most: int | None = None) -> set[str]:
    """Insert sets as the consumer does: those that have no row yet, together. Returns what was pushed out."""
    new = [name for name in dict.fromkeys(sets) if name not in held]
    placement = held.place(new, most)
    assert list(placement.added) == new
    assert placement.refused <= set(new)
    assert not set(placement.dropped) & set(new)
    assert all(name in held for name in placement.dropped)
    held.apply(placement)
    assert not any(name in held for name in chain(placement.refused, placement.dropped))
    return {*placement.refused, *placement.dropped}


def batched(sets: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    """`sets` in batches of `size`."""
    return (sets[first : first + size] for first in range(0, len(sets), size))


def kept(held: Retention, sets: Iterable[str]) -> set[str]:
    """Those of `sets` that have a row."""
    return {name for name in sets if name in held}


def test_of_each_length_the_newest_sets_are_kept() -> None:
    """Whatever the others do."""
    held = Retention(3)
    hours, days = [window(place) for place in range(10)], [window(place, DAY) for place in range(2)]

    out = insert(held, *hours, *days)

    assert out == set(hours[:7])
    assert kept(held, hours + days) == {*hours[7:], *days}
    assert len(held) == 5


def test_a_set_that_was_pushed_out_does_not_get_back_in() -> None:
    """Its row would begin anew, with other numbers than those of its events."""
    held = Retention(3)
    insert(held, *(window(place) for place in range(5)))

    assert insert(held, window(0)) == {window(0)}
    assert insert(held, window(1), window(5)) == {window(1), window(2)}
    assert insert(held, window(2)) == {window(2)}
    assert kept(held, map(window, range(6))) == {window(3), window(4), window(5)}


def test_a_late_set_older_than_the_others_is_kept_while_there_is_room() -> None:
    """A backfill goes from the newest to the oldest, too."""
    held = Retention(3)

    assert insert(held, window(9)) == set()
    assert insert(held, window(5)) == set()
    assert insert(held, window(7)) == set()
    assert insert(held, window(6)) == {window(5)}
    assert insert(held, window(5.5)) == {window(5.5)}


def test_sets_are_the_newer_the_later_they_start() -> None:
    """Between two seconds, too, where the text of a whole second is behind that of a fraction."""
    held = Retention(2)
    starts = [EPOCH, EPOCH + timedelta(milliseconds=100), EPOCH + timedelta(milliseconds=110)]

    out = insert(held, *(interval(start, HOUR) for start in reversed(starts)))

    assert out == {interval(EPOCH, HOUR)}


def test_windows_that_differ_below_a_microsecond_are_sets_of_their_own() -> None:
    """Though a length is told to the microsecond only: the earliest goes first."""
    held = Retention(2)
    sets = [f"2022-06-03T10:00:00.00000000{digit}Z/2022-06-03T11:00:00.00000000{digit}Z" for digit in (3, 1, 2)]

    assert {length_of(name) for name in sets} == {HOUR}
    assert insert(held, *sets) == {sets[1]}


@pytest.mark.parametrize(
    "name",
    [
        "2022-06-03T10:00:00.000000001Z/2022-06-03T10:00:00.000000002Z",
        "2022-06-03T10:00:00Z/2022-06-03T10:00:00.000000999Z",
        "0001-01-01T00:00:00Z/9999-12-31T23:59:59.999999999Z",
        "0001-01-01T00:00:00Z/0001-01-01T01:00:00Z",
        "9999-12-31T23:59:59Z/9999-12-31T23:59:59.9Z",
    ],
)
def test_any_window_that_an_event_may_have_finds_a_place(name: str) -> None:
    """However short, long, early or late it is."""
    held = Retention(3)

    assert insert(held, name) == set()
    assert len(Retention(3, [name])) == 1


def test_placing_changes_nothing_until_it_is_applied() -> None:
    """The store may refuse the batch; then it is worked out again, perhaps with others beside it."""
    held = Retention(2, [window(1), window(2), window(3, DAY)])
    new = [window(3), window(0), *(interval(EPOCH, timedelta(seconds=7 * place)) for place in range(1, 5))]

    first = held.place(new)

    assert kept(held, [*new, window(1), window(2), window(3, DAY)]) == {window(1), window(2), window(3, DAY)}
    assert len(held) == 3
    assert held.place(new) == first
    assert held.place([]).dropped == []
    insert(held, window(4))
    assert kept(held, map(window, range(5))) == {window(2), window(4)}


def test_odd_lengths_with_a_single_set_share_the_room_of_one_length() -> None:
    """A length with two sets of its own is out of it, and so is one of a clock."""
    held = Retention(3)
    odd = [interval(EPOCH + place * DAY, timedelta(seconds=6101 + place)) for place in range(10)]
    pair = [interval(EPOCH + place * DAY, timedelta(seconds=7001)) for place in range(2)]
    insert(held, *pair, window(0), window(0, DAY))

    out = insert(held, *odd)

    assert out == set(odd[:7])
    assert kept(held, odd) == set(odd[7:])
    assert kept(held, [*pair, window(0), window(0, DAY)]) == {*pair, window(0), window(0, DAY)}


def test_an_odd_length_leaves_the_shared_room_with_its_second_set() -> None:
    """And comes back into it with the first one of them that goes."""
    held = Retention(2)
    lengths = [timedelta(seconds=6101 + place) for place in range(4)]
    first, second, third, fourth = (interval(EPOCH + place * DAY, each) for place, each in enumerate(lengths))
    insert(held, first, second, interval(EPOCH + 9 * DAY, lengths[0]))

    assert insert(held, third) == set()
    assert insert(held, fourth) == {second}
    assert first in held


@pytest.mark.parametrize(
    "length",
    [timedelta(seconds=seconds) for seconds in (1, 10, 15, 30, 60, 300, 900, 1800, 3600, 6 * 3600, 86400)]
    + [timedelta(days=days) for days in (1, 2, 7, 14, 28, 29, 30, 31, 90, 91, 92, 365, 366)]
    + [timedelta(days=days, hours=hours) for days in (1, 7, 30, 31, 365) for hours in (-1, -0.5, 0.5, 1)],
)
def test_lengths_of_clocks_and_calendars_are_usual(length: timedelta) -> None:
    """With the days and months on which the clock changes."""
    assert is_usual(length)


@pytest.mark.parametrize(
    "length",
    [timedelta(seconds=seconds) for seconds in (0.5, 1.5, 7, 11, 17 * 60, 3601, 3599.999999, 86401, 400 * 86400)]
    + [timedelta(days=1, hours=2), timedelta(days=367), timedelta(microseconds=1)],
)
def test_other_lengths_are_not(length: timedelta) -> None:
    """Nor those that are not whole seconds."""
    assert not is_usual(length)


def test_a_smaller_room_is_cleared_in_several_steps() -> None:
    """With whatever comes, or with nothing: the oldest go, and the store is never held up."""
    hours, days = [window(place) for place in range(30)], [window(place, DAY) for place in range(12)]
    held = Retention(5, [*hours, *days])
    steps = []

    while held.is_crowded:
        steps.append(len(insert(held, most=10)))
        assert len(steps) < 10

    assert steps == [10, 10, 10, 2]
    assert kept(held, hours + days) == {*hours[-5:], *days[-5:]}


def test_what_comes_while_the_room_is_cleared_counts_as_well() -> None:
    """At the end the newest are kept."""
    hours = [window(place) for place in range(30)]
    held = Retention(5, hours[:20])

    for name in hours[20:]:
        insert(held, name, most=3)
    while held.is_crowded:
        assert insert(held, most=3)

    assert kept(held, hours) == set(hours[-5:])


def test_errors_without_a_window_take_no_room() -> None:
    """Their row stays for ever."""
    held = Retention(1, [NO_WINDOW, window(0)])

    assert len(held) == 1
    assert insert(held, window(1)) == {window(0)}


def test_a_category_has_so_many_rows_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond them a lot of the weakest goes: odd lengths before those of clocks, those with few sets first."""
    monkeypatch.setattr(retention, "MOST_SETS", 100)
    monkeypatch.setattr(retention, "LOT", 10)
    days = [window(place, DAY) for place in range(3)]
    hours = [window(place) for place in range(30)]
    many_odd = [interval(EPOCH + place * DAY, timedelta(seconds=7001)) for place in range(60)]
    few_odd = [interval(EPOCH + place * DAY, timedelta(seconds=7003)) for place in range(7)]
    held = Retention(1000)
    insert(held, *days, *hours, *many_odd, *few_odd)
    assert len(held) == 100

    out = insert(held, window(30))

    assert out == {*few_odd, *many_odd[:4]}
    assert len(held) == 90


@pytest.mark.parametrize("comes_first", ["the pipeline", "the flood"])
@pytest.mark.parametrize("keep", [2000, 600])
def test_a_flood_of_random_windows_never_pushes_out_those_of_a_pipeline(
    monkeypatch: pytest.MonkeyPatch, comes_first: str, keep: int
) -> None:
    """Of random lengths, past and future, some in pairs and dozens of a length, in any order. All is a tenth as large
    as it would be: 20,000 windows, room for 5,000."""
    monkeypatch.setattr(retention, "MOST_SETS", MOST_SETS // 10)
    monkeypatch.setattr(retention, "LOT", LOT // 10)
    pipeline = [
        *(window(place) for place in range(500)),
        *(window(place, DAY) for place in range(60)),
        *(interval(EPOCH + place * 31 * DAY, days * DAY) for place, days in enumerate([31, 28, 31, 30] * 3)),
        *(window(place, HOUR / 4) for place in range(8)),
    ]
    flood = list(hostile(random.Random(14), 20_000))
    held = Retention(keep)
    if comes_first == "the flood":
        for some in batched(flood[:10_000], 1000):
            insert(held, *some)
        flood = flood[10_000:]
    insert(held, *pipeline[::-1])
    for some in batched(flood, 1000):
        insert(held, *some)
        assert len(held) <= MOST_SETS // 10

    assert set(pipeline) - kept(held, pipeline) == set()
    lengths = Counter(length_of(name) for name in flood if name in held)
    assert sum(lengths.values()) > 1000
    assert max(lengths.values()) <= keep
    assert sum(number == 1 and not is_usual(length) for length, number in lengths.items()) <= keep


def hostile(chance: random.Random, number: int) -> Iterator[str]:
    """Windows of random lengths in seconds, minutes and fractions: single ones, pairs and dozens of one length."""
    left = number
    while left > 0:
        length = chance.choice(
            [
                timedelta(seconds=chance.randrange(1, 200_000)),
                timedelta(minutes=chance.randrange(1, 100_000)),
                timedelta(seconds=chance.uniform(0.001, 10_000)),
            ]
        )
        for _ in range(min(left, chance.choice([1, 1, 2, 12, 24]))):
            yield interval(EPOCH + timedelta(seconds=chance.randrange(-(10**9), 10**9)), length)
            left -= 1


@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 12), st.sampled_from([HOUR / 4, HOUR, DAY, 7 * DAY])), max_size=8),
        max_size=12,
    ),
    st.integers(1, 5),
)
@settings(max_examples=100, deadline=None)
def test_any_sets_in_any_batches_leave_the_newest_of_each_length(
    batches: list[list[tuple[int, timedelta]]], keep: int
) -> None:
    """After every batch, and for who reads them anew."""
    held = Retention(keep)
    seen: set[tuple[int, timedelta]] = set()
    for batch in batches:
        insert(held, *(window(*one) for one in batch))
        seen.update(batch)
        newest = {
            window(place, length)
            for length in {length for _, length in seen}
            for place in sorted(place for place, of in seen if of == length)[-keep:]
        }
        names = [window(*one) for one in seen]
        assert kept(held, names) == newest
        assert len(held) == len(newest)
        anew = Retention(keep, newest)
        assert not anew.is_crowded
        assert kept(anew, names) == newest


@given(
    st.lists(st.lists(st.tuples(st.integers(0, 6), st.integers(1, 8)), max_size=8), max_size=12),
    st.integers(1, 4),
)
@settings(max_examples=100, deadline=None)
def test_odd_lengths_never_hold_more_than_their_room(batches: list[list[tuple[int, int]]], keep: int) -> None:
    """`keep` of each, and `keep` of those that stand alone."""
    held = Retention(keep)
    names: set[str] = set()
    for batch in batches:
        sets = [interval(EPOCH + place * DAY, timedelta(seconds=7001 + length)) for place, length in batch]
        insert(held, *sets)
        names.update(sets)
        lengths = Counter(map(length_of, kept(held, names)))
        assert sum(lengths.values()) == len(held)
        assert all(number <= keep for number in lengths.values())
        assert list(lengths.values()).count(1) <= keep
