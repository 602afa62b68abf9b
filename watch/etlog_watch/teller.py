"""The teller: turns faults into messages, and sends them, one at a time to each target, until each was taken."""

import asyncio
import logging
import os
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from etlog_events import timestamps

from etlog_watch import incidents
from etlog_watch.faults import Fault
from etlog_watch.incident_store import Ended, Kept, Waiting
from etlog_watch.incidents import Incident, Notice
from etlog_watch.message import Happened, Message, ProblemTold
from etlog_watch.metrics import Metrics
from etlog_watch.sender import Outcome
from etlog_watch.target import Target

logger = logging.getLogger("etlog.watch")

#: After the first attempt that failed, and at most.
FIRST_RETRY, LAST_RETRY = timedelta(seconds=5), timedelta(minutes=10)

#: The longest pause that a target may ask for, and somewhat more.
LONGEST_PAUSE = timedelta(hours=2)

#: How long a message is tried.
KEPT = timedelta(days=1)

#: What is over is told before what began meanwhile.
_ORDER: Sequence[Happened] = ("resolved", "expired", "changed", "opened", "reminder")

#: The worst states first: that of a problem whose faults have several.
_WORST = ("failed", "stopped", "missing", "unusual")


class Teller:
    """Tells `targets` of a log; None for what concerns no single one. `page_url` is where people look at it.

    `wake` is set when a message was sent or refused, so that it is noted at once.
    """

    def __init__(self, targets: Sequence[Target], log: str | None, page_url: str | None, metrics: Metrics) -> None:
        self._targets = {target.key: target for target in targets}
        self._policies = {target.key: target.policy(log) for target in targets}
        self._log = log
        self._page_url = page_url
        self._metrics = metrics
        self._sending: dict[str, asyncio.Task[None]] = {}  # by target
        self._outcomes: dict[str, Outcome] = {}  # by message
        self._noting: set[str] = set()  # messages whose outcomes are in what `next` returned
        self._seen: tuple[Mapping[str, Incident], list[Fault]] | None = None  # what `next` made of which faults
        self.wake = asyncio.Event()

    def next(
        self, kept: Kept, faults: Iterable[Fault], now: datetime, is_known: Callable[[Fault], bool] = lambda _: True
    ) -> Kept:
        """What is to be kept once these are the faults, and what the targets are to be told is in the outbox."""
        ended, messages = self._noted(kept, now)
        faults = list(faults)
        if self._seen == (kept.incidents, faults):  # most turns: nothing happened, but time has passed
            found = [incident for incident in kept.incidents.values() if not incidents.is_over(incident, now)]
        else:
            found = incidents.advanced(kept.incidents.values(), faults, now, _new_id, is_known)
        told: dict[str, dict[str, Notice]] = {}
        for key, policy in self._policies.items():
            if key in ended:
                continue
            notices = incidents.due(found, policy, now)
            for happened in dict.fromkeys(notice.happened for notice in notices):
                some = [notice for notice in notices if notice.happened == happened]
                message = self._waiting(key, happened, some, now)
                messages[message.id] = message
            for notice in notices:
                told.setdefault(notice.incident.id, {})[key] = notice
        after = {}
        for incident in found:
            noted = incidents.told(incident, told[incident.id], now) if incident.id in told else incident
            if noted.ended is not None:  # a target that is gone cannot be told of it; another watcher may know others
                is_old = now - noted.changed > KEPT
                noted = incidents.for_targets(noted, (self._targets if is_old else noted.told).keys() - ended.keys())
            after[noted.id] = noted
        self._seen = after, faults
        return Kept(kept.revision, after, messages, ended)

    def sent(self, kept: Kept, now: datetime) -> Kept:
        """What is to be kept once all outcomes are noted, and nothing else."""
        ended, messages = self._noted(kept, now)
        return Kept(kept.revision, kept.incidents, messages, ended)

    def send(self, kept: Kept, now: datetime) -> None:
        """Begin to send what is due, of what is kept: to each target the oldest message."""
        oldest: dict[str, Waiting] = {}
        for message in sorted(kept.messages.values(), key=_order):
            oldest.setdefault(message.target, message)
        for key, message in oldest.items():
            target = self._targets.get(key)
            if target is None or key in self._sending or message.id in self._outcomes:
                continue
            if timedelta(0) < message.next - now <= LONGEST_PAUSE:  # further ahead, the clock was set back
                continue
            self._sending[key] = asyncio.create_task(self._send(target, message))

    def noted(self) -> None:
        """What `next` returned is kept now."""
        for name in self._noting:
            del self._outcomes[name]
        self._noting.clear()

    def forget(self) -> None:
        """Another watcher tells now: what was sent is not to be noted by this one."""
        self._outcomes.clear()
        self._noting.clear()

    async def settled(self, seconds: float) -> None:
        """Wait for what is being sent, but no more than so many seconds. Raises what ended the process meanwhile."""
        if self._sending:
            done, _ = await asyncio.wait(self._sending.values(), timeout=seconds)
            for task in done:
                task.result()

    async def close(self, seconds: float) -> None:
        """Wait so many seconds for what is being sent, and give up the rest."""
        await self.settled(seconds)
        for task in list(self._sending.values()):
            task.cancel()

    async def _send(self, target: Target, message: Waiting) -> None:
        outcome = Outcome("later", "it could not be sent")
        try:
            created = timestamps.from_datetime(message.created)
            outcome = await target.sender.send(Message(message.id, message.happened, created, message.problems))
        except Exception:
            logger.exception("Unexpected error", extra={"action": "unexpected_error"})
        finally:
            self._outcomes[message.id] = outcome
            self._metrics.attempted(target.shown, message.happened, outcome.kind)
            del self._sending[target.key]
            self.wake.set()

    def _noted(self, kept: Kept, now: datetime) -> tuple[dict[str, Ended], dict[str, Waiting]]:
        """The targets that want no more, and the messages that still wait, once all outcomes are noted."""
        ended, messages = dict(kept.ended), dict(kept.messages)
        self._noting = set(self._outcomes)
        for name in self._noting:
            message, outcome = messages.get(name), self._outcomes[name]
            if message is None:  # noted before
                continue
            if outcome.kind == "sent":
                del messages[name]
            elif outcome.kind == "gone":
                ended[message.target] = Ended(at=now, reason=outcome.reason)
                self._log_end(message.target, f"wants no more messages ({outcome.reason}): it is told nothing more")
            else:
                messages[name] = _again(message, outcome, now)
        for name, message in list(messages.items()):
            target = self._targets.get(message.target)
            is_old = now - message.created > KEPT
            if message.target in ended or (target is None and is_old):  # until then another watcher may know it
                del messages[name]
            elif target is not None and is_old and message.attempts:
                del messages[name]
                self._metrics.attempted(target.shown, message.happened, "given_up")
                self._log_end(message.target, f"did not take a message of {message.created:%F %H:%M}Z for a day")
        return ended, messages

    def _log_end(self, key: str, what: str) -> None:
        target = self._targets.get(key)
        if target is not None:
            logger.warning("Target %s %s", target.shown, what, extra={"action": "target_given_up"})

    def _waiting(self, key: str, happened: Happened, notices: Sequence[Notice], now: datetime) -> Waiting:
        problems = [self._problem(name, notice) for notice in notices for name in notice.ids]
        if happened in {"opened", "changed", "reminder"}:
            problems = [self._problem(notice.ids[0], notice) for notice in notices]
        return Waiting(
            id=f"msg_{os.urandom(12).hex()}",
            target=key,
            happened=happened,
            created=now,
            next=now,
            problems=tuple(problems),
        )

    def _problem(self, name: str, notice: Notice) -> ProblemTold:
        faults = sorted(notice.faults, key=lambda fault: _WORST.index(fault.state) if fault.state in _WORST else -1)
        worst = faults[0]
        spans = [fault for fault in faults if fault.from_ is not None and fault.to is not None]
        return ProblemTold(
            id=name,
            log=self._log,
            category=worst.category,
            every=worst.every,
            stages=tuple(dict.fromkeys(stage for fault in faults for stage in fault.stages)),
            state=worst.state,
            from_=min((fault.from_ for fault in spans if fault.from_), default=None),
            to=max((fault.to for fault in spans if fault.to), default=None),
            sets=_sets(spans) if spans else None,
            since=min((fault.since for fault in faults), key=lambda text: text.removesuffix("Z")),
            error=next((fault.error for fault in faults if fault.error), None),
            text="; ".join(dict.fromkeys(fault.text for fault in faults)),
            url=self._page_url,
        )


