"""Times and durations in words: `1 min 20 s`, `33 min ago`, and times of day in the pipeline's zone."""

from datetime import UTC, date, datetime, timedelta, tzinfo
from itertools import pairwise

from etlog_events import timestamps
from etlog_events.windows import parse_timezone

#: Seconds, the largest first.
_UNITS = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def in_words(seconds: float) -> str:
    """A duration in its two largest units: `0.4 s`, `41 s`, `1 min 20 s`, `2 h 5 min`, `3 d`."""
    if abs(seconds) < 9.95:
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    whole = round(seconds)
    for (unit, size), (smaller, small) in pairwise(_UNITS):
        if whole >= size:
            number, rest = divmod(whole, size)
            return f"{number} {unit}" + (f" {rest // small} {smaller}" if rest >= small else "")
    return f"{whole} s"


def seconds_of(text: str) -> float:
    """Seconds since 1970 of a time as the API spells it. Raises `ValueError`."""
    return timestamps.to_nanoseconds(timestamps.canonical(text)) / 1e9


#: The last second of the calendar: the last nanoseconds of its last year are rounded up.
_LAST = 253_402_300_799


class Moments:
    """Times as someone sees them who is in `zone` at `now` (seconds since 1970).

    A zone that this machine does not know is UTC.
    """

    def __init__(self, zone: str, now: float) -> None:
        self.now = now
        self.zone = zone
        self._tzinfo: tzinfo = UTC
        try:
            self._tzinfo = parse_timezone(zone.removeprefix("UTC") if zone.startswith(("UTC+", "UTC-")) else zone)
        except ValueError:
            self.zone = "UTC"

    def local(self, time: str | float) -> datetime:
        """The time in the zone; in UTC, where the zone's calendar does not have it."""
        seconds = seconds_of(time) if isinstance(time, str) else time
        moment = _EPOCH + timedelta(seconds=min(seconds, _LAST))
        try:
            return moment.astimezone(self._tzinfo)
        except OverflowError:
            return moment

    @property
    def today(self) -> date:
        """The date of now."""
        return self.local(self.now).date()

    def moment(self, time: str | float) -> str:
        """`08:01:30`, with the date unless it is today's."""
        local = self.local(time)
        return f"{local:%H:%M:%S}" if local.date() == self.today else f"{local.date()} {local:%H:%M:%S}"

    def moment_in_full(self, time: str | float) -> str:
        """`2026-11-18 14:37:10 UTC`, or `2026-11-18 09:37:10 America/New_York (14:37:10 UTC)`."""
        local = self.local(time)
        text = f"{local.date()} {local:%H:%M:%S} {self.zone}"
        return text if self.zone == "UTC" else f"{text} ({local.astimezone(UTC):%H:%M:%S} UTC)"

    def span(self, start: str, end: str) -> str:
        """`2026-11-18 08:00 to 14:00`."""
        first, last = self.local(start), self.local(end)
        form = "%H:%M:%S" if first.second or last.second else "%H:%M"
        same = first.date() == last.date()
        return f"{first.date()} {first:{form}} to {'' if same else f'{last.date()} '}{last:{form}}"

    def ago(self, time: str | float) -> str:
        """`8 s ago`, `33 min ago`, `5 h 35 min ago`, `3 d ago`; `in 5 min`."""
        then = seconds_of(time) if isinstance(time, str) else time
        seconds = abs(self.now - then)
        if seconds < 1:
            return "now"
        if seconds < 60:
            words = f"{seconds:.0f} s"
        elif seconds < 3600:
            words = f"{seconds // 60:.0f} min"
        elif seconds < 2 * 86400:
            words = f"{seconds // 3600:.0f} h" + (f" {seconds % 3600 // 60:.0f} min" if seconds % 3600 >= 60 else "")
        else:
            words = f"{seconds // 86400:.0f} d"
        return f"{words} ago" if then < self.now else f"in {words}"
