"""What tests do with producers: emit events that can be told apart, read them back, look into the spool."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from etlog_events.event import Event
from etlog_events.keys import Keys
from etlog_producer import Producer
from etlog_producer.spool.segment import SegmentReader
from support.samples import WINDOW
from support.stream import Client, entries

#: Runs the source of a stage as a process, to its end.
RunStage = Callable[[str], None]


def emit(producer: Producer, *sizes: int) -> None:
    """Emit an event of each size."""
    for size in sizes:
        producer.emit("AssetSetSaved", size=size, window=WINDOW)


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
