"""An emitting process: `python emitter.py URL LOG RECORD`. It emits without end and notes what was accepted.

The marker of an event is the producer's id and the event's number. A line of the file RECORD, `<producer> <number>`,
says that all up to that number were accepted, which is: `flush()` returned. SIGTERM ends it, with all delivered.
"""

import os
import signal
import sys
from time import sleep

from etlog_producer import Producer

#: Events between two notes, and seconds between: some 150 a second.
BURST, PAUSE = 15, 0.1

#: Seconds that a last flush may take.
PATIENCE = 60.0

KINDS = ("AllocationSetSaved", "AssetSetSaved", "AllocationSetLoaded", "AssetSetAggregated")
WINDOW = ("2022-06-03T10:00:00Z", "2022-06-03T11:00:00Z")


def main() -> None:
    """Emit until SIGTERM."""
    url, log, record = sys.argv[1:]
    stopping: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stopping.append(number))
    producer = Producer(url, log=log)
    file = os.open(record, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    number = 0
    while not stopping:
        for _ in range(BURST):
            number += 1
            producer.emit(KINDS[number % 4], size=number, window=WINDOW, marker=f"{producer.id} {number}")
        if producer.flush(0.05):
            os.write(file, f"{producer.id} {number}\n".encode())
        sleep(PAUSE)
    if producer.flush(PATIENCE):
        os.write(file, f"{producer.id} {number}\n".encode())
    producer.close()


if __name__ == "__main__":
    main()
