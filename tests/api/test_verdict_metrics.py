"""The metrics of a verdict: what alerts and dashboards need of it, in a bounded number of samples."""

import shutil
import subprocess
from dataclasses import fields
from datetime import datetime
from typing import Any

import pytest
from etlog_api.metrics import SERIES, Figures, Metrics, verdict_metrics
from etlog_api.status import Status
from etlog_ledger.verdict import FAULTS, Quantiles, Verdict, WindowlessErrors
from support.verdicts import NOW, Series, problem, verdict


def told(found: Verdict, log: str = "nightly") -> dict[tuple[str, ...], float]:
    """Every sample of a verdict: its name without `etlog_`, the values of its labels but for the log, its value."""
    samples = [sample for metric in verdict_metrics({log: found}) for sample in metric.samples]
    assert all(next(iter(sample.labels.items())) == ("log", log) for sample in samples)
    by_labels = {
        (sample.name.removeprefix("etlog_"), *list(sample.labels.values())[1:]): sample.value for sample in samples
    }
    assert len(by_labels) == len(samples), "each label set once"
    return by_labels


def of(name: str, found: Verdict) -> dict[tuple[str, ...], float]:
    """The samples of one metric that are not 0, by the values of their labels."""
    return {tuple(labels): value for (told_of, *labels), value in told(found).items() if told_of == name and value}


def test_sets_are_told_by_what_each_stage_did_with_them() -> None:
    """Those of an unusual size are among those that are done, and once more in a state of their own."""
    saved = {"done": 47, "recovered": 1, "stopped": 2, "unusual": 1}
    found = verdict(Series("asset", "15m", {"Saved": saved, "Totaled": {"missing": 3}}))

    assert of("sets", found) == {
        ("asset", "15m", "Saved", "done"): 47,
        ("asset", "15m", "Saved", "recovered"): 1,
        ("asset", "15m", "Saved", "stopped"): 2,
        ("asset", "15m", "Saved", "unusual"): 1,
        ("asset", "15m", "Totaled", "missing"): 3,
    }


def test_every_state_is_told_of_before_it_occurs() -> None:
    """As 0: a dashboard and an alert see the first one as a rise."""
    samples = told(verdict(Series("asset", "1h", {"Saved": {"done": 5}})))

    states = {labels[4] for labels in samples if labels[0] == "sets"}
    assert states == {"done", "recovered", "failed", "missing", "stopped", "due", "waived", "unusual"}
    assert {labels[1:]: value for labels, value in samples.items() if labels[0] == "problems"} == {
        ("asset", "Saved", state, marked): 0 for state in FAULTS for marked in ("true", "false")
    }
    assert samples["windowless_errors", "asset"] == 0


def test_the_length_of_windows_is_told_where_it_is_not_the_step() -> None:
    """Seven days, every day, are other sets than days."""
    days = {"Saved": {"done": 30}}
    found = verdict(Series("asset", "1d", days), Series("asset", "1d", {"Saved": {"done": 24}}, length="1w"))

    assert of("sets", found) == {("asset", "1d", "Saved", "done"): 30, ("asset", "1d", "1w", "Saved", "done"): 24}


def test_series_that_differ_in_their_phase_are_told_as_one() -> None:
    """Their sets added up, and the longer of their delays."""
    utc = Series("asset", "1d", {"Saved": {"done": 30}}, {"Saved": Quantiles(60, 90)})
    tokyo = Series("asset", "1d", {"Saved": {"done": 20, "missing": 1}}, {"Saved": Quantiles(50, 300)})
    found = verdict(utc, tokyo)

    assert of("sets", found) == {("asset", "1d", "Saved", "done"): 50, ("asset", "1d", "Saved", "missing"): 1}
    assert of("stage_delay_seconds", found) == {
        ("asset", "1d", "Saved", "0.5"): 60,
        ("asset", "1d", "Saved", "0.95"): 300,
    }


def test_delays_and_durations_are_told_as_quantiles() -> None:
    """Of the stages that have some."""
    counts = {"Loaded": {"done": 9}, "Saved": {"done": 9}}
    delay, duration = {"Saved": Quantiles(41.2, 80.1)}, {"Loaded": Quantiles(3.5, 7.25)}
    found = verdict(Series("asset", "1h", counts, delay, duration))

    assert of("stage_delay_seconds", found) == {
        ("asset", "1h", "Saved", "0.5"): 41.2,
        ("asset", "1h", "Saved", "0.95"): 80.1,
    }
    assert of("stage_duration_seconds", found) == {
        ("asset", "1h", "Loaded", "0.5"): 3.5,
        ("asset", "1h", "Loaded", "0.95"): 7.25,
    }


