"""A stage as a process: `emitter.py URL LOG NAME ACKS KEEP`. It emits until its standard input ends, then delivers all.

The size of an event is its number. Prints `<emitted> <acknowledged>`, over and over. KEEP are the seconds for which it
keeps what it has delivered, to send it again.
"""

import select
import sys
from time import monotonic

from etlog_producer import Producer, unacked

WINDOW = ("2022-06-03T10:00:00Z", "2022-06-03T11:00:00Z")

#: Events between two looks, and seconds between.
BURST, PAUSE = 5, 0.02

#: Seconds that the last events get.
PATIENCE = 30.0


def main() -> None:
    """The whole life of the stage."""
    url, log, name, acks, keep = sys.argv[1:]
    unacked.KEEP_SECONDS = float(keep)
    producer = Producer(url, log=log, acks="replica" if acks == "replica" else "memory")
    emitted = acknowledged = 0
    printed = 0.0
    while not select.select([sys.stdin], [], [], PAUSE)[0]:
        for _ in range(BURST):
            emitted += 1
            producer.emit("AllocationSetSaved", size=emitted, window=WINDOW, stage=name)
        acknowledged = max(acknowledged, producer.stats().delivered)
        if monotonic() - printed > 0.05:
            printed = monotonic()
            print(emitted, acknowledged, flush=True)  # noqa: T201
    producer.flush(PATIENCE)
    print(emitted, producer.stats().delivered, flush=True)  # noqa: T201
    producer.close()


if __name__ == "__main__":
    main()
