"""A batch: what a run of entries does to the log, each event accounted for."""

import json
import logging
from collections.abc import Callable
from typing import Any

import pytest
from etlog_consumer import batch as batch_module
from etlog_consumer.batch import MARK_EVERY, MAX_DEAD_BYTES, MOST_LETTERS, Account, Batch, DeadLetter, Gap, collect
from etlog_events.entry import MOST_EVENTS, NAMES
from etlog_events.kinds import KUBECOST_KINDS, Kinds
from etlog_events.sequence import MAX_SEQ
from etlog_events.validation import noter
from hypothesis import given, settings
from hypothesis import strategies as st
from support.log import Log
from support.samples import DOCUMENTED, saved

Fields = list[bytes]

#: An event on which the validator fails, see `validated`.
POISON = saved(13, marker="poison")


def numbered(seq: int | bytes, *events: bytes, producer: bytes = b"p") -> Fields:
    """An entry as the function for publishing writes it; without events, one of a good one."""
    named = [part for pair in zip(NAMES, events or (saved(),), strict=False) for part in pair]
    return [b"producer", producer, b"seq", seq if isinstance(seq, bytes) else b"%d" % seq, *named]


def told(**numbers: int) -> dict[str, int]:
    """What a batch adds to the stats: these numbers, and no others."""
    return {"applied": 0, "dead": 0, "duplicate": 0, "lost": 0, "unnumbered": 0} | numbers


def batch_of(*entries: Fields, applied: dict[bytes, int] | None = None) -> Batch:
    """The batch of `entries`, with the ids 1-0, 2-0 …"""
    return collect(
        [(b"%d-0" % place, fields) for place, fields in enumerate(entries, start=1)], applied or {}, KUBECOST_KINDS
    )


def test_events_go_to_the_list_of_their_category_in_order() -> None:
    """And are counted by kind."""
    texts = [text for category in DOCUMENTED.values() for text in category]

    batch = batch_of(*([b"event", text] for text in texts))

    assert batch.logs == DOCUMENTED
    assert batch.counters == {json.loads(text)["kind"]: 1 for text in texts}
    assert batch.stats == told(applied=6, unnumbered=6)
    assert batch.last == b"6-0"


def test_an_entry_of_several_events_has_the_effects_of_each() -> None:
    """In their order; they are numbered on from the first."""
    texts = [text for category in DOCUMENTED.values() for text in category]

    batch = batch_of(numbered(1, *texts[:4]), numbered(5, *texts[4:]), numbered(7))

    assert {category: DOCUMENTED[category] for category in DOCUMENTED} == {
        "allocation": batch.logs["allocation"][:-1],
        "asset": batch.logs["asset"],
    }
    assert batch.numbers == {b"p": 7}
    assert batch.stats == told(applied=7)


def test_another_spelling_is_stored_canonically() -> None:
    """Whoever reads the list finds one spelling."""
    batch = batch_of([b"event", json.dumps(json.loads(saved()), indent=1).encode()])

    assert batch.logs["allocation"] == [saved()]


def test_numbers_that_follow_on_are_remembered() -> None:
    """Per producer, the last one."""
    batch = batch_of(numbered(1), numbered(1, producer=b"q"), numbered(2), numbered(3), applied={b"r": 9})

    assert batch.numbers == {b"p": 3, b"q": 1}
    assert batch.stats == told(applied=4)


def test_a_number_that_was_applied_is_a_duplicate() -> None:
    """In this batch or before it; it has no other effect."""
    batch = batch_of(numbered(4), numbered(5), numbered(6), numbered(6), numbered(5), applied={b"p": 5})

    assert batch.stats == told(applied=1, duplicate=4)
    assert batch.numbers == {b"p": 6}
    assert len(batch.logs["allocation"]) == 1


