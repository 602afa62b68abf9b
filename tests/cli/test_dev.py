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


def test_a_configuration_file_is_one_for_all_parts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Wherever they run: its path is the full one."""
    (tmp_path / "etlog.toml").write_text("version = 1")
    monkeypatch.chdir(tmp_path)
    given: list[Any] = []

    def fake(settings: Settings, environment: Mapping[str, str], data: Path, **options: Any) -> int:
        given.append((settings.config, environment.get("ETLOG_CONFIG")))
        return 0

    monkeypatch.setattr("etlog_dev.develop.develop", fake)
    assert run(["dev", "--config", "etlog.toml"]) == 0
    assert run(["dev"]) == 0

    file = tmp_path / "etlog.toml"
    assert given == [(file, str(file)), (None, None)]


#: Texts of a configuration file, and what is said of them. The variable of a secret is not set.
BAD_FILES = [
    (None, "etlog.toml cannot be read: No such file or directory; ETLOG_CONFIG must name a TOML file"),
    ("version = 2", "etlog.toml, line 1: version must be 1, the one that this etlog reads, not 2"),
    (
        'version = 1\n[[notify]]\nurl = "http://127.0.0.1/"\nsecret = "env:NOT_SET"',
        "notify[0].secret is in the variable NOT_SET, which is not set",
    ),
]


@pytest.mark.parametrize(("text", "said"), BAD_FILES)
def test_a_bad_configuration_file_is_told_before_anything_is_started(
    text: str | None, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not even a folder is made."""
    file, data = tmp_path / "etlog.toml", tmp_path / "data"
    if text is not None:
        file.write_text(text)

    assert run(["dev", "--config", str(file), "--data", str(data)]) == 2

    printed = capsys.readouterr()
    assert (printed.out, printed.err.removeprefix("etlog: ").removeprefix(f"{tmp_path}/")) == ("", f"{said}\n")
    assert not data.exists()


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
