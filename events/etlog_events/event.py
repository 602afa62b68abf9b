"""The event: a value that encodes itself canonically and decodes only what keeps the rules.

    {"kind":"AllocationSetSaved","metadata":{"size":97,"window":{"start":"…Z","end":"…Z"}},"time":"…Z"}

Canonical text is compact JSON with the keys in this order: `kind`, `metadata` (`size`, `window`, `error`, then the
stage's own keys in the stage's order), `time`. Fields and kinds are those of Kubecost's Events API.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from functools import lru_cache
from typing import Any
from uuid import UUID

import orjson

from etlog_events import timestamps
from etlog_events.errors import InvalidEvent
from etlog_events.kinds import KUBECOST_KINDS, Kinds

#: Bytes of canonical text. A log of a thousand such events still fits into one answer.
MAX_BYTES = 64 * 1024

#: The largest `size`: what a client written in Go can hold.
MAX_SIZE = 2**63 - 1

#: What `emit` takes for a set's window: start and end, each an aware datetime or an RFC 3339 text.
WindowPair = tuple[datetime | str, datetime | str]


@dataclass(frozen=True, slots=True)
class Event:
    """What a stage did to a set.

    `kind` is the full name of the kind, `metadata` the JSON object as Python values, `time` canonical RFC 3339 text.
    `Event.new` and `Event.decode` give only events that keep the rules; the bare constructor checks nothing.
    """

    kind: str
    metadata: dict[str, Any]
    time: str

    @classmethod
    def new(
        cls,
        kind: str,
        *,
        size: int | None = None,
        window: WindowPair | None = None,
        error: str | None = None,
        time: datetime | str | None = None,
        metadata: Mapping[str, Any] | None = None,
        kinds: Kinds = KUBECOST_KINDS,
    ) -> "Event":
        """An event from the values of a call; `time` is now if it is not given.

        Raises `InvalidEvent`, naming the argument and the rule it breaks.
        """
        return cls(*_values(kind, size, window, error, time, metadata, kinds))

    @classmethod
    def decode(cls, raw: bytes, kinds: Kinds = KUBECOST_KINDS) -> "Event":
        """The event that `raw` spells, in canonical spelling or another. Raises `InvalidEvent(reason, raw)`."""
        import msgspec  # noqa: PLC0415 - a stage only makes events, and need not pay for their validation

        from etlog_events.validation import validator  # noqa: PLC0415

        kind, text = validator(kinds)(raw)
        fields = msgspec.json.decode(text)
        return cls(kind.name, fields["metadata"], fields["time"])

    def encode(self) -> bytes:
        """Canonical text. Raises `InvalidEvent` for metadata that is not JSON-serializable and for more than 64 KiB."""
        return _spell(self.kind, self.metadata, self.time)

    @property
    def size(self) -> int | None:
        """Number of records in the set, if the event carries it."""
        size: int | None = self.metadata.get("size")
        return size

    @property
    def window(self) -> tuple[str, str] | None:
        """Start and end of the set's window as canonical text, if the event carries it."""
        window = self.metadata.get("window")
        return (window["start"], window["end"]) if window else None

    @property
    def error(self) -> str | None:
        """What failed, on the two kinds of errors."""
        error: str | None = self.metadata.get("error")
        return error


def canonical_window(start: datetime | str, end: datetime | str) -> tuple[str, str]:
    """Start and end of a set's window in canonical spelling. Raises `TypeError` or `ValueError`."""
    if type(start) is str and type(end) is str:
        return _window(start, None, end, None)
    return _window(*_key(start), *_key(end))


def _key(time: datetime | str) -> tuple[datetime | str, timedelta | None]:
    """What tells `time` from every other in a cache.

    Datetimes may be equal and yet an hour apart, as are both passes of an hour that comes twice. With their offset from
    UTC they are one instant, whatever their `tzinfo` says another time. Subclasses may tell more than they compare.
    """
    return (time, time.utcoffset()) if type(time) is datetime else (timestamps.spell(time), None)


@lru_cache(maxsize=1024)
def _window(
    start: datetime | str, _start_offset: timedelta | None, end: datetime | str, _end_offset: timedelta | None
) -> tuple[str, str]:
    """Cached, because many events tell of few windows."""
    first, last = timestamps.spell(start), timestamps.spell(end)
    if timestamps.to_nanoseconds(first) >= timestamps.to_nanoseconds(last):
        raise ValueError(f"it must start before it ends, {first} is not before {last}")
    return first, last


