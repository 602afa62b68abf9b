"""What the use of a machine costs."""

from dataclasses import dataclass

from etlog_dev.sample.meter import Level
from etlog_dev.sample.sets import Record


@dataclass(frozen=True, slots=True)
class Prices:
    """Prices in US dollars. The defaults are OpenCost's for a machine without known prices."""

    core_hour: float = 0.031611
    memory_gib_hour: float = 0.004237
    disk_gib_hour: float = 0.00005479452

    def record(self, name: str, level: Level, hours: float) -> Record:
        """The record of the asset or allocation `name` that was at `level` for `hours`."""
        core_hours, memory_gib_hours, disk_gib_hours = (
            level.cores * hours,
            level.memory_gib * hours,
            level.disk_gib * hours,
        )
        return Record(
            name=name,
            core_hours=core_hours,
            memory_gib_hours=memory_gib_hours,
            disk_gib_hours=disk_gib_hours,
            cost=core_hours * self.core_hour
            + memory_gib_hours * self.memory_gib_hour
            + disk_gib_hours * self.disk_gib_hour,
        )
