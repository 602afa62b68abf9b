"""Validation of bytes from anywhere: canonical text or the rule that is broken."""

import json
import random
from typing import Any
from unittest.mock import patch

import pytest
from etlog_events import validation
from etlog_events.errors import InvalidEvent
from etlog_events.event import MAX_BYTES, MAX_SIZE, Event
from etlog_events.kinds import ACTIONS, CATEGORIES, KUBECOST_KINDS, Action, Kinds
from etlog_events.validation import Facts, _recognizer, noter, validator
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.samples import DOCUMENTED, saved, text
from support.samples import WINDOW as SAMPLE

validate = validator(KUBECOST_KINDS)

WINDOW = '"window":{"start":"2022-06-03T10:00:00Z","end":"2022-06-03T11:00:00Z"}'


def reason_of(raw: bytes) -> str:
    """Why `raw` is refused; it must be, and the error must keep the bytes."""
    with pytest.raises(InvalidEvent) as refused:
        validate(raw)
    assert refused.value.raw is raw
    return refused.value.reason


@pytest.mark.parametrize(("category", "raw"), [(c, raw) for c, texts in DOCUMENTED.items() for raw in texts])
def test_canonical_text_passes_as_it_is(category: str, raw: bytes) -> None:
    """The documented events are canonical: not a byte changes."""
    kind, canonical = validate(raw)

    assert canonical is raw
    assert kind.category == category


@pytest.mark.parametrize(
    ("other", "canonical"),
    [
        pytest.param(
            b'{"time":"2022-06-03T17:07:54.092619416Z","metadata":{"window":{"end":"2022-06-03T11:00:00Z",'
            b'"start":"2022-06-03T10:00:00Z"},"size":97},"kind":"AllocationSetSaved"}',
            saved(),
            id="key order",
        ),
        pytest.param(b" " + json.dumps(json.loads(saved()), indent=2).encode() + b"\r\n", saved(), id="spaces"),
        pytest.param(
            text(
                '"size":97,"window":{"start":"2022-06-03T12:00:00+02:00","end":"2022-06-03T04:00:00-07:00"}',
                time='"2022-06-03T19:07:54.092619416+02:00"',
            ),
            saved(),
            id="offset",
        ),
        pytest.param(text(time='"2022-06-03t17:07:54.092619416z"'), saved(), id="lower case"),
        pytest.param(text(time='"2022-06-03T17:07:54.0926194169999Z"'), saved(), id="fraction past nine digits"),
        pytest.param(
            text(time='"2022-06-03T17:07:54.100Z"'), text(time='"2022-06-03T17:07:54.1Z"'), id="zeros of a fraction"
        ),
        pytest.param(text(time='"2022-06-03T17:07:54.000Z"'), text(time='"2022-06-03T17:07:54Z"'), id="no fraction"),
        pytest.param(saved().replace(b"Saved", rb"\u0053aved"), saved(), id="escape in a kind"),
        pytest.param(saved().replace(b"size", rb"si\u007ae"), saved(), id="escape in a key"),
        pytest.param(saved().replace(b"17:07", rb"17\u003a07"), saved(), id="escape in a time"),
        pytest.param(
            text(r'"error":"\u0041\/\u00e9\ud83d\ude00"', kind="AssetSetComputeError"),
            text('"error":"A/é😀"', kind="AssetSetComputeError"),
            id="escapes in an error",
        ),
        pytest.param(text('"size":-0,' + WINDOW), text('"size":0,' + WINDOW), id="minus zero"),
        pytest.param(
            text('"b":1,' + WINDOW + ',"a":2,"size":97'), text('"size":97,' + WINDOW + ',"b":1,"a":2'), id="own keys"
        ),
        pytest.param(
            text('"size":97,' + WINDOW + ', "own" : { "b" : [ 1.0 , 1e5 ] }'),
            text('"size":97,' + WINDOW + ',"own":{"b":[1.0,1e5]}'),
            id="spaces in own values, numbers as they are",
        ),
    ],
)
def test_another_spelling_is_stored_canonically(other: bytes, canonical: bytes) -> None:
    """One event has one text, whoever wrote it."""
    kind, found = validate(other)

    assert found == canonical
    assert kind.name.encode() in found
    assert validate(found) == (kind, found)


