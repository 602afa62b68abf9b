"""The page behind a proxy that offers it under a path, whether the proxy takes that off or not."""

import http.client
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest
from etlog_api.middleware import HEADERS
from playwright.sync_api import expect
from support.apis import ApiProcess, api_process
from support.servers import Server

from browser.conftest import Log, NewPage

PREFIX = "/etl"


@contextmanager
def proxied(port: int, *, strip: bool) -> Iterator[str]:
    """The address of a proxy of a port of this machine, which knows nothing outside of `PREFIX`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if not self.path.startswith(PREFIX):
                self.send_error(404)
                return
            with closing(http.client.HTTPConnection("127.0.0.1", port)) as upstream:
                path = self.path.removeprefix(PREFIX) or "/" if strip else self.path
                try:
                    self._forward(upstream, path)
                except OSError:
                    self.close_connection = True  # either end has gone

        def _forward(self, upstream: http.client.HTTPConnection, path: str) -> None:
            upstream.request("GET", path, headers={"Host": "inside", **_without_host(self.headers)})
            with upstream.getresponse() as answer:
                self.send_response(answer.status)
                for name, value in answer.getheaders():
                    if name.lower() not in {"transfer-encoding", "connection"}:
                        self.send_header(name, value)
                self.end_headers()
                while data := answer.read1(65536):
                    self.wfile.write(data)
                    self.wfile.flush()

        def log_message(self, *_: object) -> None:
            """Nothing is printed."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _without_host(headers: object) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() != "host"}  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def prefixed(page_store: Server) -> Iterator[ApiProcess]:
    """The API that is told of its prefix, and wants a token."""
    with api_process(page_store.url, "--root-path", PREFIX, api_token="open-sesame-open-sesame") as api:
        yield api


@pytest.mark.parametrize("strip", [True, False])
def test_the_page_works_under_a_prefix(new_page: NewPage, log: Log, prefixed: ApiProcess, strip: bool) -> None:
    """With its files, the log, and the stream; and the token is asked for as anywhere else."""
    log.fill(2)
    with proxied(prefixed.port, strip=strip) as url:
        for path in ("/model/etl/log", "/metrics", "//model/etl/log"):
            assert httpx.get(f"{url}{PREFIX}{path}").status_code in {401, 404}
        page = new_page(f"{url}{PREFIX}/")
        page.locator("#token").fill("open-sesame-open-sesame")
        page.locator("#token").press("Enter")
        expect(page.locator("#shown")).to_have_text("4 of 4 events")
        expect(page.locator("#m-live .value")).to_have_text("live")
        log.fill(1, prefix="AssetSet")
        expect(page.locator("#shown")).to_have_text("6 of 6 events")
        expect(page.locator("#curl")).to_contain_text(f"'{url}{PREFIX}/model/etl/log'")
        page.close()


def test_the_prefix_without_its_slash_leads_to_the_page(prefixed: ApiProcess) -> None:
    """Relative links need the slash."""
    with proxied(prefixed.port, strip=False) as url:
        answer = httpx.get(f"{url}{PREFIX}")
        assert answer.is_redirect
        assert str(answer.next_request and answer.next_request.url) == f"{url}{PREFIX}/"
        assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS


def test_without_a_proxy_it_answers_at_the_root(prefixed: ApiProcess) -> None:
    """For health checks from within."""
    assert httpx.get(f"{prefixed.url}/healthz").status_code == 200
    assert httpx.get(f"{prefixed.url}{PREFIX}/healthz").status_code == 200
    assert httpx.get(f"{prefixed.url}/model/etl/log").status_code == 401
    assert httpx.get(f"{prefixed.url}{PREFIX}/model/etl/log").status_code == 401
