"""The page when something is away: the API, the store, the stream, the token."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from playwright.sync_api import Page, expect
from support.apis import ApiProcess, api_process
from support.servers import Server

from browser.conftest import Log, NewPage, run

HOUR = timedelta(hours=1)


def show_count(page: Page, number: int) -> None:
    """Wait until the list shows so many events."""
    expect(page.locator("#shown")).to_have_text(re.compile(rf"^{number:,} of "), timeout=40_000)


def test_the_api_goes_and_comes_back(new_page: NewPage, log: Log, page_store: Server) -> None:
    """The page says so, keeps what it has, and shows what came meanwhile, each event once."""
    with api_process(page_store.url) as api:
        log.fill(3)
        page = new_page(api.url)
        expect(page.locator("#m-live .value")).to_have_text("live")
        show_count(page, 6)
        api.stop()
        expect(page.locator("#headline")).to_have_text("The API is unreachable.", timeout=40_000)
        expect(page.locator("#alarm")).to_have_text("The API is unreachable.")
        expect(page.locator("#reasons")).to_contain_text("etlog serve")
        show_count(page, 6)
        log.fill(2, prefix="AssetSet")
        api.start()
        show_count(page, 10)
        expect(page.locator("#headline")).to_contain_text("Healthy", timeout=40_000)
        expect(page.locator("#m-live .value")).to_have_text("live", timeout=40_000)
        log.fill(1, prefix="AssetSet")
        show_count(page, 12)
        assert page.locator("#counts tr[data-kind=AssetSetSaved] .number").inner_text() == "3"


def test_the_store_goes_and_comes_back(page: Page, log: Log) -> None:
    """What is shown is named the last known log."""
    log.fill(3)
    show_count(page, 6)
    log.store.stop()
    try:
        expect(page.locator("#headline")).to_contain_text("The store is unreachable", timeout=40_000)
        expect(page.locator("#m-store .value")).to_have_text("unreachable")
        expect(page.locator("#reasons")).to_contain_text("Check the store")
        assert page.locator("#health").get_attribute("data-level") == "bad"
    finally:
        log.store.resume()
    expect(page.locator("#headline")).to_contain_text("Healthy", timeout=40_000)
    expect(page.locator("#m-store .value")).to_have_text("up")


@pytest.mark.parametrize("body", ["{}", "null", '{"data":{}}', "<html>Log in</html>"])
def test_an_answer_of_another_server_is_named_and_outlived(new_page: NewPage, log: Log, body: str) -> None:
    """A proxy that wants a login first answers 200, too: to the log, its status, its names and its stream."""
    log.fill(3)
    page = new_page("about:blank")
    page.route("**/model/etl/**", lambda route: route.fulfill(body=body, content_type="application/json"))
    page.goto(log.api.url)
    expect(page.locator("#headline")).to_have_text("The API is unreachable.")
    expect(page.locator("#reasons")).to_contain_text("the server at this address is not the etlog API")
    expect(page.locator("#m-live .value")).to_have_text(re.compile("reconnecting|polling"))
    page.unroute("**/model/etl/**")
    show_count(page, 6)
    expect(page.locator("#headline")).to_contain_text("Healthy", timeout=40_000)
    expect(page.locator("#m-live .value")).to_have_text("live", timeout=40_000)


@pytest.mark.parametrize("body", ["null", "<html>Bad gateway</html>"])
def test_an_error_without_a_message_is_told_by_its_code(new_page: NewPage, log: Log, body: str) -> None:
    """A proxy's own errors have none."""
    page = new_page("about:blank")
    page.route("**/model/etl/**", lambda route: route.fulfill(status=502, body=body))
    page.goto(log.api.url)
    expect(page.locator("#headline")).to_have_text("The API fails with 502.")
    expect(page.locator("#reasons")).to_contain_text("the API answered 502")


def test_a_bug_of_the_page_does_not_leave_a_read_open(blank: Page) -> None:
    """It is told as a problem, so that the log is read again, and thrown, so that the console shows it."""
    expression = """(async () => {
        const told = [];
        const dispatch = ({ type, number, problem }) => {
            if (type === 'logAnswered') throw new Error('a bug');
            told.push([type, number, problem.status, problem.message]);
        };
        const effects = Object.assign(Object.create(m.Effects.prototype), { dispatch });
        const thrown = await effects.read({ number: 7, path: 'model/etl/log', tag: null }).catch(String);
        return [thrown, told];
    })()"""
    assert run(blank, "effects", f"await {expression}") == ["Error: a bug", [["logFailed", 7, 0, "Error: a bug"]]]


