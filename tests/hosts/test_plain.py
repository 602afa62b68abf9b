"""A script of one process, with nothing around it."""

import signal
from time import monotonic

import pytest
from etlog_producer.process import END_TIMEOUT
from hosts.trial import Trial

#: Seconds. What was emitted earlier before SIGKILL is in the store, if that is there.
WINDOW = 0.05


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ("returns", 0),
        ("raises", 1),
        ("exits", 3),
        ("exits_at_once", 3),
        ("exits_in_a_handler", 3),
        ("is_terminated", -signal.SIGTERM),
        ("is_interrupted", -signal.SIGINT),
    ],
)
def test_a_script_leaves_nothing_behind(trial: Trial, end: str, code: int) -> None:
    """However it ends, and with the code or the signal that it would have ended with anyway."""
    assert trial.program("plain", end) == code

    trial.assert_complete(20)


def test_an_end_that_waits_for_the_store_is_cut_short_by_sigterm(trial: Trial) -> None:
    """Who sends it does not wait."""
    began = monotonic()
    code = trial.program("plain", "is_terminated_while_it_ends")
    seconds = monotonic() - began

    assert code == (-signal.SIGTERM if trial.away else 0)
    assert seconds < END_TIMEOUT
    trial.assert_complete(20)


@pytest.mark.parametrize(("end", "events"), [("forks", 40), ("forks_at_work", 60)])
def test_a_forked_child_leaves_nothing_behind(trial: Trial, end: str, events: int) -> None:
    """Whether it returns or leaves by `os._exit`."""
    assert trial.program("plain", end) == 0

    trial.assert_complete(events)


@pytest.mark.parametrize("program", ["emits_on", "emits_on_in_a_thread"])
def test_sigterm_while_it_emits(trial: Trial, program: str) -> None:
    """In the middle of anything."""
    with trial.host("python", "-m", "hosts.programs.plain", program) as host:
        trial.wait_for(100)

        assert host.end(signal.SIGTERM) == -signal.SIGTERM

    trial.assert_complete(at_least=100)


@pytest.mark.timed
def test_what_sigkill_takes(trial: Trial) -> None:
    """With the store there, what was emitted at the very end; with the store away, everything."""
    with trial.host("python", "-m", "hosts.programs.plain", "emits_on") as host:
        trial.wait_for(100)
        killed = monotonic()
        host.end(signal.SIGKILL)

    account = trial.account()

    assert (account.doubled, account.lost, account.faults) == (set(), 0, [])
    if trial.away:
        assert account.missing == account.emitted.keys()
    else:
        assert all(killed - account.emitted[name] < WINDOW for name in account.missing), str(account)


def test_sigkill_takes_nothing_that_is_durable(trial: Trial) -> None:
    """It is in a file before `emit` returns."""
    with trial.host("python", "-m", "hosts.programs.plain", "emits_on", DURABLE="yes") as host:
        trial.wait_for(100)
        host.end(signal.SIGKILL)

    trial.assert_complete(at_least=100)