@pytest.mark.parametrize("applied", range(9))
def test_an_entry_that_overlaps_what_is_applied_adds_what_is_new(applied: int) -> None:
    """Part of it is a duplicate, the rest follows on; of an entry that lies behind a gap all is new."""
    sizes = [saved(size) for size in range(3, 7)]

    batch = batch_of(numbered(3, *sizes), applied={b"p": applied})

    repeated = min(max(applied - 2, 0), 4)
    lost = max(2 - applied, 0)
    assert batch.logs["allocation"] == sizes[repeated:]
    assert batch.stats == told(applied=4 - repeated, duplicate=repeated, lost=lost)
    assert batch.accounts == {b"p": Account(applied, max(6, applied), lost=lost)}


def test_a_refused_event_keeps_its_number_in_an_entry_that_overlaps() -> None:
    """And its place."""
    batch = batch_of(numbered(3, saved(3), saved(4), b"{", saved(6)), applied={b"p": 4})

    assert batch.stats == told(applied=1, dead=1, duplicate=2)
    [letter] = batch.dead
    assert (letter.id, letter.seq, letter.raw) == (b"1-0.2", b"5", b"{")


def test_numbers_that_never_arrived_are_lost() -> None:
    """A gap tells which."""
    batch = batch_of(numbered(3), numbered(4), numbered(9), numbered(2, producer=b"q"), applied={b"p": 1})

    assert batch.gaps == [Gap("p", 2, 2), Gap("p", 5, 8), Gap("q", 1, 1)]
    assert batch.stats == told(applied=4, lost=6)


def test_a_refused_event_has_its_number() -> None:
    """It arrived: it is dead, not lost, and its copy is a duplicate."""
    batch = batch_of(numbered(1), numbered(2, b"{}"), numbered(2, b"{}"), numbered(3))

    assert batch.stats == told(applied=2, dead=1, duplicate=1)
    assert batch.gaps == []


def test_an_entry_without_an_event_has_its_number_too() -> None:
    """Counted as dead, it must not be counted as lost as well."""
    batch = batch_of(numbered(1), [b"producer", b"p", b"seq", b"2"], numbered(3))

    assert batch.stats == told(applied=2, dead=1)


def test_a_dead_letter_keeps_what_there_is() -> None:
    """Where it stood, who sent it, its bytes and the reason."""
    batch = batch_of(numbered(1, b"\xff"), [b"event", b"{"], numbered(2, saved(), b"{", saved()))

    assert batch.dead == [
        DeadLetter(b"1-0", b"p", b"1", b"\xff", "not JSON: JSON is malformed: invalid character (byte 0)"),
        DeadLetter(b"2-0", b"", b"", b"{", "not JSON: Input data was truncated"),
        DeadLetter(b"3-0.1", b"p", b"3", b"{", "not JSON: Input data was truncated"),
    ]
    assert batch.stats == told(applied=2, dead=3, unnumbered=1)


def test_a_dead_letter_without_an_event_keeps_all_fields() -> None:
    """Somebody meant something by them."""
    [letter] = batch_of([b"evnt", saved(), b"by", b"h\xffnd"]).dead

    assert letter.reason == "the entry has no field 'event'"
    assert json.loads(letter.raw) == ["evnt", saved().decode(), "by", "h\\xffnd"]


@pytest.mark.parametrize("fields", [[b"event", b"x" * 2**20], [b"evnt", b"x" * 2**20], [b"x", b"y"] * 2**16])
def test_a_dead_letter_keeps_the_start_of_a_long_text(fields: Fields) -> None:
    """More than an event may have would repair nothing, and would fill the store."""
    [letter] = batch_of(fields).dead

    assert len(letter.raw) == MAX_DEAD_BYTES
    assert letter.reason.endswith(f"(only the first {MAX_DEAD_BYTES} bytes are kept here)")


def test_a_dead_letter_cuts_a_long_producer_and_number() -> None:
    """Anybody may write anything into these fields."""
    [letter] = batch_of(numbered(b"9" * 10_000, producer=b"p" * 10_000)).dead

    assert len(letter.producer) <= 256
    assert len(letter.seq) <= 64
    assert len(letter.reason) < 200


