"""Duplicates, live: they are left out where it is certain which events they are, and nothing else is."""

from collections.abc import Callable, Sequence

import pytest
import redis
from etlog_api.live import stream, tailer
from etlog_api.live.numbers import Numbers
from etlog_events.entry import contents, first_number
from etlog_events.keys import Keys
from etlog_events.sequence import MAX_SEQ
from support.apis import Api, Tail, add_entry, tail
from support.consumers import CaughtUp, Consuming
from support.samples import saved
from support.servers import wait_until

#: Why a client must read the log again.
UNCERTAIN = b"some events came a second time, it is not certain which; read the log again"

#: Appends an entry for each (producer, number of its first event, sizes), and applies them all.
Append = Callable[..., None]


def sizes(client: Tail) -> list[int]:
    """The sizes in the events that a client has got."""
    return [int(data.split(b'"size":')[1].split(b",")[0]) for data in client.data]


@pytest.fixture
def append(client: redis.Redis, keys: Keys, consuming: Consuming, caught_up: CaughtUp) -> Append:
    """Appends entries that the live log sees together, or in few steps."""

    def run(*appended: tuple[str, int, Sequence[int]]) -> None:
        for producer, first, events in appended:
            add_entry(client, keys, [saved(size) for size in events], producer=producer, seq=str(first))
        with consuming():
            caught_up()

    return run


def test_duplicates_of_known_producers_are_left_out(api: Api, append: Append, monkeypatch: pytest.MonkeyPatch) -> None:
    """A whole entry, or the beginning of one; over as many reads as it takes."""
    monkeypatch.setattr(stream, "FIRST_ENTRIES", 1)
    monkeypatch.setattr(stream, "MOST_ENTRIES", 2)
    append(("p", 1, [0]))
    with tail(api.url) as following:
        wait_until(lambda: following.last)
        append(("p", 2, [1, 2, 3]), ("q", 1, [4]))
        append(("p", 2, [666, 666]), ("p", 3, [666, 666, 5]), ("q", 1, [666, 6]), ("p", 5, [666]), ("q", 3, [7]))
        append(("q", 1, [666, 666, 666, 8]), *[("r", number, [8 + number]) for number in range(1, 8)], ("r", 1, [666]))
        following.wait(15)
        assert sizes(following) == list(range(1, 16))
        assert following.resyncs == []
        assert [entry.rpartition(b".")[2] for entry, _, _ in following.messages][4:6] == [b"2", b"1"]


def test_where_the_log_saw_no_duplicate_nothing_is_left_out(
    api: Api, append: Append, client: redis.Redis, keys: Keys
) -> None:
    """However low its numbers are: the store forgot the producer, and so must the live log."""
    append(("p", 1, [0]))
    with tail(api.url) as following:
        wait_until(lambda: following.last)
        append(("p", 2, [1, 2, 3]))
        following.wait(3)
        client.hdel(keys.producers, "p")
        append(("p", 1, [4, 5]))
        following.wait(5)
        append(("p", 1, [666, 666, 6]))
        following.wait(6)
        assert sizes(following) == [1, 2, 3, 4, 5, 6]
        assert following.resyncs == []


@pytest.mark.parametrize(
    "others",
    [
        [],
        [("q", 1, [666]), ("q", 2, [1])],  # one is known, one is not
        [("q", 2, [1]), ("x", 7, [2])],
    ],
)
def test_a_duplicate_of_an_unknown_producer_makes_clients_read_the_log_again(
    api: Api, append: Append, others: list[tuple[str, int, list[int]]]
) -> None:
    """From the cursor on they get everything again, once."""
    append(("p", 1, [0, 0, 0]))
    with tail(api.url) as following, tail(api.url) as other:
        wait_until(lambda: following.last and other.last)
        append(("q", 1, [0]))
        following.wait(1)
        other.wait(1)
        append(("p", 3, [666]), *others)
        wait_until(lambda: following.ended and other.ended)
    assert [reason for _, reason in following.resyncs] == [reason for _, reason in other.resyncs] == [UNCERTAIN]
    assert sizes(following) == sizes(other) == [0]
    with tail(api.url, last=following.last) as resumed:
        append(("p", 4, [10, 11]), ("q", 9, [12]))
        append(("p", 4, [666, 666, 13]))
        resumed.wait(4)
        assert sizes(resumed) == [10, 11, 12, 13]
        assert resumed.resyncs == []