def test_where_streams_are_blocked_the_page_polls(new_page: NewPage, log: Log) -> None:
    """And asks whether anything changed, not for all of it again."""
    log.fill(2)
    page = new_page("about:blank")
    page.route("**/log/stream*", lambda route: route.abort())
    page.goto(log.api.url)
    show_count(page, 4)
    with page.expect_response(lambda answer: answer.url.endswith("/etl/log") and answer.status == 304, timeout=40_000):
        pass
    log.fill(2, prefix="AssetSet")
    show_count(page, 8)
    expect(page.locator("#m-live .value")).to_have_text("polling", timeout=40_000)


def test_a_resync_reads_the_log_anew(new_page: NewPage, log: Log) -> None:
    """Nothing is missing and nothing comes twice."""
    log.fill(2)
    page = new_page("about:blank")
    served: list[str] = []

    def stream(route: object) -> None:
        served.append("")
        if len(served) == 1:
            log.fill(2, prefix="AssetSet")
            body = ": connected\n\nevent: resync\nid: 1-0\ndata: the stream no longer holds it\n\n"
            route.fulfill(body=body, content_type="text/event-stream")  # type: ignore[attr-defined]
        else:
            route.continue_()  # type: ignore[attr-defined]

    page.route("**/log/stream*", stream)
    page.goto(log.api.url)
    show_count(page, 8)
    expect(page.locator("#m-live .value")).to_have_text("live")
    log.emit("AssetSetSaved", datetime(2022, 6, 3, 10, tzinfo=UTC), size=1)
    show_count(page, 9)
    assert len(served) >= 2


def test_the_token_is_asked_for_once_and_kept_for_the_session(new_page: NewPage, log: Log, page_store: Server) -> None:
    """A wrong one is named as such; nothing outlives the tab."""
    log.fill(2)
    with api_process(page_store.url, api_token="correct-horse-battery-staple") as api:
        page = new_page(api.url)
        expect(page.locator("#ask-token")).to_be_visible()
        page.locator("#token").fill("wrong")
        page.locator("#token").press("Enter")
        expect(page.locator("#token-why")).to_contain_text("The token is wrong")
        page.locator("#token").fill("correct-horse-battery-staple")
        page.locator("#ask-token button").click()
        show_count(page, 4)
        expect(page.locator("#ask-token")).to_be_hidden()
        expect(page.locator("#curl")).to_contain_text("Authorization: Bearer $ETLOG_API_TOKEN")
        expect(page.locator("#m-live .value")).to_have_text("live")
        page.reload()
        show_count(page, 4)
        expect(page.locator("#ask-token")).to_be_hidden()
        assert page.evaluate("[localStorage.length, document.cookie, location.search]") == [0, "", ""]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_contrast_passes_wcag_aa(new_page: NewPage, page_api: ApiProcess, scheme: str) -> None:
    """Computed from the variables of the style: text 4.5, signs and borders that carry meaning 3."""
    page = new_page(page_api.url, color_scheme=scheme)
    names = "page panel text quiet link focus done done-text recovered recovered-text failed on-failed failed-text"
    names += " failed-back missing missing-text missing-back ok ok-back on-ok"
    read = "(names) => names.map((name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`))"
    values = page.evaluate(read, names.split())
    colour = dict(zip(names.split(), values, strict=True))

    def luminance(text: str) -> float:
        parts = [int(text.strip()[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    def contrast(one: str, other: str) -> float:
        bright, dim = sorted((luminance(colour[one]), luminance(colour[other])), reverse=True)
        return (bright + 0.05) / (dim + 0.05)

    texts = "text/page text/panel quiet/page quiet/panel link/panel link/page done-text/panel recovered-text/recovered "
    texts += "failed-text/panel failed-text/failed-back missing-text/panel missing-text/missing-back text/failed-back "
    texts += "text/missing-back text/ok-back quiet/ok-back on-failed/failed on-ok/ok panel/missing panel/link page/text"
    weak = {pair: contrast(*pair.split("/")) for pair in texts.split() if contrast(*pair.split("/")) < 4.5}
    weak |= {
        pair: contrast(*pair.split("/"))
        for pair in ("missing/panel", "failed/panel", "focus/panel")
        if contrast(*pair.split("/")) < 3
    }
    assert not weak
