"""The stages of the sample ETL, driven through fake time with a fake machine and a producer that only records."""

import json
import logging
from collections import defaultdict
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from etlog_dev.sample.category import Category
from etlog_dev.sample.faults import Faults
from etlog_dev.sample.meter import Level
from etlog_dev.sample.reconciler import IDLE, SETTLE, Reconciler
from etlog_dev.sample.schedule import MINUTE, TEN_SECONDS, TICK, Window
from etlog_dev.sample.sets import SetUnreadable, Shelf
from etlog_events import Event
from etlog_events.event import WindowPair
from etlog_producer import Producer, Stage

TEN = datetime(2026, 1, 1, 10, tzinfo=UTC)
PREFIXES = ("AllocationSet", "AssetSet")
SUCCESSES = ("Loaded", "Saved", "Aggregated", "Totaled", "Reconciled")
ERRORS = ("ComputeError", "ReconcileError")

ASSETS = {"core 0": Level(cores=1.0), "core 1": Level(cores=1.0), "memory": Level(memory_gib=8.0)}
ALLOCATIONS = {"a/1": Level(cores=0.5, memory_gib=1.0), "b/2": Level(memory_gib=3.0)}

#: Damages a set's file, or does nothing.
OnSaved = Callable[[Path], None]


class RecordingProducer:
    """Keeps the events of a sample, each checked as a real producer checks it."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def emit(
        self,
        kind: str,
        *,
        window: WindowPair | None,
        size: int | None = None,
        error: str | None = None,
        **metadata: Any,
    ) -> None:
        event = Event.new(kind, size=size, window=window, error=error, metadata=metadata)
        event.encode()
        self.events.append(event)

    def stage(self, prefix: str, *, window: WindowPair | None = None) -> Stage:
        return Stage(self.emit, prefix, window)

    def of(self, kind: str) -> list[Event]:
        return [event for event in self.events if event.kind == kind]

    @property
    def kinds(self) -> set[str]:
        return {event.kind for event in self.events}


class Sample:
    """The three processes of the sample in one, from 10:00 on a day in 2026."""

    def __init__(self, data: Path, faults: Mapping[str, OnSaved] | None = None) -> None:
        self.recorded = RecordingProducer()
        self.data = data
        self.levels: dict[str, Mapping[str, Level]] = {"allocation": dict(ALLOCATIONS), "asset": dict(ASSETS)}
        self.now = TEN
        producer = cast(Producer, self.recorded)
        faults = faults or {}
        self.parts: dict[str, Category | Reconciler] = {
            category: Category(
                category,
                meter=lambda category=category: self.levels[category],  # type: ignore[misc]
                data=data,
                producer=producer,
                on_saved=faults.get(category, lambda _: None),
            )
            for category in ("allocation", "asset")
        }
        self.parts["reconciler"] = Reconciler(data=data, producer=producer)

    def run_until(self, end: datetime) -> None:
        while self.now <= end:
            for part in list(self.parts.values()):
                part.tick(self.now)
            self.now += TICK.length


@pytest.fixture
def sample(tmp_path: Path) -> Sample:
    return Sample(tmp_path)


def after(seconds: float) -> datetime:
    return TEN + timedelta(seconds=seconds)


def window_text(window: Window) -> tuple[str, str]:
    return f"{window.start:%Y-%m-%dT%H:%M:%SZ}", f"{window.end:%Y-%m-%dT%H:%M:%SZ}"


def damage_at(start: datetime, damage: OnSaved) -> OnSaved:
    name = f"{start:%Y-%m-%dT%H-%M-%SZ}.json"

    def on_saved(path: Path) -> None:
        if path.name == name:
            damage(path)

    return on_saved


def halve(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def test_each_kind_of_success_is_there_in_seconds(sample: Sample) -> None:
    """One sees what the log is about before a full minute is over."""
    # when
    sample.run_until(after(10) + SETTLE)

    # then
    assert sample.recorded.kinds == {prefix + action for prefix in PREFIXES for action in SUCCESSES}


def test_a_minute_gives_one_of_each_for_every_window(sample: Sample) -> None:
    """An event stands for a piece of work: no window is left out and none told twice."""
    # when
    sample.run_until(after(60) + SETTLE)

    # then
    windows = sorted(window_text(TEN_SECONDS.window(after(seconds))) for seconds in range(0, 60, 10))
    minute = window_text(MINUTE.window(TEN))
    for prefix in PREFIXES:
        seen: dict[str, list[tuple[str, str]]] = defaultdict(list)
        for event in sample.recorded.events:
            if event.kind.startswith(prefix) and event.window:
                seen[event.kind.removeprefix(prefix)].append(event.window)
        assert seen["Aggregated"] == seen["Totaled"] == [minute] * 6
        assert sorted(seen["Saved"]) == sorted([*windows, *[minute] * 6])
        assert sorted(seen["Reconciled"]) == sorted([*windows, minute])
        # each 10 s set by its category and the reconciler; the minute five times to be added to, once to be reconciled
        assert sorted(seen["Loaded"]) == sorted([*windows, *windows, *[minute] * 6])
        assert set(seen) == set(SUCCESSES)


def test_sizes_are_numbers_of_records(sample: Sample) -> None:
    """The size that an event tells is that of the set on the disk."""
    # when
    sample.run_until(after(20))

    # then
    assert {event.size for event in sample.recorded.of("AllocationSetSaved")} == {len(ALLOCATIONS)}
    assert {event.size for event in sample.recorded.of("AssetSetSaved")} == {len(ASSETS)}


def test_the_minute_costs_what_its_windows_cost(sample: Sample) -> None:
    """The sets are really on the disk, and the event's total is theirs."""
    # given a process that uses more from second 30
    sample.run_until(after(30))
    sample.levels["allocation"] = {**ALLOCATIONS, "c/3": Level(cores=1.0)}

    # when
    sample.run_until(after(60))

    # then
    shelf = Shelf(sample.data, "allocation", TEN_SECONDS)
    windows = [shelf.load(TEN_SECONDS.window(after(seconds))) for seconds in range(0, 60, 10)]
    minute = Shelf(sample.data, "allocation", MINUTE).load(MINUTE.window(TEN))
    assert {record.name for record in minute.records} == {"a/1", "b/2", "c/3"}
    assert minute.total().cost == pytest.approx(sum(window.total().cost for window in windows))
    assert minute.total().core_hours * 3600 == pytest.approx(60 * 0.5 + 30 * 1.0)
    last = sample.recorded.of("AllocationSetTotaled")[-1]
    assert last.metadata["cost"] == pytest.approx(minute.total().cost, abs=1e-9)


