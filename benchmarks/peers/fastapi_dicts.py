"""FastAPI as one writes it first: decode the events, return dicts."""

import json
import os

from fastapi import FastAPI
from redis.asyncio import Redis

PREFIX = os.environ["PREFIX"]
client = Redis.from_url(os.environ["STORE_URL"], protocol=2)
app = FastAPI()


@app.get("/healthz")
async def healthz() -> dict:
    """Whether it serves."""
    return {}


@app.get("/model/etl/log")
async def log() -> dict:
    """The whole log."""
    async with client.pipeline(transaction=True) as pipe:
        pipe.lrange(PREFIX + "log:allocation", 0, -1)
        pipe.lrange(PREFIX + "log:asset", 0, -1)
        pipe.hgetall(PREFIX + "counters")
        allocation, asset, counters = await pipe.execute()
    return {
        "code": 200,
        "data": {
            "allocation": [json.loads(event) for event in allocation],
            "asset": [json.loads(event) for event in asset],
            "counters": {name.decode(): int(number) for name, number in sorted(counters.items())},
        },
    }
