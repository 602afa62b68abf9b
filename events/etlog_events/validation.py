"""Validation of bytes from anywhere: one rule book for every event that reaches a log.

Each event takes this path through the consumer. Most are recognized without decoding (the fast path), other text that
is already canonical by one typed decode and one encode; only another spelling, or the stage's own metadata, costs more.
"""

import json
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Annotated, Any, NamedTuple, NoReturn, Protocol, TypeAlias, Union

import msgspec

from etlog_events import timestamps
from etlog_events.errors import InvalidEvent
from etlog_events.event import MAX_BYTES, MAX_SIZE, canonical_window
from etlog_events.kinds import Kind, Kinds

#: Takes the bytes of an event, gives its kind and its canonical text, raises `InvalidEvent(reason, raw)`.
Validator = Callable[[bytes], tuple[Kind, bytes]]

#: The interval of an event that names no window.
NO_WINDOW = "-"


class Facts(NamedTuple):
    """What few events tell of their set: `seconds` that the stage took, the `error`, and the `stage` that failed."""

    seconds: float | None
    error: str | None
    stage: str | None


#: What an event tells of its set: its time without the `Z`, its size in digits, and further facts.
Note: TypeAlias = tuple[bytes, bytes | None, Facts | None]

#: Takes the bytes of an event, gives its kind, its canonical text, the interval `<start>/<end>` of its set, and its
#: note. Raises `InvalidEvent(reason, raw)`.
Noter = Callable[[bytes], tuple[Kind, bytes, str, Note]]


@lru_cache(maxsize=8)
def validator(kinds: Kinds) -> Validator:
    """The validation for a log with these kinds."""
    noted = noter(kinds)

    def validate(raw: bytes) -> tuple[Kind, bytes]:
        return noted(raw)[:2]

    return validate


@lru_cache(maxsize=8)
def noter(kinds: Kinds) -> Noter:
    """The validation for a log with these kinds, which also takes note of what each event tells of its set."""
    types = {_text_type(kind): kind for kind in kinds.by_name.values()}
    decode = msgspec.json.Decoder(Union[tuple(types)]).decode  # noqa: UP007
    recognize = _recognizer(kinds)

    def note(raw: bytes) -> tuple[Kind, bytes, str, Note]:
        recognized = recognize(raw)
        if recognized is not None:
            return recognized
        if len(raw) > MAX_BYTES:
            raise InvalidEvent(f"the event is {len(raw)} bytes long, the limit is {MAX_BYTES}", raw)
        try:
            text: _Text = decode(raw)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as e:
            _refuse(raw, e, kinds)
        kind, window = types[type(text)], text.metadata.window
        if timestamps.is_canonical(text.time) and (
            window is msgspec.UNSET or _is_canonical_window(window.start, window.end)
        ):
            encoded = _encode(text)
            if encoded == raw:
                return kind, raw, *_noted(text, {})
        try:
            canonical, own = _respell(raw, text)
            return kind, canonical, *_noted(text, own)
        except InvalidEvent as e:
            raise InvalidEvent(e.reason, raw) from e
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as e:
            _refuse(raw, e, kinds)

    return note


# The fast path: recognizes the text of most events, as etlog's producers write it: canonical, with a window, perhaps a
# size before and the seconds that the stage took behind it. The text is cut at the few places that tell one event from
# the next; what lies between is compared or cached. That takes half of the time of a decode, and every event takes this
# path. What is not recognized may be as good.

_WINDOW_TEXT = re.compile(rb'"window":\{"start":"([0-9TZ:.-]+)","end":"([0-9TZ:.-]+)"')

#: The longest text of a window in canonical spelling, and some room: no other is worth a place in the cache.
_WINDOW_BYTES = 100

#: What follows the seconds of the event's time.
_is_time_end = re.compile(timestamps.TAIL.encode() + rb'"\}').fullmatch

#: Seconds. No stage takes longer than a century.
_MAX_SECONDS = 100 * 366 * 86_400

#: A duration as producers spell it: too few digits to be above `_MAX_SECONDS`, and not more of them than a float has.
_is_seconds_text = re.compile(rb"(?:0|[1-9][0-9]{0,8})(?:\.[0-9]{1,17})?").fullmatch

#: Digits of a size that are never above `MAX_SIZE`.
_DIGITS = 18