@pytest.mark.parametrize(
    "seq", [b"0", b"-1", b"1.0", b"one", b"1 ", b"9007199254740992", b"9" * 30, b"\xd9\xa1", b"+1"]
)
def test_a_number_that_is_none_is_the_reason(seq: bytes) -> None:
    """It cannot tell of duplicates or losses."""
    batch = batch_of(numbered(seq))

    assert batch.stats == told(dead=1, unnumbered=1)
    assert batch.dead[0].reason.startswith("seq must be a whole number from 1 to 2^53-1, not '")
    assert batch.numbers == {}


@pytest.mark.parametrize(
    "fields", [[b"producer", b"p"], [b"seq", b"5"], [b"producer", b"", b"seq", b"5"], [b"x", b"y"]]
)
def test_an_event_without_producer_or_number_is_applied(fields: Fields) -> None:
    """Only the event is required; nothing is known of its neighbours then."""
    batch = batch_of([b"event", saved(), *fields], [*fields, b"event", saved()])

    assert batch.stats == told(applied=2, unnumbered=2)
    assert batch.numbers == {}


@pytest.mark.parametrize(("events", "highest"), [(1, MAX_SEQ), (3, MAX_SEQ - 2)])
def test_numbers_go_as_far_as_a_script_can_count(events: int, highest: int) -> None:
    """The last event's too; those of an entry that would go beyond are refused, all of them."""
    texts = [saved()] * events

    assert batch_of(numbered(highest, *texts), applied={b"p": highest - 1}).stats == told(applied=events)
    beyond = batch_of(numbered(highest + 1, *texts), applied={b"p": highest - 1})
    assert beyond.stats == told(dead=events, unnumbered=events)
    assert beyond.accounts == {}


def test_the_order_of_the_fields_does_not_matter() -> None:
    """Another client may write them in another one."""
    batch = batch_of([b"seq", b"1", b"event", saved(), b"producer", b"p"], numbered(1), numbered(2))

    assert batch.stats == told(applied=2, duplicate=1)


@pytest.mark.parametrize("with_number", [True, False])
def test_what_stands_behind_a_gap_in_the_names_is_refused_event_by_event(with_number: bool) -> None:
    """What stands before it is applied; a number that no event has is lost."""
    fields = [b"event", saved(1), b"event.1", saved(2), b"event.4", saved(5), b"event.3", b"{"]
    number = [b"producer", b"p", b"seq", b"7"] if with_number else []

    batch = batch_of(fields + number)

    assert batch.logs["allocation"] == [saved(1), saved(2)]
    assert [(letter.id, letter.seq, letter.raw) for letter in batch.dead] == [
        (b"1-0.3", b"10" if with_number else b"", b"{"),
        (b"1-0.4", b"11" if with_number else b"", saved(5)),
    ]
    assert batch.dead[0].reason.startswith("a field before 'event.3' is missing")
    if with_number:
        assert batch.stats == told(applied=2, dead=2, lost=6 + 1)
        assert batch.accounts == {b"p": Account(0, 11, dead=2, lost=7)}
        assert batch.gaps == [Gap("p", 1, 6), Gap("p", 9, 9)]
    else:
        assert batch.stats == told(applied=2, dead=2, unnumbered=4)


def test_what_stands_beyond_the_most_events_is_refused_event_by_event() -> None:
    """However the entry came to it."""
    named = [part for place in range(503) for part in (b"event.%d" % place if place else b"event", saved(place))]

    batch = batch_of([b"producer", b"p", b"seq", b"1", *named])

    assert batch.logs["allocation"] == [saved(place) for place in range(MOST_EVENTS)]
    assert [letter.id for letter in batch.dead] == [b"1-0.500", b"1-0.501", b"1-0.502"]
    assert batch.dead[0].reason == "an entry may hold 500 events, up to 'event.499', not 'event.500'"
    assert batch.accounts == {b"p": Account(0, 503, dead=3)}