def test_problems_are_told_by_their_first_stage_and_whether_someone_knows() -> None:
    """Two of a kind are added up; a problem of several stages is one."""
    problems = [
        problem("missing"),
        problem("missing", stages=("Saved", "Totaled")),
        problem("stopped", marked=True),
        problem("failed", "allocation", stages=("Reconciled",)),
    ]

    assert of("problems", verdict(Series("asset"), problems=problems)) == {
        ("asset", "Saved", "missing", "false"): 2,
        ("asset", "Saved", "stopped", "true"): 1,
        ("allocation", "Reconciled", "failed", "false"): 1,
    }


def test_errors_that_name_no_set_are_counted_by_category() -> None:
    """Whatever their kinds are."""
    errors = [
        WindowlessErrors("asset", "AssetSetComputeError", 3, "2026-11-18T14:00:00Z", "no prices"),
        WindowlessErrors("asset", "AssetSetReconcileError", 1, "2026-11-18T14:00:00Z", None),
    ]

    assert of("windowless_errors", verdict(errors=errors)) == {("asset",): 4}


def test_the_verdict_says_of_when_it_is_and_when_each_kind_was_heard_last() -> None:
    """In seconds since 1970, as Prometheus has its time."""
    samples = told(verdict(heard={"AssetSetSaved": "2026-11-18T14:37:00.25Z"}))

    assert samples == {
        ("verdict_timestamp_seconds",): NOW,
        ("last_event_timestamp_seconds", "AssetSetSaved"): NOW - 9.75,
    }
    assert datetime.fromisoformat("2026-11-18T14:37:10Z").timestamp() == NOW


def test_series_without_an_expected_stage_are_not_told() -> None:
    """Somebody asked for sets of odd windows: each is a series, and none says anything."""
    odd = [Series("asset", f"{n}s", {"Saved": {"done": 2}}, is_expected=False) for n in range(1000, 1100)]

    assert of("sets", verdict(Series("asset", "1h"), *odd)) == {("asset", "1h", "Saved", "done"): 48}


def test_a_category_tells_of_its_largest_series_only() -> None:
    """Problems of the others are counted all the same."""
    small = [Series("asset", f"{n}m", {"Saved": {"done": n}}) for n in range(1, 100)]
    found = verdict(*small, Series("allocation", "1h"), problems=[problem("stopped")])

    told_of = {labels[:2] for labels in of("sets", found)}
    assert told_of == {("allocation", "1h"), *(("asset", f"{n}m") for n in range(100 - SERIES, 100))}
    assert of("problems", found) == {("asset", "Saved", "stopped", "false"): 1}


def figures(found: Verdict | None) -> Figures:
    """Those of a log that is empty but for its verdict."""
    nothing: dict[str, Any] = {field.name: None for field in fields(Status)} | {"stats": {}, "store": {}}
    return Figures(Status(**nothing), {}, found)


def test_a_scrape_has_the_verdict_of_each_log_that_the_caller_may_see() -> None:
    """None of a log whose store is away, none before the first, and none that only the last caller could see."""
    metrics, sound = Metrics(), verdict(Series("asset"))
    text = metrics.text({"a": figures(sound), "b": figures(None), "c": None, "d": figures(sound)}, {}).decode()
    later = metrics.text({"a": figures(sound)}, {}).decode()

    def logs(text: str) -> list[str]:
        return [line.split('"')[1] for line in text.splitlines() if line.startswith("etlog_verdict_timestamp_seconds{")]

    assert logs(text) == ["a", "d"]
    assert logs(later) == ["a"]


@pytest.mark.skipif(not shutil.which("promtool"), reason="promtool is not installed: Debian's prometheus")
def test_prometheus_finds_nothing_to_complain_about_in_the_text() -> None:
    """Names, help and labels, by its own tool, with names that must be escaped."""
    odd = Series('a "quoted" category', "1d", length="1w", delay={"Saved": Quantiles(1, 2)})
    problems = [problem("failed", 'a "quoted" category')]
    text = Metrics().text({"nightly": figures(verdict(odd, problems=problems))}, {})

    done = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
