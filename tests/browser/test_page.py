"""The page on a live log: its numbers, its filters, its keys, and what it takes to show it."""

import re
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from etlog_events.keys import Keys
from etlog_events.store import connect
from etlog_ledger.marks import Mark, encode
from etlog_producer.publish import Identity, Publisher
from playwright.sync_api import Page, Route, expect
from support.apis import api_process
from support.consumers import catch_up, consumer_thread
from support.samples import saved
from support.servers import Server

from browser.conftest import Log, NewPage

HOUR = timedelta(hours=1)

LIST_TOTAL = re.compile(r"([\d,]+) of ([\d,]+) event")

CLS = """() => { window.shift = 0; new PerformanceObserver((list) => {
    for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shift += entry.value;
}).observe({ type: 'layout-shift' }); }"""


def shown(page: Page) -> tuple[int, int]:
    """How many events the list shows, and of how many."""
    match = LIST_TOTAL.match(page.locator("#shown").inner_text())
    assert match
    return int(match[1].replace(",", "")), int(match[2].replace(",", ""))


def wait_for_shown(page: Page, number: int) -> None:
    """Wait until the list shows so many events."""
    expect(page.locator("#shown")).to_have_text(re.compile(rf"^{number:,} of "))


def test_every_number_is_that_of_the_api(page: Page, log: Log) -> None:
    """Figures, chips, counters, cells, list and timeline, after events that came live."""
    log.fill(9, leave_out=4)
    log.emit("AssetSetComputeError", error="disk full")
    log.client.xadd(log.keys.events, {"event": "no event"})
    log.caught_up()
    data = log.answer()
    events = data["allocation"] + data["asset"]
    wait_for_shown(page, len(events))
    status = httpx.get(f"{log.api.url}/model/etl/status").json()["data"]
    expect(page.locator("#m-applied .value")).to_have_text(str(status["stats"]["applied"]), timeout=30_000)
    expect(page.locator("#m-dead .value")).to_have_text("1")
    expect(page.locator("#m-lost .value")).to_have_text("0")
    expect(page.locator("#m-lag .value")).to_have_text("0")
    expect(page.locator("#m-errors .value")).to_have_text("1")
    expect(page.locator("#m-consumer .note")).to_have_text(status["active_consumer"])
    for kind, number in data["counters"].items():
        expect(page.locator(f"#counts tr[data-kind={kind}] .number")).to_have_text(str(number))
        expect(page.locator(f"[data-kind={kind}] .count")).to_have_text(str(number))
    assert page.locator("#counts tbody tr").count() == len(data["counters"])
    assert page.locator(".grid .done").count() == len(data["allocation"])
    assert page.locator(".grid .missing").count() == 1
    titles = page.locator("#bars g title").all_text_contents()
    assert sum(int(number) for title in titles for number in re.findall(r"^\w+ (\d+)$", title, re.M)) == len(events)
    expect(page.locator("#headline")).to_contain_text("1 step is missing.")
    assert page.locator("#sign").inner_text() == "✕"


def test_losses_alarm_only_beyond_those_that_are_acknowledged(new_page: NewPage, log: Log) -> None:
    """Who has acknowledged them, and why, stands in the place of the alarm."""
    log.client.hset(log.keys.stats, mapping={"lost": 3, "dead": 5})
    for number, category in ((3, "lost-events"), (4, "dead-letters")):
        mark = Mark(category, category, "acknowledged", "disk <b>full", "ana@ops", "2026-11-18T09:00:00Z", count=number)
        log.client.hset(log.keys.marks, mark.id, encode(mark))

    page = new_page(log.api.url)

    expect(page.locator("#headline")).to_have_text("5 events were refused, 4 of them acknowledged by ana@ops.")
    expect(page.locator("#reasons")).to_contain_text(
        "3 events of this log were lost, acknowledged by ana@ops. disk <b>full"
    )
    expect(page.locator("#m-lost .note")).to_have_text("acknowledged")
    expect(page.locator("#m-dead .note")).to_have_text("! refused")
    assert [page.locator(f"#m-{name}").get_attribute("data-level") for name in ("lost", "dead")] == ["ok", "warn"]