def test_a_gap_in_the_names_is_a_duplicate_where_it_was_applied() -> None:
    """The entry came twice."""
    entry = [b"producer", b"p", b"seq", b"1", b"event", saved(), b"event.2", saved()]

    batch = batch_of(entry, entry)

    assert batch.stats == told(applied=1, dead=1, lost=1, duplicate=2)


def test_a_place_beyond_all_numbers_has_none() -> None:
    """It is refused like an event without a number; the producer's account does not know of it."""
    fields = [b"producer", b"p", b"seq", b"%d" % MAX_SEQ, b"event", saved(), b"event.7", saved()]

    batch = batch_of(fields, applied={b"p": MAX_SEQ - 1})

    assert batch.stats == told(applied=1, dead=1, unnumbered=1)
    assert batch.accounts == {b"p": Account(MAX_SEQ - 1, MAX_SEQ)}


def test_of_an_entry_of_many_strays_only_those_are_kept_that_fit() -> None:
    """The last ones; the others are counted, and cost next to nothing."""
    strays = [part for place in range(2, 300_002) for part in (b"event.%d" % place, b"x")]

    batch = batch_of([b"producer", b"p", b"seq", b"1", b"event", saved(), *strays])

    assert [letter.id for letter in batch.dead] == [b"1-0.%d" % place for place in range(296_002, 300_002)]
    assert batch.stats == told(applied=1, dead=300_000, lost=1)
    assert batch.accounts == {b"p": Account(0, 300_002, dead=300_000, lost=1)}
    assert batch.without_letter == 300_000 - MOST_LETTERS


def test_an_entry_is_marked_every_so_many_events() -> None:
    """By its own end, and by the events of the batch up to there; duplicates and dead ones are events, too."""
    entries = [numbered(1, *[saved()] * 400), numbered(401, *[b"{"] * 400), numbered(1, *[saved()] * 400)]

    batch = batch_of(*entries, numbered(801), *[numbered(802 + place * 500, *[saved()] * 500) for place in range(4)])

    assert MARK_EVERY == 1000
    assert batch.marks == [(1200, b"3-0"), (2201, b"6-0"), (3201, b"8-0")]


def test_all_events_of_an_ended_producer_are_duplicates() -> None:
    """Strays and entries without an event, too; those of others are applied."""
    batch = collect(
        [
            (b"1-0", numbered(1, saved(), saved())),
            (b"2-0", [b"producer", b"p", b"seq", b"3", b"event", saved(), b"event.5", saved()]),
            (b"3-0", [b"producer", b"p", b"seq", b"4"]),
            (b"4-0", numbered(1, producer=b"q")),
        ],
        {},
        KUBECOST_KINDS,
        ended={b"p"},
    )

    assert batch.stats == told(applied=1, duplicate=5)
    assert batch.numbers == {b"q": 1}


@given(
    st.lists(
        st.lists(
            st.tuples(
                st.sampled_from([*[b"producer", b"seq", b"event", b"x"] * 2, *NAMES[1:4], b"event.00", b"event.501"]),
                st.sampled_from([saved(), b"{}", b"\xff", b"", b"p", b"1", b"2", b"3", b"7", b"-1", b"%d" % MAX_SEQ]),
            ),
            max_size=8,
        ),
        min_size=1,
        max_size=12,
    ),
    st.sampled_from([frozenset(), frozenset([b"p"])]),
)
@settings(deadline=None)
def test_every_event_is_accounted_for_once(entries: list[list[tuple[bytes, bytes]]], ended: frozenset[bytes]) -> None:
    """Applied, dead or duplicate: whatever was written, and nothing raises; and the accounts hold what has a number."""
    given = [(b"%d-0" % place, [part for pair in fields for part in pair]) for place, fields in enumerate(entries, 1)]
    batch = collect(given, {}, KUBECOST_KINDS, ended=ended)

    def is_event(name: bytes) -> bool:
        place = name.removeprefix(b"event.")
        return name == b"event" or (place != name and place.isdigit() and not place.startswith(b"0"))

    events = sum(len({name for name, _ in fields if is_event(name)}) or 1 for fields in entries)
    stats = batch.stats
    assert stats["applied"] + stats["dead"] + stats["duplicate"] == events
    numbers = sum(account.after - account.before for account in batch.accounts.values())
    assert numbers + stats["unnumbered"] == stats["applied"] + stats["dead"] + stats["lost"]
    assert sum(account.lost for account in batch.accounts.values()) == stats["lost"]
    assert sum(account.dead for account in batch.accounts.values()) <= stats["dead"]


