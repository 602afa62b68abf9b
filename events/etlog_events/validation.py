"""Validation of bytes from anywhere: one rule book for every event that reaches a log.

Each event takes this path through the consumer. Most are recognized without decoding (the fast path), other text that
is already canonical by one typed decode and one encode; only another spelling, or the stage's own metadata, costs more.
"""

import json
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Annotated, Any, NoReturn, Protocol, Union

import msgspec

from etlog_events import timestamps
from etlog_events.errors import InvalidEvent
from etlog_events.event import MAX_BYTES, MAX_SIZE, canonical_window
from etlog_events.kinds import Kind, Kinds

#: Takes the bytes of an event, gives its kind and its canonical text, raises `InvalidEvent(reason, raw)`.
Validator = Callable[[bytes], tuple[Kind, bytes]]


@lru_cache(maxsize=8)
def validator(kinds: Kinds) -> Validator:
    """The validation for a log with these kinds."""
    types = {_text_type(kind): kind for kind in kinds.by_name.values()}
    decode = msgspec.json.Decoder(Union[tuple(types)]).decode  # noqa: UP007
    recognize = _recognizer(kinds)

    def validate(raw: bytes) -> tuple[Kind, bytes]:
        kind = recognize(raw)
        if kind is not None:
            return kind, raw
        if len(raw) > MAX_BYTES:
            raise InvalidEvent(f"the event is {len(raw)} bytes long, the limit is {MAX_BYTES}", raw)
        try:
            text: _Text = decode(raw)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as e:
            _refuse(raw, e, kinds)
        window = text.metadata.window
        if timestamps.is_canonical(text.time) and (
            window is msgspec.UNSET or _is_canonical_window(window.start, window.end)
        ):
            encoded = _encode(text)
            if encoded == raw:
                return types[type(text)], raw
        try:
            return types[type(text)], _respell(raw, text)
        except InvalidEvent as e:
            raise InvalidEvent(e.reason, raw) from e
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as e:
            _refuse(raw, e, kinds)

    return validate


# The fast path: recognizes the text of most events, as etlog's producers write it, canonical with a size and a window.
# The text is cut at the few places that tell one event from the next; what lies between is compared or cached. That
# takes half of the time of a decode, and every event takes this path. What is not recognized may be as good.

_WINDOW_TEXT = re.compile(rb'"window":\{"start":"([0-9TZ:.-]+)","end":"([0-9TZ:.-]+)"\}\}')

#: The longest text of a window in canonical spelling, and some room: no other is worth a place in the cache.
_WINDOW_BYTES = 100

#: What follows the seconds of the event's time.
_is_time_end = re.compile(timestamps.TAIL.encode() + rb'"\}').fullmatch

#: Digits of a size that are never above `MAX_SIZE`.
_DIGITS = 18


def _recognizer(kinds: Kinds) -> Callable[[bytes], Kind | None]:
    """Gives the kind of an event whose text is canonical for certain, and None for every other text."""
    begins = {
        b'{"kind":"%s","metadata":{' % name.encode(): kind
        for name, kind in kinds.by_name.items()
        if "error" not in kind.action.needs
    }

    def recognize(raw: bytes) -> Kind | None:
        begin, _, rest = raw.partition(b'"size":')
        kind = begins.get(begin)
        if kind is None:
            return None
        size, _, rest = rest.partition(b",")
        window, _, time = rest.rpartition(b',"time":"')
        recognized = (
            size.isdigit()
            and len(size) <= _DIGITS
            and (size[0] != 48 or len(size) == 1)  # no leading 0
            and len(window) <= _WINDOW_BYTES
            and _is_window_text(window)
            and _is_second_text(time[:19])
            and _is_time_end(time, 19)
        )
        return kind if recognized else None

    return recognize


@lru_cache(maxsize=1024)
def _is_window_text(text: bytes) -> bool:
    match = _WINDOW_TEXT.fullmatch(text)
    return match is not None and _is_canonical_window(match[1].decode(), match[2].decode())


@lru_cache(maxsize=1024)
def _is_second_text(text: bytes) -> bool:
    return len(text) == 19 and timestamps.is_canonical(text.decode("latin-1") + "Z")


# The full path.


