"""The page's pure modules, run in the browser that runs the page: coverage, bars, times, streams, health, address."""

from typing import Any

import httpx
import pytest
from playwright.sync_api import Page
from support.apis import api_process
from support.servers import Server

from browser.conftest import run

HOUR = 3_600_000


def item(action: str, hour: int, at: float | None = None, **more: Any) -> dict[str, Any]:
    """An event of the set of an hour, by default a minute after it ended; `at` is in hours."""
    ms = (hour + 1) * HOUR + 60_000 if at is None else at * HOUR
    return {"action": action, "start": hour * HOUR, "end": (hour + 1) * HOUR, "ms": ms, "ns": 0, **more}


def states(page: Page, items: list[dict[str, Any]], now: float | None = None) -> dict[str, str]:
    """The row of each stage, a letter a window: Done, Recovered, Failed, Missing, not yet due (w), or `.`."""
    given = {"items": items, "now": None if now is None else now * HOUR}
    groups = run(page, "coverage", "m.coverage([{name: 'allocation', items: given.items}], given.now)", given)
    letters = {"done": "D", "recovered": "R", "failed": "F", "missing": "M", "due": "w", "none": "."}
    rows = groups[0]["categories"][0]["rows"]
    return {row["stage"]: "".join(letters[cell["state"]] for cell in row["cells"]) for row in rows}


def test_a_stage_is_missing_between_two_windows_for_which_it_was_done(blank: Page) -> None:
    """Also when the window has no event at all."""
    items = [item("Saved", hour) for hour in (0, 1, 3, 5)] + [item("Loaded", hour) for hour in (0, 1, 2, 3, 5)]
    assert states(blank, items)["Saved"] == "DDMDMD"
    assert states(blank, items)["Loaded"] == "DDDDMD"


def test_a_stage_that_was_never_done_is_not_expected(blank: Page) -> None:
    """Nor is one before its first window."""
    items = [item("Saved", hour) for hour in range(3)] + [item("Totaled", hour) for hour in (1, 2)]
    found = states(blank, items)
    assert found["Reconciled"] == "..."
    assert found["Totaled"] == ".DD"


def test_what_comes_late_is_not_yet_due_and_then_missing(blank: Page) -> None:
    """It usually comes a minute after the hour: half an hour later it is missing, and the running hour is not."""
    items = [item("Saved", hour) for hour in range(4)]
    assert states(blank, items, now=5.2)["Saved"] == "DDDDww"
    assert states(blank, items, now=5.6)["Saved"] == "DDDDMw"
    assert states(blank, items, now=None)["Saved"] == "DDDD"


def test_a_log_at_rest_is_expected_to_go_on_for_twelve_windows_at_most(blank: Page) -> None:
    """A log of last year does not grow a column an hour."""
    items = [item("Saved", hour) for hour in range(4)]
    assert states(blank, items, now=9_000)["Saved"] == "DDDD" + 12 * "M"


def test_a_compute_error_is_that_of_the_stage_which_usually_comes_next(blank: Page) -> None:
    """It names none; after Saved comes Loaded."""
    done = [item(action, hour, hour + 1 + n / 100) for hour in range(3) for n, action in enumerate(("Saved", "Loaded"))]
    items = [*done, item("Saved", 3, 4.0), item("ComputeError", 3, 4.1, error="disk full")]
    found = states(blank, items)
    assert (found["Saved"], found["Loaded"]) == ("DDDD", "DDDF")


def test_a_later_success_recovers_a_failure(blank: Page) -> None:
    """And a failure after a success fails."""
    items = [item("Reconciled", 0), item("ReconcileError", 1, 2.1, error="e"), item("Reconciled", 1, 2.2)]
    assert states(blank, items)["Reconciled"] == "DR"
    items += [item("ReconcileError", 1, 2.3, error="again")]
    assert states(blank, items)["Reconciled"] == "DF"


