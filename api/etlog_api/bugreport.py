"""The bug report: a zip of everything that helps someone who was not there, without any secret."""

import io
import platform
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import orjson
from etlog_events.keys import Keys
from etlog_events.settings import Settings

from etlog_api.status import Status

#: Dead letters in the report at most, the newest.
DEAD_LETTERS = 1000

_PACKAGES = (
    "etlog-events",
    "etlog-api",
    "fastapi",
    "hiredis",
    "msgspec",
    "orjson",
    "redis",
    "starlette",
    "uvicorn",
)


@dataclass(frozen=True, slots=True)
class Evidence:
    """The store's `INFO`, the newest dead letters, and how much the ledger holds: `rows` of each category, and the
    events in no row, by kind."""

    info: dict[str, Any]
    dead: list[dict[str, str]]
    ledger: dict[str, dict[str, Any]]


async def read_evidence(client: Any, keys: Keys, categories: Iterable[str]) -> Evidence:
    """What the store tells. Raises the driver's errors."""
    names = list(categories)
    async with client.pipeline(transaction=False) as pipe:
        pipe.info()
        pipe.xrevrange(keys.dead, count=DEAD_LETTERS)
        pipe.hgetall(keys.unrowed)
        for name in names:
            pipe.hlen(keys.sets(name))
        info, letters, unrowed, *rows = await pipe.execute()
    dead = [{"letter": letter_id.decode(), **_texts(fields)} for letter_id, fields in letters]
    return Evidence(info, dead, {"rows": dict(zip(names, rows, strict=True)), "unrowed": _texts(unrowed)})


def _texts(fields: Mapping[bytes, bytes]) -> dict[str, str]:
    return {
        name.decode(errors="backslashreplace"): value.decode(errors="backslashreplace")
        for name, value in fields.items()
    }


def bugreport(
    log: bytes | None, coverage: bytes | None, status: Status | None, settings: Settings, evidence: Evidence | None
) -> bytes:
    """The zip. A file that could not be read from the store says so."""
    unread = b'{"message":"the store could not be read"}'
    versions = {"python": platform.python_version(), "platform": platform.platform()}
    versions |= {name: metadata.version(name) for name in _PACKAGES}
    files = {
        "log.json": log or unread,
        "coverage.json": coverage or unread,
        "status.json": _pretty(status) if status else unread,
        "settings.json": _pretty(settings.public()),
        "store.json": _pretty(evidence.info) if evidence else unread,
        "dead.json": _pretty(evidence.dead) if evidence else unread,
        "ledger.json": _pretty(evidence.ledger) if evidence else unread,
        "versions.json": _pretty(versions),
    }
    report = io.BytesIO()
    with zipfile.ZipFile(report, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(f"etlog-bugreport/{name}", content)
    return report.getvalue()


def _pretty(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS, default=str)
