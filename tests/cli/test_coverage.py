"""`etlog coverage`: what is wrong, in words and as a grid, and exit codes that a script can rely on."""

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson
import pytest
from etlog.__main__ import run
from etlog.moments import Moments, in_words
from support import commands

NOW = datetime(2026, 11, 18, 14, 37, 10, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
STAGES = ("Loaded", "Saved", "Aggregated")

FAILED_SET = "2026-11-18T12:00:00Z/2026-11-18T13:00:00Z"
ACKNOWLEDGED = {
    **{"id": "m", "kind": "acknowledged", "reason": "holiday, ticket 812", "by": "ada"},
    **{"at": "2026-11-18T08:00:00Z", "until": "2026-11-18T22:00:00Z"},
}


class FakeApi:
    """Answers as the API does, and keeps what it was asked. `at` is the time of its clock."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.at = NOW + timedelta(seconds=8)
        self.headers: dict[str, str] = {}
        self.answers: dict[str, Any] = {}
        self.asked: list[tuple[str, dict[str, list[str]]]] = []

    @property
    def coverage(self) -> Any:
        """What it knows of the sets, to be changed."""
        return self.answers["/model/etl/coverage"]["data"]

    def is_asked(self, **coverage: Any) -> None:
        """It answers with this coverage."""
        self.answers["/model/etl/coverage"] = {"code": 200, "data": answer(**coverage)}


@pytest.fixture(autouse=True)
def signals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the tests stay as they are when a command runs in their process."""
    monkeypatch.setattr("signal.signal", lambda *_: None)


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeApi]:
    """An API of the test's own, at which the command asks; nothing is wrong in its log."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            api.asked.append((parts.path, parse_qs(parts.query)))
            body = orjson.dumps(api.answers[parts.path])
            self.send_response_only(200)
            headers = {"Date": format_datetime(api.at, usegmt=True), "Content-Length": str(len(body)), **api.headers}
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        api = FakeApi(server.server_port)
        api.is_asked(series=[series()])
        monkeypatch.setenv("ETLOG_URL", api.url)
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield api
        server.shutdown()
        thread.join()


def spelled(time: datetime) -> str:
    """A time as the API spells it."""
    return f"{time:%Y-%m-%dT%H:%M:%SZ}"


def done(end: datetime, minutes: int = 1) -> dict[str, Any]:
    """A cell that was done some minutes after the end of its window."""
    time = spelled(end + timedelta(minutes=minutes))
    return {"state": "done", "count": 1, "first": time, "last": time, "size": 97}


def series(
    category: str = "allocation",
    wrong: dict[tuple[int, str], dict[str, Any]] | None = None,
    *,
    sets: int = 48,
    step: timedelta = HOUR,
    every: str = "1h",
    end: datetime = datetime(2026, 11, 18, 14, tzinfo=UTC),
) -> dict[str, Any]:
    """A series whose cells are done, but for the `wrong` ones: how many sets from the newest, and the stage."""
    ends = [end - step * back for back in reversed(range(sets))]
    return {
        **{"category": category, "every": every, "stages": STAGES},
        "delay": {"Saved": {"p50": 80.2, "p95": 240.0}},
        "duration": {"Saved": {"p50": 4.2, "p95": 12.0}},
        "habits": {stage: {"due": 300.0} for stage in STAGES},
        "sets": [
            {
                "window": {"start": spelled(each - step), "end": spelled(each)},
                "stages": {stage: (wrong or {}).get((sets - number, stage), done(each)) for stage in STAGES},
            }
            for number, each in enumerate(ends, 1)
        ],
    }


def answer(
    *, series: Sequence[Any] = (), problems: Sequence[Any] = (), errors: Sequence[Any] = (), **more: Any
) -> dict[str, Any]:
    """A coverage."""
    return {
        **{"log": "default", "now": spelled(NOW), "zone": "UTC", "cursor": "1-1", "suspended": None},
        **{"expectations": "0", "summary": {"done": 288}, "problems": problems, "errors": errors, "series": series},
        **more,
    }


def problem(state: str, category: str = "allocation", stage: str = "Saved", **more: Any) -> dict[str, Any]:
    """A problem of one set, the one from 12 to 13."""
    start, _, end = FAILED_SET.partition("/")
    return {
        **{"id": f"{category}-{state}", "category": category, "every": "1h", "stages": [stage], "state": state},
        **{"from": start, "to": end, "sets": 1, "since": "2026-11-18T13:05:00Z", "lastDone": None, "usualDelay": None},
        **{"mark": None, "text": f"{category} {stage} {state}: 12:00 to 13:00"},
        **more,
    }


def three_faults() -> dict[str, Any]:
    """A stage that failed, with one that waits for it; a category that stopped by errors that name no set; a set of an
    odd size, about which someone knows."""
    overdue = {"due": "2026-11-18T13:05:00Z"}
    span: dict[str, Any] = {"from": "2026-11-18T08:00:00Z", "to": "2026-11-18T14:00:00Z", "sets": 6}
    failed = {"state": "failed", "error": "HTTPError: 503\nat line 3", "failed": "2026-11-18T13:01:10Z", **overdue}
    stopped = {(back, stage): {"state": "stopped", **overdue} for back in range(6) for stage in STAGES}
    return {
        "problems": [
            problem(
                "stopped",
                "asset",
                stages=STAGES,
                **span,
                since="2026-11-18T09:05:00Z",
                lastDone="2026-11-18T08:01:00Z",
                usualDelay=80.2,
                text="asset Loaded, Saved, Aggregated stopped: last 07:00 to 08:00, 6 sets since",
            ),
            problem("unusual", "asset", size=0, usual=1200, mark=ACKNOWLEDGED),
            problem(
                "failed",
                **{"error": "HTTPError: 503\nat line 3", "lastDone": "2026-11-18T14:01:00Z"},
                text="allocation Saved failed: 12:00 to 13:00: HTTPError: 503",
            ),
        ],
        "errors": [
            {
                **{"category": "asset", "kind": "AssetSetComputeError", "count": 3, "last": "2026-11-18T14:30:00Z"},
                "error": "Traceback (most recent call last):\n  File 'x.py'\nKeyError: 'node-7'",
            }
        ],
        "series": [
            series(
                "allocation",
                {
                    (1, "Saved"): failed,
                    (1, "Aggregated"): {"state": "due", "behind": "Saved", **overdue},
                    (9, "Saved"): {**done(NOW), "unusual": True, "size": 1},
                    (10, "Saved"): {**done(NOW), "state": "recovered"},
                    (0, "Aggregated"): {"state": "due", "due": "2026-11-18T15:00:00Z"},
                },
            ),
            series("asset", stopped),
        ],
        "summary": {"done": 250, "recovered": 1, "failed": 1, "stopped": 6, "unusual": 1},
    }


def coverage(capsys: pytest.CaptureFixture[str], *options: str, code: int) -> list[str]:
    """The lines that `etlog coverage` prints in a pipe; it ends with `code` and without a word on standard error."""
    ended = run(["coverage", *options])
    printed = capsys.readouterr()
    assert (ended, printed.err) == (code, "")
    assert "\x1b" not in printed.out
    lines: list[str] = printed.out.splitlines()
    assert all(line == line.rstrip() for line in lines)
    return lines


def paragraph(lines: Sequence[str], label: str) -> list[str]:
    """The lines of the problem that begins with `label`, without it."""
    first = next(number for number, line in enumerate(lines) if line.startswith(label))
    return [line[10:] for line in lines[first : [*lines, ""].index("", first)]]


def test_what_is_wrong_is_told_with_its_cause(fake: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    """When it began, what was done last, what usually happens, what waits for it, and who knows."""
    fake.is_asked(**three_faults())

    lines = coverage(capsys, code=1)

    assert lines[0] == (
        "3 problems, 1 of them acknowledged or being repaired, errors that name no set in log default. "
        "Times are in UTC."
    )
    assert [line.split()[0] for line in lines if line[:1].isupper() and line[:6].strip().isupper()] == [
        *("STOPPED", "FAILED", "UNUSUAL", "ERRORS")
    ]
    assert paragraph(lines, "FAILED") == [
        "allocation Saved failed: 12:00 to 13:00: HTTPError: 503",
        "Failed at 13:05:00, 1 h 32 min ago",
        "1 set, every 1h: 2026-11-18 12:00 to 13:00",
        "Other sets were done since, the last at 14:01:00, 36 min ago",
        "Waiting behind it: Aggregated",
    ]
    assert paragraph(lines, "STOPPED") == [
        "asset Loaded, Saved, Aggregated stopped: last 07:00 to 08:00, 6 sets since",
        "Perhaps because of AssetSetComputeError: KeyError: 'node-7'",
        "The first was due by 09:05:00, 5 h 32 min ago",
        "6 sets, every 1h: 2026-11-18 08:00 to 14:00",
        "Last done at 08:01:00: 2026-11-18 07:00 to 08:00",
        "Usually done 1 min 20 s after the end of a set",
    ]
    assert "Done at 13:05:00, 1 h 32 min ago" in paragraph(lines, "UNUSUAL")
    assert "Acknowledged by ada until 22:00:00: holiday, ticket 812" in paragraph(lines, "UNUSUAL")
    assert paragraph(lines, "ERRORS") == [
        "asset: AssetSetComputeError that names no set, 3 times",
        "Error: KeyError: 'node-7'",
        "Last at 14:30:00, 7 min ago; ends with the next set that is done",
    ]
    assert lines[-3:] == [
        "Whole log: 250 done, 1 recovered, 1 failed, 6 stopped, 1 unusual.",
        "As of 2026-11-18 14:37:10 UTC, 8 s ago.",
        "A set's story: etlog coverage --set 2026-11-18T08:00:00Z/2026-11-18T09:00:00Z",
    ]


def test_the_table_tells_how_each_stage_stands(fake: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    """States, delay and how long it takes, a line each in a pipe."""
    fake.is_asked(**three_faults())

    rows = [line.split("  ") for line in coverage(capsys, code=1) if "done" in line and "Saved  " in line]

    assert [[cell.strip() for cell in row if cell] for row in rows] == [
        ["Saved", "46 done, 1 recovered, 1 failed, 1 unusual", "1 min 20 s", "4 min", "4.2 s", "12 s"],
        ["Saved", "42 done, 6 stopped", "1 min 20 s", "4 min", "4.2 s", "12 s"],
    ]


def test_one_sentence_is_enough_when_all_is_well(fake: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    """It comes first. A log without sets is not called well."""
    lines = coverage(capsys, code=0)
    assert lines[0] == "Nothing is wrong in log default: every set that is due by now is done."

    fake.is_asked()
    lines = coverage(capsys, code=0)
    assert lines[0] == "Nothing to judge: no set in log default."


def test_a_log_that_is_too_young_to_miss_a_set_says_so(fake: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a habit nothing is expected, so nothing can be wrong with what does not come."""
    fake.is_asked(series=[{**series(sets=2), "habits": {}}])

    assert coverage(capsys, code=0)[:2] == [
        "Nothing is wrong in log default: every set that is due by now is done.",
        "But no stage has a habit yet, so a set that does not come is not missed.",
    ]


