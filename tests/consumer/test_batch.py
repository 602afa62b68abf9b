"""A batch: what a run of entries does to the log, each entry accounted for."""

import json
import logging
from collections.abc import Callable
from typing import Any

import pytest
from etlog_consumer import batch as batch_module
from etlog_consumer.batch import MAX_DEAD_BYTES, Account, Batch, DeadLetter, Gap, collect
from etlog_events.kinds import KUBECOST_KINDS, Kinds
from etlog_events.validation import validator
from hypothesis import given, settings
from hypothesis import strategies as st
from support.log import Log
from support.samples import DOCUMENTED, saved

Fields = list[bytes]

#: An event on which the validator fails, see `validated`.
POISON = saved(13, marker="poison")


def numbered(seq: int | bytes, event: bytes = saved(), producer: bytes = b"p") -> Fields:
    """An entry as a producer writes it."""
    return [b"event", event, b"producer", producer, b"seq", seq if isinstance(seq, bytes) else b"%d" % seq]


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
    assert batch.stats == {"applied": 6, "unnumbered": 6}
    assert batch.ids == [b"%d-0" % place for place in range(1, 7)]


def test_another_spelling_is_stored_canonically() -> None:
    """Whoever reads the list finds one spelling."""
    batch = batch_of([b"event", json.dumps(json.loads(saved()), indent=1).encode()])

    assert batch.logs["allocation"] == [saved()]


def test_numbers_that_follow_on_are_remembered() -> None:
    """Per producer, the last one."""
    batch = batch_of(numbered(1), numbered(1, producer=b"q"), numbered(2), numbered(3), applied={b"r": 9})

    assert batch.numbers == {b"p": 3, b"q": 1}
    assert batch.stats == {"applied": 4}


def test_a_number_that_was_applied_is_a_duplicate() -> None:
    """In this batch or before it; it has no other effect."""
    batch = batch_of(numbered(4), numbered(5), numbered(6), numbered(6), numbered(5), applied={b"p": 5})

    assert batch.stats == {"applied": 1, "duplicate": 4}
    assert batch.numbers == {b"p": 6}
    assert len(batch.logs["allocation"]) == 1


def test_numbers_that_never_arrived_are_lost() -> None:
    """A gap tells which."""
    batch = batch_of(numbered(3), numbered(4), numbered(9), numbered(2, producer=b"q"), applied={b"p": 1})

    assert batch.gaps == [Gap("p", 2, 2), Gap("p", 5, 8), Gap("q", 1, 1)]
    assert batch.stats == {"applied": 4, "lost": 6}


def test_a_refused_event_has_its_number() -> None:
    """It arrived: it is dead, not lost, and its copy is a duplicate."""
    batch = batch_of(numbered(1), numbered(2, b"{}"), numbered(2, b"{}"), numbered(3))

    assert batch.stats == {"applied": 2, "dead": 1, "duplicate": 1}
    assert batch.gaps == []


def test_an_entry_without_an_event_has_its_number_too() -> None:
    """Counted as dead, it must not be counted as lost as well."""
    batch = batch_of(numbered(1), [b"producer", b"p", b"seq", b"2"], numbered(3))

    assert batch.stats == {"applied": 2, "dead": 1}


def test_a_dead_letter_keeps_what_there_is() -> None:
    """Where it stood, who sent it, its bytes and the reason."""
    batch = batch_of(numbered(1, b"\xff"), [b"event", b"{"])

    assert batch.dead == [
        DeadLetter(b"1-0", b"p", b"1", b"\xff", "not JSON: JSON is malformed: invalid character (byte 0)"),
        DeadLetter(b"2-0", b"", b"", b"{", "not JSON: Input data was truncated"),
    ]
    assert batch.stats == {"dead": 2, "unnumbered": 1}


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

    assert batch.stats == {"dead": 1, "unnumbered": 1}
    assert batch.dead[0].reason.startswith("seq must be a whole number from 1 to 2^53-1, not '")
    assert batch.numbers == {}


@pytest.mark.parametrize(
    "fields", [[b"producer", b"p"], [b"seq", b"5"], [b"producer", b"", b"seq", b"5"], [b"x", b"y"]]
)
def test_an_event_without_producer_or_number_is_applied(fields: Fields) -> None:
    """Only the event is required; nothing is known of its neighbours then."""
    batch = batch_of([b"event", saved(), *fields], [*fields, b"event", saved()])

    assert batch.stats == {"applied": 2, "unnumbered": 2}
    assert batch.numbers == {}


def test_the_order_of_the_fields_does_not_matter() -> None:
    """Another client may write them in another one."""
    batch = batch_of([b"seq", b"1", b"event", saved(), b"producer", b"p"], numbered(1), numbered(2))

    assert batch.stats == {"applied": 2, "duplicate": 1}


@given(
    st.lists(
        st.lists(
            st.tuples(
                st.sampled_from([b"event", b"producer", b"seq", b"x"]),
                st.sampled_from([saved(), b"{}", b"\xff", b"", b"p", b"1", b"2", b"3", b"7", b"-1"]),
            ),
            max_size=4,
        ),
        min_size=1,
        max_size=12,
    )
)
@settings(deadline=None)
def test_every_entry_is_accounted_for_once(entries: list[list[tuple[bytes, bytes]]]) -> None:
    """Applied, dead or duplicate: whatever was written, and nothing raises."""
    batch = batch_of(*([part for pair in fields for part in pair] for fields in entries))

    counted: dict[str, Any] = {"applied": 0, "dead": 0, "duplicate": 0, **batch.stats}
    assert counted["applied"] + counted["dead"] + counted["duplicate"] == len(entries)
    assert batch.ids == [b"%d-0" % place for place in range(1, len(entries) + 1)]


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
            return validator(kinds)(raw)

        return validate

    monkeypatch.setattr(batch_module, "validator", buggy)
    return given


def test_an_entry_that_brings_a_bug_to_light_becomes_a_dead_letter(
    log: Log, validated: list[bytes], caplog: pytest.LogCaptureFixture
) -> None:
    """With the exception's text, after one more attempt by itself; the rest is applied."""
    caplog.set_level(logging.INFO, "etlog.consumer")
    good = [saved(size) for size in range(20)]
    log.publish([*good[:10], POISON, *good[10:]])
    log.apply()

    assert log.listed("allocation") == good
    [letter] = log.dead()
    assert letter[b"raw"] == POISON
    assert letter[b"reason"] == b"the consumer failed on it: ZeroDivisionError: nobody thought of thirteen"
    assert log.stats() == {"applied": 20, "dead": 1}
    assert validated.count(POISON) == 2
    assert log.verify().faults == []
    [failed] = [record for record in caplog.records if getattr(record, "action", "") == "batch_failed"]
    assert failed.exc_info is not None


def test_a_bug_in_every_entry_is_survived(log: Log, validated: list[bytes]) -> None:
    """Among unnumbered ones, too; later events are applied again."""
    log.publish([POISON] * 50)
    log.client.xadd(log.keys.events, {"event": POISON})
    log.publish([saved()])
    log.apply()

    assert log.stats() == {"applied": 1, "dead": 51, "unnumbered": 1}
    assert log.verify().faults == []
