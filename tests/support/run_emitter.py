"""A stage as a process: `run_emitter.py URL LOG NAME WORK`. It emits until its standard input ends, then closes.

The size of an event is its number, from 1 on. WORK is JSON, made by `emitters.Emitter`. The books are printed over and
over, a line of JSON each.
"""

import json
import select
import sys
from dataclasses import asdict
from importlib import import_module
from time import monotonic

from etlog_events.kinds import KUBECOST_KINDS
from etlog_producer import Producer

WINDOW = ("2022-06-03T10:00:00Z", "2022-06-03T11:00:00Z")

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
    producer = Producer(url, log=log, **given["options"])
    kinds = [KUBECOST_KINDS.by_name[kind] for kind in given["kinds"]]
    number, printed = 0, 0.0

    def print_books() -> None:
        print(json.dumps({"accepted": number, **asdict(producer.stats())}), flush=True)  # noqa: T201

    while number != given["events"] and not select.select([sys.stdin], [], [], given["pause"])[0]:
        for _ in range(BURST):
            kind = kinds[number % len(kinds)]
            number += 1
            error = "e" if kind.action.is_error else None
            producer.emit(kind.name, size=number, window=WINDOW, error=error, stage=name)
        if monotonic() - printed > 0.05:
            printed = monotonic()
            print_books()
    producer.close(given["closing"])
    print_books()


if __name__ == "__main__":
    main()
