"""The command as a whole: help that teaches, and one sentence with an exit code for what is wrong."""

import os
import re
import subprocess
import sys
from dataclasses import fields
from importlib import metadata
from pathlib import Path

import pytest
from etlog import commands as commands_package
from etlog.__main__ import run
from etlog.errors import EXIT_CODES
from etlog_events.keys import Keys
from etlog_events.settings import Settings, variable_of
from support import commands
from support.servers import free_port

#: Every command, and those of the groups.
COMMANDS = (
    *("emit", "consume", "watch", "serve", "log", "coverage", "status", "mark", "verify", "dead", "spool", "upgrade"),
    *("bugreport", "sample", "dev"),
    *("config", "config check", "config suggest"),
    *("dead list", "dead show", "dead requeue", "dead drop", "spool list", "spool flush"),
    *("mark list", "mark remove"),
)

WINDOW = ("--start", "2022-06-03T10:00:00Z", "--end", "2022-06-03T11:00:00Z")


def refused(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 2) -> str:
    """The one sentence with which `etlog` refuses `arguments`, and ends with `code`."""
    ended = run(list(arguments))
    printed = capsys.readouterr()
    assert ended == code
    assert printed.out == ""
    assert printed.err.startswith("etlog: ")
    assert len(printed.err.splitlines()) == 1
    return printed.err


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_every_command_teaches(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """It shows the command at work and the exit codes, fits a usual terminal, and goes to standard output."""
    code = run([*command.split(), "--help"])

    printed = capsys.readouterr()
    assert code == 0
    assert f"Usage: etlog {command}" in printed.out
    assert f"\n  etlog {command}" in printed.out
    assert " ".join(printed.out.split()).endswith(EXIT_CODES)
    assert max(map(len, printed.out.splitlines())) <= 80
    assert printed.err == ""


def test_the_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    """The help of `etlog` is where one begins."""
    assert run(["--help"]) == 0

    listed = re.findall(r"^  (\w+)  ", capsys.readouterr().out.partition("Commands:")[2], re.MULTILINE)
    modules = {file.stem for file in Path(commands_package.__path__[0]).glob("*.py")} - {"__init__"}
    assert set(listed) == modules == {command for command in COMMANDS if " " not in command}


def test_a_mistyped_command_is_recognized(capsys: pytest.CaptureFixture[str]) -> None:
    """Of `etlog`, and of a group."""
    assert refused(capsys, "emti") == "etlog: No such command 'emti'. Did you mean 'emit'? See 'etlog --help'\n"
    assert "'list'" in refused(capsys, "dead", "lst")
    assert refused(capsys, "dead") == "etlog: Missing command; see 'etlog dead --help'\n"


def test_etlog_alone_shows_its_help_where_messages_go(capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing was asked for, so a script gets nothing on standard output, and exit code 2, as click does it."""
    assert run([]) == 2

    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("Usage: etlog")


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    """For bug reports."""
    assert run(["--version"]) == 0

    assert capsys.readouterr() == (f"etlog {metadata.version('etlog')}\n", "")


def test_a_full_disk_is_one_sentence() -> None:
    """Whatever the system says when it does not do what it was asked for is no traceback."""
    if not Path("/dev/full").exists() and not os.environ.get("CI"):
        pytest.skip("needs /dev/full")
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(
            [sys.executable, "-m", "etlog", "--version"], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )

    assert ended.returncode != 0
    assert ended.stderr.startswith("etlog: No space left on device\n")
    assert "Traceback" not in ended.stderr


def test_a_misuse_ends_the_process_with_2() -> None:
    """A whole process this time: no traceback, and nothing on standard output."""
    ended = commands.run("emit", "AllocationSetSaved", "--size", "many")

    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr.startswith("etlog: Invalid value for '--size'")
    assert len(ended.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["publish"], "'publish'"),
        (["--bogus"], "--bogus"),
        (["emit", "--bogus"], "--bogus"),
        (["emit"], "KIND"),
        (["emit", "AssetSetTotaled", "another"], "another"),
        (["emit", "AssetSetTotaled", "--file", "events.ndjson"], "--file"),
        (["emit", "--file", "events.ndjson", "--size", "3"], "--file"),
        (["emit", "AssetSetShaken"], "AssetSetShaken"),
        (["emit", "AssetSetSaved", *WINDOW], "size"),
        (["emit", "AssetSetSaved", *WINDOW, "--size"], "--size"),
        (["emit", "AssetSetSaved", *WINDOW, "--size", "many"], "--size"),
        (["emit", "AssetSetSaved", *WINDOW, "--size", "-1"], "size"),
        (["emit", "AssetSetSaved", *WINDOW, "--size", "1e3"], "--size"),
        (["emit", "AssetSetTotaled", "--start", "2022-06-03T10:00:00Z"], "--end"),
        (["emit", "AssetSetTotaled", "--start", WINDOW[1], "--end", WINDOW[1]], "window"),
        (["emit", "AssetSetTotaled", "--start", WINDOW[3], "--end", WINDOW[1]], "window"),
        (["emit", "AssetSetTotaled", "--start", "2022-06-03T10:00:00", "--end", WINDOW[3]], "window"),
        (["emit", "AssetSetTotaled", *WINDOW, "--time", "yesterday"], "time"),
        (["emit", "AssetSetComputeError", *WINDOW], "error"),
        (["emit", "AssetSetTotaled", *WINDOW, "--meta", "region"], "--meta"),
        (["emit", "AssetSetTotaled", *WINDOW, "--meta", "size=3"], "--meta"),
        (["emit", "--file", "missing.ndjson"], "missing.ndjson"),
        (["emit", "--file", "."], "--file"),
        (["emit", "AssetSetTotaled", "--log", "a b"], "--log"),
        (["emit", "AssetSetTotaled", "--redis-url", ""], "--redis-url"),
        (["consume", "--log", "{default}"], "--log"),
        (["consume", "everything"], "everything"),
        (["serve", "--port", "0"], "--port"),
        (["serve", "--port", "65536"], "--port"),
        (["serve", "--port", "http"], "--port"),
        (["serve", "--workers", "0"], "--workers"),
        (["serve", "--host", "a b"], "--host"),
        (["serve", "--host", "203.0.113.1"], "203.0.113.1"),
        (["log", "--limit", "0"], "--limit"),
        (["log", "--limit", "all"], "--limit"),
        (["coverage", "--set", "2022-06-03T10:00:00Z"], "--set"),
        (["coverage", "--set", "today/2022-06-03T10:00:00Z"], "--set"),
        (["coverage", "--set", "2022-06-03T10:00:00Z/2022-06-03T10:00:00Z"], "--set"),
        (["coverage", "--set", "2022-06-03T10:00:00Z/2022-06-03T11:00:00Z", "--grid"], "--grid"),
        (["coverage", "--grid", "--json"], "--json"),
        (["log", "--url", "127.0.0.1:9090"], "--url"),
        (["log", "--url", "http://"], "--url"),
        (["log", "--url", "redis://127.0.0.1:6379"], "--url"),
        (["log", "--url", "http://127.0.0.1:port"], "--url"),
        (["dev", "--for", "-1"], "--for"),
        (["dev", "--for", "ever"], "--for"),
        (["dev", "--port", "0"], "--port"),
        (["dev", "--data", "/dev/null"], "--data"),
    ],
    ids=" ".join,
)
def test_a_misuse_gets_one_sentence_that_names_it(
    arguments: list[str], named: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is found before the store is asked for anything: none is there."""
    monkeypatch.setenv("ETLOG_REDIS_URL", f"redis://127.0.0.1:{free_port()}/0")

    assert named in refused(capsys, *arguments)


@pytest.mark.parametrize("variable", [variable_of(setting.name) for setting in fields(Settings)])
@pytest.mark.parametrize("command", [["emit", "AssetSetTotaled", *WINDOW], ["consume"], ["serve"], ["log"], ["dev"]])
def test_a_bad_setting_gets_one_sentence_that_names_the_variable(
    command: list[str], variable: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every command reads all settings, so that none goes wrong only later."""
    monkeypatch.setenv(variable, "a b")

    assert variable in refused(capsys, *command)


@pytest.mark.parametrize(
    "url",
    [
        "http://user:hunter2@127.0.0.1:6379",
        "127.0.0.1:6379",
        "redis://",
        "redis:///0",
        "redis://:6379/0",
        "redis://:hunter2@127.0.0.1:port/0",
        "redis://127.0.0.1:0/0",
        "redis://:hunter2@127.0.0.1:6379/hunter2",
        "redis://127.0.0.1:6379/-1",
        "redis://127.0.0.1:6379/0/1",
        "redis://127.0.0.1:6379/0?db=hunter2",
        "redis://127.0.0.1:6379/0?decode_responses=true",
        "redis://user:hunter2#@127.0.0.1:6379/0",
        "redis://user:hun ter2@127.0.0.1:6379/0",
        "redis://[::1:6379/0",
        "unix://",
        "unix://run/redis.sock",
    ],
)
@pytest.mark.parametrize("command", [["emit", "AssetSetTotaled", *WINDOW], ["consume"]], ids=["emit", "consume"])
def test_a_wrong_address_of_the_store_gets_one_sentence_without_its_secrets(
    command: list[str], url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The driver would take some of them for another store; the address is not repeated, it may hold a password."""
    said = refused(capsys, *command, "--redis-url", url)

    assert "--redis-url" in said or "ETLOG_REDIS_URL" in said
    assert "hun" not in said
    assert "ter2" not in said


@pytest.mark.parametrize("command", [["emit", "AssetSetTotaled", *WINDOW], ["consume"]], ids=["emit", "consume"])
@pytest.mark.parametrize("host", ["127.0.0.1", "no-such-host.invalid"])
def test_a_store_that_is_not_there_is_named_without_its_password(
    command: list[str], host: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """At once, with what to do about it, and an exit code that a script can tell from a misuse."""
    port = free_port()

    said = refused(capsys, *command, "--redis-url", f"redis://user:hunter2@{host}:{port}/0", code=3)

    assert f"redis://{host}:{port}/0 cannot be reached" in said
    assert said.endswith("; name another with --redis-url or ETLOG_REDIS_URL\n")
    assert "hunter2" not in said


@pytest.mark.parametrize("command", [["emit", "AssetSetTotaled", *WINDOW], ["consume"]], ids=["emit", "consume"])
@pytest.mark.parametrize("change", [("/0", "/99"), ("redis://", "redis://:hunter2@")], ids=["database", "password"])
def test_a_store_that_refuses_is_told_from_one_that_is_away(
    command: list[str], change: tuple[str, str], store_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A database that does not exist, a password that is wrong: waiting fixes neither."""
    said = refused(capsys, *command, "--redis-url", store_url.replace(*change))

    assert " refused: " in said
    assert "hunter2" not in said


def test_an_option_wins_over_its_variable(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], store_url: str, keys: Keys
) -> None:
    """And a variable over the default."""
    monkeypatch.setenv("ETLOG_REDIS_URL", f"redis://127.0.0.1:{free_port()}/0")
    monkeypatch.setenv("ETLOG_NAME", "another")

    refused(capsys, "emit", "AssetSetTotaled", *WINDOW, code=3)
    assert run(["emit", "AssetSetTotaled", *WINDOW, "--redis-url", store_url, "--log", keys.name]) == 0
    assert capsys.readouterr().out == f"1 event delivered to log {keys.name}\n"


def test_an_option_makes_up_for_a_bad_variable(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], store_url: str, keys: Keys
) -> None:
    """What the option replaces is not read, not even by the producer."""
    monkeypatch.setenv("ETLOG_REDIS_URL", "nonsense")
    monkeypatch.setenv("ETLOG_NAMES", "one,two")

    assert run(["emit", "AssetSetTotaled", *WINDOW, "--redis-url", store_url, "--log", keys.name]) == 0
    assert capsys.readouterr().out == f"1 event delivered to log {keys.name}\n"


def test_a_bad_option_is_named_as_the_option(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """And not as the variable behind it, which its reader did not set."""
    monkeypatch.setenv("ETLOG_PORT", "9090")

    said = refused(capsys, "dev", "--port", "99999", "--data", str(tmp_path))

    assert "--port" in said
    assert "ETLOG_PORT" not in said


@pytest.mark.parametrize(
    "command", [["log"], ["log", "--follow"], ["coverage"], ["status"], ["bugreport"]], ids=" ".join
)
def test_an_api_that_is_not_there_is_one_sentence(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Without the password that may stand in its address."""
    port = free_port()

    said = refused(capsys, *command, "--url", f"http://user:hunter2@127.0.0.1:{port}", code=3)

    assert said.startswith(f"etlog: the API at http://127.0.0.1:{port} cannot be reached")
    assert said.endswith("; name another with --url or ETLOG_URL\n")
    assert "hunter2" not in said
