"""RQ runs a job in a process that it forks off, which leaves by `os._exit`, in a new process, or in the worker."""

import pytest
from hosts.trial import Trial


@pytest.mark.parametrize("worker", ["Worker", "SimpleWorker", "SpawnWorker"])
def test_jobs(trial: Trial, broker: str, worker: str) -> None:
    """Each leaves nothing behind."""
    assert trial.program("rq_jobs", "6", BROKER=broker) == 0
    with trial.host("rq", "worker", "--burst", "--url", broker, "--worker-class", f"rq.worker.{worker}") as host:
        assert host.wait() == 0

    trial.assert_complete(12)
