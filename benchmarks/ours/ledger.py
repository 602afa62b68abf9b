"""Ours: batches applied with the ledger and without it, in turns, and the ledger read at a start."""

import gc
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from time import perf_counter, process_time

from etlog.commands.consume import GC_EVERY
from etlog_consumer.apply import Target
from etlog_consumer.batch import Entry, collect
from etlog_consumer.ledger import CategoryChange, Changes, Ledger
from etlog_events import scripts
from etlog_events.keys import Keys
from etlog_events.kinds import KUBECOST_KINDS
from etlog_events.store import connect
from shared import sets, turn


class Log:
    """A log to which entries are applied, batch by batch, each of at most so many events."""

    def __init__(self, url: str, entries: Iterator[Entry], *, with_ledger: bool = True) -> None:
        self.client = connect(url, part="consumer")
        self._target = Target(Keys(job["log"]), KUBECOST_KINDS, job["cap"], job["keep"])
        self.ledger = Ledger(self.client, self._target.keys, KUBECOST_KINDS, keep=job["keep"])
        self._entries = entries
        self._next: list[Entry] = []
        self._with_ledger = with_ledger
        [cursor] = scripts.run(self.client, ("GET", self._target.keys.cursor))
        self.cursor: bytes = cursor or b"0-0"
        self._numbers: dict[bytes, int] = {}
        self.seconds = self._store_before = 0.0
        self.events = self.batches = self._applied = 0

    def start_counting(self) -> None:
        """Forget what was counted."""
        self.events = self.batches = 0
        self.seconds, self._store_before = 0.0, self._store()

    def apply(self) -> bool:
        """Apply the next batch, as the consumer does it. Returns False where there is none."""
        self._next += islice(self._entries, job["events"] // sets.BATCH_EVENTS - len(self._next))
        if not self._next:
            return False
        began = process_time()
        batch = collect(self._next, self._numbers, KUBECOST_KINDS)
        changes = self.ledger.changes(batch.notes) if self._with_ledger else self._nothing()
        assert changes is not None
        [answer] = scripts.run(self.client, self._target.call(batch, changes, self.cursor, retain=1000, look=False))
        assert answer[0] == b"applied", answer
        if self._with_ledger:
            self.ledger.apply(changes, batch.last, batch.stats["applied"])
        self.seconds += process_time() - began
        self.cursor = batch.last
        self._next = self._next[len(batch.entries) :]
        self._numbers |= batch.numbers
        self._applied += batch.stats["applied"]
        self.events += batch.stats["applied"]
        self.batches += 1
        return True

    def _nothing(self) -> Changes:
        """What a batch changes in a ledger that is not kept."""
        none = {category: CategoryChange(0) for category in KUBECOST_KINDS.categories}
        return Changes(none, {}, applied=self._applied, rebuilt=0)

    def store_seconds(self) -> float:
        """Processor time of the store since counting began."""
        return self._store() - self._store_before

    def _store(self) -> float:
        cpu = self.client.info("cpu")
        return float(cpu["used_cpu_user"] + cpu["used_cpu_sys"])


def side_by_side() -> None:
    """Batches with and without the ledger, in stores of their own; the first `warm` do not count. Where each event has
    another set, both have sets of their own, too, so that neither finds them in a cache that the other has filled."""
    logs = [
        Log(job["url"], _entries(0)),
        Log(job["other_url"], _entries(job["other_begin"]), with_ledger=False),
    ]
    assert logs[0].ledger.load(logs[0].cursor)
    turn.wait_for_go()
    for number in range(job["batches"]):
        if number == job["warm"]:
            for log in logs:
                log.start_counting()
        for log in logs if number % 2 else reversed(logs):
            assert log.apply()
    turn.tell(
        0.0,
        consumer=[log.seconds / log.events for log in logs],
        store=[log.store_seconds() / log.events for log in logs],
        batch=logs[0].events / logs[0].batches,
    )


def all_at_once() -> None:
    """All batches."""
    log = Log(job["url"], _entries(job["begin"]))
    assert log.ledger.load(log.cursor)
    began = turn.wait_for_go()
    while log.apply():
        pass
    turn.tell(perf_counter() - began)


def load() -> None:
    """Read the ledger, as at a start."""
    log = Log(job["url"], iter(()))
    gc.collect()
    before = _resident()
    began = turn.wait_for_go()
    assert log.ledger.load(log.cursor)
    turn.tell(perf_counter() - began, memory=_resident() - before)


def _entries(begin: int) -> Iterator[Entry]:
    return sets.entries(sets.WORK[job["work"]](job["sets"], begin), begin)


def _resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/status").read_text().partition("VmRSS:")[2].split()[0]) * 1024


job = turn.arguments()
gc.set_threshold(GC_EVERY)
{"side by side": side_by_side, "all at once": all_at_once, "load": load}[job["how"]]()