def test_windows_are_compared_with_those_of_their_length(blank: Page) -> None:
    """A day's set says nothing of an hour's."""
    day = {"action": "Totaled", "start": 0, "end": 24 * HOUR, "ms": 24 * HOUR, "ns": 0}
    groups = run(blank, "coverage", "m.coverage([{name: 'a', items: given}], null)", [item("Saved", 3), day])
    assert [group["length"] for group in groups] == [HOUR, 24 * HOUR]


def test_a_long_silence_is_one_break(blank: Page) -> None:
    """And one problem."""
    items = [item("Saved", hour) for hour in (0, 1, 500, 501)]
    assert states(blank, items)["Saved"] == "DDMDD"
    expression = "m.problems(m.coverage([{name: 'a', items: given}], null)).map((one) => one.window.skipped)"
    assert run(blank, "coverage", expression, items) == [498]


def test_bars_hold_every_event_once(blank: Page) -> None:
    """Whatever the width of the bars."""
    items = [{"ms": 1_000_000 + 777 * n, "action": "Saved" if n % 7 else "ComputeError"} for n in range(500)]
    for most in (5, 40, 120):
        given = {"items": items, "from": items[0]["ms"], "to": items[-1]["ms"], "most": most}
        found = run(blank, "buckets", "m.buckets(given.items, given.from, given.to, given.most)", given)
        assert sum(bar["total"] for bar in found["bars"]) == 500
        assert sum(bar["counts"].get("ComputeError", 0) for bar in found["bars"]) == 72
        assert len(found["bars"]) <= most + 1


def test_times_are_read_to_the_nanosecond_and_written_in_a_zone(blank: Page) -> None:
    """With ticks on the round times of that zone."""
    at = run(blank, "times", "m.parseTime('2022-06-03T17:07:54.092619416Z')")
    assert at == {"ms": 1654276074092, "ns": 619416}
    assert run(blank, "times", "m.clock(1654276074092, 'Asia/Kolkata')") == "22:37:54"
    assert run(blank, "times", "m.offset(1654276074092, 'Asia/Kolkata')") == 5.5 * HOUR
    assert run(blank, "times", "m.clock(1654276074092, '+05:30')") == "22:37:54"
    assert run(blank, "times", "[80000, 1000, 3660000, 500].map(m.duration)") == [
        "1 min 20 s",
        "1 s",
        "1 h 1 min",
        "500 ms",
    ]
    assert run(blank, "times", "[10000, 60000, 3.6e6, 8.64e7].map(m.lengthName)") == ["10 s", "minute", "hour", "day"]


def test_a_stream_is_understood_wherever_it_is_cut(blank: Page) -> None:
    """Each character may come alone."""
    text = ': connected\n\nid: 5-0\ndata: {"kind":1}\n\nevent: resync\nid: 6-0\ndata: gone\n\n'
    expression = "(() => { const p = m.parser(); return [...given].flatMap((c) => p.push(c)); })()"
    assert run(blank, "sse", expression, text) == [
        {"id": "5-0", "event": "message", "data": '{"kind":1}'},
        {"id": "6-0", "event": "resync", "data": "gone"},
    ]


@pytest.mark.parametrize(
    ("one", "other", "after"),
    [
        ("5-0", "5-0", False),
        ("5-1", "5-0", True),
        ("5-10", "5-9", True),
        ("10-0", "9-5.3", True),
        ("5-0.1", "5-0", True),
        ("5-0", "5-0.1", False),
        ("5-0.10", "5-0.9", True),
        ("5-0.9", "5-0.10", False),
        ("5-1", "5-0.499", True),
        ("5-0.498", "5-0.499", False),
    ],
)
def test_ids_order_as_the_events_do(blank: Page, one: str, other: str, after: bool) -> None:
    """Those of entries, and of the events in one."""
    assert run(blank, "ids", "m.isAfter(...given)", [one, other]) == after


