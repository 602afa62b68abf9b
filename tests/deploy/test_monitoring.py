"""The alerts and the dashboard ask for what the parts really tell."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
import yaml
from etlog.__main__ import COMMANDS
from etlog_api.app import create_app
from etlog_api.metrics import verdict_metrics
from etlog_consumer.http import served
from etlog_consumer.metrics import LogMetrics, Metrics
from etlog_events.keys import Keys
from etlog_events.settings import Settings
from etlog_ledger.verdict import Quantiles
from etlog_watch import metrics as watch_metrics
from prometheus_client import generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector
from support.apis import add, serve
from support.consumers import consumer_thread
from support.samples import saved
from support.verdicts import Series, verdict

DEPLOY = Path(__file__).parent.parent.parent / "deploy"


def alerts() -> list[dict[str, Any]]:
    """Every alert."""
    groups = yaml.safe_load((DEPLOY / "prometheus" / "alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def drawn() -> list[str]:
    """Every question of the dashboard to Prometheus."""
    dashboard = json.loads((DEPLOY / "grafana" / "etlog.json").read_text())
    return [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]


def questions() -> list[str]:
    """Every question to Prometheus, of the alerts, of their annotations, and of the dashboard."""
    annotations = [text.replace("'", '"') for alert in alerts() for text in alert["annotations"].values()]
    asked = [question for text in annotations for question in re.findall(r'printf\s+"(.*)"\s+\$labels', text)]
    return [alert["expr"] for alert in alerts()] + asked + drawn()


def label_values(text: str) -> dict[str, dict[str, set[str]]]:
    """The values of each label of each metric in a text for Prometheus."""
    values: dict[str, dict[str, set[str]]] = {}
    for name, inside in re.findall(r"^(etlog_\w+)(?:\{(.*)\})? ", text, re.MULTILINE):
        labels = values.setdefault(name, {})
        for label, value in re.findall(r'(\w+)="(.*?)"', inside):
            labels.setdefault(label, set()).add(value)
    return values


@pytest.fixture
def told(store_url: str, client: redis.Redis, keys: Keys, caught_up: Callable[[], None]) -> Iterator[str]:
    """What an API and a consumer at work print for Prometheus, and what a verdict with a problem of each kind and a
    watcher that sent a message add."""
    metrics = Metrics()
    with (
        served(metrics, "127.0.0.1", 0) as port,
        serve(create_app(Settings(redis_url=store_url, name=keys.name))) as api,
        consumer_thread(store_url, keys, metrics=LogMetrics(metrics, keys.name)),
    ):
        add(client, keys, [saved()])
        caught_up()
        api.get()
        judged = generate_latest(_Judged(keys.name)).decode()
        watching = watch_metrics.Metrics()
        watch_metrics.LogMetrics(watching, keys.name)
        watching.attempted("https://hooks.example.com#0", "opened", "sent")
        watched = generate_latest(watching.registry).decode()
        yield api.get("/metrics").text + httpx.get(f"http://127.0.0.1:{port}/metrics").text + judged + watched


class _Judged(Collector):
    """The metrics of a verdict that is made by hand."""

    def __init__(self, log: str) -> None:
        self._log = log

    def collect(self) -> Iterable[Metric]:
        """All of them."""
        quantiles = {"Saved": Quantiles(40, 80)}
        series = Series("asset", "1d", delay=quantiles, duration=quantiles, length="1w")
        return verdict_metrics({self._log: verdict(series, heard={"AssetSetSaved": "2026-11-18T14:37:00Z"})})


def test_what_is_asked_for_exists(told: str) -> None:
    """Every metric, and for each label that narrows a question a value that it can have."""
    values = label_values(told)

    asked = {name for question in questions() for name in re.findall(r"\betlog_\w+", question)}
    assert asked - values.keys() == set()
    assert len(asked) > 10
    narrowed = 0
    for question in questions():
        for name, inside in re.findall(r"\b(etlog_\w+)\{(.*?)\}", question):
            for label, operator, value in re.findall(r'(\w+)(=~|!=|=)"(.*?)"', inside):
                if value == "$log":
                    continue
                pattern = value if operator == "=~" else re.escape(value)
                assert any(re.fullmatch(pattern, found) for found in values[name][label]), question
                narrowed += 1
    assert narrowed >= 20


def test_the_dashboard_shows_the_logs_that_are_chosen_and_tells_them_apart(told: str) -> None:
    """It asks for these logs, or for the processes that serve them, and never for the greater value of two logs."""
    values = label_values(told)
    aggregated = 0
    for question in drawn():
        for name, inside in re.findall(r"\b(etlog_\w+)(?:\{(.*?)\})?", question):
            if "log" in values[name]:
                assert 'log=~"$log"' in inside, question
            else:
                serves = "etlog_watch_active" if name.startswith("etlog_watch") else "etlog_store_up"
                assert f'and on (job, instance) {serves}{{log=~"$log"}}' in question, question
        for labels, name in re.findall(r"\b(?:max|min)\b(?: by \((.*?)\))? ?\(\D*?\b(etlog_\w+)", question):
            assert "log" in labels.split(", "), question
            assert set(labels.split(", ")) <= values[name].keys() | {"instance"}, question
            aggregated += 1
    assert aggregated >= 20


def test_the_choice_of_logs_is_that_of_the_metrics() -> None:
    """Several at a time, or all, in each Prometheus that is chosen; new ones appear when the time changes."""
    dashboard = json.loads((DEPLOY / "grafana" / "etlog.json").read_text())
    variables = {variable["name"]: variable for variable in dashboard["templating"]["list"]}

    log = variables["log"]
    assert list(variables) == ["source", "log"], "the one that the other depends on is first"
    assert log["query"]["query"] == log["definition"] == "label_values(etlog_store_up, log)"
    assert (log["multi"], log["includeAll"], log["refresh"]) == (True, True, 2)
    assert 'log=~"$log|"' in dashboard["annotations"]["list"][0]["expr"], "alerts of no log are of all"


def test_every_alert_says_how_bad_it_is_and_what_it_means() -> None:
    """As a person on call reads it."""
    for alert in alerts():
        assert alert["alert"].startswith("Etlog")
        assert alert["labels"]["severity"] in {"warning", "critical"}
        assert {"summary", "description"} <= alert["annotations"].keys()


def test_the_commands_that_alerts_name_exist() -> None:
    """So that a person on call can run them."""
    named = {
        command for alert in alerts() for command in re.findall(r"\betlog (\w+)", alert["annotations"]["description"])
    }
    assert named == {"coverage", "dead", "mark", "status", "verify", "watch"}
    assert named <= COMMANDS.keys()


@pytest.mark.skipif(
    not (shutil.which("promtool") or os.environ.get("CI")), reason="promtool is not installed: Debian's prometheus"
)
@pytest.mark.parametrize(
    "check",
    [
        ("check", "config", "--syntax-only", "prometheus.yml"),
        ("check", "rules", "alerts.yml"),
        ("test", "rules", "alerts_test.yml"),
        ("test", "rules", "silence_test.yml"),
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
    tests = "".join(path.read_text() for path in (DEPLOY / "prometheus").glob("*_test.yml"))
    assert [alert["alert"] for alert in alerts() if f"alertname: {alert['alert']}" not in tests] == []
