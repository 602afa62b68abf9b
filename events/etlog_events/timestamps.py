"""Times as the event log spells them: RFC 3339 in UTC with `Z`, nanoseconds with trailing zeros cut.

That is Go's RFC3339Nano, as Kubecost prints it: `2022-06-03T17:07:54.3346484Z`, `2022-06-03T10:00:00Z`.
"""

import re
import time as clock
from datetime import UTC, datetime, timedelta
from functools import lru_cache

_RFC3339 = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]((?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9])"
    r"(?:\.([0-9]+))?([Zz]|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])"
)
#: What follows the seconds in canonical spelling, as a regular expression.
TAIL = r"(?:\.[0-9]{0,8}[1-9])?Z"
_is_tail = re.compile(TAIL).fullmatch

_UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)


@lru_cache(maxsize=1024)
def _is_second(text: str) -> bool:
    """Whether `text` is a date and time to the second in canonical spelling, that exists in the calendar."""
    try:
        return datetime.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def is_canonical(text: str) -> bool:
    """Whether `text` is a time in canonical spelling. Every event passes here, so seconds are cached."""
    return _is_tail(text, 19) is not None and _is_second(text[:19])


def canonical(text: str) -> str:
    """The same instant in canonical spelling.

    Takes any RFC 3339 time: with an offset, in lower case, with a fraction of any length (cut to nanoseconds).
    Raises `ValueError` for everything else, times that no calendar has among them.
    """
    if is_canonical(text):
        return text
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is not an RFC 3339 time such as 2022-06-03T10:00:00Z")
    date, second, fraction, offset = match.groups()
    try:
        moment = datetime.fromisoformat(f"{date}T{second}{offset.upper()}").astimezone(UTC)
    except (ValueError, OverflowError) as e:
        raise ValueError(f"{text!r} is not a time that exists: {e}") from e
    return _spell(moment, (fraction or "")[:9].ljust(9, "0"))


def spell(time: datetime | str) -> str:
    """An aware datetime or an RFC 3339 text in canonical spelling. Raises `TypeError` or `ValueError`."""
    if isinstance(time, str):
        return canonical(time if type(time) is str else str.__str__(time))  # never the member of an enum
    if isinstance(time, datetime):
        return from_datetime(time)
    raise TypeError(f"must be an aware datetime or an RFC 3339 text, not {time!r}")


def from_datetime(moment: datetime) -> str:
    """`moment`, an aware datetime, in canonical spelling, to the nanosecond if it is a `pandas.Timestamp` or alike.

    Raises `ValueError` for a naive one, and for one that UTC's calendar has not.
    """
    if moment.utcoffset() is None:
        raise ValueError(f"{moment.isoformat()} has no time zone; make it aware, for instance with tzinfo=UTC")
    try:
        utc = moment.astimezone(UTC)
    except OverflowError as e:
        raise ValueError(f"{moment.isoformat()} is out of range in UTC") from e
    if type(moment) is datetime:
        return _spell(utc, f"{utc.microsecond:06d}000")
    text = _spell(utc, f"{utc.microsecond:06d}{_below_microseconds(moment):03d}")
    if not is_canonical(text):  # there are subclasses with a year -100
        raise ValueError(f"{moment} is out of range in UTC")
    return text


def to_nanoseconds(text: str) -> int:
    """Nanoseconds since 1970 of a canonical `text`, exact."""
    seconds = (datetime.fromisoformat(text[:19] + "Z") - _UNIX_EPOCH) // _SECOND
    return seconds * 1_000_000_000 + int(text[20:-1].ljust(9, "0"))


def from_nanoseconds(nanoseconds: int) -> str:
    """Nanoseconds since 1970 in canonical spelling."""
    seconds, fraction = divmod(nanoseconds, 1_000_000_000)
    start = _second_text(seconds)
    return f"{start}.{fraction:09d}".rstrip("0") + "Z" if fraction else start + "Z"


def now() -> str:
    """The present instant in canonical spelling, to the nanosecond as far as the clock gives it."""
    return from_nanoseconds(clock.time_ns())


@lru_cache(maxsize=64)
def _second_text(seconds: int) -> str:
    """Cached, because a busy stage asks for the same second thousands of times."""
    return (_UNIX_EPOCH + seconds * _SECOND).isoformat()[:19]


def _below_microseconds(moment: datetime) -> int:
    """The nanoseconds that a subclass has and a datetime cannot hold. `nanosecond` counts them from the microsecond in
    pandas, from the second in Google's libraries."""
    nanosecond = getattr(moment, "nanosecond", 0)
    return nanosecond % 1000 if isinstance(nanosecond, int) else 0


def _spell(moment: datetime, nine_digits: str) -> str:
    fraction = nine_digits.rstrip("0")
    return moment.isoformat()[:19] + (f".{fraction}Z" if fraction else "Z")
