"""`etlog config`: a file is checked in words, and one that was suggested passes the check."""

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import orjson
import pytest
from etlog.__main__ import run
from etlog.commands import serve
from etlog_events import config
from etlog_events.errors import ConfigError
from etlog_events.schedule import parse_time
from etlog_events.settings import Settings
from etlog_ledger.expectations import of_log
from support import commands

FILE = """\
version = 1

[[log]]
name = "nightly"
zone = "America/New_York"

[[expect]]
log = "nightly"
category = "allocation"
every = "1h"
stages = ["Saved", "Totaled"]
due = "20m"
only = "mon-fri 06:00-18:00, sat 22:00-02:00, sun"
except = ["2026-12-25"]
since = "2026-11-01"

[[expect]]
category = "asset"
stages = ["Saved"]
due = "06:00"

[[notify]]
url = "https://user:hunter2@hooks.example.com/hunter2"
secret = "env:HUNTER2"
on = ["failed", "stopped"]
remind = "24h"

[[notify]]
url = "slack://hunter2/HUNTER2/hunter2"
log = "nightly"
category = "allocation"
quiet = "sat+sun, mon-fri 18:00-08:00"

[[notify]]
url = "http://127.0.0.1:8080/hunter2"
on = ["store"]
"""

#: Asks a stand-in of the API, which gives this answer, for a suggestion: what is printed.
Suggested = Callable[..., str]


@pytest.fixture
def suggested(capsys: pytest.CaptureFixture[str]) -> Iterator[Suggested]:
    """`suggested(series…, zone=…)` is the file that is suggested where this was learned."""
    answers: list[bytes] = []
    asked: list[str] = []

    class Api(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(answers[-1])

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Api)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()

    def suggest(*series: dict[str, Any], code: int = 0, **data: Any) -> str:
        whole = {"log": "nightly", "now": "2026-11-18T14:37:10Z", "zone": "America/New_York", "suspended": None}
        answers.append(orjson.dumps({"code": 200, "data": {**whole, "series": series, **data}}))
        ended = run(["config", "suggest", "--log", "nightly", "--url", f"http://127.0.0.1:{server.server_port}"])
        printed = capsys.readouterr()
        assert (ended, asked.pop()) == (code, "/model/etl/coverage?log=nightly"), printed.err
        return printed.out if code == 0 else printed.out + printed.err

    yield suggest
    server.shutdown()
    thread.join()
    server.server_close()


def series(category: str, every: str, /, **habits: Any) -> dict[str, Any]:
    """A series as an answer has it: for each stage a habit, or only when it is due."""
    full = {stage: habit if isinstance(habit, dict) else {"due": habit} for stage, habit in habits.items()}
    delay = {stage: {"p50": 41.2, "p95": 4000.0} for stage in full}
    return {"category": category, "every": every, "stages": list(full), "delay": delay, "habits": full, "sets": []}


def declared(text: str) -> list[tuple[Any, ...]]:
    """What a file declares of the log `nightly`."""
    file = config.parse(text, Settings(name="nightly", categories={"cloudcost": "CloudCostSet"}))
    _, expectations = of_log(file, "nightly", Settings().timezone)
    return [
        (one.category, str(one.every), list(one.stages), one.due, ", ".join(map(str, one.only))) for one in expectations
    ]