def test_producers_that_were_not_seen_for_long_are_forgotten(
    api: Api, append: Append, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their duplicates are as those of an unknown one."""
    monkeypatch.setattr(tailer, "PRODUCERS", 2)
    append(("p", 1, [0]))
    with tail(api.url) as following:
        wait_until(lambda: following.last)
        append(("p", 2, [1]), ("q", 1, [2]))
        append(("p", 3, [3]), ("r", 1, [4]))
        append(("p", 3, [666]), ("r", 1, [666, 5]))
        following.wait(5)
        assert sizes(following) == [1, 2, 3, 4, 5]
        append(("q", 1, [666]))
        wait_until(lambda: following.ended)
        assert [reason for _, reason in following.resyncs] == [UNCERTAIN]


def test_a_client_resumes_without_duplicates_whoever_sent_them(api: Api, append: Append) -> None:
    """The stream tells, as far as it goes back; in the middle of an entry, too."""
    append(("p", 1, [0, 1, 2]), ("q", 1, [3]))
    append(("p", 2, [666, 666, 4, 5]), ("q", 1, [666]), ("p", 5, [666, 6]), ("q", 2, [7, 8]))
    with tail(api.url, last="0-1") as following:
        following.wait(9)
        assert sizes(following) == list(range(9))
    for place, (entry_id, _, _) in enumerate(following.messages, 1):
        with tail(api.url, last=entry_id) as resumed:
            append(("x", place, [100 + place]))
            wait_until(lambda: 100 + place in sizes(resumed))  # noqa: B023
            assert [size for size in sizes(resumed) if size < 100] == list(range(place, 9))
            assert resumed.resyncs == []


def carried(*entries: tuple[str, str, list[str]], most: int | None = None) -> tuple[list[int | None], int]:
    """How many of the first events of each entry are duplicates, None for one that is refused; and all of them."""
    numbers, found = Numbers(most=most), []
    for producer, seq, names in entries:
        fields = {"producer": producer, "seq": seq} | dict.fromkeys(names, "x")
        held = contents([text.encode() for pair in fields.items() for text in pair])
        first = first_number(held)
        found.append(numbers.carry(held, first, repeats=True) if first else first)
    return found, numbers.duplicates


def test_the_numbers_are_those_of_the_consumer() -> None:
    """Of events behind a gap in the names, of entries without any event, and of numbers that are none."""
    one, two, gap = ["event"], ["event", "event.1"], ["event", "event.2"]
    assert carried(("p", "1", two), ("p", "2", two), ("p", "9", one), ("p", "8", two)) == ([0, 1, 0, 2], 3)
    assert carried(("p", "1", gap), ("p", "2", two), ("p", "3", one), ("p", "4", one)) == ([0, 2, 1, 0], 3)
    assert carried(("p", "3", one), ("p", "1", gap), ("p", "2", gap)) == ([0, 1, 1], 3)
    assert carried(("p", "1", []), ("p", "1", two), ("p", "1", [])) == ([0, 1, 0], 2)
    assert carried(("p", "1", ["event.2"]), ("p", "3", two)) == ([0, 1], 1)
    assert carried(("", "1", one), ("p", "", one), ("p", "0", one), ("p", "x", one)) == ([0, 0, None, None], 0)
    assert carried(("p" * 257, "1", one), ("p", f"{MAX_SEQ + 1}", one), ("p", f"{MAX_SEQ}", one)) == (
        [None, None, 0],
        0,
    )
    assert carried(("p", f"{MAX_SEQ - 1}", ["event", "event.2", "event.4"]), ("p", f"{MAX_SEQ - 1}", one)) == (
        [0, 1],
        1,
    )
    assert carried(("p", "1", one), ("q", "1", one), ("p", "1", one), most=1) == ([0, 0, 0], 0)
