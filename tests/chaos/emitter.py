"""An emitting process: `python -m chaos.emitter URL LOG RECORD`. It emits without end and notes what was accepted.

The stage of an event is its producer's id. A line of the file RECORD, `<producer> <number>`, says that all up to that
number were accepted, which is: `flush()` returned. SIGTERM ends it, with all delivered.
"""

import os
import random
import signal
import sys
from time import sleep

from etlog_producer import Producer
from support.producers import Numbered

#: Events between two notes, one of these numbers at random, and seconds between: entries of one event and of several.
BURSTS, PAUSE = (1, 2, 15, 60), 0.1

#: Seconds that a last flush may take.
PATIENCE = 60.0

KINDS = ("AllocationSetSaved", "AssetSetSaved", "AllocationSetLoaded", "AssetSetAggregated")


def main() -> None:
    """Emit until SIGTERM."""
    url, log, record = sys.argv[1:]
    stopping: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stopping.append(number))
    producer = Producer(url, log=log)
    file = os.open(record, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    numbered = Numbered(producer, producer.id, KINDS)

    def note() -> None:
        os.write(file, f"{producer.id} {numbered.number}\n".encode())

    while not stopping:
        numbered.emit(random.choice(BURSTS))
        if producer.flush(0.05):
            note()
        sleep(PAUSE)
    if producer.flush(PATIENCE):
        note()
    producer.close()


if __name__ == "__main__":
    main()
