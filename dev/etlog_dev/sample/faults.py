"""Faults for a demonstration: set files are really damaged, so stages really fail."""

import logging
from collections.abc import Callable, Mapping
from itertools import count
from pathlib import Path
from types import MappingProxyType

import orjson

logger = logging.getLogger("etlog.sample")

#: Damages a set's file.
Fault = Callable[[Path], None]


def truncate(path: Path) -> None:
    """Cut the file in half, as a full disk or a crash would: it cannot be loaded."""
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def drop(path: Path) -> None:
    """Remove the file: neither its minute nor the reconciler finds it."""
    path.unlink()


def overprice(path: Path) -> None:
    """Add a dollar to each record, as a wrong price list would: allocations cost more than the assets."""
    content = orjson.loads(path.read_bytes())
    for record in content["records"]:
        record["cost"] += 1.0
    path.write_bytes(orjson.dumps(content))


#: Windows after which the faults repeat.
CYCLE = 12

#: Category -> number of the window in the cycle -> fault. Every third window has one, the first within 20 s.
FAULTS: Mapping[str, Mapping[int, Fault]] = MappingProxyType(
    {"allocation": {1: truncate, 7: overprice}, "asset": {4: truncate, 10: drop}}
)


class Faults:
    """Called with the file of each saved set of `category`; damages some."""

    def __init__(self, category: str) -> None:
        self._faults = FAULTS[category]
        self._numbers = count()

    def __call__(self, path: Path) -> None:
        fault = self._faults.get(next(self._numbers) % CYCLE)
        if fault is not None:
            fault(path)
            logger.info("Injected a fault: %s %s", fault.__name__, path, extra={"action": "fault_injected"})
