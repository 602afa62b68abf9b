"""The verdict on one log in a replica: read and judged at most once a second, for all requests of that second."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, tzinfo

import redis
from etlog_events import timestamps
from etlog_events.backoff import Backoff
from etlog_events.errors import OtherContract, StoreUnavailable
from etlog_events.keys import Keys
from etlog_events.kinds import Kinds

from etlog_ledger.judge import Judge
from etlog_ledger.marks import Mark
from etlog_ledger.reading.connection import QUESTION_TIMEOUT, Connection
from etlog_ledger.reading.horizon import STEP, Horizon, Standing, read_standing
from etlog_ledger.reading.ledger import Ledger, LedgerReader
from etlog_ledger.reading.marks import MarksReader
from etlog_ledger.reading.replication_link import ReplicationLink, staleness
from etlog_ledger.reading.told import ToldReader
from etlog_ledger.told import Told
from etlog_ledger.verdict import Verdict

#: Seconds from one reading of a log to the next. Judging may take 50 ms, and nobody sees a second.
AGAIN = 1.0

#: Seconds that reading waits for an answer of the store: less than a request waits, so that this can say why.
ANSWER_TIMEOUT = 1.0

#: Seconds. A verdict that is older is not of now any more.
SUSPENDED_AFTER = 60.0


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """A verdict as of `now`, what it was made of, and who was told of it: None where no watcher keeps that.

    The same object stands for the same verdict, of which the same people were told.
    """

    verdict: Verdict
    ledger: Ledger
    marks: Sequence[Mark]
    now: datetime
    told: Told | None = None


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """What there is to show: the last verdict. `suspended` says in a sentence why it is not of now, `warning` why the
    next one may not come; both are None while all is well."""

    judged: Judged
    suspended: str | None = None
    warning: str | None = None


class Coverage:
    """Judges one log for any number of requests at once.

    `judge` is for it alone, `clock` says what time it is; `link` is that of a replica of the store, None for the
    primary. The reader of the ledger has `connection` for itself, but for the questions asked in its pauses here; its
    client bounds the time of each answer. `part` is who asks; who was told of problems is read if it `shows_told`.
    """

    def __init__(
        self,
        connection: Connection,
        keys: Keys,
        kinds: Kinds,
        judge: Judge,
        clock: Callable[[tzinfo], datetime],
        link: ReplicationLink | None = None,
        part: str = "api",
        *,
        shows_told: bool = False,
    ) -> None:
        self._connection = connection
        self._keys = keys
        self._clock = clock
        self._link = link
        self._ledger = LedgerReader(connection, keys, kinds, part)
        self._marks = MarksReader(connection, keys)
        self._told = ToldReader(connection, keys) if shows_told else None
        self._judge = judge
        self._horizon = Horizon()
        self._judged: Judged | None = None
        self._standing: Standing | None = None
        self._reading: asyncio.Task[None] | None = None
        self._began = float("-inf")  # by `time.monotonic`
        self._began_at = 0.0  # by the clock
        self._error: BaseException | None = None
        self._outage = Backoff(
            logging.getLogger(f"etlog.{part}"),
            failing="The ledger cannot be read",
            recovered="The ledger is read again",
            clock=time.time,
        )

    async def view(self) -> View:
        """The verdict of this second, or the last one while the store is away.

        Reading all of a large ledger goes on when a request has waited long enough. Raises `StoreUnavailable` while
        there is no verdict yet, and `OtherContract` when the log is not understood.
        """
        if self._reading is None and self._is_due():
            self._begin()
        if self._reading is not None:
            await asyncio.wait({self._reading}, timeout=QUESTION_TIMEOUT)
        if self._error is not None:
            raise self._error
        return self._view()

    @property
    def away_since(self) -> float | None:
        """Since when the store cannot be read, in seconds since 1970; None while it can."""
        return self._outage.since

    @property
    def standing(self) -> Standing | None:
        """Where the log stood when it was read last."""
        return self._standing

    async def close(self) -> None:
        """Leave the store."""
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait({self._reading}, timeout=ANSWER_TIMEOUT)
        await self._connection.close()

    def _is_due(self) -> bool:
        """Whether to read again: a second has passed, or the clock was set meanwhile."""
        return time.monotonic() - self._began >= AGAIN or abs(self._time() - self._began_at) > STEP

    def _time(self) -> float:
        return self._clock(UTC).timestamp()

    def _begin(self) -> None:
        self._began, self._began_at = time.monotonic(), self._time()
        self._reading = asyncio.create_task(self._renew())
        self._reading.add_done_callback(self._settle)

    def _settle(self, reading: "asyncio.Task[None]") -> None:
        self._reading = None
        self._error = None if reading.cancelled() else reading.exception()

    async def _renew(self) -> None:
        """Read what changed, and judge if anything did."""
        try:
            ledger = await self._ledger.read()
            clock = self._time()
            standing = await read_standing(self._connection, self._keys, ledger.cursor, self._link)
            marks, told = await self._remarks()
        except OtherContract:
            raise
        except (redis.RedisError, OSError) as e:  # a timeout is an OSError
            await self._connection.close()  # it may lead to a store that another one has replaced
            self._outage.failed(e if str(e) else TimeoutError("no answer in time"))
            return
        self._outage.succeeded()
        at = self._horizon.now(clock, standing, self._unheard())
        last, now = self._judged, datetime.fromtimestamp(at, UTC)
        if last is None or last.ledger is not ledger or last.marks is not marks or last.now != now:
            # In a thread: others then wait some milliseconds at most, instead of for all of it.
            verdict = await asyncio.to_thread(self._judge.judge, ledger.rows, marks, now)
            self._judged = Judged(verdict, ledger, marks, now, told)
        elif last.told is not told:
            self._judged = replace(last, told=told)
        self._standing = standing

    async def _remarks(self) -> tuple[Sequence[Mark], Told | None]:
        """The marks, and who was told: by one question, unless anything changed."""
        of_marks, of_told = self._marks.questions, () if self._told is None else self._told.questions
        answers = await self._connection.ask(*of_marks, optional=of_told)
        made, number = self._connection.made, len(of_marks)
        marks = await self._marks.read(made, answers[:number])
        return marks, None if self._told is None else await self._told.read(made, answers[number:])

    def _unheard(self) -> float:
        """Seconds since the replica of the store lost its primary: what was published since may not be there."""
        since = None if self._link is None else self._link.down_since
        return 0.0 if since is None else max(0.0, time.time() - since)

    def _view(self) -> View:
        judged = self._judged
        if judged is None:
            if self._outage.since is not None:
                raise StoreUnavailable("the store cannot be reached, and nothing was read from it yet")
            raise StoreUnavailable(f"the ledger of log {self._keys.name} is being read; ask again in a few seconds")
        as_of = f"this is the verdict as of {timestamps.from_datetime(judged.now)}"
        fault = self._fault()
        if self._time() - judged.now.timestamp() > SUSPENDED_AFTER:
            why, remedy = fault or self._lag()
            return View(judged, suspended=f"{why}: {as_of}; {remedy}")
        return View(judged, warning=None if fault is None else f"{fault[0]}: {as_of}")

    def _fault(self) -> tuple[str, str] | None:
        """What keeps the log from being read as it is now, and what to do about it, or None."""
        if self._outage.since is not None:
            since = _spelled(self._outage.since)
            if isinstance(self._outage.error, redis.ResponseError):  # as for a key of another type
                return f"the store has refused to be read since {since}", f"it says: {self._outage.reason}"
            return f"the store has been unreachable since {since}", "see that it can be reached"
        if self._reading is not None and time.monotonic() - self._began >= QUESTION_TIMEOUT:
            return "reading the ledger takes longer than usual", "ask again in a few seconds"
        if self._link is not None and self._link.down_since is not None:
            return staleness(self._link.down_since), "see that the replica reaches its primary"
        return None

    def _lag(self) -> tuple[str, str]:
        """What waits, and what to do about it. In a busy log something always waits, which is no fault."""
        oldest = None if self._standing is None else self._standing.oldest
        since = "" if oldest is None else f" at {_spelled(oldest)} and later"
        return f"events published{since} have not been applied", "see that a consumer runs and keeps up"


def _spelled(seconds: float) -> str:
    return timestamps.from_datetime(datetime.fromtimestamp(int(seconds), UTC))
