"""taskiq-redis: a worker that applies each event as a task."""

import asyncio
import os

import orjson
from redis.asyncio import Redis
from shared import turn
from taskiq.api import run_receiver_task
from taskiq_redis import RedisStreamBroker

job = turn.arguments()
CAP = job["cap"]
LOGS = {"Al": job["prefix"] + "log:allocation", "As": job["prefix"] + "log:asset"}
broker = RedisStreamBroker(job["url"], queue_name=job["stream"], consumer_id="0")
client = Redis.from_url(job["url"], protocol=2)
left = job["count"]


@broker.task(task_name="apply")
async def apply(event: dict) -> None:
    """Apply an event."""
    global left  # noqa: PLW0603
    log = LOGS[event["kind"][:2]]
    async with client.pipeline(transaction=True) as pipe:
        pipe.rpush(log, orjson.dumps(event))
        pipe.ltrim(log, -CAP, -1)
        pipe.hincrby(job["prefix"] + "counters", event["kind"], 1)
        await pipe.execute()
    left -= 1
    if not left:
        done.set()


async def main() -> None:
    """The turn."""
    global done  # noqa: PLW0603
    done = asyncio.Event()
    broker.is_worker_process = True
    await broker.startup()
    await client.ping()

    async def work() -> None:
        worker = asyncio.create_task(run_receiver_task(broker))
        await done.wait()
        del worker

    await turn.take_async(work)
    os._exit(0)  # the receiver has no end of its own


asyncio.run(main())
