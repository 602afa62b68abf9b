"""The picture of the page in the documentation, taken from a run of the sample ETL that fails now and then."""

import os
import re
import subprocess
import sys
from pathlib import Path

import httpx
from playwright.sync_api import expect
from support.servers import free_port, wait_until

from browser.conftest import NewPage

PICTURE = Path(__file__).parents[2] / "docs" / "page.png"

#: Read before the tests take the machine's settings away.
UPDATE = bool(os.environ.get("ETLOG_UPDATE_PAGE_PNG"))

#: Minutes of the sample that the picture in the documentation shows; a test run waits for the first failure only.
MINUTES = 3


def test_a_picture_of_the_sample_is_taken(new_page: NewPage, tmp_path: Path) -> None:
    """Written to the documentation if ETLOG_UPDATE_PAGE_PNG is set, else to a temporary folder."""
    target = PICTURE if UPDATE else tmp_path / "page.png"
    port = free_port()
    command = [sys.executable, "-m", "etlog", "dev", "--fail", "--data", str(tmp_path / "data"), "--port", str(port)]
    output = (tmp_path / "dev.log").open("wb")
    with output, subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT) as dev:
        try:
            log = f"http://127.0.0.1:{port}/model/etl/log"
            wait_until(lambda: _counted(log, "Error") >= 1, 90, "the sample to fail")
            if UPDATE:
                wait_until(lambda: _counted(log, "AllocationSetSaved") >= MINUTES * 12, 90 * MINUTES, "more sets")
            page = new_page(f"http://127.0.0.1:{port}/", viewport={"width": 1280, "height": 1080})
            expect(page.locator(".grid .failed").first).to_be_visible()
            expect(page.locator("#m-applied .note")).to_have_text(re.compile(r"^\d+ per minute"))
            page.screenshot(path=target)
            expect(page.locator("#headline")).to_contain_text("failed")
        finally:
            dev.terminate()
            dev.wait(30)
    content = target.read_bytes()
    assert content.startswith(b"\x89PNG")
    assert 20_000 < len(content) < 400 * 1024


def _counted(url: str, text: str) -> int:
    try:
        counters = httpx.get(url, timeout=2).json()["data"]["counters"]
    except (httpx.HTTPError, KeyError, ValueError):
        return 0
    return sum(number for kind, number in counters.items() if text in kind)
