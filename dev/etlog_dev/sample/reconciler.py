"""The reconciler: it compares what allocations used with what assets offered; the rest was idle."""

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from etlog_events.errors import EtlogError
from etlog_events.kinds import CATEGORIES
from etlog_producer import Producer

from etlog_dev.sample.schedule import MINUTE, TEN_SECONDS, Resolution, Window
from etlog_dev.sample.sets import Record, RecordSet, Shelf

logger = logging.getLogger("etlog.sample")

#: The record of what no allocation used, named as in Kubecost.
IDLE = "__idle__"

#: Fraction by which allocations may cost more than the assets: the system counts CPU time in steps of 10 ms.
TOLERANCE = 0.02

#: Time from the end of a window until its sets are expected. Unless the machine is busy, it takes milliseconds.
SETTLE = timedelta(seconds=4)

#: Longest time between two ticks. After a longer one the machine was asleep, and no sets were saved.
PAUSE = timedelta(seconds=10)


class NotReconcilable(EtlogError):
    """Raised when two sets contradict each other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconciledAsset(Record):
    """An asset and the fraction of it that allocations used, from 0 to 1."""

    used: float


def reconcile(allocations: RecordSet, assets: RecordSet) -> tuple[RecordSet, RecordSet]:
    """The allocations plus the idle rest, so that they cost as much as the assets; and the assets with their use.

    Raises `NotReconcilable` when the sets cover different times, or the allocations cost more than the assets.
    """
    if list(allocations.parts) != list(assets.parts):
        odd = sorted(set(allocations.parts) ^ set(assets.parts))
        raise NotReconcilable("only one of the two sets covers " + ", ".join(part.strftime("%H:%M:%S") for part in odd))
    taken, offered = allocations.total(), assets.total()
    idle_cost = offered.cost - taken.cost
    if idle_cost < -TOLERANCE * offered.cost:
        raise NotReconcilable(f"the allocations cost ${taken.cost:.6f}, more than the assets (${offered.cost:.6f})")
    cores, memory, disk = (max(there - used, 0.0) for there, used in zip(offered.amounts, taken.amounts, strict=True))
    idle = Record(name=IDLE, core_hours=cores, memory_gib_hours=memory, disk_gib_hours=disk, cost=max(idle_cost, 0.0))
    shares = [
        min(used / there, 1.0) if there else 0.0 for there, used in zip(offered.amounts, taken.amounts, strict=True)
    ]
    used_assets = [
        ReconciledAsset(
            name=asset.name,
            core_hours=asset.core_hours,
            memory_gib_hours=asset.memory_gib_hours,
            disk_gib_hours=asset.disk_gib_hours,
            cost=asset.cost,
            used=max(share for amount, share in zip(asset.amounts, shares, strict=True) if amount),
        )
        for asset in assets.records
        if any(asset.amounts)
    ]
    start, end = allocations.window
    return (
        RecordSet(start, end, allocations.parts, [*allocations.records, idle]),
        RecordSet(start, end, assets.parts, used_assets),
    )


class Reconciler:
    """Reconciles the sets under the folder `data`, and keeps the results under `reconciled` in it."""

    def __init__(self, *, data: Path, producer: Producer) -> None:
        self._producer = producer
        self._found = _shelves(data)
        self._kept = _shelves(data / "reconciled")
        self._ticked_at: datetime | None = None
        self._next: datetime
        self._begun: datetime | None = None

    def tick(self, now: datetime) -> None:
        """Reconcile the windows that ended `SETTLE` ago, and their minute when it is full. Does not raise a failure."""
        if self._ticked_at is None or not timedelta(0) <= now - self._ticked_at <= PAUSE:
            self._next, self._begun = TEN_SECONDS.window(now).start, None
        self._ticked_at = now
        while (window := TEN_SECONDS.window(self._next)).end + SETTLE <= now:
            self._next = window.end
            if self._is_due(window):
                self._reconcile(TEN_SECONDS, window)
            minute = MINUTE.window(window.start)
            if minute.end == window.end and self._begun is not None and self._begun <= minute.start:
                self._reconcile(MINUTE, minute)

    def _is_due(self, window: Window) -> bool:
        """Whether `window` should have two sets: not before both categories have started, and not if it has none."""
        found = [self._found[category, TEN_SECONDS].path(window).exists() for category in CATEGORIES]
        if all(found) and self._begun is None:
            self._begun = window.start
        return any(found) and self._begun is not None

    def _reconcile(self, resolution: Resolution, window: Window) -> None:
        try:
            self._reconcile_or_raise(resolution, window)
            for category in CATEGORIES:
                self._kept[category, resolution].prune(window.end)
        except Exception as e:
            logger.warning(
                "Reconciling the sets of %s (%s) failed: %s",
                window.start.time(),
                resolution.name,
                e,
                extra={"action": "reconciling_failed"},
            )

    def _reconcile_or_raise(self, resolution: Resolution, window: Window) -> None:
        """Reconcile two sets and save both results. A failure becomes an event of both categories, and is raised."""
        with (
            self._producer.stage(CATEGORIES["allocation"], window=window) as allocation,
            self._producer.stage(CATEGORIES["asset"], window=window) as asset,
            allocation.reconciling(),
            asset.reconciling(),
        ):
            allocations = self._found["allocation", resolution].load(window)
            allocation.loaded(size=len(allocations.records))
            assets = self._found["asset", resolution].load(window)
            asset.loaded(size=len(assets.records))
            allocations, assets = reconcile(allocations, assets)
            self._kept["allocation", resolution].save(allocations)
            self._kept["asset", resolution].save(assets)
            idle = allocations.records[-1]
            allocation.reconciled(size=len(allocations.records), idle_cost=round(idle.cost, 9))
            asset.reconciled(size=len(assets.records), cost=round(assets.total().cost, 9))


def _shelves(data: Path) -> dict[tuple[str, Resolution], Shelf]:
    return {
        (category, resolution): Shelf(data, category, resolution)
        for category in CATEGORIES
        for resolution in (TEN_SECONDS, MINUTE)
    }