BROKEN = {
    "nothing": (b"", "not JSON: Input data was truncated"),
    "half a text": (saved()[:-1], "not JSON: Input data was truncated"),
    "no JSON": (b"hello", "not JSON: JSON is malformed: invalid character (byte 0)"),
    "two texts": (saved() + saved(), "not JSON: JSON is malformed: trailing characters (byte 164)"),
    "a byte order mark": (b"\xef\xbb\xbf" + saved(), "not JSON: JSON is malformed: invalid character (byte 0)"),
    "UTF-16": (saved().decode().encode("utf-16"), "not JSON: JSON is malformed: invalid character (byte 0)"),
    "a list": (b"[]", "Expected object, got array"),
    "null": (b"null", "Expected object, got null"),
    "no kind": (b"{}", "Object missing required field kind"),
    "no metadata": (b'{"kind":"AllocationSetSaved"}', "Object missing required field metadata"),
    "no time": (saved()[:-41] + b"}", "Object missing required field time"),
    "metadata null": (b'{"kind":"AssetSetTotaled","metadata":null}', "Expected object, got null at metadata"),
    "a further key": (text(time='"2022-06-03T10:00:00Z","x":1'), "Object contains unknown field x"),
    "time a number": (text(time="1654272474"), "Expected str, got int at time"),
    "time no time": (text(time='"now"'), "time: 'now' is not an RFC 3339 time such as 2022-06-03T10:00:00Z"),
    "time without zone": (
        text(time='"2022-06-03T10:00:00"'),
        "time: '2022-06-03T10:00:00' is not an RFC 3339 time such as 2022-06-03T10:00:00Z",
    ),
    "a day that does not exist": (
        text(time='"2022-02-30T10:00:00Z"'),
        "time: '2022-02-30T10:00:00Z' is not a time that exists: day is out of range for month",
    ),
    "no size": (text(WINDOW), "Object missing required field size at metadata"),
    "size null": (text('"size":null,' + WINDOW), "Expected int, got null at metadata.size"),
    "size negative": (text('"size":-1,' + WINDOW), "Expected int >= 0 at metadata.size"),
    "size a fraction": (text('"size":1.5,' + WINDOW), "Expected int, got float at metadata.size"),
    "size a round fraction": (text('"size":97.0,' + WINDOW), "Expected int, got float at metadata.size"),
    "size a bool": (text('"size":true,' + WINDOW), "Expected int, got bool at metadata.size"),
    "size a text": (text('"size":"97",' + WINDOW), "Expected int, got str at metadata.size"),
    "size past 63 bits": (
        text('"size":9223372036854775808,' + WINDOW),
        "Expected int <= 9223372036854775807 at metadata.size",
    ),
    "size past all bounds": (
        text('"size":' + "9" * 5000 + "," + WINDOW),
        "Integer value out of range at metadata.size",
    ),
    "no window": (text('"size":97'), "Object missing required field window at metadata"),
    "window null": (text('"size":97,"window":null'), "Expected object, got null at metadata.window"),
    "window a text": (text('"size":97,"window":"today"'), "Expected object, got str at metadata.window"),
    "window without end": (
        text('"size":97,"window":{"start":"2022-06-03T10:00:00Z"}'),
        "Object missing required field end at metadata.window",
    ),
    "window with more": (
        text('"size":97,"window":{"start":"2022-06-03T10:00:00Z","end":"2022-06-03T11:00:00Z","x":1}'),
        "Object contains unknown field x at metadata.window",
    ),
    "window backwards": (
        text('"size":97,"window":{"start":"2022-06-03T11:00:00Z","end":"2022-06-03T10:00:00Z"}'),
        "metadata.window: it must start before it ends, 2022-06-03T11:00:00Z is not before 2022-06-03T10:00:00Z",
    ),
    "window empty": (
        text('"size":97,"window":{"start":"2022-06-03T10:00:00Z","end":"2022-06-03T12:00:00+02:00"}'),
        "metadata.window: it must start before it ends, 2022-06-03T10:00:00Z is not before 2022-06-03T10:00:00Z",
    ),
    "window no time": (
        text('"size":97,"window":{"start":"today","end":"2022-06-03T10:00:00Z"}'),
        "metadata.window: 'today' is not an RFC 3339 time such as 2022-06-03T10:00:00Z",
    ),
    "error null": (
        text('"error":null', kind="AssetSetComputeError"),
        "Expected str, got null at metadata.error",
    ),
    "key twice": (text(time='"2022-06-03T10:00:00Z","time":"2022-06-03T11:00:00Z"'), "the key 'time' occurs twice"),
    "known key twice": (text('"size":97,"size":98,' + WINDOW), "the key 'size' occurs twice"),
    "own key twice": (text('"size":97,' + WINDOW + ',"a":1,"a":2'), "the key 'a' occurs twice"),
    "nested key twice": (text('"size":97,' + WINDOW + ',"a":[{"b":1,"b":2}]'), "the key 'b' occurs twice"),
    "key twice by an escape": (text('"size":97,' + WINDOW + r',"a":{"b":1,"\u0062":2}'), "the key 'b' occurs twice"),
    "bytes no UTF-8": (text('"error":"\udcff"', kind="AssetSetComputeError"), "not valid UTF-8: invalid start byte"),
    "own bytes no UTF-8": (text('"size":97,' + WINDOW + ',"a":"\udcff"'), "not valid UTF-8: invalid start byte"),
    "own key no UTF-8": (text('"size":97,' + WINDOW + ',"\udcff":1'), "not valid UTF-8: invalid start byte"),
    "half a pair of surrogates": (
        text(r'"error":"\ud800"', kind="AssetSetComputeError"),
        "not JSON: JSON is malformed",
    ),
    "own half a pair": (text('"size":97,' + WINDOW + r',"a":"\ud800"'), "not JSON: JSON is malformed"),
    "own key half a pair": (text('"size":97,' + WINDOW + r',"\udc00":1'), "not JSON: JSON is malformed"),
    "surrogates in UTF-8": (
        text('"error":"\udced\udca0\udc80"', kind="AssetSetComputeError"),
        "not valid UTF-8: invalid continuation byte",
    ),
    "a bare control character": (text('"error":"\n"', kind="AssetSetComputeError"), "not JSON: JSON is malformed"),
    "NaN": (text('"size":97,' + WINDOW + ',"a":NaN'), "not JSON: JSON is malformed"),
    "a number past all floats": (text('"size":97,' + WINDOW + ',"a":1e400'), "Number out of range"),
    "an integer past all bounds": (text('"size":97,' + WINDOW + ',"a":' + "9" * 5000), "Integer value out of range"),
    "own values nested too deeply": (
        text('"size":97,' + WINDOW + ',"a":' + "[" * 20_000 + "]" * 20_000),
        "nested too deeply",
    ),
    "brackets without end": (text('"size":97,' + WINDOW + ',"a":' + "[" * 60_000), "nested too deeply"),
}