def new_text(
    kind: str,
    size: int | None,
    window: WindowPair | None,
    error: str | None,
    time: datetime | str | None,
    metadata: Mapping[str, Any],
    kinds: Kinds,
) -> bytes:
    """`Event.new(…).encode()` without the event in between, for `emit`, which must cost next to nothing."""
    return _spell(*_values(kind, size, window, error, time, metadata, kinds))


def _values(
    kind: str,
    size: int | None,
    window: WindowPair | None,
    error: str | None,
    time: datetime | str | None,
    metadata: Mapping[str, Any] | None,
    kinds: Kinds,
) -> tuple[str, dict[str, Any], str]:
    known = kinds.by_name.get(kind) if isinstance(kind, str) else None
    if known is None:
        raise InvalidEvent(kinds.unknown(kind))
    fields: dict[str, Any] = {}
    if size is not None:
        if type(size) is not int or not 0 <= size <= MAX_SIZE:
            raise InvalidEvent(f"size must be a whole number from 0 to 2^63-1, not {_shown(size)}")
        fields["size"] = size
    if window is not None:
        fields["window"] = _window_argument(window)
    if error is not None:
        if not isinstance(error, str):
            raise InvalidEvent(f"error must be a string, not {_shown(error)}")
        fields["error"] = error
    for needed in known.action.needs:
        if needed not in fields:
            raise InvalidEvent(f"{kind} needs {needed}")
    if metadata:
        if not _OWN_ARGUMENTS.isdisjoint(metadata):
            name = min(_OWN_ARGUMENTS & metadata.keys())
            raise InvalidEvent(f"metadata must not contain {name!r}; pass it as an argument")
        fields.update(metadata)
    return known.name, fields, timestamps.now() if time is None else _time_argument(time)


def _spell(kind: str, metadata: dict[str, Any], time: str) -> bytes:
    fields = {"kind": kind, "metadata": metadata, "time": time}
    try:
        raw = orjson.dumps(fields, option=_ONLY_JSON)
        if b"null" in raw:
            _dump_slowly(fields)  # orjson turns NaN into null without a word
    except (TypeError, ValueError, RecursionError):
        raw = _encode_slowly(fields)
    if len(raw) > MAX_BYTES:
        raise InvalidEvent(f"the event is {len(raw)} bytes long, the limit is {MAX_BYTES}")
    return raw


_OWN_ARGUMENTS = frozenset({"size", "window", "error"})
_HOLDS = "holds"
_ONLY_JSON = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS


def _shown(value: object) -> str:
    """`value` in a message: never long, and never the cause of another error."""
    try:
        text = repr(value)
    except Exception:  # Python refuses to spell integers of thousands of digits
        return f"this {type(value).__name__}"
    return text if len(text) <= 80 else text[:80] + "…"


def _encode_slowly(fields: dict[str, Any]) -> bytes:
    """By the standard library: integers past 64 bits, and a telling error for what is not JSON."""
    try:
        return _dump_slowly(fields).encode()
    except (TypeError, ValueError, RecursionError) as e:
        raise InvalidEvent(f"metadata is not JSON-serializable: {_fault_in(fields['metadata']) or e}") from e


def _fault_in(metadata: Mapping[str, Any]) -> str | None:
    """Which key of the metadata is not JSON, and why; None if each is by itself."""
    for key, value in metadata.items():
        try:
            _dump_slowly({key: value}).encode()
        except UnicodeEncodeError as e:
            return f"key {_shown(key)} holds text that is not valid Unicode ({e.reason})"
        except (TypeError, ValueError, RecursionError) as e:
            return f"key {_shown(key)} {e}" if str(e).startswith(_HOLDS) else f"key {_shown(key)}: {e}"
    return None


def _dump_slowly(fields: dict[str, Any]) -> str:
    return json.dumps(fields, ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_as_orjson_does)


def _as_orjson_does(value: object) -> object:
    """The two types beyond JSON that orjson spells unasked: what is taken must not depend on what stands beside it."""
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, Enum):
        return value.value
    name = type(value).__name__
    raise TypeError(f"{_HOLDS} {'an' if name[0] in 'AEIOUaeiou' else 'a'} {name}")


def _time_argument(time: datetime | str) -> str:
    try:
        return timestamps.spell(time)
    except (TypeError, ValueError) as e:
        raise InvalidEvent(f"time: {e}") from e


def _window_argument(window: WindowPair) -> dict[str, str]:
    try:
        start, end = window
    except (TypeError, ValueError):
        raise InvalidEvent(f"window must be a pair of start and end, not {_shown(window)}") from None
    try:
        first, last = canonical_window(start, end)
    except (TypeError, ValueError) as e:
        raise InvalidEvent(f"window: {e}") from e
    return {"start": first, "end": last}
