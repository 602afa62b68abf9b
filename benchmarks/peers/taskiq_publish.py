"""taskiq-redis: one task an event, through a stream."""

import asyncio

from shared import turn, work
from taskiq_redis import RedisStreamBroker

job = turn.arguments()
broker = RedisStreamBroker(job["url"], queue_name=job["stream"], consumer_id="0")


@broker.task(task_name="apply")
async def apply(event: dict) -> None:
    """What a worker would do with it."""


async def main() -> None:
    """The turn."""
    await broker.startup()

    async def publish() -> None:
        for call in work.calls(job["count"]):
            await apply.kiq(work.as_dict(*call))

    await turn.take_async(publish)
    await broker.shutdown()


asyncio.run(main())
