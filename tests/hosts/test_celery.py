"""Celery's workers run tasks in processes of `billiard`."""

import signal

from hosts.trial import Trial

WORKER = ("celery", "-A", "hosts.programs.celery_tasks", "worker", "--loglevel", "INFO", "--concurrency", "2")
QUIET = ("--without-gossip", "--without-mingle", "--without-heartbeat")


def test_a_warm_shutdown(trial: Trial, broker: str) -> None:
    """The processes that were recycled on the way leave nothing behind either."""
    assert trial.program("celery_tasks", "emit", "16", BROKER=broker) == 0
    with trial.host(*WORKER, *QUIET, "--max-tasks-per-child", "6", BROKER=broker) as host:
        trial.wait_for(16)

        assert host.end(signal.SIGTERM) == 0

    trial.assert_complete(16)


def test_a_cold_shutdown(trial: Trial, broker: str) -> None:
    """It ends tasks in the middle of their work."""
    assert trial.program("celery_tasks", "emit_on", "2", BROKER=broker) == 0
    with trial.host(*WORKER, *QUIET, BROKER=broker) as host:
        trial.wait_for(200)

        host.end(signal.SIGQUIT)

    trial.assert_complete(at_least=200)