@pytest.mark.parametrize(("raw", "reason"), BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_rule_is_the_reason(raw: bytes, reason: str) -> None:
    """The dead letter says what to fix."""
    assert reason_of(raw).startswith(reason)


@pytest.mark.parametrize("kind", ["AllocationSetPurged", "allocationsetsaved", "Saved", "AllocationSet", ""])
def test_an_unknown_kind_is_the_reason(kind: str) -> None:
    """And what is known is listed."""
    assert reason_of(text(kind=kind)) == KUBECOST_KINDS.unknown(kind)


@pytest.mark.parametrize("kind", ["5", "null", '["AllocationSetSaved"]', '{"a":1}', "true"])
def test_a_kind_must_be_a_text(kind: str) -> None:
    """Whatever else it is, it is unknown."""
    assert reason_of(f'{{"kind":{kind}}}'.encode()) == KUBECOST_KINDS.unknown(json.loads(kind))


@pytest.mark.parametrize("rest", ["", '"a":' + "[" * 30_000, '"a":' + "9" * 5000 + "}", '"a":"\udcff"}'])
def test_an_unknown_kind_is_found_before_what_follows_it(rest: str) -> None:
    """A text that goes on as nonsense has still one reason."""
    assert reason_of(f'{{"kind":"Nope",{rest}'.encode("utf-8", "surrogateescape")).startswith("unknown kind")


@pytest.mark.parametrize(
    ("action", "needed"),
    [
        ("Loaded", {"size", "window"}),
        ("Saved", {"size", "window"}),
        ("Aggregated", {"size", "window"}),
        ("Totaled", {"window"}),
        ("Reconciled", {"window"}),
        ("ComputeError", {"error"}),
        ("ReconcileError", {"error"}),
    ],
)
@pytest.mark.parametrize("prefix", ["AllocationSet", "AssetSet"])
def test_a_kind_needs_its_metadata_and_no_more(prefix: str, action: str, needed: set[str]) -> None:
    """All it needs is enough, and each of it is needed."""
    known = {"size": '"size":97', "window": WINDOW, "error": '"error":"e"'}

    def spelled(names: set[str]) -> bytes:
        return text(",".join(known[name] for name in known if name in names), kind=prefix + action)

    assert validate(spelled(needed))[0].name == prefix + action
    assert validate(spelled(set(known)))[1] == spelled(set(known))
    for missing in needed:
        assert reason_of(spelled(set(known) - {missing})) == f"Object missing required field {missing} at metadata"


def test_a_megabyte_is_refused_by_its_length() -> None:
    """Before anything of it is parsed."""
    assert reason_of(b" " * 2**20) == f"the event is {2**20} bytes long, the limit is {MAX_BYTES}"


def test_the_limit_holds_for_the_text_as_it_came_and_as_it_is_stored() -> None:
    """Both are counted, because a respelled text may be the longer one."""
    room = MAX_BYTES - len(text('"error":""', kind="AssetSetComputeError"))
    fits = text(f'"error":"{"x" * room}"', kind="AssetSetComputeError")
    time_grows = fits.replace(b".092619416Z", b".09261941Z,").replace(b'Z,"}', b'Z" }')

    assert validate(fits)[1] is fits
    assert reason_of(fits + b" ").startswith(f"the event is {MAX_BYTES + 1} bytes long")
    assert len(validate(time_grows)[1]) <= MAX_BYTES


def test_own_metadata_are_kept_as_they_are() -> None:
    """Numbers, escapes and order are the stage's own; only spaces go."""
    raw = text('"size":97,' + WINDOW + r',"own":{"b":1.0,"a":1E5,"c":"\u0041\/","d":123456789012345678901234567890}')

    assert validate(raw)[1] == raw


def test_own_metadata_may_be_called_like_anything() -> None:
    """Names that mean something elsewhere in an event mean nothing here."""
    raw = text('"size":97,' + WINDOW + ',"kind":"x","metadata":{"size":-1},"time":null,"":0,"start":[]')

    assert validate(raw)[1] == raw


def test_a_log_knows_its_own_kinds_only() -> None:
    """A further category is unknown to a log without it."""
    with_cloud = validator(Kinds({**CATEGORIES, "cloudcost": "CloudCostSet"}))
    raw = text(kind="CloudCostSetSaved")

    assert with_cloud(raw)[0].category == "cloudcost"
    assert reason_of(raw).startswith("unknown kind 'CloudCostSetSaved'")


def verdict(raw: bytes) -> bytes | InvalidEvent:
    """The canonical text of `raw`, or why it has none."""
    try:
        return validate(raw)[1]
    except InvalidEvent as refused:
        return refused


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
own_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)


