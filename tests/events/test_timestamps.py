"""Times: RFC 3339 in UTC, nanoseconds with trailing zeros cut, exact in both directions."""

import time
from datetime import UTC, datetime, timedelta, timezone

import pytest
from etlog_events import timestamps
from hypothesis import given
from hypothesis import strategies as st

#: Nanoseconds since 1970: the first instant of year 1 and the last of year 9999.
EARLIEST = -62_135_596_800 * 10**9
LATEST = 253_402_300_800 * 10**9 - 1

instants = st.integers(EARLIEST, LATEST)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("2022-06-03T10:00:00Z", "2022-06-03T10:00:00Z"),
        ("2022-06-03T17:07:54.3346484Z", "2022-06-03T17:07:54.3346484Z"),
        ("2022-06-03T12:00:00+02:00", "2022-06-03T10:00:00Z"),
        ("2022-06-03T04:30:00-05:30", "2022-06-03T10:00:00Z"),
        ("2022-06-04T00:30:00.5+14:00", "2022-06-03T10:30:00.5Z"),
        ("2022-06-03T10:00:00+00:00", "2022-06-03T10:00:00Z"),
        ("2022-06-03T10:00:00-00:00", "2022-06-03T10:00:00Z"),
        ("2022-06-03t10:00:00z", "2022-06-03T10:00:00Z"),
        ("2022-06-03 10:00:00Z", "2022-06-03T10:00:00Z"),
        ("2022-06-03T10:00:00.000Z", "2022-06-03T10:00:00Z"),
        ("2022-06-03T10:00:00.120Z", "2022-06-03T10:00:00.12Z"),
        ("2022-06-03T10:00:00.1234567891Z", "2022-06-03T10:00:00.123456789Z"),
        ("2022-06-03T10:00:00.9999999999999Z", "2022-06-03T10:00:00.999999999Z"),
        ("2022-06-03T10:00:00.0000000009Z", "2022-06-03T10:00:00Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
        ("9999-12-31T23:59:59.999999999Z", "9999-12-31T23:59:59.999999999Z"),
    ],
)
def test_a_time_in_another_spelling_is_the_same_instant(text: str, canonical: str) -> None:
    """Every RFC 3339 text has one canonical spelling; a fraction is cut to nanoseconds, never rounded up."""
    assert timestamps.canonical(text) == canonical
    assert timestamps.is_canonical(text) == (text == canonical)
    assert timestamps.is_canonical(canonical)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2022-06-03",
        "2022-06-03T10:00:00",
        "2022-06-03T10:00Z",
        "2022-06-03T10:00:00.Z",
        "2022-06-03T10:00:00,5Z",
        "2022-06-03T10:00:00+0200",
        "2022-06-03T10:00:00+02",
        "2022-06-03T10:00:00Z ",
        " 2022-06-03T10:00:00Z",
        "2022-06-03T10:00:00Z\n",
        "2022-06-03_10:00:00Z",
        "20220603T100000Z",
        "2022-W22-5T10:00:00Z",
        "22-06-03T10:00:00Z",
        "٢٠٢٢-06-03T10:00:00Z",
        "2022-02-30T10:00:00Z",
        "2022-13-01T10:00:00Z",
        "2022-06-03T24:00:00Z",
        "2022-06-03T10:60:00Z",
        "2016-12-31T23:59:60Z",
        "0000-01-01T00:00:00Z",
        "2022-06-03T10:00:00+24:00",
        "2022-06-03T10:00:00+02:60",
        "0001-01-01T00:00:00+00:01",
        "9999-12-31T23:59:59-00:01",
    ],
)
def test_what_is_no_time_is_refused(text: str) -> None:
    """The message shows the text."""
    with pytest.raises(ValueError, match="is not a") as refused:
        timestamps.canonical(text)

    assert repr(text) in str(refused.value)
    assert not timestamps.is_canonical(text)


def test_an_aware_datetime_is_spelled_in_utc() -> None:
    """Whatever its zone is, the instant counts."""
    moment = datetime(2022, 6, 3, 12, 0, 0, 120_000, tzinfo=timezone(timedelta(hours=2)))

    assert timestamps.spell(moment) == "2022-06-03T10:00:00.12Z"


def test_a_naive_datetime_is_refused() -> None:
    """Its instant would be a guess."""
    with pytest.raises(ValueError, match="2022-06-03T10:00:00 has no time zone"):
        timestamps.spell(datetime(2022, 6, 3, 10))


def test_a_datetime_outside_the_calendar_of_utc_is_refused() -> None:
    """The last hours of year 9999 in America are in year 10000 in UTC."""
    with pytest.raises(ValueError, match="out of range"):
        timestamps.spell(datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-5))))


@pytest.mark.parametrize("value", [None, 5, 1.5, b"2022-06-03T10:00:00Z", timedelta(1)])
def test_what_is_neither_datetime_nor_text_is_refused(value: object) -> None:
    """The message says what is taken, and shows what was given."""
    with pytest.raises(TypeError, match="must be an aware datetime or an RFC 3339 text, not"):
        timestamps.spell(value)  # type: ignore[arg-type]


@given(instants)
def test_nanoseconds_and_text_tell_the_same(nanoseconds: int) -> None:
    """Between the two nothing is lost, from the first to the last instant of the calendar."""
    text = timestamps.from_nanoseconds(nanoseconds)

    assert timestamps.is_canonical(text)
    assert timestamps.canonical(text) == text
    assert timestamps.to_nanoseconds(text) == nanoseconds
    assert not text.endswith("0Z") or "." not in text


@given(instants, instants)
def test_texts_of_one_length_sort_like_their_instants(one: int, other: int) -> None:
    """To the second, comparing texts compares instants."""
    first, second = (timestamps.from_nanoseconds(ns // 10**9 * 10**9) for ns in (one, other))

    assert (first < second) == (one // 10**9 < other // 10**9)


@given(st.datetimes(datetime(2, 1, 1), datetime(9998, 12, 31), timezones=st.timezones()))
def test_a_datetime_survives_its_text(moment: datetime) -> None:
    """The microseconds that a datetime has are all in its text."""
    assert datetime.fromisoformat(timestamps.from_datetime(moment)) == moment.astimezone(UTC)


@given(st.text(st.sampled_from("0123456789-:T.Zz+ "), max_size=35))
def test_no_text_raises_anything_but_value_error(text: str) -> None:
    """Whatever is refused is refused in one way."""
    try:
        canonical = timestamps.canonical(text)
    except ValueError:
        return
    assert timestamps.is_canonical(canonical)


def test_now_is_now() -> None:
    """To the nanosecond, as far as the clock gives it."""
    before = time.time_ns()
    now = timestamps.to_nanoseconds(timestamps.now())
    after = time.time_ns()

    assert before <= now <= after
