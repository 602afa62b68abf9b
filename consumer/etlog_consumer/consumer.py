"""The consumer: it reads the stream behind the cursor and applies it, batch by batch, while it holds the lease."""

import logging
import threading
from collections.abc import Sequence
from time import monotonic, perf_counter
from typing import Any

from etlog_events import contract, scripts
from etlog_events.backoff import Backoff
from etlog_events.errors import OtherContract
from etlog_events.ids import new_id
from etlog_events.scripts import Command
from etlog_events.store import BLOCK_MS

from etlog_consumer.apply import Target
from etlog_consumer.batch import Batch, Entry, collect_despite_bugs, report_dead_letters, report_losses
from etlog_consumer.lease import Lease
from etlog_consumer.ledger import MOST_BYTES, Changes, Ledger
from etlog_consumer.metrics import LogMetrics, Metrics
from etlog_consumer.read_ahead import ReadAhead
from etlog_consumer.recovery import Progress, Recovery, report_repairs

logger = logging.getLogger("etlog.consumer")

#: Seconds between two looks of a batch at the whole stream, which cost the store more than a small batch does.
LOOK = 1.0

#: Seconds between two looks at the lease while another consumer is active.
STANDBY_POLL = 0.25


class Consumer:
    """Applies one log. Any number may run on it: one is active, the others stand by.

    `client` is this consumer's own; it must not retry by itself. Rows of the ledger are kept in memory as far as
    `most_bytes` go.
    """

    def __init__(
        self,
        client: Any,
        target: Target,
        *,
        retain: int,
        name: str | None = None,
        metrics: LogMetrics | None = None,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        self.name = name or new_id()
        self._client = client
        self._target = target
        self._subject = f"log {target.keys.name}"
        self._metrics = metrics or LogMetrics(Metrics(), target.keys.name)
        self._lease = Lease(client, target.keys, self.name)
        self._retain = retain
        self._recovery = Recovery(client, target.keys, retain)
        self._ledger = Ledger(client, target.keys, target.kinds, keep=target.keep_sets, most_bytes=most_bytes)
        self._reading = ReadAhead(target.keys.events)
        self._progress = Progress()  # where this consumer stands, or stood when it was last at work
        self._batch: Batch | None = None  # in hand: collected, not yet applied
        self._changes: Changes | None = None  # what it changes in the ledger, once it is being applied
        self._look_at = 0.0  # when a batch is to tell again what waits
        self._at_work = False
        self._standing_by = False
        self._moves = 0  # times that the log was elsewhere since a batch was applied

    def run(self, stop: threading.Event) -> None:
        """Work until `stop` is set; then the batch in hand is applied and the lease released.

        The store may go away and come back meanwhile: errors are waited out, whatever they are, with one log line at
        the start and one at the end. Raises `OtherContract`; the lease lapses then, and others can go on with the log.
        """
        away = Backoff(logger, failing="Cannot apply, will keep trying", recovered="The store answers again")
        self._metrics.progressed()
        while not stop.is_set():
            try:
                with contract.translated(self._subject, "etlog-consumer"):
                    complete = self._turn(stop)
            except OtherContract:
                self._metrics.ended()
                raise
            except Exception as e:  # a bug in etlog, too, must not end the log
                self._metrics.store_errors.inc()
                self._forget()
                stop.wait(away.failed(e))
            else:
                if complete:
                    away.succeeded()
                    self._metrics.progressed()
                elif self._moves > 1:  # nothing was applied in between: whoever is at work needs no company
                    stop.wait(min(1.0, 0.01 * 2 ** min(self._moves, 7)))
        self._end()

    def _turn(self, stop: threading.Event) -> bool:
        """Read, collect, apply: one step of each, on three batches that follow each other; or stand by for a moment.

        The batch in hand is applied and the next entries are read in one round trip, and those that were read before
        are collected while the store is busy. Returns whether the store did all that there was to do. Reading alone
        proves little: a store that cannot save gives entries, and refuses to apply them.
        """
        if not self._lease.hold():
            self._apply_in_hand()  # else a batch that takes longer to collect than a lease lasts is never applied
            self._stand_by(stop)
            return True
        if not self._at_work and not self._start():
            return False
        batch = self._batch
        apply = self._apply(batch) if batch is not None else None
        if batch is not None and apply is None:
            self._moved(self._progress.cursor)
            return False
        read = self._reading.command(BLOCK_MS if batch is None else None)
        began = perf_counter()
        with scripts.exchange(self._client, [command for command in (apply, read) if command]) as take_answers:
            self._batch = self._collect(self._reading.take())
            answers = scripts.without_errors(take_answers())
        if read:
            self._reading.put(answers.pop())
        if batch is not None:
            outcome, *rest = answers.pop()
            if outcome == b"numbers":
                self._collect_again(batch, rest)
                return False
            if outcome != b"applied":
                self._moved(rest[0])
                return False
            self._applied(batch, rest, perf_counter() - began)
        self._tell_what_waits()
        if self._recovery.is_due:
            self._look()
        return batch is not None or self._oldest is None

    def _start(self) -> bool:
        """Be at work, from where the log stands. Returns False where it moves meanwhile."""
        keys, progress = self._target.keys, self._progress
        self._recovery.load(progress)
        if not self._ledger.load(progress.cursor, self._lease.hold):
            return False
        self._reading.start(progress.cursor)
        self._at_work, self._standing_by = True, False
        self._metrics.active()
        logger.info(
            "Active: %s applies log %s from %s",
            self.name,
            keys.name,
            progress.cursor.decode(),
            extra={"action": "active", "cursor": progress.cursor.decode()},
        )
        return True

    def _collect(self, entries: Sequence[Entry]) -> Batch | None:
        """Collect `entries`. The next batch follows on from this one: if this is refused, all in hand is put down."""
        if not entries:
            return None
        progress = self._progress
        ended = self._recovery.ended_among(progress, entries)
        batch = collect_despite_bugs(entries, progress.numbers, self._target.kinds, ended)
        self._reading.give_back(entries[len(batch.entries) :])
        progress.note(batch.numbers)
        return batch

    def _collect_again(self, batch: Batch, found: Sequence[bytes]) -> None:
        """The last numbers of some producers are others than `batch` was worked out from, as after a takeover: learn
        them from the store's answer, and collect its entries, and those behind them, again."""
        behind = self._batch
        for worked_out in (behind, batch):
            if worked_out is not None:
                self._progress.note({producer: account.before for producer, account in worked_out.accounts.items()})
        self._progress.note(dict(zip(found[::2], map(int, found[1::2]), strict=True)))
        self._batch = None
        self._look_at = 0.0  # what it was to look at is not told yet
        self._reading.give_back(batch.entries, behind.entries if behind is not None else ())

    def _apply(self, batch: Batch) -> Command | None:
        """The command that applies `batch`, and trims what need not be retained any longer; None where the log has
        moved."""
        progress = self._progress
        entries_read = None if progress.entries_read is None else progress.entries_read + len(batch.entries)
        look = monotonic() >= self._look_at
        if look:
            self._look_at = monotonic() + LOOK
        self._changes = changes = self._ledger.changes(batch.notes)
        if changes is None:
            return None
        return self._target.call(
            batch, changes, progress.cursor, retain=self._retain, entries_read=entries_read, look=look
        )

    def _applied(self, batch: Batch, answer: Sequence[bytes], seconds: float) -> None:
        """Note that `batch` was applied, within so many seconds."""
        entries_read, entries, events, *repairs = answer
        assert self._changes is not None
        self._ledger.apply(self._changes, batch.last, batch.stats["applied"])
        self._moves = 0
        self._progress.cursor = batch.last
        self._progress.entries_read = int(entries_read) if entries_read else None
        if entries:
            self._metrics.lag(int(entries), int(events) if events else None)
        self._metrics.applied(batch, seconds)
        report_losses(batch.gaps)
        report_dead_letters(batch)
        report_repairs([repair.decode() for repair in repairs], batch.last)

    @property
    def _oldest(self) -> bytes | None:
        """Id of the oldest entry in hand."""
        return self._batch.entries[0][0] if self._batch is not None else self._reading.oldest

    def _tell_what_waits(self) -> None:
        oldest = self._oldest
        if oldest is not None:
            self._metrics.waiting(oldest)
        else:
            self._metrics.nothing_waits()

    def _look(self) -> None:
        """Look after the log, between two batches."""
        before = self._progress.cursor
        gaps = self._recovery.look(self._progress, idle=self._oldest is None)
        self._metrics.lost.inc(sum(len(gap) for gap in gaps))
        if self._progress.cursor != before or not self._ledger.holds():
            self._moved(self._progress.cursor)

    def _moved(self, cursor: bytes) -> None:
        """The log is not where this consumer left it: start over from where it is."""
        logger.info("Moved: the log is at %s", cursor.decode(), extra={"action": "moved"})
        self._moves += 1
        self._put_down()
        self._ledger.forget()
        self._lease.doubt()

    def _forget(self) -> None:
        """After an error nothing in hand is certain, and an answer may still be under way on the connection."""
        self._client.connection_pool.disconnect()
        self._put_down()
        self._lease.doubt()

    def _put_down(self) -> None:
        """Be not at work, with nothing in hand."""
        self._at_work = False
        self._batch = None
        self._reading.drop()

    def _stand_by(self, stop: threading.Event) -> None:
        """Wait a moment for the lease of another consumer to end."""
        if not self._standing_by:
            logger.info("Standing by, another consumer is active", extra={"action": "standing_by"})
            self._ledger.forget()
        self._standing_by = True
        self._metrics.standing_by()
        self._put_down()
        stop.wait(STANDBY_POLL)

    def _end(self) -> None:
        """Apply the batch in hand, and let the next consumer in. What was read behind it is read again by that one."""
        try:
            with contract.translated(self._subject, "etlog-consumer"):
                self._apply_in_hand()
                self._lease.release()
        except OtherContract as e:
            logger.warning("Stopped: %s", e, extra={"action": "stopped_by_contract"})
        except Exception as e:
            logger.warning("Stopped while the store was unreachable: %s", e, extra={"action": "stopped_without_store"})
        self._metrics.ended()

    def _apply_in_hand(self) -> None:
        """Apply the batch in hand, if there is one and the log is still where it was read from."""
        batch = self._batch
        apply = self._apply(batch) if batch is not None else None
        if batch is not None and apply is not None:
            began = perf_counter()
            [(outcome, *answer)] = scripts.run(self._client, apply)
            if outcome == b"applied":
                self._applied(batch, answer, perf_counter() - began)
