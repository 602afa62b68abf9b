"""A test's log: the ways to fill and to apply it, and what it holds."""

from dataclasses import dataclass
from typing import Any

import redis
from etlog.verification import Verification, verify
from etlog_events.keys import Keys
from etlog_events.sequence import Record
from support import stream
from support.consumers import CaughtUp, Consuming, Publish
from support.stream import Entry


@dataclass(frozen=True)
class Log:
    """The log of one test. `publish`, `consuming` and `caught_up` are the fixtures of these names."""

    client: redis.Redis
    keys: Keys
    publish: Publish
    consuming: Consuming
    caught_up: CaughtUp

    def apply(self, **options: int) -> None:
        """Have a consumer apply everything in the stream, and stop it; `options` are those of `consuming`."""
        with self.consuming(**options):
            self.caught_up()

    def delete_everything(self) -> None:
        """Delete all keys of the log, as FLUSHALL does."""
        self.client.delete(*self.client.scan_iter(match=self.keys.events.replace("events", "*"), count=1000))

    def entries(self) -> list[Entry]:
        """All entries of the stream, oldest first."""
        return stream.entries(self.client, self.keys)

    def numbers(self) -> list[int]:
        """The sequence numbers in the stream, oldest first."""
        return stream.numbers(self.client, self.keys)

    def group(self) -> dict[str, Any]:
        """What `XINFO GROUPS` tells of the group that mirrors the cursor."""
        return stream.group(self.client, self.keys)

    def listed(self, category: str) -> list[bytes]:
        """What the list of `category` holds."""
        return stream.listed(self.client, self.keys, category)

    def counters(self) -> dict[str, int]:
        """The counters."""
        return stream.counters(self.client, self.keys)

    def rows(self, category: str = "allocation") -> dict[str, Any]:
        """The rows of the ledger of `category`, by their intervals."""
        return stream.rows(self.client, self.keys, category)

    def unrowed(self) -> dict[str, int]:
        """Events that are in no row, by kind."""
        return stream.unrowed(self.client, self.keys)

    def stats(self) -> dict[str, int]:
        """The stats."""
        return stream.stats(self.client, self.keys)

    def records(self) -> dict[str, Record]:
        """The records of the producers."""
        return stream.records(self.client, self.keys)

    def dead(self) -> list[dict[bytes, bytes]]:
        """The dead letters, oldest first."""
        return stream.dead(self.client, self.keys)

    def verify(self) -> Verification:
        """Whether every event that was published is accounted for."""
        return verify(self.client, self.keys)
