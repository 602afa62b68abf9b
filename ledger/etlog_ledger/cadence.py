"""Cadence: how often sets come, and how long their windows are."""

import re
from dataclasses import dataclass
from typing import Literal

#: Seconds of each unit of fixed length, and how many days or months the calendar's units have.
_SECONDS = {"s": 1, "m": 60, "h": 3600}
_CALENDAR: dict[str, tuple[int, Literal["d", "mo"]]] = {"d": (1, "d"), "w": (7, "d"), "mo": (1, "mo"), "y": (12, "mo")}

_TEXT = re.compile(r"([1-9][0-9]{0,8})(mo|[smhdwy])")


@dataclass(frozen=True, slots=True)
class Every:
    """A length of time: so many seconds, or days or months of the calendar in the pipeline's zone.

    It is spelled in the largest unit that divides it: `10s`, `15m`, `1h`, `90m`, `24h` (a fixed length), `1d` (a day of
    the calendar: 23 to 25 hours), `1w`, `1mo`, `1y`.
    """

    number: float
    unit: Literal["s", "d", "mo"]

    @classmethod
    def parse(cls, text: str) -> "Every":
        """The length that a text spells. Raises `ValueError`."""
        match = _TEXT.fullmatch(text)
        if match is None:
            raise ValueError(f"must be a length such as 15m, 1h, 1d, 1w or 1mo, not {text!r}")
        number, unit = int(match[1]), match[2]
        if unit in _SECONDS:
            return cls(number * _SECONDS[unit], "s")
        days_or_months, of_calendar = _CALENDAR[unit]
        return cls(number * days_or_months, of_calendar)

    def __str__(self) -> str:
        if self.unit == "s":
            for unit in ("h", "m"):
                if self.number % _SECONDS[unit] == 0:
                    return f"{self.number // _SECONDS[unit]:.0f}{unit}"
            return f"{self.number:.9g}s"
        larger, name, unit = (7, "w", "d") if self.unit == "d" else (12, "y", "mo")
        return f"{self.number:.0f}{unit}" if self.number % larger else f"{self.number / larger:.0f}{name}"
