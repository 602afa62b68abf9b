"""`etlog bugreport`: the API's bug report as a file."""

import zipfile
from pathlib import Path

import orjson
from support import commands


def test_the_bug_report_is_saved_whole(api: str, tmp_path: Path) -> None:
    """To the file that was named, and no partial one is left beside it."""
    report = tmp_path / "report.zip"

    said = commands.run("bugreport", "-o", str(report), "--url", api)

    assert said.returncode == 0
    assert str(report) in said.stdout
    with zipfile.ZipFile(report) as archive:
        assert "etlog-bugreport/log.json" in archive.namelist()
    assert list(tmp_path.iterdir()) == [report]


def test_a_report_that_cannot_be_written_is_one_sentence(api: str, tmp_path: Path) -> None:
    """It names the file."""
    said = commands.run("bugreport", "-o", str(tmp_path / "no" / "such" / "folder.zip"), "--url", api)

    assert said.returncode == 1
    assert said.stderr.count("\n") == 1
    assert "folder.zip" in said.stderr


def test_one_of_several_logs_is_asked_for_by_its_name(second_of_two: tuple[str, ...], tmp_path: Path) -> None:
    """The report holds the log that `--log` names."""
    report = tmp_path / "report.zip"

    assert commands.run("bugreport", "--output", str(report), *second_of_two).returncode == 0

    with zipfile.ZipFile(report) as archive:
        assert len(orjson.loads(archive.read("etlog-bugreport/log.json"))["data"]["allocation"]) == 2
