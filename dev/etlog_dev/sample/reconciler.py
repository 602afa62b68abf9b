"""The reconciler: what the allocations took is compared with what the assets offered; the rest was idle."""

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

#: The record of what no allocation took, named as in Kubecost.
IDLE = "__idle__"

#: Share of the assets' cost by which allocations may exceed it: the system counts CPU time in steps of 10 ms.
TOLERANCE = 0.02

#: From the end of a window until its sets are looked for. They are saved within milliseconds on a machine with time.
SETTLE = timedelta(seconds=4)

#: Between two ticks; if it takes longer the machine was asleep, and so were those that save the sets.
PAUSE = timedelta(seconds=10)


class NotReconcilable(EtlogError):
    """Raised when two sets that are there contradict each other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconciledAsset(Record):
    """An asset and the share of it that allocations took, from 0 to 1."""

    used: float


def reconcile(allocations: RecordSet, assets: RecordSet) -> tuple[RecordSet, RecordSet]:
    """The allocations with what was idle, so that they cost what the assets cost; the assets with the share used.

    Raises `NotReconcilable` when the sets cover different times, or allocations cost more than there is.
    """
    if list(allocations.parts) != list(assets.parts):
        odd = sorted(set(allocations.parts) ^ set(assets.parts))
        raise NotReconcilable("only one of the two sets covers " + ", ".join(part.strftime("%H:%M:%S") for part in odd))
    taken, offered = allocations.total(), assets.total()
    idle_cost = offered.cost - taken.cost
    if idle_cost < -TOLERANCE * offered.cost:
        raise NotReconcilable(
            f"the allocations cost ${taken.cost:.6f}, more than the ${offered.cost:.6f} that the assets cost"
        )
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
        """Reconcile the windows that ended `SETTLE` ago, and their minute when it is full. A failure is not raised."""
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
        """Whether there should be two sets of `window`: the categories start in their own time, so not before there
        have been two, and not if neither has one."""
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
        """Reconcile two sets and keep both results. A failure is one of both categories, and raised."""
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
