"""The teller: what it puts into the outbox, and what becomes of it."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from etlog_events.config import Notify
from etlog_watch.faults import Fault
from etlog_watch.incident_store import Kept
from etlog_watch.message import Message
from etlog_watch.metrics import Metrics
from etlog_watch.sender import SENT, Outcome
from etlog_watch.target import Target
from etlog_watch.teller import KEPT, LAST_RETRY, Teller
from support.logged import Logged

NOW = datetime(2026, 12, 1, 3, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
LATER = Outcome("later", "it answered 503 Service Unavailable")


class Receiver:
    """A target that answers as it is told, and notes what it got."""

    def __init__(self, *outcomes: Outcome) -> None:
        self.received: list[Message] = []
        self._outcomes = list(outcomes)

    async def send(self, message: Message) -> Outcome:
        """The next outcome, or the last one again."""
        self.received.append(message)
        return self._outcomes.pop(0) if len(self._outcomes) > 1 else self._outcomes[0]

    async def close(self) -> None:
        """Nothing is open."""


class Night:
    """A teller with one target or more, and what it keeps. A look is a turn of a watcher, with what is sent in it."""

    def __init__(self, *receivers: Receiver) -> None:
        urls = [f"https://hooks{index}.example.com/secret" for index in range(len(receivers))]
        self.targets = [
            Target(index, Notify(url), receiver, UTC)
            for index, (url, receiver) in enumerate(zip(urls, receivers, strict=True))
        ]
        self.now = NOW
        self.kept = Kept()
        self._teller = Teller(self.targets, "default", None, Metrics())

    async def look(self, *faults: Fault, after: timedelta = MINUTE) -> None:
        """Look after so long, and note what was sent before the next look."""
        self.now += after
        self.kept = self._teller.next(self.kept, faults, self.now)
        self._teller.noted()
        self._teller.send(self.kept, self.now)
        await self._teller.settled(10)


def fault(state: str = "missing", first: int = 0, sets: int = 1, stages: Sequence[str] = ("Saved",)) -> Fault:
    """A fault of so many hours."""
    start, end = (f"{NOW.replace(hour=0) + timedelta(hours=hour):%FT%TZ}" for hour in (first, first + sets))
    text = f"asset {', '.join(stages)} {state}"
    return Fault(state=state, text=text, since=end, category="asset", every="1h", stages=tuple(stages), from_=start,
                 to=end, sets=sets)  # fmt: skip


def run(story: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a story of looks."""
    asyncio.run(story())


def test_what_is_not_taken_is_tried_again_later_and_later() -> None:
    """Under the same id, with the same bytes; then it is gone from the outbox."""
    receiver = Receiver(*[LATER] * 6, SENT)
    night = Night(receiver)
    pauses = []

    async def story() -> None:
        for _ in range(3):
            await night.look(fault())
        while night.kept.messages:
            before = len(receiver.received)
            [message] = night.kept.messages.values()
            pauses.append(message.next - night.now)
            await night.look(fault(), after=timedelta(seconds=1))
            assert len(receiver.received) <= before + 1

    run(story)
    assert len(receiver.received) == 7
    assert len({(message.id, message.body) for message in receiver.received}) == 1
    assert max(pauses) > 100 * timedelta(seconds=1)


def test_a_target_says_when_it_wants_to_be_asked_again() -> None:
    """Not before."""
    receiver = Receiver(Outcome("later", "it answered 429 Too Many Requests", after=1800), SENT)
    night = Night(receiver)

    async def story() -> None:
        for _ in range(25):
            await night.look(fault())
        assert len(receiver.received) == 1
        await night.look(fault(), after=10 * MINUTE)

    run(story)
    assert len(receiver.received) == 2


def test_later_messages_wait_for_earlier_ones() -> None:
    """A target that was away gets everything once, in order."""
    receiver = Receiver(*[LATER] * 4, SENT)
    night = Night(receiver)

    async def story() -> None:
        for _ in range(3):
            await night.look(fault())
        for _ in range(3):
            await night.look()
        for _ in range(3):
            await night.look(fault("failed", 5))
        for _ in range(20):
            await night.look(fault("failed", 5))

    run(story)
    taken = list({message.id: message for message in receiver.received}.values())
    assert [message.happened for message in taken] == ["opened", "resolved", "opened"]
    assert not night.kept.messages


def test_a_message_is_given_up_after_a_day(logged: Logged) -> None:
    """With one line, that shows no secret; the next one is tried."""
    receiver = Receiver(LATER)
    night = Night(receiver)

    async def story() -> None:
        for _ in range(3):
            await night.look(fault())
        while night.now - NOW < KEPT + 2 * LAST_RETRY:
            await night.look(fault(), after=5 * MINUTE)

    run(story)
    assert not night.kept.messages
    [line] = logged("target_given_up")
    assert line.startswith("Target https://hooks0.example.com#0 did not take a message of 2026-12-01 03:0")


def test_a_target_that_is_gone_is_told_nothing_more(logged: Logged) -> None:
    """The others are; and a process that starts anew knows it."""
    gone, other = Receiver(Outcome("gone", "it answered 410 Gone")), Receiver(SENT)
    night = Night(gone, other)

    async def story() -> None:
        for _ in range(3):
            await night.look(fault())
        for _ in range(3):
            await night.look(fault(), fault("failed", 5))
        for _ in range(3):
            await night.look()

    run(story)
    assert len(gone.received) == 1
    assert [message.happened for message in other.received] == ["opened", "opened", "resolved"]
    assert list(night.kept.ended) == [night.targets[0].key]
    assert not night.kept.messages
    assert len(logged("target_given_up")) == 1


@pytest.mark.parametrize(
    ("faults", "sets"),
    [
        ([fault(sets=6)], 6),
        ([fault("stopped", 0, 6, ("Loaded",)), fault("missing", 0, 6, ("Loaded", "Saved"))], 6),
        ([fault("stopped", 2, 6), fault("missing", 0, 3)], 6),
        ([fault("missing", 0, 2), fault("failed", 1, 2)], 2),
    ],
)
def test_sets_are_counted_once(faults: Sequence[Fault], sets: int) -> None:
    """Whatever is wrong with them, and in how many stages."""
    receiver = Receiver(SENT)
    night = Night(receiver)

    async def story() -> None:
        await night.look(*faults)
        await night.look(*faults)

    run(story)
    [message] = receiver.received
    assert [problem.sets for problem in message.problems] == [sets]
