"""FastAPI as a careful person writes it: one round trip to the store, stored texts joined, nothing decoded."""

from datetime import UTC, datetime, timedelta

import orjson
from fastapi import Response
from shared.fastapi_log import app, read


@app.get("/model/etl/log")
async def log(kind: str = "", window: str = "", limit: int = 0) -> Response:
    """The log; `window` in hours."""
    allocation, asset, names = await read()
    if kind:
        names = {name: number for name, number in names.items() if kind in name}
    parts = []
    for category, stored in (("allocation", allocation), ("asset", asset)):
        events = stored
        if kind:
            prefixes = tuple(f'{{"kind":"{name}"'.encode() for name in names)
            events = [event for event in events if event.startswith(prefixes)]
        if window:
            start = (datetime.now(UTC) - timedelta(hours=int(window.rstrip("h")))).isoformat().encode()
            events = [event for event in events if event[event.rindex(b'"time":"') + 8 : -2] >= start]
        if limit:
            events = events[-limit:]
        parts.append(b'"%b":[%b]' % (category.encode(), b",".join(events)))
    parts.append(b'"counters":' + orjson.dumps(names))
    return Response(b'{"code":200,"data":{%b}}' % b",".join(parts), media_type="application/json")
