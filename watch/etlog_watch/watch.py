"""The watch: judges every log served, and tells people of what is wrong, as one of any number of watchers."""

import asyncio
import logging
import random
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta, tzinfo
from functools import partial
from typing import NamedTuple

import redis
from etlog_events import timestamps
from etlog_events.backoff import Backoff
from etlog_events.config import Config
from etlog_events.errors import OtherContract, StoreError, StoreUnavailable
from etlog_events.ids import new_id
from etlog_events.keys import Keys
from etlog_events.settings import Settings
from etlog_events.store.url import shown
from etlog_ledger.expectations import of_log
from etlog_ledger.judge import Judge
from etlog_ledger.reading.connection import Connection, StoreClients
from etlog_ledger.reading.coverage import ANSWER_TIMEOUT, Coverage, Judged

from etlog_watch.faults import Fault, of_verdict
from etlog_watch.incident_store import IncidentStore, Kept
from etlog_watch.log_state import Memory, read_state
from etlog_watch.metrics import LogMetrics, Metrics
from etlog_watch.target import Target
from etlog_watch.teller import Teller, open_incidents

logger = logging.getLogger("etlog.watch")

#: Seconds from one turn to the next.
TURN = 3.0

#: Seconds that the store may take for a step: a thousand problems are a long one.
STEP_TIMEOUT = 5.0

#: Seconds of turns that all fail, after which a watcher leaves its place to others, and for how long it does.
FAILING, RESTING = 30.0, 60.0

#: Seconds that a watcher which is stopped waits for what it is sending.
LAST_WORDS = 5.0

Clock = Callable[[tzinfo], datetime]


class Trouble(NamedTuple):
    """What the matter is with the store, and since when by `time.monotonic`."""

    what: str
    since: float


