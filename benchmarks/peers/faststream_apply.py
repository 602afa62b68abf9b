"""FastStream: a handler for each message, or for batches of a thousand."""

import asyncio
import logging
from collections import Counter, defaultdict

import orjson
from faststream.redis import RedisBroker, StreamSub
from shared import turn, work

job = turn.arguments()
CAP, COUNT = job["cap"], job["count"]
LOGS = {"Al": job["prefix"] + "log:allocation", "As": job["prefix"] + "log:asset"}
broker = RedisBroker(job["url"], logger=logging.getLogger("quiet"))
sub = StreamSub(
    job["stream"], group="group", consumer="me", last_id="0", batch=job["batch"], max_records=1000, polling_interval=50
)
done = asyncio.Event()
left = COUNT


async def one(event: dict) -> None:
    """Apply a message."""
    global left  # noqa: PLW0603
    pipe = broker._connection.pipeline(transaction=True)
    work.queue_one(pipe, event, job["prefix"], CAP)
    await pipe.execute()
    left -= 1
    if not left:
        done.set()


async def many(events: list[dict]) -> None:
    """Apply a batch."""
    global left  # noqa: PLW0603
    logs, counters = defaultdict(list), Counter()
    for event in events:
        logs[LOGS[event["kind"][:2]]].append(orjson.dumps(event))
        counters[event["kind"]] += 1
    pipe = broker._connection.pipeline(transaction=True)
    for log, texts in logs.items():
        pipe.rpush(log, *texts[-CAP:])
        pipe.ltrim(log, -CAP, -1)
    for kind, number in counters.items():
        pipe.hincrby(job["prefix"] + "counters", kind, number)
    await pipe.execute()
    left -= len(events)
    if not left:
        done.set()


async def main() -> None:
    """The turn."""
    broker.subscriber(stream=sub)(many if job["batch"] else one)
    await broker.connect()
    await broker.ping(1)

    async def receive() -> None:
        await broker.start()
        await done.wait()

    await turn.take_async(receive)
    await broker.stop()


asyncio.run(main())
