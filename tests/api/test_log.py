"""`GET /model/etl/log` gives what clients of Kubecost's Events API expect."""

import json
from datetime import UTC, datetime

import pytest
import redis
from etlog_events import timestamps
from etlog_events.event import Event
from etlog_events.keys import Keys
from etlog_events.kinds import ACTIONS
from etlog_events.windows import parse_timezone
from support.apis import Api, Fill, Serving
from support.samples import DOCUMENTED, WINDOW, saved

#: All actions in the order of their lives, and those of the documented events in that of the alphabet.
EVERY_ACTION = [action.name for action in ACTIONS]
ACTED = ["Aggregated", "Saved", "Totaled"]


def documented() -> list[bytes]:
    """The six events in the order in which they happened."""
    return sorted((event for events in DOCUMENTED.values() for event in events), key=lambda text: text[-40:])


def at(time: str, prefix: str = "AllocationSet") -> bytes:
    """An event that happened at `time`."""
    return Event.new(prefix + "Saved", size=1, window=WINDOW, time=time).encode()


def every_kind() -> list[bytes]:
    """One event of each kind."""
    return [
        Event.new(prefix + action.name, size=1, window=WINDOW, error="it failed").encode()
        for prefix in ("AllocationSet", "AssetSet")
        for action in ACTIONS
    ]


def kinds_of(answer: dict[str, dict[str, list[dict[str, str]]]]) -> dict[str, list[str]]:
    """The kinds in each list of an answer."""
    return {name: [event["kind"] for event in items] for name, items in answer["data"].items() if name != "counters"}


def test_the_documented_example_comes_back_as_it_is(api: Api, fill: Fill) -> None:
    """Same fields, same spelling, same order of keys, each in its list, in the order of the log."""
    fill(documented())

    answer = api.get()

    lists = {name: b",".join(text for text in documented() if text in items) for name, items in DOCUMENTED.items()}
    counters = dict.fromkeys([f"{prefix}Set{name}" for prefix in ("Allocation", "Asset") for name in ACTED], 1)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.content == b'{"code":200,"data":{"allocation":[%b],"asset":[%b],"counters":%b}}' % (
        lists["allocation"],
        lists["asset"],
        json.dumps(counters, separators=(",", ":")).encode(),
    )


def test_a_log_without_events_has_its_categories(serving: Serving) -> None:
    """Always there, empty or not, and before the counters."""
    with serving(categories={"cloudcost": "CloudCostSet"}) as api:
        assert api.get().content == b'{"code":200,"data":{"allocation":[],"asset":[],"cloudcost":[],"counters":{}}}'


def test_stored_items_are_passed_on_unchanged(api: Api, fill: Fill) -> None:
    """Unicode, escapes and numbers that no float holds come out as they went in."""
    odd = [
        saved(größe="ö\u2028 \U0001f600", deep={"a": [None, True, 1e-7]}),
        b'{"kind":"AllocationSetSaved","metadata":{"size":9223372036854775807,"window":'
        b'{"start":"2022-06-03T10:00:00Z","end":"2022-06-03T11:00:00Z"},"big":123456789012345678901234567890,'
        b'"escaped":"\\u00e9\\n\\"time\\":\\"x\\"}","float":1.10},"time":"2022-06-03T17:07:54.000000001Z"}',
    ]
    fill(odd)

    assert b'"allocation":[%b]' % b",".join(odd) in api.get().content
    assert (
        b'"allocation":[%b]' % odd[1]
        in api.get(params={"window": "2022-06-03T17:07:54Z,2022-06-03T17:07:54.000000002Z"}).content
    )


def test_counters_are_lifetime_totals(api: Api, fill: Fill, client: redis.Redis, keys: Keys) -> None:
    """The list holds the newest, the counters all; a limit or a window does not change them."""
    fill([saved(size) for size in range(25)], cap=10)

    answer = api.log()
    assert [event["metadata"]["size"] for event in answer["data"]["allocation"]] == list(range(15, 25))
    assert answer["data"]["counters"] == {"AllocationSetSaved": 25}
    assert api.log(limit="1", window="7d")["data"]["counters"] == {"AllocationSetSaved": 25}