def test_logs_are_those_of_the_settings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is said of another log would hold for none."""
    path = tmp_path / "etlog.toml"
    path.write_text(FILE)

    assert run(["config", "check", str(path)]) == 2
    assert capsys.readouterr().err.splitlines() == [
        f"etlog: {path}, line {line} must be default (ETLOG_NAME), not 'nightly'"
        for line in ("4: log[0].name", "8: expect[0].log", "30: notify[1].log")
    ]


def test_a_right_file_is_told_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A line for each table where there is no terminal, and no secret."""
    path = tmp_path / "etlog.toml"
    path.write_text(FILE)
    monkeypatch.setenv("ETLOG_NAMES", "nightly,hourly")
    monkeypatch.setenv("ETLOG_CONFIG", str(path))

    assert run(["config", "check"]) == 0

    printed = capsys.readouterr()
    assert printed.err == ""
    assert "hunter2" not in printed.out.lower()
    assert printed.out.splitlines() == [
        f"{path} is right: 1 log, 2 expectations, 3 notifications.",
        "log[0]: nightly is in the zone America/New_York",
        "expect[0]: Saved and Totaled of allocation in log nightly, every 1h, are due 20m after the end of the window, "
        "if it starts mon-fri 06:00-18:00 or sat 22:00-02:00 (the next day) or any time sun, but not on 2026-12-25, "
        "from 2026-11-01 on",
        "expect[1]: Saved of asset in every log, of any cadence, is due at the first 06:00 after the end of the window",
        "notify[0]: https://hooks.example.com is told of failed and stopped, signed, reminders every 24h",
        "notify[1]: slack://… is told of everything of allocation in log nightly, by Apprise, no reminders, "
        "quiet sat+sun, mon-fri 18:00-08:00",
        "notify[2]: http://127.0.0.1:8080 is told of store, not signed, no reminders",
        "Where several expectations match a set, the last one counts.",
    ]


def test_the_words_fit_the_terminal(tmp_path: Path) -> None:
    """They are wrapped there."""
    path = tmp_path / "etlog.toml"
    path.write_text(FILE)

    with commands.running("config", "check", str(path), columns=80, names="nightly,hourly") as command:
        command.wait_for("the last one counts")

    lines = command.shown.splitlines()
    assert "    after the end of the window, if it starts mon-fri 06:00-18:00 or sat" in lines
    assert max(len(line) for line in lines if str(tmp_path) not in line) <= 80


def test_every_mistake_is_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """On standard error, and the exit code says that it was misused."""
    path = tmp_path / "etlog.toml"
    path.write_text('version = 1\n[[expect]]\ncategory = "assets"\nstages = ["Saved"]\nevery = "hour"\ndue = "20m"\n')

    assert run(["config", "check", str(path)]) == 2

    printed = capsys.readouterr()
    assert printed.out == ""
    assert [line.partition(" must be")[0] for line in printed.err.splitlines()] == [
        f"etlog: {path}, line 3: expect[0].category",
        f"etlog: {path}, line 5: expect[0].every",
    ]


def test_without_a_file_it_says_how_to_name_one(capsys: pytest.CaptureFixture[str]) -> None:
    """Neither an argument nor the variable did."""
    assert run(["config", "check"]) == 2
    assert "ETLOG_CONFIG" in capsys.readouterr().err


