"""redis-py: pipelines of 500 XADDs; with `encoded`, of events that are encoded already."""

import redis
from shared import turn, work

job = turn.arguments()
encoded = [work.as_json(*call) for call in work.calls(job["count"])] if job.get("encoded") else None
client = redis.Redis.from_url(job["url"], protocol=2)
client.ping()
STREAM = job["stream"]


def publish() -> None:
    """Build and send."""
    pipe = client.pipeline(transaction=False)
    xadd = pipe.xadd
    events = encoded or (work.as_json(*call) for call in work.calls(job["count"]))
    for seq, event in enumerate(events, 1):
        xadd(STREAM, {"event": event, "producer": "producer-1", "seq": seq})
        if not seq % 500:
            pipe.execute()
    pipe.execute()


turn.take(publish)
