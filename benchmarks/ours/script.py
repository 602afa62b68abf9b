"""Ours: the publishing function alone, on events that are encoded already."""

from etlog_events.keys import Keys
from etlog_events.store import connect
from etlog_producer.publish import Identity, Publisher
from shared import turn, work

job = turn.arguments()
events = [work.as_json(*call) for call in work.calls(job["count"])]
WHO = Identity("producer-1")
client = connect(job["url"], part="benchmark")
publisher = Publisher(client, Keys(job["log"]))
client.ping()


def publish() -> None:
    """All of it, 500 events a call."""
    for first in range(0, len(events), 500):
        publisher(WHO, first + 1, events[first : first + 500])


turn.take(publish)
