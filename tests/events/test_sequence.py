"""Numbers of events and records of producers, as Python spells and reads them; the scripts agree."""

import pytest
import redis
from etlog_consumer.recovery import CLOSE_ACCOUNTS
from etlog_events import publishing
from etlog_events.keys import Keys
from etlog_events.sequence import MAX_SEQ, Record, number_of, repeated
from hypothesis import example, given
from hypothesis import strategies as st

RECORD = Record(42, 40, 1, 2, 1654275474092, b"9f8e7d6c5b4a3210", closed=False)
TEXT = b"published=42 applied=40 dead=1 lost=2 seen=1654275474092 token=9f8e7d6c5b4a3210"

numbers = st.integers(0, MAX_SEQ)
tokens = st.from_regex(rb"[0-9a-f]{0,16}", fullmatch=True)
records = st.builds(Record, numbers, numbers, numbers, numbers, numbers, tokens, st.booleans())


@pytest.mark.parametrize(
    ("text", "number"),
    [
        (b"1", 1),
        (b"007", 7),
        (b"9007199254740991", MAX_SEQ),
        (b"9007199254740992", 0),
        (b"90071992547409910", 0),
        (b"0", 0),
        (b"", 0),
        (b"-1", 0),
        (b"+1", 0),
        (b"1.0", 0),
        (b"1e3", 0),
        (b" 1", 0),
        (b"1_0", 0),
        ("\u0661".encode(), 0),
    ],
)
def test_a_number_is_spelled_by_digits_alone(text: bytes, number: int) -> None:
    """Up to the largest that Lua holds exactly; everything else is none."""
    assert number_of(text) == number


@given(st.integers(1, 20), st.integers(0, 30))
def test_what_is_not_above_the_last_number_is_repeated(first: int, last: int) -> None:
    """From the first one on."""
    assert repeated(first, last) == len([number for number in range(first, 40) if number <= last])


def test_a_record_is_spelled_as_documented() -> None:
    """People read it with redis-cli."""
    assert RECORD.encode() == TEXT
    assert Record.decode(TEXT) == RECORD
    assert RECORD._replace(token=b"", closed=True).encode() == TEXT.replace(b"9f8e7d6c5b4a3210", b"") + b" closed"


@given(records)
@example(Record(MAX_SEQ, MAX_SEQ, MAX_SEQ, MAX_SEQ, MAX_SEQ, b"", closed=True))
def test_a_record_is_read_as_it_was_written(record: Record) -> None:
    """Every one."""
    assert Record.decode(record.encode()) == record


@pytest.mark.parametrize(
    "text",
    [
        None,
        b"",
        b"42",
        TEXT[:-20],
        TEXT + b" ",
        TEXT + b" ended",
        TEXT + b" closed closed",
        b" " + TEXT,
        TEXT.replace(b"42", b"-42"),
        TEXT.replace(b"42", b""),
        TEXT.replace(b"dead", b"died"),
        TEXT.replace(b" dead=1", b""),
        TEXT.replace(b" applied", b"\napplied"),
    ],
)
def test_what_is_no_record_counts_as_none(text: bytes | None) -> None:
    """Someone else wrote it, or nobody."""
    assert Record.decode(text) is None


@pytest.mark.parametrize("closed", [False, True])
@pytest.mark.parametrize("token", [b"", b"9f8e7d6c5b4a3210"])
def test_the_scripts_read_and_write_the_same(client: redis.Redis, keys: Keys, token: bytes, closed: bool) -> None:
    """That of publishing, and those of the consumer."""
    record = RECORD._replace(token=token, closed=closed, seen=2**53)
    client.hset(keys.producers, "p", record.encode())
    ask = ("p", token, "", 1, "follow")

    assert publishing.SCRIPT.run(client, keys.publishing, ask) == [b"OK", 42, b""]
    publishing.SCRIPT.run(client, keys.publishing, ("p", token, "", 43, "follow", b"{}", b"{}"))

    def held() -> Record | None:
        text = client.hget(keys.producers, "p")
        assert text is None or isinstance(text, bytes)
        return Record.decode(text)

    # To publish again opens what was closed.
    assert held() == record._replace(published=44, closed=False)
    client.hset(keys.producers, "p", record.encode())
    client.delete(keys.events)
    client.hset(keys.stats, mapping={"published": 42, "applied": 37, "dead": 1, "lost": 2})
    client.zadd(keys.producers_seen, {"p": 2**53})
    account_keys = (keys.contract, keys.events, keys.cursor, keys.producers, keys.producers_seen, keys.producers_ended)
    CLOSE_ACCOUNTS.run(client, (*account_keys, keys.stats), ("0-0", 10**15, 0, 0))
    lost = record._replace(applied=42, lost=4)
    if closed:
        sums = {"published": 42, "applied": 42, "dead": 1, "lost": 4}
        assert client.hgetall(keys.producers_ended) == {
            name.encode(): str(number).encode() for name, number in sums.items()
        }
    assert held() == (None if closed else lost)
