"""redis-py: pipelined XADDs at a steady rate; what fell due meanwhile travels together."""

from time import perf_counter, sleep

import redis
from shared import turn, work

job = turn.arguments()
client = redis.Redis.from_url(job["url"], protocol=2)
client.ping()


def publish() -> None:
    """All of it, in time."""
    began, sent = perf_counter(), 0
    while sent < job["count"]:
        due = min(job["count"], int((perf_counter() - began) * job["rate"]) + 1)
        if due > sent:
            pipe = client.pipeline(transaction=False)
            for size in range(sent, due):
                pipe.xadd(job["stream"], {"event": work.as_json("AssetSetSaved", size, work.WINDOW)})
            pipe.execute()
            sent = due
        sleep(max(0.0, began + sent / job["rate"] - perf_counter()))


turn.take(publish)