@given(
    own=st.dictionaries(texts.filter(lambda key: key != "error"), own_values, max_size=4),
    seed=st.integers(0, 2**32),
    indent=st.sampled_from([None, 0, 3]),
    ascii_only=st.booleans(),
)
@settings(deadline=None)
def test_canonical_text_is_stable(own: dict[str, Any], seed: int, indent: int | None, ascii_only: bool) -> None:
    """However an event is spelled: what is canonical once stays as it is, and says the same."""
    fields = json.loads(saved())
    fields["metadata"] = own | fields["metadata"]
    spelled = json.dumps(_shuffled(fields, random.Random(seed)), indent=indent, ensure_ascii=ascii_only)
    raw = spelled.encode()

    kind, canonical = validate(raw)

    assert validate(canonical) == (kind, canonical)
    assert json.loads(canonical) == fields
    assert Event.decode(raw) == Event.decode(canonical)


def _shuffled(fields: dict[str, Any], order: random.Random) -> dict[str, Any]:
    keys = order.sample(list(fields), len(fields))
    return {key: _shuffled(fields[key], order) if isinstance(fields[key], dict) else fields[key] for key in keys}


@given(st.binary(max_size=200))
@settings(deadline=None)
def test_random_bytes_raise_nothing_but_invalid_event(raw: bytes) -> None:
    """Anybody can write into the stream."""
    with pytest.raises(InvalidEvent) as refused:
        Event.decode(raw)

    assert refused.value.raw == raw


