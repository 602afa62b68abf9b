"""The limit of uvicorn: a bare ASGI application that answers the same bytes to everyone, or that nothing changed."""

import os
from pathlib import Path
from typing import Any

BODY = Path(os.environ["BODY"]).read_bytes()
TAG = b'W/"0123456789abcdef01234567"'

HEADERS = [(b"content-type", b"application/json"), (b"content-length", str(len(BODY)).encode()), (b"etag", TAG)]
START = {"type": "http.response.start", "status": 200, "headers": HEADERS}
FULL = {"type": "http.response.body", "body": BODY}
START_304 = {"type": "http.response.start", "status": 304, "headers": [(b"etag", TAG)]}
NONE = {"type": "http.response.body", "body": b""}
WITH_TAG = os.environ.get("STATUS") == "304"


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Answer."""
    if scope["type"] == "http":
        await send(START_304 if WITH_TAG else START)
        await send(NONE if WITH_TAG else FULL)
