"""A browser, and the page of a log on a real store: what every test of the page may use."""

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
from etlog_events.event import Event
from etlog_events.keys import Keys
from etlog_events.store import connect
from playwright.sync_api import Browser, Page, expect, sync_playwright
from support.apis import ApiProcess, add_entry, api_process
from support.consumers import catch_up, consumer_thread
from support.samples import saved
from support.servers import Server

CHROMIUM = os.environ.get("ETLOG_TEST_CHROMIUM", "/usr/bin/chromium")

#: Nothing that goes out to the network, and nothing that a test machine without a graphics card cannot do.
ARGUMENTS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]

HOUR = timedelta(hours=1)

NewPage = Callable[..., Page]


@dataclass(frozen=True, slots=True)
class Log:
    """The log that the page shows, and the ways to fill it."""

    store: Server
    client: redis.Redis
    keys: Keys
    api: ApiProcess

    def emit(self, kind: str, start: datetime | None = None, length: timedelta = HOUR, **more: Any) -> None:
        """Publish an event of the set that begins at `start`, as any client may."""
        window = (start, start + length) if start else None
        event = Event.new(kind, window=window, **more)
        self.client.xadd(self.keys.events, {"event": event.encode()})

    def emit_together(self, events: int) -> None:
        """Publish events in one entry."""
        add_entry(self.client, self.keys, [saved(size, "AssetSet") for size in range(events)])

    def fill(self, hours: int, *, prefix: str = "AllocationSet", leave_out: int | None = None) -> None:
        """Sets of so many hours, up to the last full one; the saving of the set `leave_out` hours ago is missing."""
        last = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
        for ago in range(hours, 0, -1):
            start, at = last - ago * HOUR, last - ago * HOUR + HOUR + timedelta(seconds=1)
            for action in ("Loaded", "Saved"):
                if action == "Loaded" or ago != leave_out:
                    self.emit(prefix + action, start, size=ago, time=min(at, datetime.now(UTC)))
        self.caught_up()

    def caught_up(self) -> None:
        """Wait until everything is applied."""
        catch_up(self.client, self.keys)

    def answer(self, **parameters: str) -> dict[str, Any]:
        """The data that the API answers."""
        data: dict[str, Any] = httpx.get(f"{self.api.url}/model/etl/log", params=parameters).json()["data"]
        return data


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """The distribution's Chromium; missing, it skips on a laptop and fails in CI.

    It leaves with the tests of the page: while Playwright is there, no other event loop can run in this thread.
    """
    if not Path(CHROMIUM).exists():
        message = f"no Chromium at {CHROMIUM}; install the package chromium, or name one in ETLOG_TEST_CHROMIUM"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    with sync_playwright() as playwright:
        expect.set_options(timeout=30_000)
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def page_store() -> Iterator[Server]:
    """A store for the logs of the page alone: each test empties it."""
    store = Server()
    yield store
    store.close()


@pytest.fixture(scope="session")
def page_api(page_store: Server) -> Iterator[ApiProcess]:
    """The API on that store."""
    with api_process(page_store.url) as api:
        yield api


@pytest.fixture
def log(page_store: Server, page_api: ApiProcess) -> Iterator[Log]:
    """An empty log with a consumer at work."""
    keys = Keys("default")
    with connect(page_store.url, part="test") as client:
        client.flushdb()
        with consumer_thread(page_store.url, keys):
            yield Log(page_store, client, keys, page_api)


@pytest.fixture
def new_page(browser: Browser) -> Iterator[NewPage]:
    """`new_page(url, …)` opens a page in its own context; an error in its scripts fails the test."""
    contexts = []
    errors: list[str] = []

    def new(url: str, **options: Any) -> Page:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(30_000)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("console", lambda message: errors.append(message.text) if "Content Security" in message.text else None)
        page.goto(url)
        return page

    yield new
    for context in contexts:
        context.close()
    assert not errors


@pytest.fixture
def page(new_page: NewPage, log: Log) -> Page:
    """The page on the empty log, live."""
    page = new_page(log.api.url)
    expect(page.locator("#m-live .value")).to_have_text("live")
    return page


@pytest.fixture(scope="module")
def blank(browser: Browser, page_api: ApiProcess) -> Iterator[Page]:
    """A page from which modules can be imported."""
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(f"{page_api.url}/docs")
        yield page


def run(page: Page, module: str, expression: str, given: Any = None) -> Any:
    """What `expression` of the names of a module, and of `given`, gives."""
    script = f"async (given) => {{ const m = await import('./static/{module}.js'); return {expression}; }}"
    return page.evaluate(script, given)
