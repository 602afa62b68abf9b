"""The stage that every host runs: it emits events that can be told apart, and notes each whose `emit` has returned.

Its producer is made when the module is imported, as in most applications, so a host that forks afterwards forks it.
"""

import os
from itertools import count
from time import monotonic, sleep

from etlog_producer import Producer

WINDOW = ("2022-06-03T10:00:00Z", "2022-06-03T11:00:00Z")

producer = Producer(durable="DURABLE" in os.environ)

_numbers = count(1)
_notes = os.open(os.environ["EMITTED"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)


def emit(events: int) -> None:
    """Emit so many events."""
    for _ in range(events):
        name = f"{os.getpid()}-{next(_numbers)}"
        producer.emit("AssetSetSaved", size=1, window=WINDOW, name=name)
        note(name)


def emit_on() -> None:
    """Emit an event every millisecond until the process is ended."""
    while True:
        emit(1)
        sleep(0.001)


def note(name: str) -> None:
    """Note that an event was emitted. It is one write, so it is there as a whole, whatever ends the process."""
    os.write(_notes, f"{name} {monotonic()}\n".encode())