def test_reconciled_sets_are_kept(sample: Sample) -> None:
    """They show what was idle, and the share of each asset that was used."""
    # when
    sample.run_until(after(60) + SETTLE)

    # then
    for name in ("10s/2026-01-01T10-00-10Z.json", "1m/2026-01-01T10-00-00Z.json"):
        allocations = json.loads((sample.data / "reconciled/allocation" / name).read_bytes())["records"]
        assets = json.loads((sample.data / "reconciled/asset" / name).read_bytes())["records"]
        assert allocations[-1]["name"] == IDLE
        assert sum(record["cost"] for record in allocations) == pytest.approx(sum(record["cost"] for record in assets))
        assert {record["name"]: record["used"] for record in assets} == pytest.approx(
            {"core 0": 0.25, "core 1": 0.25, "memory": 0.5}
        )


def test_a_truncated_file_fails_its_window_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The decoder's error becomes an event with the window, one line is logged, and the next window goes on."""
    # given
    sample = Sample(tmp_path, {"allocation": damage_at(after(10), halve)})

    # when
    with caplog.at_level(logging.WARNING, logger="etlog.sample"):
        sample.run_until(after(30) + SETTLE)

    # then
    damaged = window_text(TEN_SECONDS.window(after(10)))
    [error] = sample.recorded.of("AllocationSetComputeError")
    assert error.window == damaged
    assert error.error is not None
    assert error.error.startswith(SetUnreadable.__name__)
    assert "truncated" in error.error
    assert error.metadata["stage"] == "Loaded"
    assert not sample.recorded.of("AssetSetComputeError")
    for prefix in PREFIXES:
        assert [event.window for event in sample.recorded.of(prefix + "ReconcileError")] == [damaged]
        assert len(sample.recorded.of(prefix + "Reconciled")) == 2
    assert len(caplog.records) == 2  # one of the category, one of the reconciler
    parts = Shelf(tmp_path, "allocation", MINUTE).load(MINUTE.window(TEN)).parts
    assert parts == [TEN, after(20)]


def test_a_minute_that_lacks_a_window_is_not_reconciled(tmp_path: Path) -> None:
    """What was lost in one category would pass for idle."""
    # given
    sample = Sample(tmp_path, {"allocation": damage_at(after(40), halve)})

    # when
    sample.run_until(after(60) + SETTLE)

    # then
    error = sample.recorded.of("AssetSetReconcileError")[-1]
    assert error.window == window_text(MINUTE.window(TEN))
    assert error.error == "NotReconcilable: only one of the two sets covers 10:00:40"


