"""What tests do with producers: emit events that can be told apart, read them back, look into the spool."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from etlog_events.event import Event
from etlog_events.keys import Keys
from etlog_events.kinds import KUBECOST_KINDS
from etlog_producer import Producer
from etlog_producer.spool.reader import SegmentReader
from support.samples import WINDOW
from support.stream import Client, entries

#: Runs the source of a stage as a process, to its end.
RunStage = Callable[[str], None]


def emit(producer: Producer, *sizes: int) -> None:
    """Emit an event of each size."""
    for size in sizes:
        producer.emit("AssetSetSaved", size=size, window=WINDOW)


class Numbered:
    """Emits events of `kinds` in turn for the stage `stage`. The size of an event is its number, from 1 on, which tells
    what is missing, doubled or out of order; `number` is the last one."""

    def __init__(self, producer: Producer, stage: str, kinds: Sequence[str]) -> None:
        self.number = 0
        self._producer = producer
        self._stage = stage
        self._kinds = [KUBECOST_KINDS.by_name[kind] for kind in kinds]

    def emit(self, events: int) -> None:
        """Emit the next events."""
        for _ in range(events):
            kind = self._kinds[self.number % len(self._kinds)]
            self.number += 1
            error = "e" if kind.action.is_error else None
            self._producer.emit(kind.name, size=self.number, window=WINDOW, error=error, stage=self._stage)


def published(producer: Producer, client: Client, keys: Keys) -> list[tuple[str, dict[str, Any]]]:
    """Kind and metadata of the events in the stream, once all that `producer` emitted are there."""
    assert producer.flush(10)
    events = [Event.decode(entry.event) for entry in entries(client, keys)]
    return [(event.kind, event.metadata) for event in events]


def numbered(client: Client, keys: Keys) -> list[tuple[int, int]]:
    """Number and size of each event in the stream."""
    return [(entry.seq, entry.metadata["size"]) for entry in entries(client, keys)]


def spool_files(folder: Path) -> list[Path]:
    """All spool files."""
    return sorted(folder.rglob("*.spool"))


def spooled(path: Path) -> list[int]:
    """The numbers in a spool file."""
    reader = SegmentReader(path)
    found = []
    while line := reader.next():
        found.append(line.number)
    reader.close()
    return found
