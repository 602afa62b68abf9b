"""`etlog sample`: the command. What the sample ETL does is tested with the part `dev/`."""

from pathlib import Path
from typing import Any

import pytest
from etlog.__main__ import run
from etlog_events.keys import Keys
from etlog_events.settings import Settings


@pytest.mark.usefixtures("own_log")
def test_the_sample_publishes_to_the_log_of_the_options(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, store_url: str, keys: Keys
) -> None:
    """And ends with the exit code that the sample ETL returns."""
    given: list[Any] = []

    def fake(settings: Settings, *, data: Path, fail: bool, **_: Any) -> int:
        given.append((settings.redis_url, settings.name, data, fail))
        return 1

    monkeypatch.setattr("etlog_dev.sample.run.run", fake)

    assert run(["sample", "--data", str(tmp_path), "--fail", "--log", f"{keys.name}-2"]) == 1

    assert given == [(store_url, f"{keys.name}-2", tmp_path, True)]
