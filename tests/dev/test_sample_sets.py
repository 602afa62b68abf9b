"""The sets of the sample ETL: windows, metering into records, sums, files."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from etlog_dev.sample.category import NothingRead, Reading, build
from etlog_dev.sample.meter import FILES, AllocationMeter, Level, read_assets
from etlog_dev.sample.prices import Prices
from etlog_dev.sample.reconciler import IDLE, NotReconcilable, ReconciledAsset, reconcile
from etlog_dev.sample.schedule import MINUTE, TEN_SECONDS, ticks
from etlog_dev.sample.sets import KEEP, Record, RecordSet, SetOverlap, SetUnreadable, Shelf, aggregate

TEN = datetime(2026, 1, 1, 10, tzinfo=UTC)
WINDOW = TEN_SECONDS.window(TEN)
PRICES = Prices(core_hour=3600.0, memory_gib_hour=360.0, disk_gib_hour=36.0)


def seconds(number: float) -> timedelta:
    return timedelta(seconds=number)


def record(name: str, *, cores: float = 0.0, memory: float = 0.0, disk: float = 0.0) -> Record:
    """A record of so many core-seconds and GiB-seconds, at one dollar each."""
    hours = (cores / 3600, memory / 3600, disk / 3600)
    return Record(
        name=name,
        core_hours=hours[0],
        memory_gib_hours=hours[1],
        disk_gib_hours=hours[2],
        cost=cores + memory + disk,
    )


def record_set(*records: Record, start: datetime = TEN, parts: Sequence[datetime] | None = None) -> RecordSet:
    start, end = TEN_SECONDS.window(start)
    return RecordSet(start, end, [start] if parts is None else parts, records)


def test_a_window_is_aligned_to_the_clock() -> None:
    """Every process finds the same window for a moment."""
    # given
    moment = TEN + seconds(59.999)

    # when
    window, minute = TEN_SECONDS.window(moment), MINUTE.window(moment)

    # then
    assert window == (TEN + seconds(50), TEN + seconds(60))
    assert minute == (TEN, TEN + seconds(60))


def test_ticks_fall_on_boundaries_and_leave_out_those_that_were_missed() -> None:
    """A slow tick is followed by one that is late and then the next boundary, not by all that passed."""
    # given a clock that waiting moves, and a process that is held up for 5 s in its second tick
    now = TEN + seconds(0.5)

    def clock() -> datetime:
        return now

    def wait(left: float) -> bool:
        nonlocal now
        now += seconds(left)
        return now > TEN + seconds(10)

    # when
    seen = []
    for tick in ticks(wait, clock):
        seen.append((tick - TEN).total_seconds())
        if len(seen) == 2:
            now += seconds(5)

    # then
    assert seen == [0.5, 2.0, 7.0, 8.0, 10.0]


def test_use_is_counted_by_the_share_of_a_reading_that_lies_in_the_window() -> None:
    """A reading that crosses the end of a window is divided between two."""
    # given
    readings = [
        Reading(TEN - seconds(2), TEN + seconds(2), {"a/1": Level(cores=0.5)}),
        Reading(TEN + seconds(2), TEN + seconds(4), {"a/1": Level(cores=1.0), "b/2": Level(memory_gib=3.0)}),
    ]

    # when
    built = build(WINDOW, readings, PRICES, stretch=False)

    # then
    assert {record.name: record.cost for record in built.records} == pytest.approx(
        {"a/1": 2 * 0.5 + 2 * 1.0, "b/2": 2 * 3.0 / 10}
    )
    assert built.total().core_hours * 3600 == pytest.approx(3.0)


def test_an_asset_costs_for_the_whole_window() -> None:
    """It was there before the meter was."""
    # given
    readings = [Reading(TEN + seconds(7), TEN + seconds(10), {"core 0": Level(cores=1.0)})]

    # when
    built = build(WINDOW, readings, PRICES, stretch=True)

    # then
    assert built.total().cost == pytest.approx(10.0)


def test_no_set_is_built_from_nothing() -> None:
    """An empty set would pass for a machine that did nothing."""
    # given
    elsewhere = [Reading(TEN + seconds(10), TEN + seconds(12), {"core 0": Level(cores=1.0)})]

    # when / then
    with pytest.raises(NothingRead):
        build(WINDOW, elsewhere, PRICES, stretch=True)


def test_aggregating_adds_up_by_name() -> None:
    """What ran in both windows is one record of their minute."""
    # given
    first = record_set(record("a/1", cores=1), record("b/2", memory=2))
    second = record_set(record("a/1", cores=4), record("c/3", disk=8), start=TEN + seconds(10))

    # when
    minute = aggregate(MINUTE.window(TEN), [second, first])

    # then
    assert [(each.name, each.cost) for each in minute.records] == [("c/3", 8), ("a/1", 5), ("b/2", 2)]
    assert minute.total().cost == first.total().cost + second.total().cost
    assert minute.parts == [TEN, TEN + seconds(10)]
    assert minute.window == MINUTE.window(TEN)


def test_no_window_counts_twice_in_a_minute() -> None:
    """A set that is in the minute already is refused."""
    # given
    same = record_set(record("a/1", cores=1))

    # when / then
    with pytest.raises(SetOverlap):
        aggregate(MINUTE.window(TEN), [same, same])


def test_a_saved_set_is_found_again(tmp_path: Path) -> None:
    """The file is named after the window, and plain JSON."""
    # given
    shelf = Shelf(tmp_path, "allocation", TEN_SECONDS)
    saved = record_set(record("a/1", cores=1))

    # when
    path = shelf.save(saved)

    # then
    assert path == tmp_path / "allocation/10s/2026-01-01T10-00-00Z.json"
    assert [each.name for each in path.parent.iterdir()] == [path.name]
    content = json.loads(path.read_bytes())
    assert content["start"] == "2026-01-01T10:00:00Z"
    assert content["records"][0]["name"] == "a/1"
    loaded = shelf.load(WINDOW)
    assert loaded.window == WINDOW
    assert list(loaded.records) == list(saved.records)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b'{"start":"2026-01-01T10', id="truncated"),
        pytest.param(b'{"start":"2026-01-01T10:00:00Z"}', id="not a set"),
        pytest.param(b'{"start":"\xff"}', id="not text"),
        pytest.param(b"", id="empty"),
        pytest.param(None, id="missing"),
    ],
)
def test_an_unreadable_file_is_named(tmp_path: Path, content: bytes | None) -> None:
    """Who reads the error finds the file."""
    # given
    shelf = Shelf(tmp_path, "asset", TEN_SECONDS)
    path = shelf.save(record_set())
    path.unlink()
    if content is not None:
        path.write_bytes(content)

    # when / then
    with pytest.raises(SetUnreadable, match=path.name):
        shelf.load(WINDOW)


def test_old_sets_are_removed(tmp_path: Path) -> None:
    """The sample may run for days without filling the disk."""
    # given
    shelf = Shelf(tmp_path, "asset", TEN_SECONDS)
    old, kept = shelf.save(record_set()), shelf.save(record_set(start=TEN + seconds(10)))

    # when
    shelf.prune(TEN + seconds(10) + KEEP)

    # then
    assert not old.exists()
    assert kept.exists()


def test_reconciling_finds_what_was_idle() -> None:
    """With the idle record the allocations cost what the assets cost, and each asset knows its share."""
    # given a machine of two cores, half a core busy; 4 GiB of memory, 3 in use; an unused disk
    allocations = record_set(record("a/1", cores=5, memory=10), record("b/2", memory=20))
    assets = record_set(
        record("core 0", cores=10), record("core 1", cores=10), record("memory", memory=40), record("disk /", disk=5)
    )

    # when
    allocations, assets = reconcile(allocations, assets)

    # then
    idle = allocations.records[-1]
    assert idle.name == IDLE
    assert [amount * 3600 for amount in idle.amounts] == pytest.approx([15, 10, 5])
    assert idle.cost == pytest.approx(15 + 10 + 5)
    assert allocations.total().cost == pytest.approx(assets.total().cost)
    used = {asset.name: asset.used for asset in assets.records if isinstance(asset, ReconciledAsset)}
    assert used == pytest.approx({"core 0": 0.25, "core 1": 0.25, "memory": 0.75, "disk /": 0.0})


def test_a_machine_that_is_busy_to_the_last_core_is_reconciled() -> None:
    """CPU time is counted in steps: a little more than there is, is nothing wrong."""
    # given
    allocations, assets = record_set(record("a/1", cores=10.1)), record_set(record("core 0", cores=10))

    # when
    allocations, _ = reconcile(allocations, assets)

    # then
    assert allocations.records[-1].cost == 0.0


def test_allocations_that_cost_more_than_the_assets_do_not_reconcile() -> None:
    """More than there is cannot be used."""
    # given
    allocations, assets = record_set(record("a/1", cores=10.3)), record_set(record("core 0", cores=10))

    # when / then
    with pytest.raises(NotReconcilable, match=r"allocations cost \$10\.3"):
        reconcile(allocations, assets)


def test_sets_of_different_times_do_not_reconcile() -> None:
    """A minute that lacks a window in one category is not compared with a full one."""
    # given
    allocations = record_set(record("a/1", cores=1), parts=[TEN])
    assets = record_set(record("core 0", cores=20), parts=[TEN, TEN + seconds(10)])

    # when / then
    with pytest.raises(NotReconcilable, match="10:00:10"):
        reconcile(allocations, assets)


def test_the_meters_read_this_machine() -> None:
    """Allocations hold no more of any resource than the assets offer."""
    # given
    read_allocations = AllocationMeter()
    baseline = read_allocations()

    # when
    allocations, assets = read_allocations(), read_assets()

    # then
    assert all(level.cores == 0.0 for level in baseline.values())
    assert len(allocations) > 1
    assert sum(level.cores for level in assets.values()) >= 1.0
    assert 0.0 < sum(level.memory_gib for level in allocations.values()) <= assets["memory"].memory_gib
    offered = sum(level.disk_gib for level in assets.values())
    assert 0.0 < allocations[FILES].disk_gib <= offered
