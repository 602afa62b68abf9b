"""The fleet: all processes that apply the same logs, each its share; this is one process of it.

Each log of the share has a consumer in a thread, with its own client. The store holds which processes are alive, and
from that each knows its share. The lease of a log still decides who applies it, so a process that has not yet seen
another one come or go does no harm.
"""

import logging
import threading
from collections.abc import Callable, Sequence, Set
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from time import monotonic
from typing import Any

import redis
from etlog_events.backoff import Backoff
from etlog_events.errors import OtherContract
from etlog_events.ids import new_id

from etlog_consumer.fleet.assignment import shares
from etlog_consumer.fleet.membership import Membership
from etlog_consumer.metrics import Metrics

logger = logging.getLogger("etlog.consumer")

#: Seconds between two looks at who is alive, as often as a standby looks at a lease.
LOOK = 0.25

#: Seconds in which the share stays what it was after the store forgot this process: the others have to come back, too.
SETTLE = 2.0

#: Runs the consumer of a log, with its own client: `(log, name of the process, stop)`.
Apply = Callable[[str, str, threading.Event], None]


@dataclass(frozen=True, slots=True)
class _Work:
    """A consumer at work in a thread."""

    future: "Future[None]"
    stop: threading.Event


class Fleet:
    """One process of those that apply `logs`; `client` is its own, for the membership."""

    def __init__(self, client: Any, logs: Sequence[str], apply: Apply, metrics: Metrics) -> None:
        self.name = new_id()
        self._client = client
        self._logs = logs
        self._apply = apply
        self._metrics = metrics
        self._membership = Membership(client, self.name, logs)
        self._at_work: dict[str, _Work] = {}
        self._settles = 0.0  # when the share may change again

    def run(self, stop: threading.Event) -> None:
        """Apply this process's share of the logs until `stop` is set.

        Raises what one of its consumers raises, with the others stopped first, and `OtherContract` where the processes
        follow another contract than this one.
        """
        failing = "Cannot coordinate with the other consumers, will keep trying"
        away = Backoff(logger, failing=failing, recovered="The store answers again")
        with ThreadPoolExecutor(len(self._logs), thread_name_prefix="etlog-log") as pool:
            try:
                while not stop.is_set():
                    self._look(pool, away)
                    stop.wait(LOOK)
            finally:
                self._end()

    @property
    def applies(self) -> Set[str]:
        """The logs that have a consumer here, which is told to go on."""
        return {log for log, work in self._at_work.items() if not work.stop.is_set()}

    def _look(self, pool: ThreadPoolExecutor, away: Backoff) -> None:
        self._reap()
        try:
            members, forgotten = self._membership.renew()
        except (redis.RedisError, OSError) as e:
            self._client.connection_pool.disconnect()
            away.failed(e)  # and at the next look again: the logs are applied meanwhile
            return
        away.succeeded()
        self._metrics.readiness.progressed("the share of logs")
        if forgotten:
            self._settles = monotonic() + SETTLE
        if monotonic() >= self._settles:
            self._work_on(shares(self._logs, members)[self._membership.name], pool, len(members))

    def _work_on(self, share: Sequence[str], pool: ThreadPoolExecutor, members: int) -> None:
        if set(share) != self.applies:
            logger.info(
                "Share: %d of %d logs, among %d processes",
                *(len(share), len(self._logs), members),
                extra={"action": "share", "logs": sorted(share), "processes": members},
            )
        for log, work in self._at_work.items():
            if log not in share:
                work.stop.set()
        for log in share:
            if log not in self._at_work:  # one that is still about to stop is waited for
                stop = threading.Event()
                self._at_work[log] = _Work(pool.submit(self._apply, log, self.name, stop), stop)

    def _reap(self) -> None:
        for log, work in list(self._at_work.items()):
            if work.future.done():
                del self._at_work[log]
                work.future.result()

    def _end(self) -> None:
        """Stop: the others learn it first, and begin while the batches in hand are finished here."""
        for work in self._at_work.values():
            work.stop.set()
        try:
            self._membership.leave()
        except (redis.RedisError, OSError, OtherContract) as e:
            logger.warning("Could not deregister: %s", e, extra={"action": "stopped_without_store"})