def test_what_an_answer_holds_does_not_come_again_live(blank: Page) -> None:
    """It holds all of the last entry, however many events that has."""
    expression = """(() => {
        const event = (n) => ({kind: 'AssetSetTotaled', metadata: {n}, time: '2022-06-03T17:07:54Z'});
        const model = new m.Model({asset: 'AssetSet'}, 1000);
        model.replace({data: {asset: [event(1), event(2)], counters: {AssetSetTotaled: 2}}, cursor: '1-0.499'});
        model.add(given.map((id, n) => ({id, event: event(10 + n)})));
        return [model.categories.get('asset').map(({event}) => event.metadata.n), model.total];
    })()"""
    ids = ["1-0", "1-0.1", "2-0", "2-0", "2-0.1", "2-0.2", "2-0.1", "2-1"]
    assert run(blank, "model", expression, ids) == [[1, 2, 12, 14, 15, 17], 6]


def test_a_stream_that_breaks_off_in_an_entry_is_resumed_there(blank: Page) -> None:
    """The page tells which event it has last, and what it is sent a second time is passed over."""
    expression = """(async () => {
        const asked = [], got = [], opened = [];
        const original = window.fetch;
        window.fetch = async (path, { headers }) => {
            asked.push(headers['Last-Event-ID'] ?? null);
            const body = given[asked.length - 1];
            return new Response(body, { headers: { 'Content-Type': 'text/event-stream' } });
        };
        const ended = new Promise((resolve) => {
            const stream = new m.Stream('model/etl/log/stream', {
                open: (resumed) => opened.push(resumed),
                events: (events) => got.push(...events.map(({ id, event }) => [id, event.n])),
                lost: () => { if (asked.length === given.length) { stream.stop(); resolve(); } },
            });
            stream.start();
        });
        await ended;
        window.fetch = original;
        return [asked, got, opened];
    })()"""
    bodies = [
        ': connected\nid: 4-0.499\n\nid: 5-0\ndata: {"n":0}\n\nid: 5-0.1\ndata: {"n":1}\n\nid: 5-0.2\ndata: {"n"',
        ': connected\n\nid: 5-0.1\ndata: {"n":1}\n\nid: 5-0.2\ndata: {"n":2}\n\nid: 5-0.10\ndata: {"n":10}\n\n',
        ': connected\n\nid: 5-0.9\ndata: {"n":9}\n\nid: 6-0\ndata: {"n":11}\n\n',
    ]
    asked, got, opened = run(blank, "stream", f"await {expression}", bodies)
    assert asked == [None, "5-0.1", "5-0.10"]
    assert got == [["5-0", 0], ["5-0.1", 1], ["5-0.2", 2], ["5-0.10", 10], ["6-0", 11]]
    assert opened == [False, True, True]


@pytest.mark.parametrize(("cap", "held", "kept"), [(5000, 5000, 5000), (10, 10, 10), (10, 3, 5), (10, 20, 20)])
def test_the_page_keeps_as_many_events_as_the_lists(blank: Page, cap: int, held: int, kept: int) -> None:
    """Of `held` events and two that come live, the newest; never fewer than the API has answered."""
    expression = """(() => {
        const event = (n) => ({kind: 'AssetSetTotaled', metadata: {n}, time: '2022-06-03T17:07:54Z'});
        const model = new m.Model({asset: 'AssetSet'}, given.cap);
        const asset = Array.from({length: given.held}, (_, n) => event(n));
        model.replace({data: {asset, counters: {}}, cursor: '1-0'});
        model.add([{id: '2-0', event: event(-1)}, {id: '3-0', event: event(-2)}]);
        const items = model.categories.get('asset');
        return [items.length, items.at(-1).event.metadata.n];
    })()"""
    assert run(blank, "model", expression, {"cap": cap, "held": held}) == [kept, -2]


def test_the_page_is_told_the_cap_of_the_lists(page_store: Server) -> None:
    """With the other settings that it needs."""
    with api_process(page_store.url, cap="5000") as api:
        assert '"cap":5000' in httpx.get(f"{api.url}/static/settings.js").text


