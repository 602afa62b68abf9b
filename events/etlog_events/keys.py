"""The names of all keys. No other module spells a key.

The braces are a Redis Cluster hash tag: they put one log into one slot, which keeps its scripts atomic there.
"""

from collections.abc import Iterable
from dataclasses import dataclass

#: The consumer group that mirrors the cursor, so that `XINFO GROUPS` shows the lag.
GROUP = "etlog"

#: Sorted set: the processes that share many logs -> until when each counts as alive, milliseconds since 1970. It
#: belongs to no log; in a cluster it has its own slot.
CONSUMERS = "etlog:consumers"

#: String: version of the contract that those processes follow, in the same slot.
CONSUMERS_CONTRACT = f"{{{CONSUMERS}}}:contract"


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of the log called `name`."""

    name: str

    def _key(self, suffix: str) -> str:
        return f"etlog:{{{self.name}}}:{suffix}"

    @property
    def contract(self) -> str:
        """String: version of the contract that the log follows, see `etlog_events.contract`."""
        return self._key("contract")

    @property
    def events(self) -> str:
        """Stream: one entry per event, with the fields `event`, `producer`, `seq`."""
        return self._key("events")

    @property
    def cursor(self) -> str:
        """String: id of the last applied entry, the version of everything that is read."""
        return self._key("cursor")

    def log(self, category: str) -> str:
        """List: the newest events of `category`, oldest first, as JSON text."""
        return self._key(f"log:{category}")

    def logs(self, categories: Iterable[str]) -> list[str]:
        """The lists of `categories`, in their order."""
        return [self.log(category) for category in categories]

    @property
    def counters(self) -> str:
        """Hash: kind -> events applied since the log began."""
        return self._key("counters")

    @property
    def stats(self) -> str:
        """Hash: how many were `applied`, `dead`, `duplicate` (not applied again), `lost`, `unnumbered` (of the applied
        and dead ones, those that came without a number), `dead_dropped` (by the cap of dead letters), and the sums of
        the records of producers that are forgotten: `pruned` (numbers), `pruned_dead`, `pruned_lost`."""
        return self._key("stats")

    @property
    def dead(self) -> str:
        """Stream: entries that were refused, with the reason."""
        return self._key("dead")

    @property
    def producers(self) -> str:
        """Hash: `<producer>:published`, the last number in the stream, and `:applied`, the last one accounted for; how
        many of those are `:dead` and `:lost`; `:seen`, milliseconds since 1970 when one was last applied."""
        return self._key("producers")

    @property
    def retired(self) -> str:
        """Hash: the records of producers that were idle for long, in short: producer -> last number, how many of those
        are dead and how many lost, milliseconds since 1970 when one was last applied."""
        return self._key("retired")

    @property
    def lease(self) -> str:
        """String with a time to live: name of the active consumer."""
        return self._key("lease")
