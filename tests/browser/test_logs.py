"""The picker: there where the API serves several logs, and the choice is in the address."""

from collections.abc import Iterator

import pytest
from etlog_events.keys import Keys
from etlog_events.store import connect
from playwright.sync_api import expect
from support.apis import ApiProcess, api_process, apply
from support.samples import saved
from support.servers import Server

from browser.conftest import NewPage

ALL, TENANT = "the-token-for-all-logs", "the-token-for-one-log"


@pytest.fixture(scope="module")
def many(page_store: Server) -> Iterator[ApiProcess]:
    """The API of three logs."""
    tokens = f"{ALL},{TENANT}:hourly"
    with api_process(page_store.url, names="nightly,hourly,empty", api_token=tokens) as api:
        yield api


@pytest.fixture(autouse=True)
def filled(page_store: Server) -> None:
    """One event in the first, two in the second, none in the third."""
    with connect(page_store.url, part="test") as client:
        client.flushdb()
    apply(page_store.url, Keys("nightly"), [saved(1)])
    apply(page_store.url, Keys("hourly"), [saved(2), saved(3)])


def test_another_log_is_picked_and_a_link_leads_to_it(new_page: NewPage, many: ApiProcess, page_store: Server) -> None:
    """With its events, its live tail, its status and its queries; and back again."""
    page = new_page(f"{many.url}/?kind=Saved")
    page.locator("#token").fill(ALL)
    page.locator("#token").press("Enter")
    picker = page.get_by_label("Log", exact=True)
    expect(picker).to_have_value("nightly")
    expect(page.locator("#pick option")).to_have_text(["nightly", "hourly", "empty"])
    expect(page.locator("#shown")).to_have_text("1 of 1 event")

    picker.select_option("hourly")
    expect(page.locator("#shown")).to_have_text("2 of 2 events")
    expect(page).to_have_url(f"{many.url}/?log=hourly&kind=Saved")
    expect(page).to_have_title("hourly · etlog")
    expect(page.locator("#curl")).to_contain_text("/model/etl/log?log=hourly&kind=Saved'")
    expect(page.locator("#m-applied .value")).to_have_text("2")
    expect(page.locator("#m-live .value")).to_have_text("live")
    apply(page_store.url, Keys("hourly"), [saved(4)])
    expect(page.locator("#shown")).to_have_text("3 of 3 events")

    page.locator("#windows [data-window='7d']").click()
    expect(page).to_have_url(f"{many.url}/?log=hourly&window=7d&kind=Saved")
    page.go_back()
    page.go_back()
    expect(picker).to_have_value("nightly")
    expect(page.locator("#shown")).to_have_text("1 of 1 event")


def test_one_with_a_token_for_one_log_sees_that_one(new_page: NewPage, many: ApiProcess) -> None:
    """And no picker; a link to another says that it is not here."""
    page = new_page(many.url)
    page.locator("#token").fill(TENANT)
    page.locator("#token").press("Enter")
    expect(page.locator("#shown")).to_have_text("2 of 2 events")
    expect(page.locator("#name")).to_have_text("log hourly")
    expect(page.locator("#pick")).to_be_hidden()

    page.goto(f"{many.url}/?log=nightly")
    expect(page.locator("#headline")).to_have_text("There is no such log, or the token does not open it.")
    expect(page.locator("#reasons")).to_contain_text("unknown log 'nightly'")
