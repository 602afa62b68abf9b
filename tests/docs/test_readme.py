"""README.md: its Python runs and does what the page says, and its tables are complete."""

import asyncio
import json
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from etlog.__main__ import run
from etlog_api import create_app
from etlog_consumer import Consumer
from etlog_events.event import Event
from etlog_events.keys import Keys
from etlog_events.settings import Settings, variable_of
from support import apis

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()

#: A block of code: its language, what it holds.
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
PYTHON = [text for language, text in BLOCKS if language == "python"]

#: A query and the answer that the page shows for it.
SHOWN = {
    query: json.loads(answer)
    for language, text in BLOCKS
    if language == "console"
    for query, answer in re.findall(r"^\$ curl 'http://127\.0\.0\.1:9090(.*?)'\n(.*)", text, re.DOTALL)
}

#: What the page shows of `etlog coverage`, and the moment at which that was asked for.
[VERDICT] = re.findall(r"^```console\n\$ etlog coverage\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
ASKED = datetime(2026, 11, 24, 14, 37, 13, tzinfo=UTC)


def ten_days() -> list[bytes]:
    """Hourly sets up to `ASKED`: the reconciler was refused at one, and assets are not saved since the morning."""
    hour, last = timedelta(hours=1), ASKED.replace(minute=0, second=0)
    refused, stopped = last - 3 * hour, last - 6 * hour
    events = []
    for start in (last - back * hour for back in range(240, 0, -1)):
        window, saved = (start, start + hour), start + hour + timedelta(seconds=80)
        if start < stopped:
            events.append(Event.new("AssetSetSaved", window=window, time=saved, size=97))
        events.append(Event.new("AllocationSetSaved", window=window, time=saved, size=412))
        reconciled = saved + timedelta(seconds=95)
        if start == refused:
            error = "HTTPError: 403 Forbidden"
            events.append(Event.new("AllocationSetReconcileError", window=window, time=reconciled, error=error))
        else:
            events.append(Event.new("AllocationSetReconciled", window=window, time=reconciled))
    return [event.encode() for event in events]


def ask(settings: Settings, query: str) -> Any:
    """What the API answers to `query`."""

    async def get() -> Any:
        app = create_app(settings)
        transport = httpx.ASGITransport(app=app)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://etlog") as c,
        ):
            return (await c.get(query)).json()

    return asyncio.run(get())


def without_times(answer: Any) -> Any:
    """The answer, each event as if it had happened at the same time and its step had taken none."""
    text = re.sub(r'"time": "[^"]*Z"', '"time": ""', json.dumps(answer))
    return json.loads(re.sub(r'"seconds": [0-9.]+', '"seconds": 0', text))


def test_the_python_publishes_what_the_answer_shows(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    store_url: str,
    keys: Keys,
    consuming: Callable[[], AbstractContextManager[Consumer]],
    caught_up: Callable[[], None],
) -> None:
    """Run as it stands, on a log of its own: the answer is the one on the page, but for the times."""
    settings = Settings(redis_url=store_url, name=keys.name)
    monkeypatch.setenv("ETLOG_REDIS_URL", store_url)
    monkeypatch.setenv("ETLOG_NAME", keys.name)
    monkeypatch.chdir(tmp_path)

    assert len(PYTHON) == 1
    with consuming():
        exec(compile(PYTHON[0], "README.md", "exec"), {"__name__": "__main__"})
        caught_up()

    query = "/model/etl/log?kind=AllocationSet"
    assert without_times(ask(settings, query)) == without_times(SHOWN[query])


def test_the_verdict_is_the_one_that_is_shown(
    store_url: str, keys: Keys, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of ten days of a pipeline, to the letter."""
    apis.apply(store_url, keys, ten_days())
    app = create_app(Settings(redis_url=store_url, name=keys.name), clock=ASKED.astimezone)
    headers = [("Date", format_datetime(ASKED, usegmt=True)), ("Connection", "close")]

    with apis.serve(app, date_header=False, headers=headers) as api:
        monkeypatch.setenv("ETLOG_URL", api.url)
        code = run(["coverage"])

    assert (capsys.readouterr().out.replace(keys.name, "default"), code) == (VERDICT, 1)


def test_the_first_answer_has_the_shape_of_every_answer() -> None:
    """It was cut nowhere: it is JSON, with an event a category, as its `limit=1` asks."""
    shown = SHOWN["/model/etl/log?kind=Saved&limit=1"]

    assert shown["code"] == 200
    assert [len(shown["data"][category]) for category in ("allocation", "asset")] == [1, 1]


def test_the_table_of_settings_is_complete() -> None:
    """A row a setting, with its default and its meaning, and none besides."""
    rows = dict(re.findall(r"^\| `(ETLOG_\w+)` \| (.*) \|$", README, re.MULTILINE))
    defaults = Settings().public() | {
        "ETLOG_CATEGORIES": "",
        "ETLOG_API_TOKEN": "",
        "ETLOG_SPOOL_DIR": "~/.local/state/etlog/spool",
    }
    expected = {}
    for setting in fields(Settings):
        variable = variable_of(setting.name)
        default = f"`{defaults[variable]}`" if defaults[variable] else "none"
        expected[variable] = f"{default} | {setting.metadata['about']}"

    assert rows == expected


def test_the_table_of_parts_is_complete() -> None:
    """Every folder with a part in it, and the package that it holds."""
    rows = re.findall(r"^\| `(\w+)/` \| `(\w+)` \|", README, re.MULTILINE)

    assert sorted(rows) == sorted((path.parent.parent.name, path.parent.name) for path in ROOT.glob("*/*/py.typed"))


@pytest.mark.parametrize("page", sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]), ids=lambda page: page.name)
def test_every_link_to_a_file_leads_to_one(page: Path) -> None:
    """And to a heading that is there."""
    for link in re.findall(r"\]\(([^)]+)\)", page.read_text()):
        target, _, heading = link.partition("#")
        if "://" in target:
            continue
        file = page.parent / target if target else page
        assert file.is_file(), link
        if heading:
            headings = re.findall(r"^#+ (.*)$", file.read_text(), re.MULTILINE)
            assert heading in [re.sub(r"[^\w -]", "", text.lower()).replace(" ", "-") for text in headings], link
