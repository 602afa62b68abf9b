"""A stage as a process: emits events with a unique marker until its standard input ends, then tells what it accepted.

Prints a line for every hundred events, and at the end its books as JSON. Arguments: address, log, name,
seconds for `close`, options as JSON.
"""

import json
import select
import sys
from dataclasses import asdict
from time import sleep

from etlog_producer import Producer, inbox

WINDOW = ("2022-06-03T10:00:00Z", "2022-06-03T11:00:00Z")


def main() -> None:
    """The whole life of the stage."""
    url, log, name, closing, options = sys.argv[1:]
    inbox.INBOX_EVENTS, inbox.SPILL_EVENTS = 400, 100  # so that an outage of a second reaches the spool
    producer = Producer(url, log=log, **json.loads(options))
    number = 0
    while not select.select([sys.stdin], [], [], 0)[0]:
        for _ in range(10):
            producer.emit("AssetSetSaved", size=number, window=WINDOW, marker=f"{name}/{number}")
            number += 1
        if number % 100 == 0:
            print(number, flush=True)  # noqa: T201
        sleep(0.005)
    producer.close(float(closing))
    print(json.dumps({"accepted": number, **asdict(producer.stats())}), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