def test_a_missing_cell_leads_to_the_events_of_its_window(page: Page, log: Log) -> None:
    """Which is in words, in the address, and taken back by a button."""
    log.fill(6, leave_out=3)
    wait_for_shown(page, 11)
    cell = page.locator(".grid button.missing")
    assert "missing" in str(cell.get_attribute("aria-label"))
    assert cell.inner_text() == "?"
    cell.click()
    wait_for_shown(page, 1)
    assert parse_qs(urlsplit(page.url).query)["category"] == ["allocation"]
    expect(page.locator("#chosen")).to_contain_text("Only events of the set window")
    page.locator("#unset").click()
    wait_for_shown(page, 11)


def test_a_failed_cell_tells_its_error_and_recovers(page: Page, log: Log) -> None:
    """With a sign, a word and the text of the error."""
    log.fill(4)
    last = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    log.emit("AllocationSetReconcileError", last - HOUR, error="prices differ")
    expect(page.locator("#headline")).to_have_text("1 step failed.")
    expect(page.locator("#reasons")).to_contain_text("prices differ")
    expect(page.locator(".grid .failed")).to_have_text("✕")
    log.emit("AllocationSetReconciled", last - HOUR)
    expect(page.locator(".grid .recovered")).to_have_text("↻")
    expect(page.locator("#headline")).to_contain_text("Healthy")


def test_live_events_are_appended_and_pausing_counts_them(page: Page, log: Log) -> None:
    """Space pauses and resumes."""
    log.fill(3)
    wait_for_shown(page, 6)
    page.locator("body").press("Space")
    expect(page.locator("#pause")).to_have_text("Resume (0 new)")
    log.fill(2, prefix="AssetSet")
    expect(page.locator("#pause")).to_have_text("Resume (4 new)")
    expect(page.locator("#newer")).to_have_text("4 new events · resume")
    assert shown(page) == (6, 6)
    page.locator("body").press("Space")
    wait_for_shown(page, 10)
    assert page.locator("#pause").inner_text() == "Pause"


def test_the_events_of_an_entry_are_shown_once_each(page: Page, log: Log) -> None:
    """Live, where the log is read again meanwhile, and in the counters."""
    log.emit_together(5)
    wait_for_shown(page, 5)
    log.emit_together(3)
    wait_for_shown(page, 8)
    page.locator("#windows button[data-window='24h']").click()
    wait_for_shown(page, 0)
    page.locator("#windows button[data-window='']").click()
    wait_for_shown(page, 8)
    page.locator("#pause").click()
    log.emit_together(4)
    expect(page.locator("#pause")).to_have_text("Resume (4 new)")
    page.locator("#pause").click()
    wait_for_shown(page, 12)
    page.reload()
    wait_for_shown(page, 12)
    log.emit_together(2)
    wait_for_shown(page, 14)
    assert page.locator("#counts tr[data-kind=AssetSetSaved] .number").inner_text() == "14"


def test_what_waits_is_counted_in_events_or_entries(new_page: NewPage, page_store: Server) -> None:
    """As the numbers allow."""
    keys = Keys("default")
    with connect(page_store.url, part="test") as client, api_process(page_store.url) as api:
        client.flushdb()
        with consumer_thread(page_store.url, keys):
            client.xadd(keys.events, {"event": saved(0)})
            catch_up(client, keys)
        publisher = Publisher(client, keys)
        publisher(Identity("p"), 1, [saved(0), saved(1), saved(2)])
        page = new_page(api.url)
        expect(page.locator("#m-lag .value")).to_have_text("3")
        expect(page.locator("#m-lag .note")).to_contain_text("events, oldest")
        client.xadd(keys.events, {"event": saved(0), "event.1": saved(1)})
        expect(page.locator("#m-lag .value")).to_have_text("2")
        expect(page.locator("#m-lag .note")).to_contain_text("entries, oldest")
        expect(page.locator("#headline")).to_contain_text("2 entries wait and no consumer is at work")