def test_the_api_does_not_start_with_a_wrong_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One sentence, before it listens and before there are workers to fail."""
    path = tmp_path / "etlog.toml"
    path.write_text("version = 2\n[[logs]]")
    monkeypatch.setenv("ETLOG_CONFIG", str(path))

    assert run(["serve", "--workers", "2"]) == 2

    assert capsys.readouterr().err == (
        f"etlog: {path}, line 1: version must be 1, the one that this etlog reads, not 2; "
        "and 1 more, which 'etlog config check' lists\n"
    )
    with pytest.raises(ConfigError):
        serve.run(Settings(config=path), 1)


def test_what_was_learned_is_suggested_as_a_file_that_declares_it(suggested: Suggested) -> None:
    """Stages of the same habit share a table; times are rounded up, so that nothing is due before it was learned to."""
    text = suggested(
        series("asset", "1h", Saved=61.0, Totaled=120.0, Reconciled=660.0),
        series(
            "allocation", "1d", Saved={"due": "06:10", "only": "mon-fri"}, Loaded={"due": 30_000.0, "only": "mon-fri"}
        ),
        series("allocation", "1h", Saved={"due": 0.0, "only": "mon-fri 06:00-18:00, sat+sun 22:00-00:00"}, Loaded=-5.0),
    )

    assert declared(text) == [
        ("asset", "1h", ["Saved", "Totaled"], timedelta(minutes=2), ""),
        ("asset", "1h", ["Reconciled"], timedelta(minutes=15), ""),
        ("allocation", "1d", ["Saved"], parse_time("06:10"), "mon-fri"),
        ("allocation", "1d", ["Loaded"], timedelta(hours=9), "mon-fri"),
        ("allocation", "1h", ["Saved"], timedelta(), "mon-fri 06:00-18:00, sat+sun 22:00-24:00"),
        ("allocation", "1h", ["Loaded"], timedelta(), ""),
    ]
    assert "as of 2026-11-18T14:37:10Z" in text
    assert "# Saved: half are done 41 s after the end, 95 of 100 by 67 min\n" in text
    assert max(map(len, text.splitlines())) <= 80


def test_a_suggestion_passes_the_check(
    suggested: Suggested, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As it stands, for the settings of the API."""
    path = tmp_path / "etlog.toml"
    path.write_text(suggested(series("cloudcost", "15m", Saved=61.0), series("asset", "1mo", Saved="06:00")))
    monkeypatch.setenv("ETLOG_NAME", "nightly")
    monkeypatch.setenv("ETLOG_CATEGORIES", "cloudcost=CloudCostSet")

    assert run(["config", "check", str(path)]) == 0
    assert "1 log, 2 expectations" in capsys.readouterr().out


@pytest.mark.parametrize(("zone", "offset"), [("UTC", 0), ("UTC+05:30", 330), ("+05:30", 330), ("nowhere", None)])
def test_the_zone_is_suggested_however_the_api_spells_it(suggested: Suggested, zone: str, offset: int | None) -> None:
    """What is no zone is left out."""
    [log] = config.parse(suggested(zone=zone), Settings(name="nightly")).logs

    expected = None if offset is None else timedelta(minutes=offset)
    assert (log.zone.utcoffset(None) if log.zone else None) == expected


def test_what_cannot_be_declared_is_a_comment(suggested: Suggested) -> None:
    """And the file is right nevertheless."""
    text = suggested(
        series("asset", "1d", Saved=60.0, Totaled=60.0),
        {**series("asset", "1d", Saved=7200.0, Totaled=60.0, Loaded=60.0), "length": "7d"},
        series("allocation", "0.5s", Saved=60.0),
        series("allocation", "1h", Saved={"due": 60.0, "declared": True}, Totaled={"due": 60.0, "only": "at\nnoon"}),
    )

    assert declared(text) == [("asset", "1d", ["Totaled"], timedelta(minutes=1), "")]
    for stage in ("Saved", "Loaded"):
        assert f"# {stage} of asset, every 1d: left to habit, which differs between the series of this cadence." in text
    assert "# Saved of allocation, every 0.5s: left to habit: must be a length" in text
    assert "# Saved of allocation, every 1h: declared already." in text
    assert "# Totaled of allocation, every 1h: left to habit: must be days, hours or both" in text


def test_nothing_learned_is_said(suggested: Suggested) -> None:
    """In a file that declares nothing."""
    text = suggested()

    assert declared(text) == []
    assert "# No stage has a habit yet" in text


def test_a_suspended_verdict_is_told(suggested: Suggested) -> None:
    """What was learned holds, but the exit code is that of a verdict that is not of now."""
    said = suggested(series("asset", "1h", Saved=60.0), code=3, suspended="the store is away: as of 14:37")

    assert "[[expect]]" in said
    assert "etlog: the verdict is suspended: the store is away: as of 14:37\n" in said


def test_an_answer_of_another_release_is_one_sentence(suggested: Suggested) -> None:
    """It names what is wrong with it."""
    said = suggested(code=2, series=[{"category": "asset"}])

    assert said.startswith("etlog: the answer of the API is not understood (")
    assert len(said.splitlines()) == 1
