"""Moments as people write them in an option: a time, a date, or so long from now."""

import re
from datetime import date, datetime, time, tzinfo

from etlog_events import timestamps
from etlog_events.timestamps import from_nanoseconds, to_nanoseconds

from etlog.errors import CommandFailed

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_LENGTH = re.compile(r"([0-9]{1,9})([smhdw])")

#: Seconds.
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}

#: Nanoseconds.
_SECOND = 1_000_000_000


def moment(option: str, text: str, zone: tzinfo, more: str = "") -> str:
    """What an RFC 3339 time means, or a date, which is its first moment in the zone; in canonical spelling.

    Raises `CommandFailed` for anything else; `more` is what the option may be besides.
    """
    try:
        if _DATE.fullmatch(text):
            return timestamps.from_datetime(datetime.combine(date.fromisoformat(text), time.min, zone))
        return timestamps.canonical(text)
    except ValueError as e:
        raise CommandFailed(
            f"{option} must be a time such as 2026-11-18T09:00:00Z or a date such as 2026-11-18{more}, not {text!r}"
        ) from e


def end_of(option: str, text: str, zone: tzinfo, now: int) -> str:
    """The moment that a text means, or so long after `now`, in seconds since 1970: `30m`, `2h`, `3d`, `1w`.

    Raises `CommandFailed` for anything else, and for a moment that is not after `now`.
    """
    if match := _LENGTH.fullmatch(text):
        try:
            end = from_nanoseconds((now + int(match[1]) * _UNITS[match[2]]) * _SECOND)
        except OverflowError as e:
            raise CommandFailed(f"{option} {text} is beyond the calendar") from e
    else:
        end = moment(option, text, zone, ", or a length such as 2h or 3d")
    if to_nanoseconds(end) <= now * _SECOND:
        raise CommandFailed(f"{option} must be in the future, not {end}; it is {from_nanoseconds(now * _SECOND)}")
    return end
