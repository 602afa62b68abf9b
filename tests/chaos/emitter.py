"""An emitting process: `python -m chaos.emitter URL LOG RECORD`. It emits without end and notes what was accepted.

An event tells its producer's id as `emitter` and its number as its size. It is of one of many sets, or of none, and of
any kind, at one of few times around the end of the set, so that every rule of the ledger is met.

A line of the file RECORD, `<producer> <number>`, says that all up to that
number were accepted, which is: `flush()` returned. SIGTERM ends it, with all delivered.
"""

import os
import random
import signal
import sys
from datetime import UTC, datetime, timedelta
from time import sleep
from typing import Any

from etlog_events.kinds import KUBECOST_KINDS
from etlog_producer import Producer

#: Events between two notes, one of these numbers at random, and seconds between: entries of one event and of several.
BURSTS, PAUSE = (1, 2, 15, 60), 0.1

#: Seconds that a last flush may take.
PATIENCE = 60.0

#: The sets: how many windows there are of each length, which is less than the ledger keeps.
SETS = {timedelta(minutes=15): 100, timedelta(hours=1): 400, timedelta(days=1): 60, timedelta(days=30): 5}

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)

#: What a stage says of how long it took, and of itself, which is not always what etlog reads.
SECONDS = (0, 1, 1.5, 12.25, -1, "1", None, True)
STAGES = ("Loaded", "Saved", "Totaled", "nightly", 7, None)

ERRORS = ("403 Forbidden", "", "é" * 700, "disk full")


def event(chance: random.Random) -> tuple[str, dict[str, Any]]:
    """The kind of an event, and the arguments for what it tells beside its number."""
    kind = chance.choice(list(KUBECOST_KINDS.by_name.values()))
    length = chance.choice(list(SETS))
    start = EPOCH + chance.randrange(SETS[length]) * length
    told: dict[str, Any] = {"time": start + length + timedelta(seconds=chance.choice([-60, -0.5, 0, 0.25, 1, 30]))}
    if kind.action.is_error:
        told["error"] = chance.choice(ERRORS)
    if not kind.action.is_error or chance.random() < 0.7:
        told["window"] = (start, start + length)
    if chance.random() < 0.5:
        told["seconds"] = chance.choice(SECONDS)
    if chance.random() < 0.5:
        told["stage"] = chance.choice(STAGES)
    return kind.name, told


def main() -> None:
    """Emit until SIGTERM."""
    url, log, record = sys.argv[1:]
    stopping: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _: stopping.append(number))
    producer = Producer(url, log=log)
    file = os.open(record, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    chance = random.Random()
    number = 0

    def note() -> None:
        os.write(file, f"{producer.id} {number}\n".encode())

    while not stopping:
        for _ in range(chance.choice(BURSTS)):
            number += 1
            kind, told = event(chance)
            producer.emit(kind, size=number, emitter=producer.id, **told)
        if producer.flush(0.05):
            note()
        sleep(PAUSE)
    if producer.flush(PATIENCE):
        note()
    producer.close()


if __name__ == "__main__":
    main()
