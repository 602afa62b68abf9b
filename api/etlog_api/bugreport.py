"""The bug report: a zip of everything that helps somebody who was not there, and no secret."""

import io
import platform
import zipfile
from collections.abc import Mapping
from importlib import metadata
from typing import Any

import orjson
from etlog_events.keys import Keys
from etlog_events.settings import Settings

from etlog_api.status import Status

#: Dead letters in the report, the newest.
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


async def read_evidence(client: Any, keys: Keys) -> tuple[dict[str, Any], list[dict[str, str]]]:
    """The store's `INFO` and the newest dead letters. Raises the driver's errors."""
    async with client.pipeline(transaction=True) as pipe:
        pipe.info()
        pipe.xrevrange(keys.dead, count=DEAD_LETTERS)
        info, letters = await pipe.execute()
    return info, [
        {
            "letter": letter_id.decode(),
            **{name.decode(): value.decode(errors="backslashreplace") for name, value in fields.items()},
        }
        for letter_id, fields in letters
    ]


def bugreport(
    log: bytes | None,
    status: Status | None,
    settings: Settings,
    info: Mapping[str, Any] | None,
    dead: list[dict[str, str]] | None,
) -> bytes:
    """The zip. What could not be read, because the store is away, is said in its place."""
    unread = b'{"message":"the store could not be read"}'
    versions = {"python": platform.python_version(), "platform": platform.platform()}
    versions |= {name: metadata.version(name) for name in _PACKAGES}
    files = {
        "log.json": log or unread,
        "status.json": _pretty(status) if status else unread,
        "settings.json": _pretty(settings.public()),
        "store.json": _pretty(info) if info else unread,
        "dead.json": _pretty(dead) if dead is not None else unread,
        "versions.json": _pretty(versions),
    }
    report = io.BytesIO()
    with zipfile.ZipFile(report, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(f"etlog-bugreport/{name}", content)
    return report.getvalue()


def _pretty(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS, default=str)