class LogWatch:
    """Watches the log `name`, and tells of it while it holds the place of the log's watcher."""

    def __init__(
        self,
        settings: Settings,
        config: Config,
        name: str,
        targets: Sequence[Target],
        watcher: str,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self.name = name
        self._keys = keys = Keys(name)
        self._clock = clock
        self._metrics = LogMetrics(metrics, name)
        self._clients = clients = StoreClients("watch", settings.redis_url, name, "primary")
        zone, expectations = of_log(config, name, settings.timezone)
        judge = Judge(settings.kinds, zone, expectations, settings.keep_sets)
        self._coverage = Coverage(
            Connection(clients.open(ANSWER_TIMEOUT)), keys, settings.kinds, judge, clock, part="watch"
        )
        self._connection = Connection(clients.open(ANSWER_TIMEOUT))
        self._client = clients.open(STEP_TIMEOUT)
        self._incidents = IncidentStore(self._client, keys, watcher)
        self._memory = Memory()
        page = f"{settings.page_url.rstrip('/')}/?log={name}" if settings.page_url else None
        self.teller = Teller(targets, name, page, metrics)
        self._outage = Backoff(
            logger, failing="The log cannot be watched", recovered="The log is watched again", clock=time.monotonic
        )
        self._is_alone = len(settings.logs) == 1
        self._is_default = name == settings.logs[0]
        self._has_targets = bool(targets)
        self._store = shown(settings.redis_url)
        self._tells = False
        self._rests_until = 0.0  # by `time.monotonic`

    @property
    def trouble(self) -> Trouble | None:
        """What keeps the log from being watched, of the store or of this log alone; None while nothing does."""
        error, since = self._outage.error, self._outage.since
        if since is None or error is None:
            return None
        refuses = isinstance(error, redis.ResponseError | redis.AuthenticationError)
        if not refuses and isinstance(error, redis.ConnectionError | redis.TimeoutError | OSError | StoreUnavailable):
            return Trouble(f"the store at {self._store} cannot be reached", since)
        return Trouble(f"log {self.name} cannot be watched: {self._outage.reason}", since)

    async def run(self, stop: asyncio.Event) -> None:
        """Watch until `stop` is set. Raises `OtherContract` if the only log is not understood."""
        await _first(random.uniform(0, TURN), stop)  # noqa: S311 - many logs need not all be looked at in one moment
        try:
            while not stop.is_set():
                pause = TURN
                if self._rests_until > time.monotonic():
                    await _first(pause, stop)
                    continue
                try:
                    await self.turn()
                except Exception as e:  # whatever it is, the other logs are watched on
                    if isinstance(e, OtherContract) and self._is_alone:
                        raise
                    self._metrics.store_failed()
                    pause = max(self._outage.failed(e), 1.0)
                    await self._give_way()
                else:
                    self._outage.succeeded()
                await _first(pause, stop, self.teller.wake)
                self.teller.wake.clear()
        finally:
            await self._leave()

    async def turn(self) -> None:
        """Look at the log once, note what happened, and tell of it. Raises the driver's errors, and `StoreError`."""
        kept = await self._incidents.claim() if self._has_targets else None
        if kept is None:
            self._stand_by()
            return
        if not self._tells:
            self._tells = True
            logger.info("Watching log %s", self.name, extra={"action": "watching"})
        try:
            view = await self._coverage.view()
        except StoreUnavailable:
            if self._coverage.away_since is None:
                return  # all of a large ledger is being read
            raise
        if self._coverage.away_since is not None:
            raise StoreUnavailable(view.suspended or view.warning or "the ledger cannot be read")
        now = self._clock(UTC)
        # The store is the same for all logs: one of them speaks of it.
        state = await read_state(self._connection, self._keys, of_store=self._is_default)
        known = [fault for incident in open_incidents(kept).values() for fault in incident.faults]
        faults = [*of_verdict(view.judged.verdict), *self._memory.faults(state, view.judged.marks, known, now)]
        after = self.teller.next(kept, faults, now, partial(_is_known, view.judged))
        changed = await self._incidents.change(after)
        if changed is None:
            return  # another watcher changed it: the next turn begins with what that one kept
        self.teller.noted()
        self.teller.send(changed, now)
        self._metrics.judged(
            [state for incident in open_incidents(changed).values() for state in incident.states],
            [message.created.timestamp() for message in changed.messages.values()],
        )

    def _stand_by(self) -> None:
        if self._tells:
            logger.info("Standing by: another watcher tells of log %s", self.name, extra={"action": "standing_by"})
        self._tells = False
        self.teller.forget()
        self._metrics.standing_by()

    async def _give_way(self) -> None:
        """Leave the place for a while if no turn succeeds: another watcher may do better."""
        since = self._outage.since
        if not self._tells or since is None or time.monotonic() - since < FAILING:
            return
        self._rests_until = time.monotonic() + RESTING
        self._stand_by()
        with suppress(redis.RedisError, OSError, StoreError):  # it is free soon
            await self._incidents.leave()

    async def _leave(self) -> None:
        """Note what was sent last, and leave the place to another watcher."""
        await self.teller.close(LAST_WORDS)
        try:
            async with asyncio.timeout(LAST_WORDS):
                if self._tells and (kept := await self._incidents.claim()) is not None:
                    await self._incidents.change(self.teller.sent(kept, self._clock(UTC)))
                    await self._incidents.leave()
        except (redis.RedisError, OSError, StoreError):
            pass  # another one takes over as soon as the place is free
        self._metrics.ended()
        await self.close()

    async def close(self) -> None:
        """Leave the store."""
        await self._coverage.close()
        await self._connection.close()
        await self._client.aclose()


class StoreWatch:
    """Tells that the store is away, for longer than a restart takes, or that one log cannot be watched: no one else may
    know, so each watcher does, from memory."""

    def __init__(self, logs: Sequence[LogWatch], targets: Sequence[Target], clock: Clock, metrics: Metrics) -> None:
        self._logs = logs
        self._clock = clock
        self._teller = Teller(targets, None, None, metrics)
        self._kept = Kept()
        self._since: dict[str, str] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Look until `stop` is set."""
        try:
            while not stop.is_set():
                try:
                    self.turn()
                except Exception:  # the logs are watched on
                    logger.exception("Unexpected error", extra={"action": "unexpected_error"})
                await _first(TURN, stop, self._teller.wake)
                self._teller.wake.clear()
        finally:
            await self._teller.close(LAST_WORDS)

    def turn(self) -> None:
        """Look once."""
        now = self._clock(UTC)
        faults = [
            Fault(state="store", about=trouble.what, text=f"{trouble.what} (since {since})", since=since)
            for trouble, since in self._troubles(now)
        ]
        self._kept = self._teller.next(self._kept, faults, now)
        self._teller.noted()
        self._teller.send(self._kept, now)

    def _troubles(self, now: datetime) -> Iterable[tuple[Trouble, str]]:
        """What keeps logs from being watched, and since when; what is the same of several of them, once."""
        found = {trouble.what: trouble for log in self._logs if (trouble := log.trouble) is not None}
        self._since = {what: since for what, since in self._since.items() if what in found}
        for what, trouble in found.items():
            if what not in self._since:
                began = now - timedelta(seconds=time.monotonic() - trouble.since)
                self._since[what] = timestamps.from_datetime(began.replace(microsecond=0))
            yield trouble, self._since[what]


class Watch:
    """Watches the logs of `settings`, judged by what `config` says of them, and tells `targets`."""

    def __init__(
        self,
        settings: Settings,
        config: Config,
        targets: Sequence[Target],
        metrics: Metrics,
        clock: Clock = datetime.now,
    ) -> None:
        watcher = new_id()
        self._targets = targets
        self._logs = [LogWatch(settings, config, name, targets, watcher, clock, metrics) for name in settings.logs]
        self._store = StoreWatch(self._logs, targets, clock, metrics)

    async def run(self, stop: asyncio.Event) -> None:
        """Watch until `stop` is set. Raises `OtherContract` if the only log is not understood."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._store.run(stop))
                for log in self._logs:
                    tasks.create_task(log.run(stop))
        except BaseExceptionGroup as e:
            raise e.exceptions[0] from None
        finally:
            for target in self._targets:
                await target.sender.close()


def _is_known(judged: Judged, fault: Fault) -> bool:
    """Whether the ledger still reaches back to the sets of a fault. Of those that it dropped, nothing can be said."""
    to = fault.to
    if to is None:
        return True
    of = fault.category, fault.every, fault.length
    return any((one.category, one.every, one.length) == of and one.begins < to for one in judged.verdict.series)


async def _first(seconds: float, *events: asyncio.Event) -> None:
    """Wait until one of the events is set, but not longer than so many seconds."""
    waiting = [asyncio.create_task(event.wait()) for event in events]
    await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()
