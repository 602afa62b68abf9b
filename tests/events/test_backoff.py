"""Backing off: the pauses grow, and an outage is told in two lines."""

import logging

import pytest
import redis
from etlog_events.backoff import FIRST_RETRY, LAST_RETRY, Backoff
from etlog_events.errors import OtherContract
from support.fakes import Clock

LOGGER = logging.getLogger("etlog.test")


@pytest.fixture
def backoff(clock: Clock) -> Backoff:
    """One that was never used."""
    return Backoff(LOGGER, failing="Cannot read", recovered="Reading again", clock=clock)


def said(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    """Action and sentence of each log line."""
    return [(record.__dict__["action"], record.getMessage()) for record in caplog.records]


def test_pauses_grow_with_jitter_to_the_last(backoff: Backoff) -> None:
    """Each is up to a half shorter than it might be, so that many processes do not come back at once."""
    pauses = [backoff.failed(OSError("gone")) for _ in range(12)]

    for number, pause in enumerate(pauses):
        longest = min(FIRST_RETRY * 2**number, LAST_RETRY)
        assert longest / 2 <= pause <= longest
    assert len(set(pauses[-3:])) == 3


def test_a_caller_may_want_shorter_pauses() -> None:
    """Its users wait."""
    backoff = Backoff(LOGGER, failing="Cannot read", recovered="Reading again", longest=0.2)

    pauses = [backoff.failed(OSError("gone")) for _ in range(12)]

    assert 0.1 <= max(pauses) <= 0.2


def test_pauses_begin_anew_after_a_success(backoff: Backoff) -> None:
    """The next outage has nothing to do with the last."""
    for _ in range(12):
        backoff.failed(OSError("gone"))
    backoff.succeeded()

    assert backoff.failed(OSError("gone")) <= FIRST_RETRY


def test_an_outage_is_one_line_at_each_end(backoff: Backoff, clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """However many attempts fail: the first error, and how long it lasted."""
    for attempt in range(5):
        backoff.failed(redis.ConnectionError(f"refused, {attempt}"))
        clock.now += 2.5
    backoff.succeeded()

    assert said(caplog) == [
        ("store_away", "Cannot read: refused, 0"),
        ("store_back", "Reading again after 12.5 s"),
    ]


def test_success_without_an_outage_says_nothing(backoff: Backoff, caplog: pytest.LogCaptureFixture) -> None:
    """It is what happens all day."""
    backoff.succeeded()
    backoff.succeeded()

    assert said(caplog) == []


def test_each_outage_is_told(backoff: Backoff, caplog: pytest.LogCaptureFixture) -> None:
    """The second as the first."""
    for _ in range(2):
        backoff.failed(OSError("gone"))
        backoff.succeeded()

    assert [action for action, _ in said(caplog)] == ["store_away", "store_back"] * 2


def test_an_unexpected_error_is_traced_once_an_outage(backoff: Backoff, caplog: pytest.LogCaptureFixture) -> None:
    """A store does not cause it, so it is a bug; those that a store causes need no trace."""
    for _ in range(2):
        backoff.failed(redis.TimeoutError("slow"))
        backoff.failed(OtherContract("log default follows contract 2"))
        for _ in range(3):
            backoff.failed(ZeroDivisionError("a bug"))
        backoff.succeeded()

    traced = [record for record in caplog.records if record.exc_info]
    assert [str(record.exc_info and record.exc_info[1]) for record in traced] == ["a bug", "a bug"]
    assert {record.__dict__["action"] for record in traced} == {"unexpected_error"}


def test_the_state_can_be_read(backoff: Backoff) -> None:
    """The last error, in words where it has none, and how often an attempt failed since the start."""
    assert (backoff.error, backoff.reason, backoff.retries) == (None, None, 0)

    error = OSError("gone")
    backoff.failed(error)
    assert (backoff.error, backoff.reason, backoff.retries) == (error, "gone", 1)
    backoff.failed(TimeoutError())
    assert (backoff.reason, backoff.retries) == ("TimeoutError", 2)

    backoff.succeeded()
    assert (backoff.error, backoff.reason, backoff.retries) == (None, None, 2)