def test_filters_agree_with_those_of_the_api(page: Page, log: Log) -> None:
    """Kind, category, text and window; they make the address, the JSON link and the curl line."""
    log.fill(5)
    log.fill(4, prefix="AssetSet")
    log.emit("AssetSetComputeError", error="needle in the hay")
    log.caught_up()
    wait_for_shown(page, 19)
    page.locator(".chip[data-kind=AssetSetSaved]").click()
    wait_for_shown(page, len(log.answer(kind="AssetSetSaved")["asset"]))
    assert "kind=AssetSetSaved" in page.url
    assert page.locator("#json").get_attribute("href") == "model/etl/log?kind=AssetSetSaved"
    assert page.locator("#curl").inner_text() == f"curl '{log.api.url}/model/etl/log?kind=AssetSetSaved'"
    page.locator(".chip[data-kind=AssetSetSaved]").click()
    page.locator(".chip.category[data-category=asset]").click()
    wait_for_shown(page, 9)
    page.locator("#search").fill("NEEDLE")
    wait_for_shown(page, 1)
    page.locator("#search").fill("")
    page.locator(".chip.category[data-category=asset]").click()
    page.locator("#windows button[data-window='1h']").click()
    data = log.answer(window="1h")
    wait_for_shown(page, len(data["allocation"]) + len(data["asset"]))
    page.locator("#window").fill("7y")
    page.locator("#window").press("Enter")
    expect(page.locator("#window-error")).to_have_text("illegal window: 7y")


def test_a_link_shows_a_colleague_the_same(page: Page, log: Log, new_page: NewPage) -> None:
    """And the way back leads back."""
    log.fill(5)
    wait_for_shown(page, 10)
    page.locator(".chip[data-kind=AllocationSetSaved]").click()
    page.locator("#windows button[data-window='24h']").click()
    page.locator("#zone").click()
    page.locator("#search").fill('"size":2')
    wait_for_shown(page, 1)
    other = new_page(page.url)
    wait_for_shown(other, 1)
    assert other.locator("#search").input_value() == '"size":2'
    assert other.locator("#window").input_value() == "24h"
    expect(other.locator("#zone")).to_have_text("Times: pipeline (UTC)")
    expect(other.locator(".chip[data-kind=AllocationSetSaved]")).to_have_attribute("aria-pressed", "true")
    page.go_back()
    expect(page.locator("#zone")).to_contain_text("yours")


def test_a_slow_answer_to_an_old_filter_never_overwrites_the_new_one(new_page: NewPage, log: Log) -> None:
    """Its request is cancelled when the view changes, not when it takes too long, and the new one does not wait."""
    log.fill(5)
    page = new_page("about:blank")
    page.add_init_script("AbortSignal.timeout = () => new AbortController().signal")
    page.goto(log.api.url)
    wait_for_shown(page, 10)
    slow: list[Route] = []

    def hold(route: Route) -> None:
        slow.append(route)

    page.route("**/model/etl/log?window=7d", hold)
    with page.expect_request("**/model/etl/log?window=7d"):
        page.locator("#windows button[data-window='7d']").click()
    with page.expect_event("requestfailed", lambda request: request.url.endswith("window=7d")) as cancelled:
        page.locator("#window").fill("2022-06-03T00:00:00Z,2022-06-04T00:00:00Z")
        page.locator("#window").press("Enter")
    assert "ERR_ABORTED" in str(cancelled.value.failure)
    expect(page.locator("#none")).to_have_text("No event in this window.")
    slow[0].continue_()
    page.unroute("**/model/etl/log?window=7d")
    page.locator("#windows button[data-window='24h']").click()
    wait_for_shown(page, 10)


def test_a_filter_of_a_link_can_be_taken_off(new_page: NewPage, log: Log) -> None:
    """What it hid was read too."""
    log.fill(5)
    page = new_page(f"{log.api.url}/?kind=AllocationSetSaved")
    expect(page.locator("#shown")).to_have_text("5 of 10 events")
    page.locator(".chip[data-kind=AllocationSetSaved]").click()
    expect(page.locator("#shown")).to_have_text("10 of 10 events")


def test_brushing_the_timeline_selects_a_window(page: Page, log: Log) -> None:
    """With the pointer, and with keys."""
    log.fill(8)
    wait_for_shown(page, 16)
    box = page.locator("#bars").bounding_box()
    assert box
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.8, box["y"] + 60)
    page.mouse.up()
    page.wait_for_url("**window=*")
    window = parse_qs(urlsplit(page.url).query)["window"][0]
    wait_for_shown(page, len(log.answer(window=window)["allocation"]))
    assert 0 < shown(page)[0] < 16
    page.locator("#windows button[data-window='']").click()
    wait_for_shown(page, 16)
    page.locator("#bars").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.wait_for_url("**window=*")
    window = parse_qs(urlsplit(page.url).query)["window"][0]
    wait_for_shown(page, len(log.answer(window=window)["allocation"]))


