"""FastStream: each message by itself, or pipelines of 500."""

import asyncio
import logging

from faststream.redis import RedisBroker
from shared import turn, work

job = turn.arguments()


async def main() -> None:
    """The turn."""
    async with RedisBroker(job["url"], logger=logging.getLogger("quiet")) as broker:
        await broker.ping(1)
        stream = job["stream"]

        async def one_by_one() -> None:
            for call in work.calls(job["count"]):
                await broker.publish(work.as_dict(*call), stream=stream)

        async def in_pipelines() -> None:
            pipe = broker._connection.pipeline(transaction=False)
            for number, call in enumerate(work.calls(job["count"]), 1):
                await broker.publish(work.as_dict(*call), stream=stream, pipeline=pipe)
                if not number % 500:
                    await pipe.execute()
            await pipe.execute()

        await turn.take_async(in_pipelines if job.get("pipeline") else one_by_one)


asyncio.run(main())
