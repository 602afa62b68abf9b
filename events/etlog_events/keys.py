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
    def id(self) -> str:
        """String: a random id, made by whoever writes first; what a spool file or a bookmark means by this log."""
        return self._key("id")

    @property
    def events(self) -> str:
        """Stream: one entry per publish, see `etlog_events.entry`."""
        return self._key("events")

    @property
    def trim(self) -> str:
        """Sorted set: ids of applied entries, one every 1,000 events, scored by the events applied up to there. Where
        the stream ended when the cursor was set back has an endless score, until the cursor has passed it again."""
        return self._key("trim")

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

    def sets(self, category: str) -> str:
        """Hash: the ledger of `category`, `<start>/<end>` of a window -> JSON row of that set; `-` for errors that name
        no window. See `etlog_ledger.row`."""
        return self._key(f"sets:{category}")

    def changes(self, category: str) -> str:
        """Sorted set: the fields of that hash, scored by the events applied when the row last changed."""
        return self._key(f"changes:{category}")

    def of_category(self, category: str) -> tuple[str, str, str]:
        """The keys of one category, in the order of the script that applies a batch."""
        return (self.log(category), self.sets(category), self.changes(category))

    @property
    def unrowed(self) -> str:
        """Hash: kind -> events applied that are in no row of the ledger any more: the row was dropped, or they are from
        before the ledger."""
        return self._key("unrowed")

    @property
    def stats(self) -> str:
        """Hash: how many events were `applied`, `dead`, `duplicate` (not applied again), `lost`, `unnumbered` (of the
        applied and dead ones, those that came without a number), `dead_dropped` (by the cap of dead letters),
        `published` under a number; `entries`, those of the stream that the script for publishing appended, or all when
        nothing waited last; `caught_up`, milliseconds since 1970: when nothing waited last, or of the last applied
        entry; `rebuilt`, of the same kind: when the ledger was rebuilt last; `filling:<category>` while rows of a
        category are made from its list."""
        return self._key("stats")

    @property
    def dead(self) -> str:
        """Stream: events that were refused, each with the reason."""
        return self._key("dead")

    @property
    def producers(self) -> str:
        """Hash: producer -> `published=42 applied=40 dead=0 lost=0 seen=1654275474092 token=9f8e7d6c`: the last number
        in the stream and the last one accounted for; how many of those are dead and lost; milliseconds since 1970, up
        to a minute old; the token of its process. `closed` stands behind them once it will publish no more."""
        return self._key("producers")

    @property
    def producers_seen(self) -> str:
        """Sorted set: the producers of that hash, scored by `seen`, so that no one needs to read all of them."""
        return self._key("producers:seen")

    @property
    def producers_ended(self) -> str:
        """Hash: the sums of `published`, `applied`, `dead` and `lost` over producers whose record is gone."""
        return self._key("producers:ended")

    @property
    def publishing(self) -> tuple[str, ...]:
        """The keys that publishing takes, in the order of its script."""
        return (
            *(self.events, self.producers, self.producers_seen, self.producers_ended),
            *(self.stats, self.contract, self.id),
        )

    @property
    def marks(self) -> str:
        """Hash: id -> what people said of sets, as JSON; `revision` counts its changes. See `etlog_ledger.marks`."""
        return self._key("marks")

    @property
    def incidents(self) -> str:
        """Hash: what is wrong now, and who was told: `incident:<id>` and `message:<id>` -> JSON, `watcher`, `revision`.
        See `etlog_watch.incidents`."""
        return self._key("incidents")

    @property
    def lease(self) -> str:
        """String with a time to live: name of the active consumer."""
        return self._key("lease")

    @property
    def upgrade(self) -> tuple[str, ...]:
        """The keys that `etlog upgrade` takes, in the order of its script. In contract 1, `retired` holds records of
        idle producers; what begins with `upgrade:` is there while a log is converted."""
        made = (self._key("upgrade:producers"), self._key("upgrade:seen"), self._key("upgrade:sums"))
        records = (self.producers, self._key("retired"), self.producers_seen, self.producers_ended)
        return (self.contract, self.lease, self.stats, self.id, *records, *made)
