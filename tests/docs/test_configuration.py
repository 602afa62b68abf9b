"""docs/configuration.md: its examples pass the check, and its tables are complete."""

import re
from dataclasses import MISSING, fields
from pathlib import Path

import pytest
from etlog.__main__ import run
from etlog_events.config import NOTICES, STAGES, TABLES
from etlog_events.schedule import parse_only

PAGE = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text()
FILES = re.findall(r"^```toml\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
SHOWN = re.findall(r"^\$ ETLOG_NAMES=(\S+) etlog (.*)\n((?:[^`\n].*\n)*)", PAGE, re.MULTILINE)

MISTAKEN = """\
version = 1

[[expect]]
category = "asset"
due = "20m"
every = "hourly"
stage = ["Saved"]
stages = ["Saved"]
"""


def test_the_examples_are_found() -> None:
    """Else the tests below would look at none."""
    assert (len(FILES), len(SHOWN)) == (2, 2)


@pytest.mark.parametrize("command", range(len(SHOWN)))
def test_the_check_says_what_is_shown(
    command: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of the example, and of one with mistakes."""
    names, arguments, shown = SHOWN[command]
    (tmp_path / "etlog.toml").write_text(FILES[0])
    (tmp_path / "mistaken.toml").write_text(MISTAKEN)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ETLOG_NAMES", names)

    code = run(arguments.split())

    printed = capsys.readouterr()
    assert printed.out + printed.err == shown
    assert code == (2 if printed.err else 0)


@pytest.mark.parametrize("file", range(len(FILES)))
def test_every_example_is_right(
    file: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """For the logs that it names."""
    (tmp_path / "etlog.toml").write_text(FILES[file])
    monkeypatch.setenv("ETLOG_NAMES", "nightly")

    assert run(["config", "check", str(tmp_path / "etlog.toml")]) == 0
    assert " is right: " in capsys.readouterr().out


@pytest.mark.parametrize("table", TABLES)
def test_every_key_is_explained(table: str) -> None:
    """Under the heading of its table, and whether it may be left out."""
    text = PAGE.partition(f"\n## `[[{table}]]`\n")[2].partition("\n## ")[0].partition("| key |")[2].partition("\n\n")[0]
    rows = {
        name: default == "required" for name, default in re.findall(r"^\| `(\w+)` \|.* \| (.*) \|$", text, re.MULTILINE)
    }

    assert rows == {entry.metadata["key"] or entry.name: entry.default is MISSING for entry in fields(TABLES[table])}


def test_every_value_is_named() -> None:
    """Of the keys that take some of a few."""
    for values in (STAGES, NOTICES):
        assert f"a list of {', '.join(f'`{value}`' for value in values)} |" in PAGE


def test_the_texts_of_only_are_right() -> None:
    """Those in the table."""
    rows = re.findall(r"^\| `(.*)` \|", PAGE.partition("| text |")[2].partition("\n\n")[0], re.MULTILINE)

    assert len(rows) == 5
    assert all(map(parse_only, rows))
