"""The units for systemd: valid, confined, and without anything that the parts do not have."""

import os
import re
import shutil
import subprocess
from dataclasses import fields
from pathlib import Path

import pytest
from etlog_events.settings import Settings, variable_of

SYSTEMD = Path(__file__).parent.parent.parent / "deploy" / "systemd"

#: The command of each service.
SERVICES = {"etlog-consumer": "consume", "etlog-api": "serve", "etlog-watch": "watch"}

#: Tenths: what `systemd-analyze security` may find exposed at most, of 100.
EXPOSED = "20"

analysed = pytest.mark.skipif(
    not (shutil.which("systemd-analyze") or os.environ.get("CI")), reason="no systemd-analyze: Debian's systemd"
)


def directives(service: str) -> list[tuple[str, str]]:
    """What a unit says, in its order."""
    text = (SYSTEMD / f"{service}.service").read_text()
    return re.findall(r"^(\w+)=(.*)$", text, re.MULTILINE)


@pytest.fixture
def units(tmp_path: Path) -> Path:
    """The units, with a command that this machine has."""
    for unit in SYSTEMD.glob("etlog*.*"):
        if unit.suffix in {".service", ".target"}:
            (tmp_path / unit.name).write_text(
                unit.read_text().replace("/opt/etlog/bin/etlog", shutil.which("true") or "")
            )
    return tmp_path


def analyze(*arguments: str) -> str:
    """What `systemd-analyze` prints, on both of its outputs. Raises `AssertionError` with it when it finds a fault."""
    done = subprocess.run(["systemd-analyze", *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@analysed
def test_systemd_takes_the_units(units: Path) -> None:
    """Without a word: it would warn of a directive that it does not know."""
    said = analyze("verify", "--man=no", *map(str, sorted(units.iterdir())))

    assert [line for line in said.splitlines() if str(units) in line or "etlog" in line] == []


@analysed
def test_systemd_would_say_so_of_a_misspelled_one(units: Path) -> None:
    """The test above can fail."""
    unit = units / "etlog-api.service"
    unit.write_text(unit.read_text().replace("ProtectClock=", "ProtectClocks="))

    assert "ProtectClocks" in analyze("verify", "--man=no", str(unit))


@analysed
@pytest.mark.parametrize("service", SERVICES)
def test_a_service_is_confined(units: Path, service: str) -> None:
    """By systemd's own count."""
    analyze("security", "--offline=true", f"--threshold={EXPOSED}", "--no-pager", str(units / f"{service}.service"))


def test_the_services_differ_only_in_what_they_run() -> None:
    """All are confined alike, and belong to the target."""
    assert {unit.stem for unit in SYSTEMD.glob("*.service")} == SERVICES.keys()
    own = {"Description", "ExecStart", "Environment", "LoadCredential"}
    [common, *others] = [[line for line in directives(service) if line[0] not in own] for service in SERVICES]

    assert all(other == common for other in others)
    assert {("PartOf", "etlog.target"), ("WantedBy", "etlog.target"), ("Restart", "on-failure")} <= {*common}
    assert {("DynamicUser", "yes"), ("NoNewPrivileges", "yes"), ("CapabilityBoundingSet", "")} <= {*common}
    for service, command in SERVICES.items():
        assert ("ExecStart", f"/opt/etlog/bin/etlog {command}") in directives(service)


def test_those_that_judge_read_the_same_file() -> None:
    """As a credential, so that the file itself may belong to root alone."""
    for service in ("etlog-api", "etlog-watch"):
        assert ("LoadCredential", "etlog.toml:/etc/etlog/etlog.toml") in directives(service)
        assert ("Environment", "ETLOG_CONFIG=%d/etlog.toml") in directives(service)


def test_every_variable_is_a_setting() -> None:
    """In the units and in the file of settings, what is commented out included."""
    known = {variable_of(setting.name) for setting in fields(Settings)}
    given = set(re.findall(r"^#?(ETLOG_\w+)=", (SYSTEMD / "etlog.env").read_text(), re.MULTILINE))
    assert len(given) > 3
    for service in SERVICES:
        given |= {value.partition("=")[0] for key, value in directives(service) if key == "Environment"}

    assert given - known == set()
