"""docs/operations.md: its tables are complete."""

import re
from dataclasses import fields
from pathlib import Path

from etlog_api import create_app
from etlog_consumer.metrics import Metrics
from etlog_events.config import NOTICES
from etlog_events.keys import Keys
from etlog_events.settings import Settings, variable_of
from etlog_watch import metrics as watch_metrics
from prometheus_client import generate_latest
from support import apis

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operations.md").read_text()
ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yml"


def rows(heading: str) -> dict[str, str]:
    """The table whose first column is headed so: what stands in its first two columns, without quotes."""
    [table] = re.findall(rf"^\| {heading} \|.*\n\|[-|]+\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    cells = [[cell.strip().strip("`") for cell in line.split("|")[1:-1]] for line in table.splitlines()]
    return {row[0]: row[1] for row in cells}


def printed(text: bytes) -> dict[str, str]:
    """The metrics in a text for Prometheus, and their types. When each was made is no news."""
    found = re.findall(r"^# TYPE (\S+) (\S+)$", text.decode(), re.MULTILINE)
    return {name: kind for name, kind in found if not name.endswith("_created")}


def test_every_setting_is_explained() -> None:
    """And none besides."""
    assert sorted(rows("variable")) == sorted(variable_of(setting.name) for setting in fields(Settings))


def test_every_metric_of_the_api_is_explained(store_url: str, keys: Keys) -> None:
    """With its type, as a scrape gives it."""
    with apis.serve(create_app(Settings(redis_url=store_url, name=keys.name))) as api:
        text = api.get("/metrics").content

    assert rows("metric of the API") == printed(text)


def test_every_metric_of_the_consumer_is_explained() -> None:
    """With its type."""
    assert rows("metric of the consumer") == printed(generate_latest(Metrics().registry))


def test_every_metric_of_the_watcher_is_explained() -> None:
    """With its type, and the states of problems."""
    table = rows("metric of the watcher")
    [problems] = [line for line in PAGE.splitlines() if line.startswith("| `etlog_watch_problems`")]

    assert table == printed(generate_latest(watch_metrics.Metrics().registry))
    assert [state for state in NOTICES if f"`{state}`" not in problems] == []


def test_every_alert_says_what_to_do() -> None:
    """On this page."""
    assert sorted(rows("alert")) == sorted(re.findall(r"^\s*- alert: (\w+)$", ALERTS.read_text(), re.MULTILINE))
