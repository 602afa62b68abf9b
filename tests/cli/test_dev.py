"""`etlog dev`: the command. What it starts is tested with the part `dev/`."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from etlog.__main__ import run
from etlog_events.settings import Settings


def test_the_parts_get_the_environment_and_the_port_of_the_options(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """This process keeps its environment as it was."""
    monkeypatch.setenv("ETLOG_CAP", "7")
    given: list[Any] = []

    def fake(settings: Settings, environment: Mapping[str, str], data: Path, **options: Any) -> int:
        given.append((settings.port, environment["ETLOG_PORT"], environment["ETLOG_CAP"], data, options))
        return 3

    monkeypatch.setattr("etlog_dev.develop.develop", fake)

    assert run(["dev", "--port", "9191", "--no-etl", "--for", "2", "--data", str(tmp_path)]) == 3

    assert given == [(9191, "9191", "7", tmp_path, {"etl": False, "fail": False, "seconds": 2.0})]
    assert "ETLOG_PORT" not in os.environ


@pytest.mark.parametrize("command", ["dev", "sample"])
def test_without_the_part_it_is_said_what_to_install(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A production image has no `etlog_dev`; the help is there all the same."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "etlog_dev"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "etlog_dev", None)

    assert run([command, "--help"]) == 0
    assert f"etlog {command}" in capsys.readouterr().out
    assert run([command]) == 2

    assert capsys.readouterr() == (
        "",
        "etlog: this command requires the package etlog-dev, which is not installed: "
        "run pip install ./dev in a checkout of etlog, or use the image etlog-dev\n",
    )
