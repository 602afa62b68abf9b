"""The consumer: reads the stream after the cursor and applies it, batch by batch, while it holds the lease."""

import logging
import os
import random
import secrets
import socket
import threading
from collections.abc import Sequence
from time import monotonic
from typing import Any

import redis
from etlog_events.store import BLOCK_MS

from etlog_consumer import progress
from etlog_consumer.apply import SCRIPT, Target
from etlog_consumer.batch import Batch, Entry, collect
from etlog_consumer.lease import Lease
from etlog_consumer.progress import Progress
from etlog_consumer.retention import Retention

logger = logging.getLogger("etlog.consumer")

#: Entries in one batch. The store does nothing else while it applies one: some milliseconds.
BATCH_ENTRIES = 1000

#: Seconds between two looks at the lease while another consumer is active.
STANDBY_POLL = 0.25

#: Seconds between attempts while the store says no: doubled from the first to the last, with jitter.
FIRST_RETRY, LAST_RETRY = 0.1, 3.0

#: Losses and dead letters of one batch that get a log line each.
REPORTED = 10


class Consumer:
    """Applies one log. Any number may run on it: one is active, the others stand by.

    `client` is this consumer's own; it must not retry by itself.
    """

    def __init__(self, client: Any, target: Target, *, retain: int, name: str | None = None) -> None:
        self.name = name or f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(2)}"
        self._client = client
        self._target = target
        self._lease = Lease(client, target.keys.lease, self.name)
        self._retention = Retention(retain)
        self._active: Progress | None = None  # where this consumer stands; None while it is not at work
        self._batch: Batch | None = None  # in hand: read, not yet applied
        self._standing_by = False
        client.set_response_callback("XREAD", lambda answer, **_: answer)

    def run(self, stop: threading.Event) -> None:
        """Work until `stop` is set; then the batch in hand is finished and the lease released.

        The store may go away and come back meanwhile: errors of the driver are waited out, with one log line at the
        start and one at the end.
        """
        retry = FIRST_RETRY
        failing_since: float | None = None
        while not stop.is_set():
            try:
                self._turn(stop)
            except (redis.RedisError, OSError) as e:
                if failing_since is None:
                    failing_since = monotonic()
                    logger.warning("Cannot apply, will keep trying: %s", e, extra={"action": "store_away"})
                self._forget()
                stop.wait(retry * random.uniform(0.5, 1.0))  # noqa: S311
                retry = min(retry * 2, LAST_RETRY)
                continue
            if failing_since is not None:
                seconds = monotonic() - failing_since
                logger.warning("The store answers again after %.1f s", seconds, extra={"action": "store_back"})
                failing_since, retry = None, FIRST_RETRY
        try:
            if self._active is not None and self._batch is not None:
                self._exchange(self._active, read=False)
            self._lease.release()
        except (redis.RedisError, OSError) as e:
            logger.warning("Stopped without the store: %s", e, extra={"action": "stopped_without_store"})

    def _turn(self, stop: threading.Event) -> None:
        """Apply what is in hand and read on, in one round trip; or stand by for a moment."""
        if not self._lease.hold():
            if not self._standing_by:
                logger.info("Standing by, another consumer is active", extra={"action": "standing_by"})
            self._standing_by = True
            self._active = self._batch = None
            stop.wait(STANDBY_POLL)
            return
        if self._active is None:
            self._active = self._start()
        entries = self._exchange(self._active, read=True)
        if entries and self._active is not None:
            self._batch = collect(entries, self._active.numbers, self._target.kinds)

    def _start(self) -> Progress:
        keys = self._target.keys
        self._sha = self._client.script_load(SCRIPT)
        found = progress.load(self._client, keys)
        self._retention.start(self._client, keys.events, found.cursor)
        self._standing_by = False
        logger.info(
            "Active: %s applies log %s from %s",
            self.name,
            keys.name,
            found.cursor.decode(),
            extra={"action": "active", "cursor": found.cursor.decode()},
        )
        return found

    def _exchange(self, active: Progress, *, read: bool) -> Sequence[Entry]:
        """Apply the batch in hand, if there is one, and read what follows it."""
        batch, target = self._batch, self._target
        pipe = self._client.pipeline(transaction=False)
        if batch is not None:
            entries_read = None if active.entries_read is None else active.entries_read + batch.entries
            self._retention.applied(batch.ids)
            arguments = target.arguments(batch, active.cursor, entries_read, self._retention.trim())
            pipe.execute_command("EVALSHA", self._sha, len(target.key_names), *target.key_names, *arguments)
        if read:
            after = active.cursor if batch is None else batch.last
            pipe.execute_command(
                "XREAD", "COUNT", BATCH_ENTRIES, "BLOCK", BLOCK_MS, "STREAMS", target.keys.events, after
            )
        answers = pipe.execute()
        if batch is not None:
            self._batch = None
            outcome, value = answers[0]
            if outcome != b"applied":
                self._moved(value)
                return []
            active.cursor = batch.last
            active.entries_read = int(value) if value else None
            active.numbers.update(batch.numbers)
            _report(batch)
        streams = answers[-1] if read else None
        return streams[0][1] if streams else []

    def _moved(self, cursor: bytes) -> None:
        """Another consumer has applied what this one had in hand: start over from where the log is."""
        logger.info("Moved: the cursor is at %s already", cursor.decode(), extra={"action": "moved"})
        self._active = None
        self._lease.doubt()

    def _forget(self) -> None:
        """After an error nothing in hand is certain, and an answer may still be under way on the connection."""
        self._client.connection_pool.disconnect()
        self._active = self._batch = None
        self._lease.doubt()


def _report(batch: Batch) -> None:
    """Log what should not have happened."""
    for gap in batch.gaps[:REPORTED]:
        logger.error(
            "Lost: events %d to %d of producer %s never arrived",
            gap.first,
            gap.last,
            gap.producer,
            extra={"action": "events_lost", "producer": gap.producer, "first": gap.first, "last": gap.last},
        )
    for letter in batch.dead[:REPORTED]:
        logger.warning("Dead letter: entry %s: %s", letter.id.decode(), letter.reason, extra={"action": "dead_letter"})
    unreported = len(batch.gaps[REPORTED:]) + len(batch.dead[REPORTED:])
    if unreported:
        logger.warning("%d more losses and dead letters in this batch", unreported, extra={"action": "more"})
