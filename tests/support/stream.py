"""What a log holds, as a test looks at it."""

import json
from dataclasses import dataclass
from typing import Any, TypeAlias

from etlog_events.entry import contents, event_id
from etlog_events.errors import InvalidEvent
from etlog_events.event import Event
from etlog_events.keys import GROUP, Keys
from etlog_events.kinds import KUBECOST_KINDS
from etlog_events.sequence import Record, number_of

#: A client of the store. The driver types an answer as everything that it might be with other options.
Client: TypeAlias = Any


@dataclass(frozen=True)
class Entry:
    """An event in the stream, with its own id and number."""

    id: bytes
    event: bytes
    producer: str
    seq: int

    @property
    def metadata(self) -> dict[str, Any]:
        """The metadata of the event."""
        return Event.decode(self.event).metadata


def raw_entries(client: Client, keys: Keys, after: bytes | None = None) -> list[tuple[bytes, dict[bytes, bytes]]]:
    """Id and fields of all entries of the stream, or of those after one, oldest first."""
    found: list[tuple[bytes, dict[bytes, bytes]]] = client.xrange(keys.events, b"-" if after is None else b"(" + after)
    return found


def entries(client: Client, keys: Keys) -> list[Entry]:
    """All events in the stream, oldest first; those without a producer have none and the number 0."""
    found = []
    for entry_id, fields in raw_entries(client, keys):
        held = contents([text for pair in fields.items() for text in pair])
        first = number_of(held.seq)
        for place, event in enumerate(held.events or [b""]):
            number = first + place if first else 0
            found.append(Entry(event_id(entry_id, place), event, held.producer.decode(), number))
    return found


def numbers(client: Client, keys: Keys) -> list[int]:
    """The sequence numbers in the stream, oldest first."""
    return [entry.seq for entry in entries(client, keys)]


def newest(client: Client, keys: Keys, category: str, cap: int) -> list[bytes]:
    """What the list of `category` must hold, by the stream: the newest `cap` valid events, oldest first."""
    found = []
    for entry in entries(client, keys):
        try:
            event = Event.decode(entry.event)
        except InvalidEvent:
            continue
        if KUBECOST_KINDS.by_name[event.kind].category == category:
            found.append(event.encode())
    return found[-cap:]


def listed(client: Client, keys: Keys, category: str) -> list[bytes]:
    """What the list of `category` holds."""
    found: list[bytes] = client.lrange(keys.log(category), 0, -1)
    return found


def counters(client: Client, keys: Keys) -> dict[str, int]:
    """The counters."""
    return {kind.decode(): int(number) for kind, number in client.hgetall(keys.counters).items()}


def rows(client: Client, keys: Keys, category: str) -> dict[str, Any]:
    """The rows of the ledger of `category`, by their intervals."""
    return {interval.decode(): json.loads(row) for interval, row in client.hgetall(keys.sets(category)).items()}


def unrowed(client: Client, keys: Keys) -> dict[str, int]:
    """Events that are in no row, by kind."""
    return {kind.decode(): int(number) for kind, number in client.hgetall(keys.unrowed).items()}


def stats(client: Client, keys: Keys) -> dict[str, int]:
    """What became of the events, by the stats; what only tells of the stream is left out."""
    found = {name.decode(): int(number) for name, number in client.hgetall(keys.stats).items()}
    return {name: number for name, number in found.items() if name not in {"published", "entries", "caught_up"}}


def dead(client: Client, keys: Keys) -> list[dict[bytes, bytes]]:
    """The dead letters, oldest first."""
    return [fields for _, fields in client.xrange(keys.dead)]


def records(client: Client, keys: Keys) -> dict[str, Record]:
    """The records of the producers."""
    found = {name.decode(): Record.decode(text) for name, text in client.hgetall(keys.producers).items()}
    return {name: record for name, record in found.items() if record is not None}


def is_applied(client: Client, keys: Keys) -> bool:
    """Whether everything in the stream is applied."""
    applied: bool = client.get(keys.cursor) == client.xinfo_stream(keys.events)["last-generated-id"]
    return applied


def group(client: Client, keys: Keys) -> dict[str, Any]:
    """What `XINFO GROUPS` tells of the group that mirrors the cursor."""
    found: dict[str, Any] = next(group for group in client.xinfo_groups(keys.events) if group["name"] == GROUP.encode())
    return found
