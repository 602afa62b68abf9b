"""taskiq-redis: a worker that applies each event as a task."""

import asyncio
import os

from redis.asyncio import Redis
from shared import turn, work
from taskiq.api import run_receiver_task
from taskiq_redis import RedisStreamBroker

job = turn.arguments()
broker = RedisStreamBroker(job["url"], queue_name=job["stream"], consumer_id="0")
client = Redis.from_url(job["url"], protocol=2)
left = job["count"]


@broker.task(task_name="apply")
async def apply(event: dict) -> None:
    """Apply an event."""
    global left  # noqa: PLW0603
    async with client.pipeline(transaction=True) as pipe:
        work.queue_one(pipe, event, job["prefix"], job["cap"])
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

    async def receive() -> None:
        worker = asyncio.create_task(run_receiver_task(broker))
        await done.wait()
        del worker

    await turn.take_async(receive)
    os._exit(0)  # the receiver has no end of its own


asyncio.run(main())
