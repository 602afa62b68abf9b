"""arq: one job an event."""

import asyncio

from arq import create_pool
from arq.connections import RedisSettings
from shared import turn, work

job = turn.arguments()


async def main() -> None:
    """The turn."""
    pool = await create_pool(RedisSettings.from_dsn(job["url"]))

    async def publish() -> None:
        for call in work.calls(job["count"]):
            await pool.enqueue_job("apply", work.as_dict(*call))

    await turn.take_async(publish)
    await pool.aclose()


asyncio.run(main())
