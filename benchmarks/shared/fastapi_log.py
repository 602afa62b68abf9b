"""What the peers on FastAPI have in common: the application, and one round trip to the store for all of the log."""

import os

from fastapi import FastAPI
from redis.asyncio import Redis

_PREFIX = os.environ["PREFIX"]
_client = Redis.from_url(os.environ["STORE_URL"], protocol=2)
app = FastAPI()


@app.get("/healthz")
async def healthz() -> dict:
    """Whether it serves."""
    return {}


async def read() -> tuple[list[bytes], list[bytes], dict[str, int]]:
    """The texts of both categories, and the counters by kind."""
    async with _client.pipeline(transaction=True) as pipe:
        pipe.lrange(_PREFIX + "log:allocation", 0, -1)
        pipe.lrange(_PREFIX + "log:asset", 0, -1)
        pipe.hgetall(_PREFIX + "counters")
        allocation, asset, counters = await pipe.execute()
    return allocation, asset, {name.decode(): int(number) for name, number in sorted(counters.items())}
