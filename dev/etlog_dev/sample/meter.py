"""The meters: they ask the operating system what the machine has, and what uses it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any

import psutil

#: Bytes.
_GIB = 1 << 30

#: File systems of mounted images: always full, and on a disk that is already counted.
_IMAGES = frozenset({"squashfs", "iso9660", "erofs"})

#: The allocation of the disk space of files, which belongs to no process.
FILES = "__files__"


@dataclass(frozen=True, slots=True)
class Level:
    """How much of each resource an asset offers or an allocation holds."""

    cores: float = 0.0
    memory_gib: float = 0.0
    disk_gib: float = 0.0


#: Returns the levels since its last call, by the name of the asset or allocation.
Meter = Callable[[], Mapping[str, Level]]


def read_assets() -> dict[str, Level]:
    """The machine: each of its cores, its memory, each of its disks."""
    levels = {f"core {number}": Level(cores=1.0) for number in range(psutil.cpu_count() or 1)}
    levels["memory"] = Level(memory_gib=psutil.virtual_memory().total / _GIB)
    levels |= {f"disk {mount}": Level(disk_gib=usage.total / _GIB) for mount, usage in _disks().items()}
    return levels


class AllocationMeter:
    """Reads the processes: how many cores each kept busy since the last reading, and how much memory it holds.

    Cores are 0 in the first reading. Processes that may not be read are left out.
    """

    def __init__(self) -> None:
        self._read_at = monotonic()
        self._cpu_seconds: dict[int, float] = {}

    def __call__(self) -> dict[str, Level]:
        before, self._cpu_seconds = self._cpu_seconds, {}
        read_before, self._read_at = self._read_at, monotonic()
        elapsed = max(self._read_at - read_before, 0.001)
        levels: dict[str, Level] = {}
        for process in psutil.process_iter():
            try:
                with process.oneshot():
                    cpu, memory, name = process.cpu_times(), process.memory_info().rss, process.name()
            except psutil.Error:
                if process.pid in before:  # or its whole past would count once it can be read again
                    self._cpu_seconds[process.pid] = before[process.pid]
                continue
            self._cpu_seconds[process.pid] = cpu.user + cpu.system
            busy = max(self._cpu_seconds[process.pid] - before.get(process.pid, 0.0), 0.0) if before else 0.0
            if busy or memory:  # an idle kernel thread is not an allocation
                printable = name.encode("utf-8", "replace").decode()
                levels[f"{printable}/{process.pid}"] = Level(cores=busy / elapsed, memory_gib=memory / _GIB)
        levels = _within_memory(levels)
        levels[FILES] = Level(disk_gib=sum(usage.used for usage in _disks().values()) / _GIB)
        return levels


def _within_memory(levels: dict[str, Level]) -> dict[str, Level]:
    """`levels` without double counting: memory that processes share counts in each of them."""
    memory = psutil.virtual_memory()
    in_use = (memory.total - memory.available) / _GIB
    held = sum(level.memory_gib for level in levels.values())
    if held <= in_use:
        return levels
    return {name: Level(level.cores, level.memory_gib * in_use / held) for name, level in levels.items()}


def _disks() -> dict[str, Any]:
    """Total and used bytes of each disk, by its first mount point."""
    devices: set[str] = set()
    disks: dict[str, Any] = {}
    for partition in psutil.disk_partitions():
        if partition.device in devices or partition.fstype in _IMAGES:
            continue
        try:
            disks[partition.mountpoint] = psutil.disk_usage(partition.mountpoint)
        except OSError:  # an empty drive
            continue
        devices.add(partition.device)
    return disks or {"/": psutil.disk_usage("/")}  # a container may list none