def test_a_producer_with_an_endless_id_is_refused() -> None:
    """Its record would have to be read with all the others."""
    batch = batch_of(numbered(1, producer=b"p" * 257))

    assert batch.dead[0].reason == "the producer's id is 257 bytes long, the limit is 256"
    assert batch.accounts == {}


def test_an_account_tells_what_became_of_the_numbers() -> None:
    """Applied is what is neither dead nor lost."""
    batch = batch_of(numbered(4), numbered(5, b"{}"), numbered(9), applied={b"p": 2})

    assert batch.accounts == {b"p": Account(before=2, after=9, dead=1, lost=4)}


@pytest.fixture
def validated(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """A validator that fails on the poison, and what it was given."""
    given: list[bytes] = []

    def buggy(kinds: Kinds) -> Callable[[bytes], Any]:
        def validate(raw: bytes) -> Any:
            given.append(raw)
            if b"poison" in raw:
                raise ZeroDivisionError("nobody thought of thirteen")
            return noter(kinds)(raw)

        return validate

    monkeypatch.setattr(batch_module, "noter", buggy)
    return given


@pytest.mark.parametrize("size", [1, 7, 21, None])
def test_an_event_that_brings_a_bug_to_light_becomes_a_dead_letter(
    log: Log, validated: list[bytes], caplog: pytest.LogCaptureFixture, size: int | None
) -> None:
    """With the exception's text, after one more attempt; its neighbours in the same entry are applied."""
    caplog.set_level(logging.INFO, "etlog.consumer")
    good = [saved(size) for size in range(20)]
    log.publish([*good[:10], POISON, *good[10:]], size)
    poisonous = log.entries()[10]
    log.apply()

    assert log.listed("allocation") == good
    [letter] = log.dead()
    assert (letter[b"id"], letter[b"seq"], letter[b"raw"]) == (poisonous.id, b"11", POISON)
    assert letter[b"reason"] == b"the consumer failed on it: ZeroDivisionError: nobody thought of thirteen"
    assert log.stats() == {"applied": 20, "dead": 1}
    assert validated.count(POISON) == 2
    assert log.verify().faults == []
    [failed] = [record for record in caplog.records if getattr(record, "action", "") == "batch_failed"]
    assert failed.exc_info is not None


@pytest.mark.parametrize("size", [1, 7, 21, None])
def test_broken_json_in_a_batch_is_refused_alone(log: Log, size: int | None) -> None:
    """Its neighbours in the same entry are applied."""
    good = [saved(size) for size in range(20)]
    log.publish([*good[:10], b'{"kind":', *good[10:]], size)
    broken = log.entries()[10]
    log.apply()

    assert log.listed("allocation") == good
    [letter] = log.dead()
    assert (letter[b"id"], letter[b"seq"], letter[b"raw"]) == (broken.id, b"11", b'{"kind":')
    assert log.stats() == {"applied": 20, "dead": 1}
    assert log.verify().faults == []


def test_a_bug_in_every_event_is_survived(log: Log, validated: list[bytes]) -> None:
    """Among unnumbered ones, too; later events are applied again."""
    log.publish([POISON] * 50)
    log.client.xadd(log.keys.events, {"event": POISON})
    log.publish([saved()])
    log.apply()

    assert log.stats() == {"applied": 1, "dead": 51, "unnumbered": 1}
    assert log.verify().faults == []
