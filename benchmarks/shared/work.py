"""The work that all get: the same events, built from the same values."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import orjson

KINDS = ("AllocationSetSaved", "AssetSetSaved")
WINDOW = ("2022-06-03T10:00:00Z", "2022-06-03T11:00:00Z")


def calls(count: int) -> Iterator[tuple[str, int, tuple[str, str]]]:
    """Kind, size and window of each event; the sizes number them."""
    for size in range(count):
        yield KINDS[size & 1], size, WINDOW


def as_json(kind: str, size: int, window: tuple[str, str]) -> bytes:
    """The event that happened just now, as fast as one can build it with orjson."""
    return orjson.dumps(
        {
            "kind": kind,
            "metadata": {"size": size, "window": {"start": window[0], "end": window[1]}},
            "time": datetime.now(UTC),
        },
        option=orjson.OPT_UTC_Z,
    )


def as_dict(kind: str, size: int, window: tuple[str, str]) -> dict[str, Any]:
    """The same for libraries that want to write the JSON themselves."""
    return {
        "kind": kind,
        "metadata": {"size": size, "window": {"start": window[0], "end": window[1]}},
        "time": datetime.now(UTC).isoformat(),
    }


def queue_one(pipe: Any, event: dict[str, Any], prefix: str, cap: int) -> None:
    """Queue the commands that apply one event: to its list, which keeps the newest `cap`, and to its counter."""
    log = f"{prefix}log:{'allocation' if event['kind'].startswith('Al') else 'asset'}"
    pipe.rpush(log, orjson.dumps(event))
    pipe.ltrim(log, -cap, -1)
    pipe.hincrby(prefix + "counters", event["kind"], 1)