def test_the_address_keeps_the_view(blank: Page) -> None:
    """There and back; what is not set is not in it."""
    view = {
        "log": "nightly",
        "window": "24h",
        "kinds": ["AssetSetSaved"],
        "category": "asset",
        "q": "a&b",
        "set": "x/y",
        "zone": "pipeline",
    }
    assert run(blank, "url", "m.fromAddress(m.toAddress(given))", view) == view
    assert run(blank, "url", "m.toAddress(m.fromAddress(''))") == ""


STATUS = {
    "lag": 0,
    "lag_unit": "events",
    "oldest_unapplied": None,
    "active_consumer": "c",
    "stats": {"applied": 5, "dead": 0, "lost": 0},
}

#: The status of a log of whose losses and dead letters three are acknowledged.
KNOWN = {
    "acknowledged": {"lost": 3, "dead": 3},
    "acknowledgements": {
        "lost": {"by": "ana@ops", "reason": "Disk full."},
        "dead": {"by": "ben@ops", "reason": "Typo."},
    },
}

ENTRIES = {**STATUS, "oldest_unapplied": 61.0, "lag_unit": "entries"}


@pytest.mark.parametrize(
    ("given", "level", "words"),
    [
        ({"status": STATUS}, "ok", "Healthy"),
        ({"status": STATUS, "failed": 2}, "bad", "2 steps failed"),
        ({"status": STATUS, "missing": 1}, "bad", "1 step is missing"),
        ({"status": {**STATUS, "oldest_unapplied": 61.0, "lag": 7}}, "bad", "7 events wait, the oldest for 1 min 1 s"),
        ({"status": {**ENTRIES, "lag": 7}}, "bad", "7 entries wait, the oldest for 1 min 1 s"),
        ({"status": {**ENTRIES, "lag": 1}}, "bad", "1 entry waits, the oldest for 1 min 1 s"),
        ({"status": {**ENTRIES, "lag": None}}, "bad", "Events wait, the oldest for 1 min 1 s"),
        ({"status": {**STATUS, "oldest_unapplied": 1.0, "lag": 1, "active_consumer": None}}, "bad", "no consumer"),
        ({"status": {**STATUS, "stats": {"dead": 3}}}, "warn", "3 events were refused"),
        ({"status": {**STATUS, "stats": {"lost": 1}}}, "bad", "1 event of this log was lost"),
        ({"status": {**STATUS, **KNOWN, "stats": {"lost": 3, "dead": 3}}}, "ok", "Healthy"),
        ({"status": {**STATUS, **KNOWN, "stats": {"lost": 3}}, "missing": 1}, "bad", "1 step is missing"),
        ({"status": {**STATUS, **KNOWN, "stats": {"dead": 4}}}, "warn", "4 events were refused, 3 of them acknow"),
        ({"status": {**STATUS, **KNOWN, "stats": {"lost": 5}}}, "bad", "5 events of this log were lost, 3 of them ack"),
        ({"problem": {"status": 0, "message": "the API does not answer"}}, "bad", "The API is unreachable"),
        ({"problem": {"status": 503, "message": "gone"}}, "bad", "The store is unreachable"),
    ],
)
def test_health_says_what_is_bad_in_words(blank: Page, given: dict[str, Any], level: str, words: str) -> None:
    """The worst first."""
    verdict = run(blank, "health", "m.judge(given)", given)
    assert verdict["level"] == level
    assert words in verdict["headline"]


def test_health_says_who_has_acknowledged_what_is_lost_and_why(blank: Page) -> None:
    """In the place of what to do about it."""
    found = run(blank, "health", "m.judge(given)", {"status": {**STATUS, **KNOWN, "stats": {"lost": 3, "dead": 4}}})

    assert [(reason["level"], reason["text"], reason["next"]) for reason in found["reasons"]] == [
        ("warn", "4 events were refused, 3 of them acknowledged by ben@ops.", "See them and why: etlog dead list"),
        ("ok", "3 events of this log were lost, acknowledged by ana@ops.", "Disk full."),
    ]