def test_the_keyboard_is_enough(page: Page, log: Log) -> None:
    """Search, move, unfold, copy, help."""
    log.fill(5)
    wait_for_shown(page, 10)
    body = page.locator("body")
    body.press("j")
    body.press("j")
    second = log.answer()["allocation"][-2]
    expect(page.locator(".item.selected .row")).to_have_attribute("aria-expanded", "false")
    page.keyboard.press("Enter")
    details = page.locator(".item.selected pre")
    assert f'"time": "{second["time"]}"' in details.inner_text()
    page.keyboard.press("k")
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(details).to_have_count(0)
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "search"
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    expect(page.locator("#keys")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#keys")).to_be_hidden()
    page.locator(".grid button[tabindex='0']").first.focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    page.wait_for_url("**set=*")


def test_text_of_events_is_never_markup(page: Page, log: Log) -> None:
    """In errors, in further metadata, in the address and in the search."""
    attack = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
    start = datetime(2022, 6, 3, 10, tzinfo=UTC)
    log.emit("AllocationSetComputeError", start, error=attack, metadata={attack: attack})
    expect(page.locator("#reasons")).to_contain_text("<img src=x")
    page.locator(".row").first.click()
    expect(page.locator(".details pre")).to_contain_text("<script>")
    page.locator("#search").fill(attack)
    page.locator("#window").fill(attack)
    page.locator("#window").press("Enter")
    expect(page.locator("#window-error")).to_contain_text("illegal window: <img")
    assert page.title() == "etlog"
    assert page.locator("main img, main script").count() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_telephone_in_light_and_dark(new_page: NewPage, log: Log, scheme: str) -> None:
    """Nothing is wider than 375 px, and the background follows the preference."""
    log.fill(30, leave_out=3)
    page = new_page(log.api.url, viewport={"width": 375, "height": 700}, color_scheme=scheme)
    wait_for_shown(page, 59)
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(int(part) for part in re.findall(r"\d+", background)) > 380) == (scheme == "light")
    expect(page.locator(".row").first).to_be_visible()


def test_no_word_is_cut_off_on_a_telephone(new_page: NewPage, log: Log) -> None:
    """Neither the link to further problems nor what an error says."""
    start = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - HOUR
    for prefix in ("AllocationSet", "AssetSet"):
        for hours in (1, 2):
            error = "SetUnreadable: asset/10s/2026-11-25T19-17-00Z.json holds no set: unexpected end"
            log.emit(prefix + "ReconcileError", start - hours * HOUR, error=error)
    log.caught_up()
    page = new_page(log.api.url, viewport={"width": 375, "height": 700})
    expect(page.locator("#more")).to_have_text("and 1 more in the coverage below")
    wider = "(node) => node.scrollWidth > node.clientWidth"
    assert not page.locator(".verdict").evaluate(wider)
    assert not any(why.evaluate(wider) for why in page.locator(".why").all())


def test_a_grid_that_fits_shows_its_first_column_whole(new_page: NewPage, log: Log) -> None:
    """The time above the last column reaches beyond it, which is no reason to scroll."""
    for ago in range(30, -1, -1):
        start = datetime(2022, 6, 3, 6, tzinfo=UTC) - ago * HOUR
        log.emit("AssetSetSaved", start, size=1, time=start + HOUR)
    log.caught_up()
    page = new_page(f"{log.api.url}/?window=2022-06-01T00:00:00Z,2022-06-04T00:00:00Z", timezone_id="UTC")
    expect(page.locator(".grid thead span").last).to_have_text("06:00")
    assert page.locator(".group .scroller").evaluate("(node) => node.scrollWidth <= node.clientWidth")


def test_live_events_move_nothing(page: Page, log: Log) -> None:
    """The layout stays where it is, and who reads further down keeps their place."""
    log.fill(40)
    wait_for_shown(page, 80)
    page.locator("#list").evaluate("(list) => { list.scrollTop = 640; }")
    log.emit("AllocationSetSaved", datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - HOUR, size=1)
    expect(page.locator("#newer")).to_have_text("↑ 1 new event")
    assert page.locator("#list").evaluate("(list) => list.scrollTop") == 672
    page.locator("#newer").click()
    page.evaluate(CLS)
    for number in range(12):
        log.emit("AllocationSetSaved", datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - HOUR, size=number)
    wait_for_shown(page, 93)
    assert page.evaluate("window.shift") < 0.005