@given(st.lists(st.tuples(st.integers(0, 200), st.binary(max_size=3), st.integers(0, 5)), min_size=1, max_size=6))
@example([(160, b"", 50)])
@settings(deadline=None, max_examples=300)
def test_damaged_events_raise_nothing_but_invalid_event(damages: list[tuple[int, bytes, int]]) -> None:
    """Close to a valid event every branch is met; what is still accepted is accepted again."""
    raw = text('"size":97,' + WINDOW + ',"error":"x","own":{"a":[1,"é"]}')
    for place, inserted, removed in damages:
        raw = raw[:place] + inserted + raw[place + removed :]

    answer = verdict(raw)

    if isinstance(answer, InvalidEvent):
        assert answer.raw == raw
        assert len(answer.reason.splitlines()) == 1
    else:
        assert verdict(answer) == answer


recognize = _recognizer(KUBECOST_KINDS)
with patch.object(validation, "_recognizer", lambda kinds: lambda raw: None):
    read_in_full = noter.__wrapped__(KUBECOST_KINDS)


def full_path(raw: bytes) -> object:
    """What the full path makes of `raw`; None if it refuses it."""
    try:
        return read_in_full(raw)
    except InvalidEvent:
        return None


SIZED = f'"size":97,{WINDOW}'
TOOK = ',"seconds":1.25'


@pytest.mark.parametrize("size", [0, 7, 97, 10**17])
@pytest.mark.parametrize("time", ["2022-06-03T17:07:54Z", "2022-06-03T17:07:54.09Z", "2022-06-03T17:07:54.092619416Z"])
@pytest.mark.parametrize("took", ["", TOOK])
def test_what_a_producer_writes_takes_the_fast_path(size: int, time: str, took: str) -> None:
    """Sizes of any length, times with and without a fraction."""
    raw = text(f'"size":{size},{WINDOW}{took}', time=f'"{time}"')

    recognized = recognize(raw)
    assert recognized
    assert recognized[0] is KUBECOST_KINDS.by_name["AllocationSetSaved"]
    assert recognized == full_path(raw)


@pytest.mark.parametrize(
    "action", [action for action in ACTIONS if not action.is_error], ids=lambda action: action.name
)
@pytest.mark.parametrize("took", ["", TOOK])
def test_every_success_takes_the_fast_path(action: Action, took: str) -> None:
    """With a size, which some need; the others without one as well."""
    kind = "AssetSet" + action.name
    sized, bare = (text(told + took, kind=kind) for told in (SIZED, WINDOW))

    assert recognize(sized) == full_path(sized) is not None
    assert recognize(bare) == full_path(bare)
    assert (recognize(bare) is None) == ("size" in action.needs)


@pytest.mark.parametrize("seconds", [0.0, 0.001, 0.25, 1.234, 12.0, 59.999, 3600.5, 86_400.0, 99_999_999.999])
def test_durations_of_a_stage_take_the_fast_path(seconds: float) -> None:
    """As they are spelled where they are emitted."""
    raw = Event.new("AssetSetSaved", size=97, window=SAMPLE, metadata={"seconds": seconds}).encode()

    recognized = recognize(raw)
    assert recognized
    assert recognized[3][2] == Facts(seconds, None, None)


@pytest.mark.parametrize(
    ("good", "other"),
    [
        (b"Saved", b"Stored"),
        (b":97", b":097"),
        (b":97", b":-1"),
        (b":97", b":9.5"),
        (b":97", b":"),
        (b":97", b":" + str(MAX_SIZE + 1).encode()),
        (b'"size":97,', b'"size":97,"size":97,'),
        (b"T10:", b"T12:"),
        (b"T10:", b"T25:"),
        (b'00Z"}', b'00Z"},"own":1'),
        (b'00Z"}', b'00Z"},"time":"2022-06-03T17:07:54Z"'),
        (b"06-03T17", b"02-30T17"),
        (b"619416Z", b"619410Z"),
        (b"619416Z", b"619416+00:00"),
        (b'Z"}', b'Z"} '),
        (b'Z"}', b'Z"}\xff'),
        (b'16Z"}', b'16Z"'),
        (b',"time"', b',"seconds":1,"time"'),
        (b'},"time"', b',"seconds":1},"seconds":2},"time"'),
        (b'},"time"', b',"own":1},"time"'),
        (b'"window"', b'"seconds":1,"window"'),
    ],
)
@pytest.mark.parametrize("took", ["", TOOK])
def test_what_may_be_wrong_takes_the_full_path(good: bytes, other: bytes, took: str) -> None:
    """One thing is wrong with each, or is spelled in another way."""
    raw = text(SIZED + took)
    assert recognize(raw) is not None
    assert good in raw
    assert recognize(raw.replace(good, other)) is None


