"""`set=` tells the story of a set: its events in the lists, and what of it they do not show."""

from typing import Any

import orjson
import pytest
import redis
from etlog_api.log import dead_letters
from etlog_events.event import Event
from etlog_events.keys import Keys
from etlog_ledger.reading import coverage, ledger
from support.apis import Api, Fill
from support.stream import dead

HOURS = [f"2022-06-03T{hour:02}:00:00Z" for hour in range(24)]


def saved(hour: int, prefix: str = "AllocationSet", action: str = "Saved", **more: Any) -> bytes:
    """An event of the set of an hour; a later one each time."""
    return Event.new(prefix + action, size=hour, window=(HOURS[hour], HOURS[hour + 1]), time=HOURS[20], **more).encode()


def asked(api: Api, of: str, **parameters: str) -> tuple[list[bytes], list[str]]:
    """The events that are shown, and the warnings."""
    answer = api.log(set=of, **parameters)
    events = [orjson.dumps(each) for category in ("allocation", "asset") for each in answer["data"][category]]
    return events, answer["warning"].split("; ") if "warning" in answer else []


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every request reads the ledger."""
    monkeypatch.setattr(coverage, "AGAIN", 0.0)


def test_the_events_of_the_sets_that_overlap_are_shown(api: Api, fill: Fill) -> None:
    """The window's end excluded; in any spelling, and with all other filters."""
    day = Event.new("AllocationSetAggregated", size=9, window=(HOURS[0], HOURS[23]), time=HOURS[21]).encode()
    windowless = Event.new("AssetSetComputeError", error="no disk").encode()
    fill([*(saved(hour) for hour in range(8, 14)), saved(10, "AssetSet", "Totaled"), day, windowless])
    hour = f"{HOURS[10]},{HOURS[11]}"
    story = [saved(10), day, saved(10, "AssetSet", "Totaled")]

    for spelling in (hour, hour.replace(",", "/"), "2022-06-03T12:30:00.0+02:00,2022-06-03T10:30:00.001z"):
        assert asked(api, spelling) == (story, [])
    assert asked(api, f"{HOURS[9]}/{HOURS[11]}", kind="AllocationSetSaved") == ([saved(9), saved(10)], [])
    assert asked(api, hour, limit="1") == (story[1:], [])
    assert asked(api, hour, window=f"{HOURS[20]},{HOURS[21]}") == ([story[0], story[2]], [])
    assert asked(api, "2030-01-01T00:00:00Z,2030-01-02T00:00:00Z") == ([], [])
    assert len(asked(api, "")[0]) == 9
    assert api.log(set=hour)["data"]["counters"] == api.log()["data"]["counters"]


def test_what_the_lists_no_longer_hold_is_told(api: Api, fill: Fill) -> None:
    """By what the ledger knows of these sets, of the kinds that are asked for."""
    fill([saved(10), saved(10, action="Loaded"), saved(11), saved(12), saved(10, "AssetSet")], cap=2)
    hour = f"{HOURS[10]},{HOURS[11]}"

    assert asked(api, hour) == (
        [saved(10, "AssetSet")],
        ["allocation still holds 0 of the 2 events of these sets"],
    )
    assert asked(api, hour, kind="Loaded")[1] == ["allocation still holds 0 of the 1 events of these sets"]
    assert asked(api, hour, kind="AssetSet")[1] == []
    assert asked(api, f"{HOURS[11]},{HOURS[13]}", limit="1") == ([saved(12)], [])


def test_refused_events_that_may_belong_to_a_set_are_named(
    api: Api, fill: Fill, client: redis.Redis, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the windows that their bytes name, whatever else these are; among the newest dead letters."""
    at = b'"start": "%b","end":"%b"'
    span = (HOURS[10].encode(), HOURS[11].encode())
    fill(
        [
            saved(10),
            b'{"kind":"AllocationSetSave","metadata":{"size":1,"window":{' + at % span + b"}}",
            b'\xff "end" : "2022-06-03T13:00:00+02:00" , "start" : "2022-06-03T12:00:00+02:00"',
            at % (HOURS[11].encode(), HOURS[12].encode()),
            at % (b"10 o'clock", b"11"),
            b"nothing of a window",
        ]
    )
    ids = [letter[b"id"].decode() for letter in dead(client, keys)][:2]

    assert asked(api, f"{HOURS[10]},{HOURS[11]}") == (
        [saved(10)],
        [f"2 events were refused that may belong to these sets: {', '.join(ids)} (see 'etlog dead')"],
    )

    monkeypatch.setattr(dead_letters, "AT_ONCE", 2)
    assert ids[0] in api.log(set=f"{HOURS[10]},{HOURS[11]}")["warning"]
    monkeypatch.setattr(dead_letters, "MOST_LETTERS", 4)
    assert "1 event was refused" in api.log(set=f"{HOURS[10]},{HOURS[11]}")["warning"]
    assert "warning" not in api.log(set=f"{HOURS[2]},{HOURS[3]}")


def test_a_ledger_that_cannot_be_read_is_told(api: Api, fill: Fill, monkeypatch: pytest.MonkeyPatch) -> None:
    """The events that are listed are shown nonetheless."""
    fill([saved(10)])

    async def read(_: ledger.LedgerReader) -> ledger.Ledger:
        raise redis.ConnectionError("gone")

    monkeypatch.setattr(ledger.LedgerReader, "read", read)

    assert asked(api, f"{HOURS[10]},{HOURS[11]}") == (
        [saved(10)],
        ["the ledger cannot be read at present: it may know of more events of these sets"],
    )


#: None of these is a start and an end.
NO_SPANS = (
    *("x", "24h", HOURS[10], f"{HOURS[10]},", f",{HOURS[10]}", f"{HOURS[10]}-{HOURS[11]}"),
    *(f"{HOURS[10]},{HOURS[10]}", f"{HOURS[11]}/{HOURS[10]}", f"{HOURS[10]},{HOURS[11]},{HOURS[12]}"),
    f"{HOURS[10]},2022-06-31T00:00:00Z",
)


def test_what_is_not_a_window_of_a_set_is_refused(api: Api) -> None:
    """With an example of one."""
    for text in NO_SPANS:
        answer = api.get(params={"set": text})
        assert answer.status_code == 400
        assert answer.json()["message"] == (
            "set must be the start and the end of a window, such as "
            f"2022-06-03T10:00:00Z,2022-06-03T11:00:00Z, not {text[:80]!r}"
        )
    assert api.get("/model/etl/log?set=a&set=b").json()["message"] == "the parameter set is given 2 times; give it once"
