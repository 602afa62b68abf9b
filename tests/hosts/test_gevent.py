"""gevent makes the producer's thread a greenlet."""

import signal

import pytest
from hosts.trial import Trial


@pytest.mark.parametrize(("end", "code"), [("returns", 0), ("exits at once", 3), ("is terminated", -signal.SIGTERM)])
def test_a_script(trial: Trial, end: str, code: int) -> None:
    """However it ends."""
    assert trial.program("gevent_script", end) == code

    trial.assert_complete(40)


def test_sigterm_while_it_emits(trial: Trial) -> None:
    """The loop goes on while the producer ends, so it may also be the `ProducerClosed` of an `emit` that ends it."""
    with trial.host("python", "-m", "hosts.programs.gevent_script", "emits on") as host:
        trial.wait_for(100)

        assert host.end(signal.SIGTERM) in {-signal.SIGTERM, 1}

    trial.assert_complete(at_least=100)
