"""The reader of one log: keeps the last snapshot, and asks the store only whether it is still the last."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import redis
from etlog_events.backoff import Backoff
from etlog_events.errors import OtherContract, StoreUnavailable
from etlog_ledger.reading.connection import QUESTION_TIMEOUT
from etlog_ledger.reading.replication_link import ReplicationLink

from etlog_api.log.snapshot import Snapshot

logger = logging.getLogger("etlog.api")

#: Seconds after the log moved in which it is assumed to move again: what was added is asked for at once.
MOVES_ON = 0.02


@dataclass(frozen=True, slots=True)
class View:
    """What a reader sees: a snapshot, and what makes it doubtful. Times are seconds since 1970.

    Since `away_since` the store cannot be asked about it. Since `behind_since` the replica that it was read from has
    no link to its primary.
    """

    snapshot: Snapshot
    away_since: float | None = None
    behind_since: float | None = None


class Question:
    """A question to the store, and the requests that wait for its answer, each with a future: one that is cancelled
    does not take the answer from the others."""

    def __init__(self) -> None:
        self._waiting: list[asyncio.Future[View | None]] = []
        self._answered = False
        self._view: View | None = None

    def wait(self) -> "asyncio.Future[View | None]":
        """The answer, None when there is no view."""
        waiting: asyncio.Future[View | None] = asyncio.get_running_loop().create_future()
        if self._answered:
            waiting.set_result(self._view)
        else:
            self._waiting.append(waiting)
        return waiting

    def answer(self, view: View | None, error: BaseException | None = None) -> None:
        """Answer those who wait now or later. The first answer stands; no one waits after an error."""
        if self._answered:
            return
        self._answered, self._view = True, view
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_exception(error) if error else waiting.set_result(view)


class Reader:
    """Gives the present view of one log to any number of requests at once.

    A question to the store is shared by all requests that wait before it is asked, and by none that comes later: so a
    client that has seen an event applied finds it in the answer.
    """

    def __init__(
        self,
        read_cursor: Callable[[], Awaitable[bytes | None]],
        read_snapshot: Callable[[Snapshot | None], Awaitable[Snapshot]],
        drop_connection: Callable[[], Awaitable[None]],
        link: ReplicationLink | None = None,
    ) -> None:
        self._read_cursor = read_cursor
        self._read_snapshot = read_snapshot
        self._drop_connection = drop_connection
        self._link = link or ReplicationLink()
        self._asking = asyncio.Lock()
        self._next: Question | None = None
        self._snapshot: Snapshot | None = None
        self._read_at = 0.0
        self._moved_at = float("-inf")
        self._outage = Backoff(
            logger, failing="The store is away", recovered="The store answers again", clock=time.time
        )
        self._refused = False

    @property
    def age(self) -> float | None:
        """Seconds since the store last said what the log is; None before the first answer."""
        return time.monotonic() - self._read_at if self._snapshot is not None else None

    async def view(self) -> View:
        """The log as it stands now, or as it last stood while the store is away.

        Raises `StoreUnavailable` when the store is away and there is nothing to answer from, and `OtherContract` when
        the log is not understood.
        """
        view = await (self._next or self._begin()).wait()
        if view is None:
            raise StoreUnavailable("the store cannot be reached, and nothing was read from it yet")
        return view

    def _begin(self) -> Question:
        """A question for all requests that come before it is asked.

        One timer answers all of them in time behind a question that hangs. A timer for each would take longer than the
        rest of an answer.
        """
        question, asking = Question(), asyncio.create_task(self._ask())

        def give_up() -> None:
            if not asking.done():
                question.answer(self._away(TimeoutError()))

        def settle(_: object) -> None:
            timer.cancel()
            error = asking.exception()
            question.answer(None if error else asking.result(), error)

        timer = asyncio.get_running_loop().call_later(QUESTION_TIMEOUT, give_up)
        asking.add_done_callback(settle)
        self._next = question
        return question

    async def _ask(self) -> View | None:
        async with self._asking:
            self._next = None  # a request from here on comes after the question was asked
            try:
                async with asyncio.timeout(QUESTION_TIMEOUT):
                    snapshot = await self._refreshed()
            except OtherContract as e:
                if not self._refused:
                    logger.error("Cannot answer: %s", e, extra={"action": "other_contract"})
                self._refused = True
                raise
            except (redis.RedisError, OSError) as e:  # a timeout is an OSError
                return self._away(e)
        self._outage.succeeded()
        self._refused = False
        self._snapshot, self._read_at = snapshot, time.monotonic()
        return View(snapshot, behind_since=self._link.down_since)

    async def _refreshed(self) -> Snapshot:
        snapshot = self._snapshot
        try:
            moves = time.monotonic() - self._moved_at < MOVES_ON
            if snapshot is not None and not moves and await self._read_cursor() == snapshot.cursor:
                return snapshot
            found = await self._read_snapshot(snapshot)
        except redis.RedisError:
            await self._drop_connection()  # it may lead to a store that another one has replaced
            raise
        if snapshot is not None:
            if found.cursor == snapshot.cursor:
                return snapshot
            self._moved_at = time.monotonic()
        return found

    def _away(self, error: Exception) -> View | None:
        self._outage.failed(error if str(error) else TimeoutError("no answer in time"))
        if self._snapshot is None:
            return None
        return View(self._snapshot, self._outage.since, self._link.down_since)
