"""The alerts and the dashboard ask for what the parts really tell."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
import yaml
from etlog_api.app import create_app
from etlog_consumer.http import served
from etlog_consumer.metrics import LogMetrics, Metrics
from etlog_events.keys import Keys
from etlog_events.settings import Settings
from support.apis import add, serve
from support.consumers import consumer_thread
from support.samples import saved

DEPLOY = Path(__file__).parent.parent.parent / "deploy"


def alerts() -> list[dict[str, Any]]:
    """Every alert."""
    groups = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def questions() -> list[str]:
    """Every question to Prometheus, of the alerts and of the dashboard."""
    dashboard = json.loads((DEPLOY / "grafana" / "etlog.json").read_text())
    panels = [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]
    return [alert["expr"] for alert in alerts()] + panels


@pytest.fixture
def told(store_url: str, client: redis.Redis, keys: Keys, caught_up: Callable[[], None]) -> Iterator[str]:
    """What an API and a consumer at work print for Prometheus."""
    metrics = Metrics()
    with (
        served(metrics, "127.0.0.1", 0) as port,
        serve(create_app(Settings(redis_url=store_url, name=keys.name))) as api,
        consumer_thread(store_url, keys, metrics=LogMetrics(metrics, keys.name)),
    ):
        add(client, keys, [saved()])
        caught_up()
        api.get()
        yield api.get("/metrics").text + httpx.get(f"http://127.0.0.1:{port}/metrics").text


def test_what_is_asked_for_exists(told: str) -> None:
    """Every metric, and for each label that narrows a question a value that it can have."""
    values: dict[str, dict[str, set[str]]] = {}
    for name, inside in re.findall(r"^(etlog_\w+)(?:\{(.*)\})? ", told, re.MULTILINE):
        labels = values.setdefault(name, {})
        for label, value in re.findall(r'(\w+)="(.*?)"', inside):
            labels.setdefault(label, set()).add(value)

    asked = {name for question in questions() for name in re.findall(r"\betlog_\w+", question)}
    assert asked - values.keys() == set()
    assert len(asked) > 10
    narrowed = 0
    for question in questions():
        for name, inside in re.findall(r"\b(etlog_\w+)\{(.*?)\}", question):
            for label, operator, value in re.findall(r'(\w+)(=~|!=|=)"(.*?)"', inside):
                pattern = value if operator == "=~" else re.escape(value)
                assert any(re.fullmatch(pattern, found) for found in values[name][label]), question
                narrowed += 1
    assert narrowed >= 4


def test_every_alert_says_how_bad_it_is_and_what_it_means() -> None:
    """As a person on call reads it."""
    for alert in alerts():
        assert alert["alert"].startswith("Etlog")
        assert alert["labels"]["severity"] in {"warning", "critical"}
        assert {"summary", "description"} <= alert["annotations"].keys()


@pytest.mark.skipif(
    not (shutil.which("promtool") or os.environ.get("CI")), reason="promtool is not installed: Debian's prometheus"
)
@pytest.mark.parametrize(
    "check",
    [
        ("check", "config", "--syntax-only", "prometheus.yml"),
        ("check", "rules", "alerts.yml"),
        ("test", "rules", "alerts_test.yml"),
    ],
    ids=" ".join,
)
def test_prometheus_takes_the_configuration_and_the_alerts_fire_when_they_should(check: tuple[str, ...]) -> None:
    """By Prometheus' own tool."""
    done = subprocess.run(
        ["promtool", *check], cwd=DEPLOY / "prometheus", capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_tested() -> None:
    """By the tests that promtool runs."""
    tests = (DEPLOY / "prometheus" / "alerts_test.yml").read_text()
    assert [alert["alert"] for alert in alerts() if f"alertname: {alert['alert']}" not in tests] == []