def _recognizer(kinds: Kinds) -> Callable[[bytes], tuple[Kind, bytes, str, Note] | None]:
    """Gives what a `Noter` does for a text that is canonical for certain, and None for every other one."""
    without_error = [kind for kind in kinds.by_name.values() if "error" not in kind.action.needs]
    with_size = {b'{"kind":"%s","metadata":{' % kind.name.encode(): kind for kind in without_error}
    without_size = {
        b'{"kind":"%s",' % kind.name.encode(): kind for kind in without_error if "size" not in kind.action.needs
    }

    def recognize(raw: bytes) -> tuple[Kind, bytes, str, Note] | None:
        size: bytes | None = None
        begin, _, rest = raw.partition(b'"size":')
        kind = with_size.get(begin)
        if kind is not None:
            size, _, rest = rest.partition(b",")
            if not size.isdigit() or len(size) > _DIGITS or (size[0] == 48 and len(size) > 1):  # a leading 0
                return None
        else:
            begin, _, rest = raw.partition(b'"metadata":{')
            kind = without_size.get(begin)
            if kind is None:
                return None
        facts = None
        window, found, time = rest.rpartition(b'}},"time":"')
        if not found:  # more than the window
            told, _, time = rest.rpartition(b'},"time":"')
            window, _, seconds = told.partition(b'},"seconds":')
            if not _is_seconds_text(seconds):
                return None
            facts = Facts(float(seconds), None, None)
        if (
            len(window) <= _WINDOW_BYTES
            and (interval := _interval_of_text(window))
            and _is_second_text(time[:19])
            and _is_time_end(time, 19)
        ):
            return kind, raw, interval, (time[:-3], size, facts)
        return None

    return recognize


@lru_cache(maxsize=1024)
def _interval_of_text(text: bytes) -> str | None:
    """Cached, because many events tell of few windows: and a text that is hashed once is a cheaper key."""
    match = _WINDOW_TEXT.fullmatch(text)
    if match is None or not _is_canonical_window(match[1].decode(), match[2].decode()):
        return None
    return f"{match[1].decode()}/{match[2].decode()}"


@lru_cache(maxsize=1024)
def _is_second_text(text: bytes) -> bool:
    return len(text) == 19 and timestamps.is_canonical(text.decode("latin-1") + "Z")


# The full path.


class _Window(msgspec.Struct, forbid_unknown_fields=True):
    start: str
    end: str


class _Metadata(Protocol):
    """What is known of metadata; keys of the stage's own are skipped by the typed decode."""

    size: Any
    window: _Window | Any
    error: Any


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


def _respell(raw: bytes, text: _Text) -> tuple[bytes, Mapping[str, bytes]]:
    """Canonical text of an event in another spelling, or with metadata of the stage's own, kept as it is; and that."""
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
    held = _decode_own_metadata(raw).metadata
    own = {key: msgspec.json.format(value, indent=-1) for key, value in held.items() if key not in _METADATA_TYPES}
    encoded = _encode(text)
    if own:
        known = _encode(text.metadata)
        spelled = [_encode(key) + b":" + value for key, value in own.items()]
        pairs = b",".join([known[1:-1], *spelled] if known != b"{}" else spelled)
        encoded = encoded.replace(b'"metadata":' + known, b'"metadata":{' + pairs + b"}", 1)
    if encoded != raw or any(b"{" in value for value in own.values()):  # else no key can stand twice
        json.loads(raw, object_pairs_hook=_refuse_repeated_keys)
    if len(encoded) > MAX_BYTES:
        raise InvalidEvent(f"the event is {len(encoded)} bytes long, the limit is {MAX_BYTES}")
    return encoded, own


def _noted(text: _Text, own: Mapping[str, bytes]) -> tuple[str, Note]:
    """The interval and the note of an event in canonical spelling, with the metadata of the stage's own."""
    known = text.metadata
    window, size = known.window, known.size
    interval = NO_WINDOW if window is msgspec.UNSET else f"{window.start}/{window.end}"
    error = None if known.error is msgspec.UNSET else known.error
    facts = None
    if error is not None or "seconds" in own:
        stage = _decoded(own, "stage")
        facts = Facts(_seconds(_decoded(own, "seconds")), error, stage if isinstance(stage, str) else None)
    return interval, (text.time[:-1].encode(), None if size is msgspec.UNSET else b"%d" % size, facts)


def _decoded(own: Mapping[str, bytes], key: str) -> Any:
    return msgspec.json.decode(own[key]) if key in own else None


def _seconds(value: object) -> float | None:
    """A duration that a stage has written. It is the stage's own, so it may be anything."""
    if type(value) not in {int, float} or not 0 <= value <= _MAX_SECONDS:  # type: ignore[operator]
        return None
    return float(value) + 0.0  # type: ignore[arg-type] # there is a -0.0


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
