"""Airflow ends the process of a task by `os._exit`, after the listener was told."""

import pytest
from hosts.trial import Trial


@pytest.mark.parametrize("release", ["2", "3"])
def test_tasks(trial: Trial, release: str) -> None:
    """What the task emitted is kept, and what the listener did."""
    assert trial.program("airflow_task", release) == 0

    trial.assert_complete(13)
