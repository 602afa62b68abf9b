"""One call of `apply.lua`: a batch is applied as a whole, or not at all."""

from dataclasses import dataclass
from typing import Any

from etlog_events.keys import GROUP, Keys
from etlog_events.kinds import Kinds
from etlog_events.scripts import Command, Script

from etlog_consumer.batch import MARK_EVERY, Batch
from etlog_consumer.ledger import Changes

SCRIPT = Script.load(
    *("etlog_consumer:head.lua", "etlog_events:contract.lua"),
    *("etlog_consumer:ledger.lua", "etlog_consumer:apply.lua"),
)

#: Dead letters that are kept; with 64 KiB each at the most.
DEAD_CAP = 10_000


@dataclass(frozen=True, slots=True)
class Target:
    """The log that batches are applied to: its keys, its categories in the order of `KEYS`, the cap of its lists, and
    how many sets of each length its ledger keeps."""

    keys: Keys
    kinds: Kinds
    cap: int
    keep_sets: int = 2000

    @property
    def key_names(self) -> list[str]:
        """`KEYS` of the script."""
        keys = self.keys
        progress = [keys.contract, keys.events, keys.cursor, keys.counters, keys.stats, keys.dead]
        producers = [keys.producers, keys.producers_seen, keys.producers_ended]
        ledger = [key for category in self.kinds.categories for key in keys.of_category(category)]
        return [*progress, *producers, keys.trim, keys.id, keys.unrowed, *ledger]

    def call(
        self,
        batch: Batch,
        changes: Changes,
        cursor: bytes,
        *,
        retain: int,
        entries_read: int | None = None,
        look: bool = True,
    ) -> Command:
        """The call of the script for `batch`, which was read after `cursor` and makes these `changes` in the ledger;
        the newest `retain` events stay.

        `entries_read` counts the stream's entries up to the batch's end, None where unknown; with `look` the answer
        tells what waits.
        """
        dead = batch.dead[-DEAD_CAP:]
        arguments: list[Any] = [
            *(cursor, batch.last, GROUP, "" if entries_read is None else entries_read, "1" if look else ""),
            *(self.cap, DEAD_CAP, retain, MARK_EVERY),
            *(*batch.stats.values(), batch.stats["dead"] - len(dead)),
        ]
        of_category = [changes.of_category[category] for category in self.kinds.categories]
        known = (changes.applied, changes.rebuilt, *(change.rows for change in of_category))
        arguments += (len(known), *known)
        for numbers in (batch.counters, changes.unrowed):
            arguments.append(len(numbers))
            for name, number in numbers.items():
                arguments += (name, number)
        arguments.append(len(batch.marks))
        for passed, entry_id in batch.marks:
            arguments += (passed, entry_id)
        arguments.append(len(batch.accounts))
        for producer, account in batch.accounts.items():
            arguments += (producer, account.before, account.after, account.dead, account.lost)
        arguments.append(len(dead))
        for letter in dead:
            arguments += (letter.id, letter.producer, letter.seq, letter.raw, letter.reason)
        for category, change in zip(self.kinds.categories, of_category, strict=True):
            newest = batch.logs[category][-self.cap :]
            arguments += (len(newest), *newest, len(change.dropped), *change.dropped, len(change.put))
            for pair in change.put.items():
                arguments += pair
        return SCRIPT.call(self.key_names, arguments)
