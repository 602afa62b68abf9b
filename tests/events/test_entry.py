"""The entry of the stream: which events it holds, in whatever order and spelling its fields come."""

from collections.abc import Sequence
from random import Random

import pytest
import redis
from etlog_events import publishing
from etlog_events.entry import MOST_EVENTS, NAMES, Contents, contents, event_id
from etlog_events.keys import Keys
from hypothesis import given
from hypothesis import strategies as st
from support.stream import raw_entries


def name(place: int) -> bytes:
    """The name of the event at a place."""
    return f"event.{place}".encode() if place else b"event"


def fields(*pairs: tuple[bytes, bytes]) -> list[bytes]:
    """The fields as the store gives them."""
    return [text for pair in pairs for text in pair]


def numbered(places: Sequence[int]) -> list[tuple[bytes, bytes]]:
    """Events at these places; each says where it stands."""
    return [(name(place), b"%d" % place) for place in places]


def read(*pairs: tuple[bytes, bytes]) -> Contents:
    """What an entry with these fields holds."""
    found = contents(fields(*pairs))
    return found._replace(events=list(found.events), strays=list(found.strays))


HEAD = [(b"producer", b"p"), (b"seq", b"41")]


@pytest.mark.parametrize("events", [1, 2, 3, 499, 500])
def test_what_the_function_writes_is_read_as_it_was_published(client: redis.Redis, keys: Keys, events: int) -> None:
    """However many events it holds."""
    published = [b"%d" % number for number in range(events)]
    publishing.SCRIPT.run(client, keys.publishing, ("p", "", "", 1, "follow", *published))

    [(_, found)] = raw_entries(client, keys)

    assert contents(fields(*found.items())) == Contents(b"p", b"1", published)


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ([(b"event", b"x")], Contents(b"", b"", [b"x"])),
        ([(b"event", b"x"), *HEAD], Contents(b"p", b"41", [b"x"])),
        ([*HEAD, (b"note", b"n"), (b"event", b"x")], Contents(b"p", b"41", [b"x"])),
        ([*HEAD, (b"event", b"x"), (b"note", b"n")], Contents(b"p", b"41", [b"x"])),
        ([*HEAD, *numbered([0, 2, 1])], Contents(b"p", b"41", [b"0", b"1", b"2"])),
        ([*HEAD, (b"event", b"x"), (b"event", b"y")], Contents(b"p", b"41", [b"y"])),
        ([(b"seq", b"1"), *HEAD, (b"event", b"x")], Contents(b"p", b"41", [b"x"])),
        ([*HEAD, *numbered([0, 1, 3, 4])], Contents(b"p", b"41", [b"0", b"1"], [(3, b"3"), (4, b"4")])),
        ([*HEAD, *numbered([2, 1])], Contents(b"p", b"41", [], [(1, b"1"), (2, b"2")])),
        (HEAD, Contents(b"p", b"41", [])),
        ([], Contents(b"", b"", [])),
        ([(b"event.0", b"x"), (b"event.01", b"x"), (b"event.", b"x"), (b"event.-1", b"x")], Contents(b"", b"", [])),
        ([(b"Event", b"x"), (b"event.1x", b"x"), (b" event", b"x"), (b"event.1\n", b"x")], Contents(b"", b"", [])),
        ([(b"event", b"x"), (b"event.%d" % 10**15, b"x")], Contents(b"", b"", [b"x"])),
        ([(b"event", b"x"), (b"event.%d" % 10**14, b"y")], Contents(b"", b"", [b"x"], [(10**14, b"y")])),
    ],
)
def test_an_entry_of_another_client_is_understood(pairs: list[tuple[bytes, bytes]], expected: Contents) -> None:
    """What is no event is ignored, and what stands behind a gap is astray."""
    assert read(*pairs) == expected._replace(strays=list(expected.strays))


def test_what_is_beyond_the_limit_is_astray() -> None:
    """In the order of the fields that the function writes, too."""
    found = read(*HEAD, *numbered(range(MOST_EVENTS + 2)))

    assert len(found.events) == MOST_EVENTS
    assert found.strays == [(MOST_EVENTS, b"500"), (MOST_EVENTS + 1, b"501")]


#: Names around all limits, and some that are none of an event.
names = st.one_of(
    st.integers(0, 6).map(name),
    st.integers(MOST_EVENTS - 2, MOST_EVENTS + 2).map(name),
    st.sampled_from([b"producer", b"seq", b"event.01", b"event.0", b"event.x", b"note", b""]),
)
#: Fields in any order, some of them twice, and some that hold a run of events from the first one on.
foreign = st.tuples(
    st.lists(st.tuples(names, st.binary(max_size=3)), max_size=12),
    st.sampled_from([0, 1, 3, MOST_EVENTS - 1, MOST_EVENTS, MOST_EVENTS + 1]).map(
        lambda events: [(name(place), b"run") for place in range(events)]
    ),
    st.booleans(),
).map(lambda drawn: [*drawn[0], *drawn[1]] if drawn[2] else [*drawn[1], *drawn[0]])


@given(foreign, st.randoms(use_true_random=False), st.booleans())
def test_every_event_is_found_once(pairs: list[tuple[bytes, bytes]], chance: Random, mixed: bool) -> None:
    """As a plain reading of the rules finds it: of fields with one name the last counts, the run from `event` on are
    the events, all others are astray."""
    if mixed:
        chance.shuffle(pairs)
    named = dict(pairs)
    events: list[bytes] = []
    while name(len(events)) in named and len(events) < MOST_EVENTS:
        events.append(named.pop(name(len(events))))
    strays = [(place, named[name(place)]) for place in range(MOST_EVENTS + 3) if name(place) in named]

    assert read(*pairs) == Contents(named.get(b"producer", b""), named.get(b"seq", b""), events, strays)


def test_each_event_has_an_id() -> None:
    """That of the entry, and the place behind it, as its field has it."""
    assert [event_id(b"1-2", place) for place in (0, 1, 499)] == [b"1-2", b"1-2.1", b"1-2.499"]
    assert [event_id(b"event", place) for place in range(MOST_EVENTS)] == NAMES