def test_a_kind_filters_lists_and_counters(api: Api, fill: Fill) -> None:
    """By any text in its name; several by comma."""
    fill(every_kind())

    for kind, allocation, asset in (
        ("AssetSet", [], EVERY_ACTION),
        ("Saved", ["Saved"], ["Saved"]),
        ("AllocationSetSaved", ["Saved"], []),
        ("Error", EVERY_ACTION[-2:], EVERY_ACTION[-2:]),
        (" AssetSetLoaded , AllocationSetTotaled ,", ["Totaled"], ["Loaded"]),
        ("", EVERY_ACTION, EVERY_ACTION),
        (",", EVERY_ACTION, EVERY_ACTION),
    ):
        answer = api.log(kind=kind)

        assert kinds_of(answer) == {
            "allocation": [f"AllocationSet{name}" for name in allocation],
            "asset": [f"AssetSet{name}" for name in asset],
        }
        assert list(answer["data"]["counters"].items()) == [
            *((f"AllocationSet{name}", 1) for name in sorted(allocation)),
            *((f"AssetSet{name}", 1) for name in sorted(asset)),
        ]
        assert "warning" not in answer


def test_a_kind_that_does_not_exist_is_told(api: Api, fill: Fill) -> None:
    """The answer is empty, which would mislead without a word; what is known stands in it."""
    fill(every_kind())

    answer = api.log(kind="allocationset")
    assert answer["data"] == {"allocation": [], "asset": [], "counters": {}}
    assert answer["warning"].startswith("no kind contains 'allocationset'; the kinds are AllocationSetLoaded, ")
    assert "AssetSetReconcileError" in answer["warning"]
    assert list(answer) == ["code", "data", "warning"]

    answer = api.log(kind='Saved,"x",y')
    assert kinds_of(answer) == {"allocation": ["AllocationSetSaved"], "asset": ["AssetSetSaved"]}
    assert answer["warning"].startswith("no kind contains '\"x\"', 'y'; ")


def test_a_window_is_exact(api: Api, fill: Fill) -> None:
    """By the time of the event, the start included, the end excluded, to the nanosecond."""
    events = [
        at("2022-06-03T10:00:00Z"),
        at("2022-06-03T10:00:00.000000001Z"),
        at("2022-06-03T10:00:00.1Z"),
        at("2022-06-03T10:00:00.999999999Z"),
        at("2022-06-03T10:00:01Z"),
        at("0900-01-01T00:00:00Z"),  # the log is in the order of arrival
    ]
    fill(events)

    for window, expected in (
        ("2022-06-03T10:00:00Z,2022-06-03T10:00:01Z", [0, 1, 2, 3]),
        ("2022-06-03T10:00:00.000000001Z,2022-06-03T10:00:00.999999999Z", [1, 2]),
        ("2022-06-03T10:00:00.1Z,2022-06-03T10:00:00.100000001Z", [2]),
        ("2022-06-03T10:00:01Z,", [4]),
        (",2022-06-03T10:00:00.000000001Z", [0, 5]),
        ("1654250400,1654250401", [0, 1, 2, 3]),
        ("2022-06-03T12:00:00+02:00,2022-06-03T12:00:01+02:00", [0, 1, 2, 3]),
    ):
        found = api.get(params={"window": window}).content
        assert b'"allocation":[%b]' % b",".join(events[i] for i in expected) in found