class _Window(msgspec.Struct, forbid_unknown_fields=True):
    start: str
    end: str


class _Metadata(Protocol):
    """What is known of metadata; keys of the stage's own are skipped by the typed decode."""

    window: _Window | Any


class _Text(Protocol):
    """An event as it stands in its text."""

    metadata: _Metadata
    time: str


_METADATA_TYPES: dict[str, Any] = {
    "size": Annotated[int, msgspec.Meta(ge=0, le=MAX_SIZE)],
    "window": _Window,
    "error": str,
}


def _text_type(kind: Kind) -> type:
    """The type of the text of one kind of event, which makes the decoder check what that kind must carry."""
    fields: list[Any] = [
        (name, type_) if name in kind.action.needs else (name, Union[type_, msgspec.UnsetType], msgspec.UNSET)  # noqa: UP007
        for name, type_ in _METADATA_TYPES.items()
    ]
    metadata = msgspec.defstruct(f"{kind.name}Metadata", fields, kw_only=True)
    return msgspec.defstruct(
        kind.name,
        [("metadata", metadata), ("time", str)],
        tag_field="kind",
        tag=kind.name,
        forbid_unknown_fields=True,
    )


def _is_canonical_window(start: str, end: str) -> bool:
    try:
        return canonical_window(start, end) == (start, end)
    except ValueError:
        return False


class _OwnMetadata(msgspec.Struct):
    metadata: dict[str, msgspec.Raw]


_encode = msgspec.json.Encoder().encode
_decode_own_metadata = msgspec.json.Decoder(_OwnMetadata).decode


def _respell(raw: bytes, text: _Text) -> bytes:
    """Canonical text of an event in another spelling, or with metadata of the stage's own, kept as it is."""
    try:
        text.time = timestamps.canonical(text.time)
    except ValueError as e:
        raise InvalidEvent(f"time: {e}") from e
    window = text.metadata.window
    if window is not msgspec.UNSET:
        try:
            window.start, window.end = canonical_window(window.start, window.end)
        except ValueError as e:
            raise InvalidEvent(f"metadata.window: {e}") from e

    msgspec.json.decode(raw)  # the typed decode skipped what it did not know, unlooked at
    own = [
        _encode(key) + b":" + msgspec.json.format(value, indent=-1)
        for key, value in _decode_own_metadata(raw).metadata.items()
        if key not in _METADATA_TYPES
    ]
    encoded = _encode(text)
    if own:
        known = _encode(text.metadata)
        pairs = b",".join([known[1:-1], *own] if known != b"{}" else own)
        encoded = encoded.replace(b'"metadata":' + known, b'"metadata":{' + pairs + b"}", 1)
    if encoded != raw or any(b"{" in pair for pair in own):  # else no key can stand twice
        json.loads(raw, object_pairs_hook=_refuse_repeated_keys)
    if len(encoded) > MAX_BYTES:
        raise InvalidEvent(f"the event is {len(encoded)} bytes long, the limit is {MAX_BYTES}")
    return encoded


def _refuse_repeated_keys(pairs: list[tuple[str, Any]]) -> None:
    keys = [key for key, _ in pairs]
    if len(set(keys)) < len(keys):
        repeated = next(key for key in keys if keys.count(key) > 1)
        raise InvalidEvent(f"the key {repeated!r} occurs twice in one object")


def _refuse(raw: bytes, error: Exception, kinds: Kinds) -> NoReturn:
    """Turn an error of the decoder into the rule that was broken."""
    match error:
        case msgspec.ValidationError() if str(error).endswith("`$.kind`"):
            reason = _refused_kind(raw, kinds)
        case msgspec.ValidationError():
            rule, _, path = str(error).replace("`", "").partition(" - at $")
            reason = rule if "..." in path or not path else f"{rule} at {path.lstrip('.')}"
        case UnicodeDecodeError():
            reason = f"not valid UTF-8: {error.reason}"
        case RecursionError():
            reason = "nested too deeply"
        case _:
            reason = f"not JSON: {error}"
    raise InvalidEvent(reason, raw) from error


def _refused_kind(raw: bytes, kinds: Kinds) -> str:
    try:
        return kinds.unknown(msgspec.json.decode(raw)["kind"])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return "unknown kind, in an event that is not valid JSON further on"
