"""Windows: texts such as `today` or `24h` that say which span of time is meant.

The forms and their rounding are those of OpenCost's window parser, so that a text means the same span in both:

    today yesterday               a day of the time zone, midnight to midnight
    week month                    from the time zone's midnight of Sunday, or of the 1st, until now
    lastweek lastmonth            the whole week before, from Sunday, or the whole month before
    15m 24h 7d 2w                 that long, until the end of this minute, hour or UTC day (`w`, like `d`: UTC day)
    24h offset 14h                that long, until so long ago; not rounded
    1586822400,1586908800         seconds since 1970; `-` or `|` may stand for the comma
    2020-04-01T00:00:00Z,2020-04-03T00:00:00Z

Beyond OpenCost, an RFC 3339 time may have an offset or a fraction, and one of the two may be missing: that side is
open. Refused, where OpenCost answers with a span that no one meant: a span that does not end after its start, a
number beyond the calendar, a date that does not exist, and a valid pair with something around it.
An offset in weeks counts weeks of seven days, where OpenCost's counts 24 of them for each.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo

from etlog_events.errors import IllegalWindow
from etlog_events.timestamps import canonical, to_nanoseconds

#: Characters. Far above any sensible window, and few enough that no text takes long to refuse.
_LONGEST = 256

#: Nanoseconds.
_SECOND = 1_000_000_000
_DAY = 86_400 * _SECOND
_UNITS = {"m": 60 * _SECOND, "h": 3600 * _SECOND, "d": _DAY, "w": 7 * _DAY}
#: What the end of a duration is rounded up to. A week ends with the day, not with Saturday.
_ROUNDING = {**_UNITS, "w": _DAY}

_DURATION = re.compile(r"([0-9]+)([mhdw])(?: offset ([0-9]+)([mhdw]))?")
_TIMESTAMPS = re.compile(r"([0-9]+)[-,|]([0-9]+)")

#: At most as deep as America/Argentina/Ushuaia: `ZoneInfo` runs out of stack on thousands of parts.
_ZONE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(?:/[A-Za-z0-9_+-]+){0,2}")
_ZONE_OFFSET = re.compile(r"([+-])([01][0-9]|2[0-3]):([0-5][0-9])")

_UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Window:
    """A span of time, start included, end excluded: nanoseconds since 1970 in UTC, `None` for an open side."""

    start_ns: int | None
    end_ns: int | None

    @property
    def start(self) -> datetime | None:
        """The start in UTC, cut to microseconds."""
        return None if self.start_ns is None else _to_datetime(self.start_ns)

    @property
    def end(self) -> datetime | None:
        """The end in UTC, cut to microseconds."""
        return None if self.end_ns is None else _to_datetime(self.end_ns)


def parse_window(text: str, *, now: datetime) -> Window:
    """The window that `text` means at `now`, whose time zone decides what "today" is.

    Every window ends after its start, but for the empty ones that the calendar gives: a week or month that begins
    at this very instant, and a yesterday that the zone skipped when it crossed the date line.
    Raises `IllegalWindow` for a text that is no window, `ValueError` for a `now` without a time zone.
    """
    if now.utcoffset() is None:
        raise ValueError(f"now must have a time zone, {now.isoformat()} has none")
    if span := _CALENDAR.get(text):
        return _calendar_window(span, now)
    try:
        window = _parse_span(text, _to_nanoseconds(now))
    except ValueError as e:
        raise IllegalWindow(text) from e
    if not _is_sound(window):
        raise IllegalWindow(text)
    return window


def holds_for_a_minute(text: str) -> bool:
    """Whether the window that `text` means, if it is one, stays the same through a minute of the clock."""
    return text not in {"week", "month"} and " offset " not in text


def parse_timezone(text: str) -> tzinfo:
    """The time zone that an IANA name, `UTC` or an offset such as `+05:30` names. Raises `ValueError`."""
    if text == "UTC":
        return UTC
    if match := _ZONE_OFFSET.fullmatch(text):
        sign, hours, minutes = match.groups()
        offset = timedelta(hours=int(hours), minutes=int(minutes))
        return timezone(-offset if sign == "-" else offset)
    try:
        if _ZONE_NAME.fullmatch(text):
            return ZoneInfo(text)
    except (KeyError, ValueError, OSError):  # no such zone; not a zone's file; a folder, or a name too long for one
        pass
    raise ValueError(f"must be an IANA time zone such as Europe/Berlin or an offset such as +05:30, not {text!r}")


def spell_timezone(zone: tzinfo) -> str:
    """The name of a zone, from which `parse_timezone` makes it."""
    return getattr(zone, "key", None) or str(zone).removeprefix("UTC") or "UTC"


def _sunday(day: date) -> date:
    return day - timedelta(days=day.isoweekday() % 7)


def _first(day: date) -> date:
    return day.replace(day=1)


#: From today's date to the first day of the window and the day it ends before, `None` for a window that ends now.
_CALENDAR: dict[str, Callable[[date], tuple[date, date | None]]] = {
    "today": lambda today: (today, today + timedelta(days=1)),
    "yesterday": lambda today: (today - timedelta(days=1), today),
    "week": lambda today: (_sunday(today), None),
    "lastweek": lambda today: (_sunday(today) - timedelta(days=7), _sunday(today)),
    "month": lambda today: (_first(today), None),
    "lastmonth": lambda today: (_first(_first(today) - timedelta(days=1)), _first(today)),
}


def _calendar_window(span: Callable[[date], tuple[date, date | None]], now: datetime) -> Window:
    def midnight(day: date) -> int:
        # Where clocks skip midnight, this is the instant of the skip; where midnight comes twice, the first.
        return _to_nanoseconds(datetime.combine(day, time.min, now.tzinfo))

    first, until = span(now.date())
    return Window(midnight(first), _to_nanoseconds(now) if until is None else midnight(until))


def _parse_span(text: str, now: int) -> Window:
    """The window of a duration or a pair, in nanoseconds that may be beyond the calendar. Raises `ValueError`."""
    if len(text) > _LONGEST:
        raise ValueError(f"is longer than {_LONGEST} characters")
    if match := _DURATION.fullmatch(text):
        count, unit, offset_count, offset_unit = match.groups()
        if offset_count:
            end = now - int(offset_count) * _UNITS[offset_unit]
        else:
            end = (now // _ROUNDING[unit] + 1) * _ROUNDING[unit]
        return Window(end - int(count) * _UNITS[unit], end)
    if match := _TIMESTAMPS.fullmatch(text):
        first, second = match.groups()
        return Window(int(first) * _SECOND, int(second) * _SECOND)
    start, comma, stop = text.partition(",")
    if not comma or text == comma:
        raise ValueError("is neither a name, a duration nor a pair")
    return Window(
        to_nanoseconds(canonical(start)) if start else None,
        to_nanoseconds(canonical(stop)) if stop else None,
    )


def _is_sound(window: Window) -> bool:
    """Whether the window ends after its start and both are in the calendar, the years 1 to 9999."""
    start = _EARLIEST if window.start_ns is None else window.start_ns
    end = _LATEST if window.end_ns is None else window.end_ns
    return _EARLIEST <= start < end <= _LATEST


def _to_nanoseconds(moment: datetime) -> int:
    return (moment - _UNIX_EPOCH) // _MICROSECOND * 1000


def _to_datetime(nanoseconds: int) -> datetime:
    return _UNIX_EPOCH + nanoseconds // 1000 * _MICROSECOND


_EARLIEST = _to_nanoseconds(datetime.min.replace(tzinfo=UTC))
_LATEST = _to_nanoseconds(datetime.max.replace(tzinfo=UTC)) + 999
