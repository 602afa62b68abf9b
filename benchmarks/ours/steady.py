"""Ours: `emit` at a steady rate."""

from etlog_producer import Producer
from shared import pace, turn, work

job = turn.arguments()
producer = Producer(job["url"], log=job["log"], spool_dir=job["folder"])


def publish() -> None:
    """All of it, in time."""
    for size in pace.steadily(job["rate"], job["count"]):
        producer.emit("AssetSetSaved", size=size, window=work.WINDOW)
    if not producer.flush(60):
        raise SystemExit("not delivered in time")


turn.take(publish)
producer.close()
