"""A stage as a process: `python -m support.run_emitter URL LOG NAME WORK`. It emits until its standard input ends, then
closes.

WORK is JSON, made by `emitters.Emitter`. The books are printed over and over, a line of JSON each.
"""

import json
import logging
import select
import sys
from dataclasses import asdict
from importlib import import_module
from time import monotonic

from etlog_events.ids import new_id
from etlog_producer import Producer, delivery
from support.producers import Numbered

#: Events between two looks at standard input.
BURST = 5


def main() -> None:
    """The whole life of the stage."""
    url, log, name, work = sys.argv[1:]
    given = json.loads(work)
    for path, value in given["constants"].items():
        module, _, constant = path.rpartition(".")
        getattr(import_module(module), constant)  # a constant that is gone must not go unnoticed
        setattr(import_module(module), constant, value)
    if given["errors"]:
        logging.basicConfig(filename=given["errors"], level="ERROR", format="%(message)s")
    if given["id"]:
        ids = iter([given["id"]])
        vars(delivery)["new_id"] = lambda: next(ids, None) or new_id()
    producer = Producer(url, log=log, **given["options"])
    numbered = Numbered(producer, name, given["kinds"])
    printed = 0.0

    def print_books() -> None:
        print(json.dumps({"accepted": numbered.number, **asdict(producer.stats())}), flush=True)  # noqa: T201

    while numbered.number != given["events"] and not select.select([sys.stdin], [], [], given["pause"])[0]:
        numbered.emit(BURST)
        if monotonic() - printed > 0.05:
            printed = monotonic()
            print_books()
    producer.close(given["closing"])
    print_books()


if __name__ == "__main__":
    main()