@pytest.mark.timed
def test_two_thousand_events_are_few_elements(new_page: NewPage, log: Log) -> None:
    """Only the rows in sight exist; the last one is reached by scrolling."""
    at = datetime(2026, 1, 1, tzinfo=UTC)
    for prefix in ("AllocationSet", "AssetSet"):
        for number in range(1000):
            log.emit(prefix + "Saved", at + number * HOUR, size=number, time=at + (number + 1) * HOUR)
    log.caught_up()
    page = new_page(log.api.url)
    wait_for_shown(page, 2000)
    assert page.locator("#list .item").count() < 60
    took = page.locator("#list").evaluate(
        """async (list) => { const begin = performance.now(); for (let y = 0; y < list.scrollHeight; y += 1600) {
        list.scrollTop = y; await new Promise(requestAnimationFrame); } list.scrollTop = list.scrollHeight;
        return (performance.now() - begin) / (list.scrollHeight / 1600); }"""
    )
    assert took < 100  # milliseconds a frame, on a busy machine
    expect(page.locator("#list [aria-posinset='2000']")).to_be_visible()


@pytest.mark.timed
def test_it_is_small_and_soon_there(new_page: NewPage, log: Log) -> None:
    """At most 48 KiB cross the network, none from elsewhere, and there is something to see within 300 ms."""
    log.fill(3)
    page = new_page(log.api.url)
    wait_for_shown(page, 6)
    files = page.evaluate(
        "performance.getEntriesByType('resource').concat(performance.getEntriesByType('navigation'))"
        ".map(({ name, encodedBodySize }) => [name, encodedBodySize])"
    )
    assert all(name.startswith(log.api.url) for name, _ in files)
    static = [size for name, size in files if "/model/" not in name]
    assert min(static) > 0
    assert sum(static) <= 48 * 1024
    paints = []
    for _ in range(3):  # the machine may be busy
        page.reload()
        wait_for_shown(page, 6)
        paints.append(page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime"))
    assert min(paints) < 300


def test_files_are_kept_and_asked_for_again(log: Log) -> None:
    """By their tags, with the right types, and nothing else is given out."""
    first = httpx.get(f"{log.api.url}/static/app.js")
    assert first.headers["content-type"] == "text/javascript; charset=utf-8"
    assert first.headers["cache-control"] == "no-cache"
    again = httpx.get(f"{log.api.url}/static/app.js", headers={"If-None-Match": first.headers["etag"]})
    assert again.status_code == 304
    assert httpx.get(f"{log.api.url}/").headers["content-type"] == "text/html; charset=utf-8"
    assert httpx.get(f"{log.api.url}/static/..%2Fapp.py").status_code == 404
    assert httpx.get(f"{log.api.url}/static/nothing.js").status_code == 404


@pytest.mark.timed
def test_an_idle_page_does_next_to_nothing(page: Page, log: Log) -> None:
    """Of 6 s in which nothing happens, less than 5 % is work."""
    log.fill(40)
    wait_for_shown(page, 80)
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")

    def busy() -> float:
        metrics = session.send("Performance.getMetrics")["metrics"]
        return next(float(metric["value"]) for metric in metrics if metric["name"] == "TaskDuration")

    before = busy()
    page.wait_for_timeout(6000)
    assert busy() - before < 0.3


def test_the_bug_report_is_downloaded(page: Page, log: Log) -> None:
    """Under the name that the API gives it."""
    log.fill(1)
    with page.expect_download() as download:
        page.locator("#report").click()
    assert re.fullmatch(r"etlog-bugreport-\d{8}T\d{6}\.zip", download.value.suggested_filename)


def test_an_empty_log_says_how_to_begin(page: Page) -> None:
    """And a screen reader is told what there is."""
    expect(page.locator("#empty")).to_contain_text("etlog emit")
    expect(page.locator("#headline")).to_contain_text("nothing is logged yet")
    assert page.locator("#alarm").get_attribute("role") == "alert"
    assert page.locator("#shown").get_attribute("role") == "status"
    nameless = "(b) => b.checkVisibility() && !b.textContent.trim() && !b.ariaLabel"
    unnamed = f"[...document.querySelectorAll('button')].filter({nameless})"
    assert page.evaluate(f"{unnamed}.length") == 0
