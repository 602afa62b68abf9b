"""Processes of the standard library, and of those that follow it."""

import pytest
from hosts.trial import Trial


@pytest.mark.parametrize("way", ["process", "terminated process", "with Pool", "recycled Pool"])
@pytest.mark.parametrize(
    ("module", "method"), [("multiprocessing", "fork"), ("multiprocessing", "spawn"), ("billiard", "fork")]
)
def test_processes(trial: Trial, module: str, method: str, way: str) -> None:
    """They end by `os._exit`; `with Pool()` and `terminate` end them by SIGTERM."""
    assert trial.program("pools", module, method, way) == 0

    if way == "terminated process":
        trial.assert_complete(at_least=20)
    else:
        trial.assert_complete(40)


@pytest.mark.parametrize(
    ("kind", "way"), [("fork", "shut down"), ("spawn", "left alone"), ("loky", "shut down"), ("loky", "left alone")]
)
def test_executors(trial: Trial, kind: str, way: str) -> None:
    """They wait for their processes, which end as those of `multiprocessing` do."""
    assert trial.program("executors", kind, way) == 0

    trial.assert_complete(40)
