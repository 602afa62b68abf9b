"""FastAPI as a careful person writes it: one round trip to the store, stored texts joined, nothing decoded."""

import os
from datetime import UTC, datetime, timedelta

import orjson
from fastapi import FastAPI, Response
from redis.asyncio import Redis

PREFIX = os.environ["PREFIX"]
client = Redis.from_url(os.environ["STORE_URL"], protocol=2)
app = FastAPI()


@app.get("/healthz")
async def healthz() -> dict:
    """Whether it serves."""
    return {}


@app.get("/model/etl/log")
async def log(kind: str = "", window: str = "", limit: int = 0) -> Response:
    """The log; `window` in hours."""
    async with client.pipeline(transaction=True) as pipe:
        pipe.lrange(PREFIX + "log:allocation", 0, -1)
        pipe.lrange(PREFIX + "log:asset", 0, -1)
        pipe.hgetall(PREFIX + "counters")
        allocation, asset, counters = await pipe.execute()
    names = {name.decode(): int(number) for name, number in sorted(counters.items())}
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
