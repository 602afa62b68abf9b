"""What the ledger must hold, worked out from the events alone and without any code of etlog's: one event after another,
times as nanoseconds, rows as plain dicts."""

import json
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

#: category -> interval -> cell -> what is known of it.
Ledger: TypeAlias = dict[str, dict[str, dict[str, dict[str, Any]]]]

PREFIXES = {"allocation": "AllocationSet", "asset": "AssetSet"}

_STAGES = {"Loaded", "Saved", "Aggregated", "Totaled", "Reconciled"}
_CENTURY = 100 * 366 * 86_400
_EPOCH = datetime(1, 1, 1, tzinfo=UTC)


def recomputed(texts: Iterable[bytes]) -> Ledger:
    """The rows that events in canonical spelling make, each category and each set, whatever is kept of them."""
    of_cells: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for text in texts:
        event = json.loads(text)
        category, action = _split(event["kind"])
        metadata = event["metadata"]
        window = metadata.get("window")
        interval = f"{window['start']}/{window['end']}" if window else "-"
        stage = metadata.get("stage")
        if action == "ComputeError" and isinstance(stage, str) and stage in _STAGES:
            action = f"ComputeError.{stage}"
        of_cells.setdefault((category, interval, action), []).append(event)
    ledger: Ledger = {category: {} for category in PREFIXES}
    for (category, interval, cell), events in of_cells.items():
        ledger[category].setdefault(interval, {})[cell] = _cell(interval, events)
    return ledger


def counted(texts: Iterable[bytes]) -> dict[str, int]:
    """How many events there are of each kind."""
    return dict(Counter(json.loads(text)["kind"] for text in texts))


def events_in(ledger: Ledger) -> dict[str, int]:
    """How many events of each kind the rows of a ledger tell of."""
    sums: Counter[str] = Counter()
    for category, rows in ledger.items():
        for row in rows.values():
            for name, cell in row.items():
                sums[PREFIXES[category] + name.split(".")[0]] += cell["n"]
    return dict(sums)


def nanoseconds(time: str) -> int:
    """Nanoseconds since the year 1 of a time that ends with `Z`."""
    second, _, fraction = time.removesuffix("Z").partition(".")
    whole = (datetime.fromisoformat(second + "+00:00") - _EPOCH) // timedelta(seconds=1)
    return whole * 10**9 + int((fraction + "0" * 9)[:9])


def _cell(interval: str, events: list[dict[str, Any]]) -> dict[str, Any]:
    times = sorted((event["time"] for event in events), key=nanoseconds)
    cell: dict[str, Any] = {"n": len(events), "first": times[0], "last": times[-1]}
    if interval != "-":
        end = nanoseconds(interval.split("/")[1])
        settled = [time for time in times if nanoseconds(time) >= end]
        if settled:
            cell["settled"] = settled[0]
    latest = [event["metadata"] for event in events if event["time"] == times[-1]]
    found = {
        "size": [metadata["size"] for metadata in latest if "size" in metadata],
        "seconds": [metadata["seconds"] for metadata in latest if _is_duration(metadata.get("seconds"))],
        "error": [metadata["error"][:500] for metadata in latest if "error" in metadata],
    }
    return cell | {name: max(values) for name, values in found.items() if values}


def _is_duration(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= _CENTURY


def _split(kind: str) -> tuple[str, str]:
    for category, prefix in PREFIXES.items():
        if kind.startswith(prefix):
            return category, kind.removeprefix(prefix)
    raise AssertionError(f"no kind: {kind}")