def test_nothing_takes_the_full_path() -> None:
    """Where a text should be."""
    assert recognize(b"") is None


#: What a stage may tell as its duration, and what is kept of it: nothing, where it is no number of seconds.
SECONDS: dict[str, float | None] = {
    "0": 0.0,
    "0.0": 0.0,
    "-0": 0.0,
    "-0.0": 0.0,
    "7": 7.0,
    "1.5": 1.5,
    "1.50": 1.5,
    "1e5": 100_000.0,
    "1E5": 100_000.0,
    "1.5e-3": 0.0015,
    "0.1234567890123456789": 0.12345678901234568,
    "0.30000000000000004": 0.30000000000000004,
    "999999999.9999999999": 1_000_000_000.0,
    "1000000000": 1_000_000_000.0,
    "3162240000": 3_162_240_000.0,
    "3162240001": None,
    "1e308": None,
    "9" * 60: None,
    "-1": None,
    "true": None,
    "null": None,
    '"1.5"': None,
    "[1.5]": None,
    '{"start":1}': None,
}


@pytest.mark.parametrize("spelled", SECONDS)
@pytest.mark.parametrize("told", [SIZED, WINDOW])
def test_a_duration_is_noted_alike_on_both_paths(spelled: str, told: str) -> None:
    """A century at most, a number and no truth; the text stays as it is."""
    raw = text(f'{told},"seconds":{spelled}', kind="AssetSetTotaled")

    noted = noter(KUBECOST_KINDS)(raw)
    assert noted[1] == raw
    assert noted[3][2] == Facts(SECONDS[spelled], None, None)
    assert repr(noted) == repr(full_path(raw))
    assert str(noted[3][2] and noted[3][2].seconds) != "-0.0"


@pytest.mark.parametrize(
    "spelled",
    ["01.5", "00", "1.", ".5", "+1", "1_0", "1e", "0x1", "NaN", "Infinity", "-", "1e400", "9" * 5000, ""],
)
def test_a_duration_that_is_not_json_is_refused(spelled: str) -> None:
    """As anything else that is not JSON, or a number past all bounds."""
    raw = text(f'{SIZED},"seconds":{spelled}')

    assert recognize(raw) is None
    assert full_path(raw) is None


@pytest.mark.parametrize("spelled", ["1 ", " 1", "1\n"])
def test_a_duration_with_spaces_is_respelled(spelled: str) -> None:
    """By the full path, which knows them."""
    assert noter(KUBECOST_KINDS)(text(f'{SIZED},"seconds":{spelled}'))[1] == text(f'{SIZED},"seconds":1')


@settings(max_examples=1000)
@given(
    st.sampled_from(
        [
            text(f"{told}{took}", kind=kind)
            for kind in ("AllocationSetSaved", "AssetSetTotaled", "AssetSetComputeError")
            for told in (SIZED, WINDOW)
            for took in ("", TOOK)
        ]
    ),
    st.lists(
        st.tuples(
            st.integers(0, 200),
            st.sampled_from([b"", b"0", b"9", b"1.5", b"e5", b"-", b".", b'"', b",", b":", b"}", b"Z", b"\xff"]),
            st.integers(0, 3),
        ),
        max_size=2,
    ),
)
def test_what_the_fast_path_takes_the_full_path_takes_alike(raw: bytes, damages: list[tuple[int, bytes, int]]) -> None:
    """Whatever is cut out of an event or put into it: the same kind, text, interval and note."""
    for at, inserted, removed in damages:
        raw = raw[:at] + inserted + raw[at + removed :]

    recognized = recognize(raw)

    assert recognized is None or repr(recognized) == repr(full_path(raw))


@given(st.integers(0, 10**10), st.text("0123456789", max_size=19), st.sampled_from(["", "e3", "E-2"]))
@settings(max_examples=300)
def test_a_duration_of_any_digits_is_noted_alike_on_both_paths(whole: int, fraction: str, exponent: str) -> None:
    """To the last bit."""
    raw = text(f'{SIZED},"seconds":{whole}.{fraction}{exponent}')

    recognized = recognize(raw)

    assert recognized is None or repr(recognized) == repr(full_path(raw))