def _order(message: Waiting) -> tuple[datetime, int, str]:
    return message.created, _ORDER.index(message.happened), message.id


def _sets(faults: Iterable[Fault]) -> int:
    """How many sets are wrong, by faults of them: those of one time are the same sets in other stages."""
    number = most = 0
    until = ""
    for fault in sorted(faults, key=lambda fault: (fault.from_ or "")[:-1]):
        start, end = (fault.from_ or "")[:-1], (fault.to or "")[:-1]
        if start >= until:
            number, most = number + most, 0
        most, until = max(most, fault.sets or 0), max(until, end)
    return number + most


def _again(message: Waiting, outcome: Outcome, now: datetime) -> Waiting:
    """A message that is to be tried again: later each time, and not at once by all that wait."""
    pause = min(FIRST_RETRY * 2 ** min(message.attempts, 20), LAST_RETRY) * random.uniform(0.8, 1.2)  # noqa: S311
    if outcome.after is not None:
        pause = max(pause, timedelta(seconds=outcome.after))
    return Waiting(
        id=message.id,
        target=message.target,
        happened=message.happened,
        created=message.created,
        next=now + pause,
        problems=message.problems,
        attempts=message.attempts + 1,
    )


def _new_id() -> str:
    return os.urandom(8).hex()


def open_incidents(kept: Kept) -> Mapping[str, Incident]:
    """The incidents that have not ended."""
    return {name: incident for name, incident in kept.incidents.items() if incident.ended is None}