def test_what_lasts_is_told_before_what_is_over(fake: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    """A stage that stands still can be helped now; an hour of the day before yesterday can wait until the morning."""
    later = "2026-11-18T14:01:00Z"
    found = [
        problem("failed", lastDone=later),
        problem("missing", lastDone=later),
        problem("unusual", size=1, usual=90),
        problem("stopped", lastDone="2026-11-18T12:01:00Z", usualDelay=-9.9),
        problem("failed", "asset", lastDone="2026-11-18T12:01:00Z"),
    ]
    fake.is_asked(problems=found, series=[series(), series("asset")])

    lines = coverage(capsys, "--grid", code=1)

    assert [line[10:].partition(":")[0] for line in lines if line[:6].isupper()] == [
        *("asset Saved failed", "allocation Saved stopped"),
        *("allocation Saved failed", "allocation Saved missing", "allocation Saved unusual"),
    ]
    assert "Usually done 9.9 s before the end of a set" in paragraph(coverage(capsys, code=1), "STOPPED")


def test_a_problem_of_sets_that_are_not_shown_tells_how_to_see_them(
    fake: FakeApi, capsys: pytest.CaptureFixture[str]
) -> None:
    """The picture has the newest sets only. The command names the API and the log as the reader did."""
    old = {"from": "2026-11-11T09:00:00Z", "to": "2026-11-11T10:00:00Z"}
    fake.is_asked(problems=[problem("failed", **old), problem("missing")], series=[series()])

    lines = coverage(capsys, "--grid", "--log", "of night", "--url", fake.url + "/", code=1)

    where = lines.index("1 problem is of older sets than those shown here; to see them too:")
    again = f"etlog coverage --log 'of night' --url {fake.url}/"
    assert lines[where + 1] == f"  {again} --window 2026-11-11T09:00:00Z,2026-11-18T14:37:10Z"
    assert lines[-1].startswith(f"A set's story: {again} --set ")


def test_what_is_not_shown_is_not_called_well(fake: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    """The options reach the API; what is wrong elsewhere in the log is told."""
    fake.is_asked(series=[series("asset")], summary={"done": 90, "failed": 2})

    options = ("--category", "asset", "--stage", "Saved", "--state", "done", "--window", "7d", "--log", "nightly")
    lines = coverage(capsys, *options, code=0)

    wanted = {"category": ["asset"], "stage": ["Saved"], "state": ["done"], "window": ["7d"], "log": ["nightly"]}
    assert fake.asked == [("/model/etl/coverage", wanted)]
    assert lines[0].startswith("Nothing is wrong in log default, category asset, stage Saved, state done, window 7d:")
    assert lines[1] == "But not all is shown here; in the whole log: 2 failed."


def test_a_warning_of_the_api_is_told(fake: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    """The verdict is still of now, perhaps not for long."""
    fake.answers["/model/etl/coverage"]["warning"] = "the store has been unreachable for 20 s"

    assert coverage(capsys, code=0)[0] == "Warning: the store has been unreachable for 20 s"


def test_a_mark_changes_no_exit_code(fake: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    """Someone knows of it, but it is wrong still. What nobody knows of comes first."""
    known, unknown = problem("failed", mark=ACKNOWLEDGED), problem("unusual", size=1, usual=90)
    fake.is_asked(problems=[known], series=[series()])
    coverage(capsys, code=1)

    fake.is_asked(problems=[known, unknown], series=[series()])
    lines = coverage(capsys, code=1)
    assert [line[:7].strip() for line in lines if line.startswith(("FAILED", "UNUSUAL"))] == ["UNUSUAL", "FAILED"]


TOLD = {"first": "2026-11-18T13:05:40Z", "last": "2026-11-18T13:05:40Z", "targets": 2}
AGAIN = {**TOLD, "first": "2026-11-17T13:05:40Z"}


def test_a_problem_says_whether_and_when_people_were_told(fake: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    """That no one was told is said only where a watcher could, and not of what is marked: of that people know."""
    found = [
        problem("failed", told=TOLD),
        problem("missing", told=AGAIN),
        problem("stopped", told=None),
        problem("unusual", mark=ACKNOWLEDGED, told=None),
        problem("unusual", "asset", mark=ACKNOWLEDGED, told=TOLD),
    ]
    fake.is_asked(problems=found, series=[series(), series("asset")], watched=True)

    lines = coverage(capsys, code=1)
    told = "People were told at 13:05:40, 1 h 31 min ago"
    assert paragraph(lines, "FAILED")[-1] == told
    assert paragraph(lines, "MISSING")[-1] == "People were told 25 h 31 min ago, last at 13:05:40"
    assert paragraph(lines, "STOPPED")[-1] == "No one was told yet"
    assert told not in paragraph(lines, "UNUSUAL   allocation")
    assert paragraph(lines, "UNUSUAL   asset")[-2:] == [
        told,
        "Acknowledged by ada until 22:00:00: holiday, ticket 812",
    ]

    short = [line[10:].partition("13:00")[2] for line in coverage(capsys, "--grid", code=1) if line[:6].isupper()]
    assert short == [
        *(" (told 1 h 31 min ago)", " (told 25 h 31 min ago)", " (not told yet)"),
        *("", " (told 1 h 31 min ago)"),
    ]

    fake.coverage["watched"] = False
    assert not any("not told" in line or "No one" in line for line in coverage(capsys, code=1))


@pytest.mark.parametrize("faults", [{"series": [series()]}, three_faults()], ids=["sound", "faults"])
def test_a_verdict_that_is_suspended_is_no_verdict_on_the_present(
    faults: dict[str, Any], fake: FakeApi, capsys: pytest.CaptureFixture[str]
) -> None:
    """It says so first, whatever was found."""
    fake.is_asked(**faults, suspended="the store cannot be reached")
    fake.at = NOW + timedelta(minutes=7)

    lines = coverage(capsys, code=3)

    assert lines[:2] == [
        "SUSPENDED: the store cannot be reached",
        "What follows is as of 2026-11-18 14:37:10 UTC, 7 min ago.",
    ]
    assert not any("Nothing is wrong" in line for line in lines)


@pytest.mark.parametrize(
    ("age", "headers", "code"),
    [(60, {}, 0), (61, {}, 3), (8, {"Age": "53"}, 3), (8, {"Age": "soon"}, 0), (-300, {}, 0)],
)
def test_the_age_of_a_verdict_is_told_by_the_clock_of_the_api(
    age: int, headers: dict[str, str], code: int, fake: FakeApi, capsys: pytest.CaptureFixture[str]
) -> None:
    """And by the caches in between. The clock of this machine is years off here."""
    fake.at, fake.headers = NOW + timedelta(seconds=age), headers

    lines = coverage(capsys, code=code)

    assert lines[0].startswith("OUTDATED: ") == (code == 3)


def test_json_is_the_answer_unchanged_with_the_same_exit_codes(
    fake: FakeApi, capsys: pytest.CaptureFixture[str]
) -> None:
    """One that is not of now gets a sentence on standard error besides."""
    for change, code in (({}, 1), ({"suspended": "the store cannot be reached"}, 3)):
        fake.is_asked(**three_faults(), **change)
        assert run(["coverage", "--json"]) == code
        printed = capsys.readouterr()
        assert printed.out.encode() == orjson.dumps(fake.answers["/model/etl/coverage"]) + b"\n"
        assert printed.err == ("" if code == 1 else "etlog: the verdict is not of now\n")


def test_an_answer_of_another_release_is_one_sentence(fake: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    """A state that this command does not know; what is new beside the old does not matter."""
    fake.coverage["novelty"] = fake.coverage["series"][0]["novelty"] = {"any": 1}
    coverage(capsys, code=0)

    fake.coverage["problems"] = [problem("exploded")]
    assert run(["coverage"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("etlog: the API's answer is not understood, is it of another release?")


def test_the_grid_draws_a_row_per_stage_and_a_column_per_set(fake: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    """States can be told apart without colour. Hours stand above their columns."""
    fake.is_asked(**three_faults())

    lines = coverage(capsys, "--grid", code=1)

    assert lines[1:6] == [
        "STOPPED   asset Loaded, Saved, Aggregated stopped: last 07:00 to 08:00, 6 sets since",
        "FAILED    allocation Saved failed: 12:00 to 13:00: HTTPError: 503",
        "UNUSUAL   asset Saved unusual: 12:00 to 13:00",
        "          Acknowledged by ada until 22:00:00: holiday, ticket 812",
        "ERRORS    asset: AssetSetComputeError that names no set, 3 times",
    ]
    assert "\n".join(lines[7:15]) == (
        "allocation, every 1h, 48 sets\n"
        "  2026-11-16 14:00 to 2026-11-18 14:00 UTC\n"
        "                     2026-11-17              2026-11-18\n"
        "            15 18 21 00 03 06 09 12 15 18 21 00 03 06 09 12\n"
        "Loaded     ················································\n"
        "Saved      ·····································+U·······F·\n"
        "Aggregated ··············································b-\n"
    )
    assert "Loaded     ··········································SSSSSS" in lines
    assert lines[-6:-4] == [
        "· done  + recovered  F failed  S stopped  U unusual  - due",
        "b waits behind another stage",
    ]


@pytest.mark.parametrize("columns", [10, 24, 40, 80, 140, 300])
def test_the_grid_fits_any_width(
    columns: int, fake: FakeApi, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In as many bands as it takes; no set is left out."""
    monkeypatch.setenv("COLUMNS", str(columns))
    fake.is_asked(series=[series(sets=200)])

    lines = coverage(capsys, "--grid", code=0)

    rows = [line for line in lines if line.endswith("···") or line.endswith("··")]
    assert max(map(len, rows)) <= columns
    assert sum(row.count("·") for row in rows) == 200 * len(STAGES)


def test_the_grid_follows_the_calendar_of_the_pipeline(fake: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    """Its axis is in the zone; a gap stands for the nights of an office's hours; days are counted by the week."""
    office = series(sets=36)
    office["sets"] = [each for each in office["sets"] if 8 <= int(each["window"]["start"][11:13]) < 16]
    office["sets"][0]["stages"] = {"Saved": office["sets"][0]["stages"]["Saved"]}
    daily = series(every="1d", step=DAY, sets=30, end=datetime(2026, 11, 18, tzinfo=UTC))
    fake.is_asked(series=[office, daily], zone="Asia/Kolkata")

    lines = coverage(capsys, "--grid", code=0)

    assert lines[4:9] == [
        "                    2026-11-18",
        "             15 18    15 18",
        "Loaded      ······· ······",
        "Saved      ········ ······",
        "Aggregated  ······· ······",
    ]
    assert "           2026-10      2026-11" in lines
    assert "           19     26     02     09     16" in lines
    assert "· done  blank not expected" in lines
    assert "As of 2026-11-18 20:07:10 Asia/Kolkata (14:37:10 UTC), 8 s ago." in lines


def test_an_output_without_unicode_gets_ascii(fake: FakeApi) -> None:
    """As under LC_ALL=C or in an old terminal."""
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "COLUMNS": "80"}
    ended = subprocess.run(
        [sys.executable, "-m", "etlog", "coverage", "--grid"], capture_output=True, env=environment, check=True
    )

    assert f"Loaded     {'.' * 48}\n" in ended.stdout.decode("ascii")
    assert b". done" in ended.stdout
    assert b"\\x" not in ended.stdout


@pytest.mark.parametrize("options", [(), ("--grid",), ("--set", FAILED_SET)], ids=["table", "grid", "set"])
def test_a_terminal_gets_lines_that_fit(options: tuple[str, ...], fake: FakeApi) -> None:
    """With colours, which a pipe does not get."""
    fake.is_asked(**three_faults())
    fake.answers["/model/etl/log"] = {"code": 200, "data": {"allocation": [], "asset": [], "counters": {}}}

    with commands.running("coverage", *options, columns=80) as command:
        assert command.wait() == 1

    lines = command.shown.splitlines()
    assert len(lines) > 10
    assert max(map(len, lines)) <= 80
    assert "\x1b[" in command.printed


def test_a_reader_that_has_seen_enough_sees_no_error(fake: FakeApi) -> None:
    """`etlog coverage --window … | head -1` ends silently."""
    fake.is_asked(series=[series(sets=3000)])

    with subprocess.Popen(
        [sys.executable, "-m", "etlog", "coverage", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as command:
        assert command.stdout is not None
        assert command.stderr is not None
        command.stdout.read(10)
        command.stdout.close()
        assert command.stderr.read() == b""


def test_what_others_wrote_cannot_move_the_cursor(fake: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    """Errors, reasons and names are of anyone."""
    evil = "\x1b[2J\u202eboo"
    mark = {**ACKNOWLEDGED, "reason": evil, "by": evil}
    found = problem("failed", evil, evil, error=evil, mark=mark)
    errors = [{"category": evil, "kind": evil, "count": 1, "last": spelled(NOW), "error": evil}]
    fake.is_asked(problems=[found], errors=errors, series=[series(evil)], suspended=evil, log=evil)

    for options in ((), ("--grid",)):
        text = "\n".join(coverage(capsys, *options, code=3))
        assert "\u202e" not in text
        assert r"\x1b[2J\u202eboo" in text


def test_many_problems_do_not_scroll_the_worst_away(fake: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    """Six are told in full, thirty with a line, of the others how many there are."""
    found = [problem("unusual", size=1, usual=90)] * 40 + [problem("failed", error="disk full")]
    fake.is_asked(problems=found, series=[series()])

    lines = coverage(capsys, code=1)

    assert lines[2].startswith("FAILED")
    assert sum(line.startswith("UNUSUAL") for line in lines) == 29
    assert sum(line.startswith("          Done at") for line in lines) == 5
    assert "and 11 more: 11 unusual; choose with --category, --stage or --state, or see --json" in lines


def test_many_series_do_not_scroll_the_problems_away(fake: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    """Those in which nothing is wrong are only named; one with a problem older than its sets here is not among them."""
    old = problem("failed", "c7", error="disk full")
    fake.is_asked(problems=[old], series=[series(f"c{number}", sets=3) for number in range(12)])

    lines = coverage(capsys, code=1)

    assert [line.split()[0] for line in lines if line.startswith("c")] == ["c7,"]
    assert any(line.startswith("Nothing is wrong in c0 (every 1h), c1 (every 1h),") for line in lines)
    assert not any("c7 (" in line for line in lines)
    grids = coverage(capsys, "--grid", code=1)
    assert [line for line in grids if line.startswith("c")] == ["c7, every 1h, 3 sets"]
    assert any(line.startswith("Nothing is wrong in c0 (every 1h), c1 (every 1h),") for line in grids)


def test_the_story_of_a_set_is_what_its_stages_did_and_its_events(
    fake: FakeApi, capsys: pytest.CaptureFixture[str]
) -> None:
    """Those of other sets that overlap it are left out, and the warning is not."""
    start, _, end = FAILED_SET.partition("/")
    window = {"start": start, "end": end}
    fake.is_asked(**{**three_faults(), "series": three_faults()["series"][:1]})
    events = [
        {
            "kind": "AllocationSetComputeError",
            "metadata": {"window": window, "error": "503"},
            "time": "2026-11-18T13:01:10Z",
        },
        {"kind": "AllocationSetLoaded", "metadata": {"size": 97, "window": window}, "time": "2026-11-18T13:00:10.5Z"},
        {"kind": "AllocationSetSaved", "metadata": {"size": 9, "window": {**window, "end": spelled(NOW)}}, "time": end},
        {"kind": "AllocationSetComputeError", "metadata": {"error": "no set"}, "time": end},
    ]
    data = {"allocation": events, "asset": [], "counters": {}}
    fake.answers["/model/etl/log"] = {"code": 200, "data": data, "warning": "1 dead letter belongs to this set: 17-0"}

    lines = coverage(capsys, "--set", FAILED_SET.replace("/", ","), "--log", "nightly", code=1)

    assert lines == [
        "allocation, every 1h: 2026-11-18 12:00 to 13:00 UTC",
        "  Loaded      done       done at 13:01:00, 1 min after the end",
        "                         97 records",
        "  Saved       failed     failed at 13:01:10, 1 min 10 s after the end",
        "                         error: HTTPError: 503",
        "                           at line 3",
        "                         was due by 13:05:00, 1 h 32 min ago",
        "  Aggregated  due        waits behind Saved",
        "                         was due by 13:05:00, 1 h 32 min ago",
        "",
        "Its events, the oldest first:",
        "  13:00:10  AllocationSetLoaded        size=97",
        "  13:01:10  AllocationSetComputeError  503",
        "Warning: 1 dead letter belongs to this set: 17-0",
    ]
    joined = [FAILED_SET.replace("/", ",")]
    assert fake.asked == [
        ("/model/etl/coverage", {"log": ["nightly"], "window": joined}),
        ("/model/etl/log", {"log": ["nightly"], "set": joined}),
    ]


def test_the_exit_code_of_a_story_is_that_of_its_set(fake: FakeApi, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever is wrong with others."""
    fake.is_asked(**three_faults())
    fake.answers["/model/etl/log"] = {"code": 200, "data": {"allocation": [], "asset": [], "counters": {}}}

    lines = coverage(capsys, "--set", "2026-11-17T10:00:00Z/2026-11-17T11:00:00Z", code=0)

    assert "None of its events is in the log any more." in lines


def test_a_set_that_is_not_known_is_one_sentence_that_names_others(
    fake: FakeApi, capsys: pytest.CaptureFixture[str]
) -> None:
    """A day, where the sets are of hours."""
    assert run(["coverage", "--set", "2026-11-18T00:00:00Z/2026-11-19T00:00:00Z"]) == 2

    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("etlog: the log knows no set 2026-11-18T00:00:00Z/2026-11-19T00:00:00Z; these over")
    assert "allocation 2026-11-16T14:00:00Z/2026-11-16T15:00:00Z" in printed.err


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        *((0, "0 s"), (0.44, "0.4 s"), (9.9, "9.9 s"), (9.97, "10 s"), (59.7, "1 min"), (80.2, "1 min 20 s")),
        *((3600, "1 h"), (7530, "2 h 5 min"), (86400 * 3 + 60, "3 d"), (86400 * 3 + 7200, "3 d 2 h")),
    ],
)
def test_durations_are_told_in_two_units(seconds: float, words: str) -> None:
    """Nobody reads seconds by the thousand."""
    assert in_words(seconds) == words


def test_times_are_those_of_the_zone_on_every_calendar() -> None:
    """A zone that this machine does not know is UTC, and says so; the end of all calendars is a time too."""
    now = NOW.timestamp()
    assert Moments("UTC+05:30", now).moment(now) == "20:07:10"
    assert Moments("+05:30", now).moment("2026-11-17T14:00:00.25Z") == "2026-11-17 19:30:00"
    assert Moments("Mars/Olympus", now).moment_in_full(now) == "2026-11-18 14:37:10 UTC"
    assert Moments("+05:30", now).span("9999-12-31T23:00:00Z", "9999-12-31T23:59:59Z").startswith("9999-12-31 23:00")
    assert Moments("UTC", now).ago("2026-11-18T14:42:10Z") == "in 5 min"


def test_the_end_of_the_calendar_is_a_moment() -> None:
    """Its last nanoseconds are rounded up, to a year that there is not."""
    assert Moments("UTC", 0.0).moment("9999-12-31T23:59:59.999999999Z") == "9999-12-31 23:59:59"
