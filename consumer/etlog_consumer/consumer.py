"""The consumer: reads the stream after the cursor and applies it, batch by batch, while it holds the lease."""

import logging
import os
import secrets
import socket
import threading
from collections.abc import Sequence
from time import perf_counter
from typing import Any

from etlog_events import contract
from etlog_events.store import BLOCK_MS

from etlog_consumer import progress, report
from etlog_consumer.apply import SCRIPT, Target
from etlog_consumer.batch import Batch, Entry
from etlog_consumer.exchange import exchange
from etlog_consumer.intake import Intake
from etlog_consumer.lease import Lease
from etlog_consumer.metrics import LogMetrics, Metrics
from etlog_consumer.outage import Outage
from etlog_consumer.poison import collect_whatever_happens
from etlog_consumer.progress import START, Progress
from etlog_consumer.recovery import Housekeeping
from etlog_consumer.retention import Retention

logger = logging.getLogger("etlog.consumer")

#: Seconds between two looks at the lease while another consumer is active.
STANDBY_POLL = 0.25


class Consumer:
    """Applies one log. Any number may run on it: one is active, the others stand by.

    `client` is this consumer's own; it must not retry by itself.
    """

    def __init__(
        self,
        client: Any,
        target: Target,
        *,
        retain: int,
        name: str | None = None,
        metrics: LogMetrics | None = None,
    ) -> None:
        self.name = name or f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(2)}"
        self._client = client
        self._target = target
        self._metrics = metrics or LogMetrics(Metrics(), target.keys.name)
        self._lease = Lease(client, target.keys.lease, self.name)
        self._retention = Retention(retain)
        self._housekeeping = Housekeeping(client, target.keys)
        self._intake = Intake()
        self._active: Progress | None = None  # where this consumer stands; None while it is not at work
        self._batch: Batch | None = None  # in hand: read, worked out, not yet applied
        self._ahead: Sequence[Entry] = ()  # in hand behind the batch: read, not yet worked out
        self._more = False  # whether more entries wait behind those in hand, as far as is known
        self._last_cursor = START  # where this consumer stood when it was last at work
        self._standing_by = False

    def run(self, stop: threading.Event) -> None:
        """Work until `stop` is set; then the batch in hand is finished and the lease released.

        The store may go away and come back meanwhile: errors are waited out, whatever they are, with one log line at
        the start and one at the end. Raises `NewerContract`, with the lease released: others can go on with the log.
        """
        outage = Outage()
        self._metrics.progressed()
        while not stop.is_set():
            try:
                complete = self._turn(stop)
            except Exception as e:  # a bug of ours, too, must not end the log
                newer = contract.refusal(e, self._target.keys.name, "etlog-consumer")
                if newer is not None:
                    self._put_down()
                    self._end()
                    raise newer from e
                self._metrics.store_errors.inc()
                self._forget()
                stop.wait(outage.failed(e))
            else:
                if complete:
                    outage.worked()
                    self._metrics.progressed()
        self._end()

    def _end(self) -> None:
        """Finish the batch in hand, and let the next consumer in."""
        try:
            if self._active is not None and self._batch is not None:
                self._ahead = ()  # somebody else will read it
                self._exchange(self._active, read=False)
            self._lease.release()
        except Exception as e:
            logger.warning("Stopped without the store: %s", e, extra={"action": "stopped_without_store"})
        self._metrics.ended()

    def _turn(self, stop: threading.Event) -> bool:
        """Apply the batch in hand and read on, in one round trip; or stand by for a moment.

        Returns whether the store did all that there was to do. Reading alone proves little: a store that cannot
        save gives entries, and refuses to apply them.
        """
        if not self._lease.hold():
            if not self._standing_by:
                logger.info("Standing by, another consumer is active", extra={"action": "standing_by"})
            self._standing_by = True
            self._metrics.standing_by()
            self._put_down()
            stop.wait(STANDBY_POLL)
            return True
        if self._active is None:
            self._active = self._start()
        had_work = self._batch is not None
        entries = self._exchange(self._active, read=True)
        if self._active is None:  # another consumer has been here
            return False
        self._more = len(entries) >= self._intake.count
        if entries:
            self._intake.took(entries)
        if self._batch is None and not self._more:
            self._batch = self._worked_out(self._active, entries)
        else:
            self._ahead = entries
        if self._batch is not None:
            self._metrics.waiting(self._batch.ids[0])
        elif self._ahead:
            self._metrics.waiting(self._ahead[0][0])
        else:
            self._metrics.nothing_waits()
        if self._housekeeping.is_due:
            self._look(self._active)
        return had_work or not entries

    def _start(self) -> Progress:
        keys = self._target.keys
        self._sha = self._client.script_load(SCRIPT)
        found, findings = progress.load(self._client, keys)
        if found.cursor == START != self._last_cursor:
            findings = [*findings, "log-gone"]
        report.mended(findings, found.cursor)
        self._retention.start(self._client, keys.events, found.cursor)
        self._housekeeping.soon()
        self._standing_by = False
        self._last_cursor = found.cursor
        self._metrics.active()
        logger.info(
            "Active: %s applies log %s from %s",
            self.name,
            keys.name,
            found.cursor.decode(),
            extra={"action": "active", "cursor": found.cursor.decode()},
        )
        return found

    def _exchange(self, active: Progress, *, read: bool) -> Sequence[Entry]:
        """Apply the batch in hand, if there is one, and read what follows all that is in hand.

        While many entries wait they are read one batch ahead, and that is worked out while the store is busy.
        """
        batch, target = self._batch, self._target
        commands: list[Sequence[Any]] = []
        if batch is not None:
            entries_read = None if active.entries_read is None else active.entries_read + len(batch.ids)
            self._retention.applied(batch.ids)
            arguments = target.arguments(batch, active.cursor, entries_read, self._retention.trim())
            commands.append(("EVALSHA", self._sha, len(target.key_names), *target.key_names, *arguments))
            active.numbers.update(batch.numbers)  # if it is refused, all that is in hand is put down
        if read and (self._more or not self._ahead):
            after = self._ahead[-1][0] if self._ahead else active.cursor if batch is None else batch.last
            # With anything in hand the answer must not wait for the next entry.
            block = () if self._ahead or batch is not None else ("BLOCK", BLOCK_MS)
            commands.append(("XREAD", "COUNT", self._intake.count, *block, "STREAMS", target.keys.events, after))
        began = perf_counter()
        with exchange(self._client, commands) as answers:
            self._batch = self._worked_out(active, self._ahead)
            self._ahead = ()  # let go before the next entries take as much memory
            found = answers()
        if batch is not None:
            outcome, *rest = found.pop(0)
            if outcome != b"applied":
                self._moved(rest[0])
                return ()
            self._applied(active, batch, rest)
            self._metrics.applied(batch, perf_counter() - began)
        streams = found[0] if found else None
        return streams[0][1] if streams else ()

    def _worked_out(self, active: Progress, entries: Sequence[Entry]) -> Batch | None:
        return collect_whatever_happens(entries, active.numbers, self._target.kinds) if entries else None

    def _applied(self, active: Progress, batch: Batch, answer: Sequence[bytes]) -> None:
        entries_read, entries_added, *findings = answer
        active.cursor = self._last_cursor = batch.last
        active.entries_read = int(entries_read) if entries_read else None
        if entries_read and entries_added:
            self._metrics.lag.set(int(entries_added) - int(entries_read))
        report.losses(batch.gaps)
        report.dead_letters(batch.dead)
        report.mended([finding.decode() for finding in findings], batch.last)

    def _look(self, active: Progress) -> None:
        """Look after the log, between two batches."""
        found = self._housekeeping.look(active, self._retention.trim())
        report.losses(found.gaps)
        self._metrics.lost.inc(sum(len(gap) for gap in found.gaps))
        if found.cursor == active.cursor:
            report.mended(found.mended, found.cursor)
        else:  # not where this consumer left it: start over
            findings = found.mended or (["log-gone"] if found.cursor == START else [])
            report.mended(findings, found.cursor)
            self._last_cursor = found.cursor
            self._moved(found.cursor)

    def _moved(self, cursor: bytes) -> None:
        """The log is not where this consumer left it: start over from where it is."""
        logger.info("Moved: the log is at %s", cursor.decode(), extra={"action": "moved"})
        self._put_down()
        self._lease.doubt()

    def _forget(self) -> None:
        """After an error nothing in hand is certain, and an answer may still be under way on the connection."""
        self._client.connection_pool.disconnect()
        self._put_down()
        self._lease.doubt()

    def _put_down(self) -> None:
        """Be not at work, with nothing in hand."""
        self._active = self._batch = None
        self._ahead = ()