@pytest.mark.parametrize(
    ("zone", "first", "last"),
    [
        ("UTC", "2022-06-03T00:00:00Z", "2022-06-03T23:59:59.999999999Z"),
        ("Europe/Berlin", "2022-06-03T22:00:00Z", "2022-06-04T21:59:59.999999999Z"),
        ("-05:00", "2022-06-03T05:00:00Z", "2022-06-04T04:59:59.999999999Z"),
    ],
)
def test_the_zone_decides_what_today_is(serving: Serving, fill: Fill, zone: str, first: str, last: str) -> None:
    """At 23:30 UTC it is tomorrow in Berlin already."""
    before, after = (
        timestamps.from_nanoseconds(timestamps.to_nanoseconds(time) + step) for time, step in ((first, -1), (last, 1))
    )
    fill([at(time) for time in (before, first, last, after)])

    with serving(timezone=parse_timezone(zone), clock=datetime(2022, 6, 3, 23, 30, tzinfo=UTC).astimezone) as api:
        assert [event["time"] for event in api.log(window="today")["data"]["allocation"]] == [first, last]


def test_a_limit_gives_the_newest_of_each_category(api: Api, fill: Fill) -> None:
    """Still oldest first, after all other filters."""
    fill([saved(size, prefix) for size in range(5) for prefix in ("AllocationSet", "AssetSet")] + every_kind())

    data = api.log(limit="2", kind="Saved")["data"]

    assert [event["metadata"]["size"] for event in data["allocation"]] == [4, 1]
    assert [event["metadata"]["size"] for event in data["asset"]] == [4, 1]
    assert len(api.log(limit="999999999")["data"]["asset"]) == 5 + len(ACTIONS)


def test_a_window_beyond_a_full_list_is_told(api: Api, fill: Fill) -> None:
    """Up to when events may be missing, for every category to which that matters."""
    fill([at(f"2022-06-03T10:00:0{second}Z") for second in range(8)] + [saved(prefix="AssetSet")], cap=5)
    told = "allocation holds only the last 5 events: up to 2022-06-03T10:00:05Z, some may be missing"

    def warning(**parameters: str) -> str | None:
        found: str | None = api.log(**parameters).get("warning")
        return found

    assert warning(window="2022-06-03T10:00:02.999999999Z,") == told
    assert warning(window=",2022-06-03T10:00:05Z") == told
    assert warning(window="2022-06-03T10:00:02Z,", limit="5", kind="AllocationSet") is None  # the newest five are there
    assert warning(window="2022-06-03T10:00:02Z,", limit="6") == told
    assert warning(window="2022-06-03T10:00:05Z,") == told
    assert warning(window="2022-06-03T10:00:05.000000001Z,") is None
    assert warning(window="2022-06-03T10:00:00Z,", kind="AssetSet") is None
    assert warning() is None


def test_late_events_do_not_make_a_list_look_complete(api: Api, fill: Fill) -> None:
    """A list begins with what came out of a spool, an hour late: what it let go of is newer than that."""
    fill([at(f"2022-06-03T10:0{minute}:00Z") for minute in range(5)], cap=5)
    fill([at("2022-06-03T09:00:00Z"), at("2022-06-03T09:00:01Z")])
    fill([at(f"2022-06-03T10:0{minute}:00.5Z") for minute in (5, 6, 7)])
    told = "allocation holds only the last 5 events: up to 2022-06-03T10:05:00.5Z, some may be missing"

    gone = api.log(window="2022-06-03T10:00:00Z,2022-06-03T10:05:00Z")

    assert gone["data"]["allocation"] == []
    assert gone["warning"] == told
    assert "warning" not in api.log(window="2022-06-03T10:05:00.500000001Z,")


def test_a_parameter_that_cannot_be_understood_is_refused(api: Api) -> None:
    """In the envelope of an error; a window in OpenCost's words, which clients know."""
    for query, message in (
        ("window=7y", "illegal window: 7y"),
        ("window=%ff", "illegal window: \ufffd"),
        ("limit=0", "limit must be a whole number of at least 1, not '0'"),
        ("kind=a&kind=b", "the parameter kind is given 2 times; give it once"),
    ):
        answer = api.get(f"/model/etl/log?{query}")

        assert answer.status_code == 400
        assert answer.headers["Content-Type"] == "application/json"
        assert answer.content == f'{{"code":400,"message":"{message}"}}'.encode()