def test_a_missing_counterpart_fails_both_categories(sample: Sample) -> None:
    """When one category's process is gone, no set is reconciled."""
    # given
    sample.run_until(after(18))
    gone = sample.parts.pop("asset")

    # when
    sample.run_until(after(20) + SETTLE)

    # then
    for prefix in PREFIXES:
        [error] = sample.recorded.of(prefix + "ReconcileError")
        assert error.window == window_text(TEN_SECONDS.window(after(10)))
        assert "cannot read asset/10s/2026-01-01T10-00-10Z.json" in (error.error or "")

    # when it is back
    sample.parts["asset"] = gone
    reconciled = len(sample.recorded.of("AssetSetReconciled"))
    sample.run_until(after(30) + SETTLE)

    # then
    assert len(sample.recorded.of("AssetSetReconciled")) == reconciled + 1


def test_a_category_that_starts_later_is_no_failure(sample: Sample) -> None:
    """Processes start in their own time; reconciling begins with the first window that both have."""
    # given
    late = sample.parts.pop("asset")
    sample.run_until(after(12))
    sample.parts["asset"] = late

    # when
    sample.run_until(after(120) + SETTLE)

    # then
    assert not any(kind.endswith(ERRORS) for kind in sample.recorded.kinds)
    reconciled = [event.window for event in sample.recorded.of("AssetSetReconciled")]
    assert reconciled[0] == window_text(TEN_SECONDS.window(after(10)))
    assert window_text(MINUTE.window(TEN)) not in reconciled
    assert window_text(MINUTE.window(after(60))) in reconciled


def test_a_machine_that_slept_is_no_failure(sample: Sample) -> None:
    """After a pause there are windows without any readings; work continues with the present one."""
    # given
    sample.run_until(after(30))

    # when
    sample.now += timedelta(hours=2, seconds=7)
    sample.run_until(sample.now + timedelta(seconds=30))

    # then
    assert not any(kind.endswith(ERRORS) for kind in sample.recorded.kinds)
    last = sample.recorded.of("AssetSetReconciled")[-1].window
    assert last is not None
    assert last[0] > "2026-01-01T12:00"


def test_a_clock_that_is_set_back_counts_nothing_twice(sample: Sample) -> None:
    """Windows that were done already are refused by their minute, and those after them go on."""
    # given
    sample.run_until(after(30))

    # when
    sample.now -= timedelta(seconds=16)
    sample.run_until(after(60))

    # then
    minute = Shelf(sample.data, "asset", MINUTE).load(MINUTE.window(TEN))
    assert minute.parts == [after(seconds) for seconds in range(0, 60, 10)]
    assert minute.total().core_hours * 3600 == pytest.approx(2 * 60)


def test_a_meter_that_fails_is_a_failed_computation(sample: Sample) -> None:
    """It costs the reading, not the process."""
    # given
    sample.run_until(after(2))
    broken = sample.levels.pop("allocation")
    sample.run_until(after(4))
    sample.levels["allocation"] = broken

    # when
    sample.run_until(after(10))

    # then
    [error] = sample.recorded.of("AllocationSetComputeError")
    assert error.window == window_text(TEN_SECONDS.window(TEN))
    assert sample.recorded.of("AllocationSetAggregated")


def test_a_window_in_which_the_meter_never_worked_has_no_set(sample: Sample) -> None:
    """An empty set would be reconciled as a machine that was idle."""
    # given
    sample.run_until(after(10))
    saved = len(sample.recorded.of("AllocationSetSaved"))
    del sample.levels["allocation"]

    # when
    sample.run_until(after(20))

    # then
    assert sample.recorded.of("AllocationSetComputeError")[-1].error == ("NothingRead: no meter reading in this window")
    assert len(sample.recorded.of("AllocationSetSaved")) == saved


def test_a_show_of_faults_has_both_errors_of_both_categories_in_a_minute(tmp_path: Path) -> None:
    """And everything that succeeds without faults still does."""
    # given
    sample = Sample(tmp_path, {"allocation": Faults("allocation"), "asset": Faults("asset")})

    # when
    sample.run_until(after(60))

    # then
    assert sample.recorded.kinds == {prefix + action for prefix in PREFIXES for action in (*SUCCESSES, *ERRORS)}


def test_faults_leave_two_windows_of_three_alone(tmp_path: Path) -> None:
    """Each kind of fault has its turn, and the pipeline recovers from each."""
    # given
    sample = Sample(tmp_path, {"allocation": Faults("allocation"), "asset": Faults("asset")})

    # when
    sample.run_until(after(120) + SETTLE)

    # then
    reconciled = {event.window for event in sample.recorded.of("AssetSetReconciled")}
    failed = [event for event in sample.recorded.of("AssetSetReconcileError") if event.window not in reconciled]
    windows = [window_text(TEN_SECONDS.window(after(seconds))) for seconds in range(0, 120, 10)]
    assert [number for number, window in enumerate(windows) if window not in reconciled] == [1, 4, 7, 10]
    texts = [event.error or "" for event in failed if event.window in windows]
    assert ["truncated" in text for text in texts] == [True, True, False, False]
    assert "more than" in texts[2]
    assert "cannot read" in texts[3]
