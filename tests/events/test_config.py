"""The configuration file: what its tables mean, and a sentence for every mistake that names where it is."""

import re
from collections.abc import Sequence
from dataclasses import fields
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from etlog_events import config
from etlog_events.config import NOTICES, TABLES, Config, Expect, Log, Notify
from etlog_events.errors import ConfigError
from etlog_events.schedule import parse_only
from etlog_events.settings import Settings

SETTINGS = Settings(
    names=("nightly", "hourly"),
    name="nightly",
    categories={"cloudcost": "CloudCostSet"},
    timezone=ZoneInfo("Asia/Tokyo"),
)

WHOLE = """\
version = 1

[[log]]
name = "nightly"
zone = "America/New_York"

[[log]]
name = "hourly"

[[expect]]
log = "nightly"
category = "cloudcost"
every = "1h"
stages = ["Saved", "Totaled"]
due = "20m"
only = "mon-fri 06:00-18:00"
except = ["2026-12-25", 2026-12-26]
since = "2026-11-01"

[[expect]]
category = "asset"
stages = ["Saved"]
due = 06:00:00

[[notify]]
url = "https://hooks.example.com/etlog"
secret = "env:ETLOG_WEBHOOK_SECRET"
on = ["failed", "stopped"]
log = "nightly"
category = "asset"
remind = "24h"
quiet = "sat+sun, 22:00-07:00"

[[notify]]
url = "slack://token/token"
"""

#: The tables with all that they must have, but for the version.
LEAST = {
    "log": 'name = "nightly"',
    "expect": 'category = "asset"\nstages = ["Saved"]\ndue = "20m"',
    "notify": 'url = "https://hooks.example.com/etlog"',
}


def problems(text: str) -> Sequence[str]:
    """What is wrong with a text."""
    with pytest.raises(ConfigError) as refused:
        config.parse(text, SETTINGS)
    return refused.value.problems


def with_key(table: str, key: str, value: str) -> str:
    """A file with one table, whose key has this value in TOML."""
    lines = [line for line in LEAST[table].splitlines() if not line.startswith(f"{key} ")]
    return "\n".join(["version = 1", f"[[{table}]]", f"{key} = {value}", *lines])


def read(table: str, key: str, value: str) -> Any:
    """What the value of a key is read as."""
    [found] = getattr(config.parse(with_key(table, key, value), SETTINGS), "logs" if table == "log" else table)
    return getattr(found, "excepted" if key == "except" else key)


def test_a_file_is_read_as_it_is_meant() -> None:
    """Every table with all its keys, and with those that it must have."""
    assert config.parse(WHOLE, SETTINGS) == Config(
        logs=(Log("nightly", ZoneInfo("America/New_York")), Log("hourly")),
        expect=(
            Expect(
                category="cloudcost",
                stages=("Saved", "Totaled"),
                due=timedelta(minutes=20),
                log="nightly",
                every="1h",
                only=parse_only("mon-fri 06:00-18:00"),
                excepted=frozenset({date(2026, 12, 25), date(2026, 12, 26)}),
                since=date(2026, 11, 1),
            ),
            Expect(category="asset", stages=("Saved",), due=time(6)),
        ),
        notify=(
            Notify(
                "https://hooks.example.com/etlog",
                "env:ETLOG_WEBHOOK_SECRET",
                on=("failed", "stopped"),
                log="nightly",
                category="asset",
                remind=timedelta(hours=24),
                quiet=parse_only("sat+sun, 22:00-07:00"),
            ),
            Notify("slack://token/token", secret=None, on=NOTICES, log=None, category=None, remind=None, quiet=()),
        ),
    )


def test_the_example_has_every_key() -> None:
    """So that none is left out of the tests."""
    for name, table in TABLES.items():
        keys = {entry.metadata["key"] or entry.name for entry in fields(table)}
        of_table = WHOLE.partition(f"[[{name}]]")[2].partition("\n\n")[0]
        assert set(re.findall(r"^(\w+) =", of_table, re.MULTILINE)) == keys


def test_the_zone_of_a_log_is_its_own_or_the_default() -> None:
    """That of the settings."""
    file = config.parse(WHOLE, SETTINGS)

    assert [file.zone_of(log, UTC) for log in ("nightly", "hourly", "another")] == [
        ZoneInfo("America/New_York"),
        UTC,
        UTC,
    ]


@pytest.mark.parametrize(
    ("value", "since"),
    [
        ("2026-11-01", date(2026, 11, 1)),
        ('"2026-11-01"', date(2026, 11, 1)),
        ("2026-11-01T06:00:00", datetime(2026, 11, 1, 6)),
        ("2026-11-01T06:00:00Z", datetime(2026, 11, 1, 6, tzinfo=UTC)),
        ('"2026-11-01 06:00"', datetime(2026, 11, 1, 6)),
        ('"2026-11-01T07:00:00+01:00"', datetime(2026, 11, 1, 6, tzinfo=UTC)),
    ],
)
def test_since_is_a_date_or_a_time(value: str, since: date) -> None:
    """Of TOML, or as a text."""
    assert read("expect", "since", value) == since


URL = "https://hooks.example.com/etlog"


def test_the_key_of_a_target_is_that_of_its_address_and_of_what_it_is_told() -> None:
    """Else a new secret, or new quiet hours, would lose what is still to be sent."""
    keys = [
        Notify(URL).key,
        Notify(URL + "/").key,
        Notify(URL, log="nightly").key,
        Notify(URL, category="nightly").key,
        Notify(URL, on=("failed",)).key,
        Notify(URL, on=("failed", "lost")).key,
    ]

    assert len(set(keys)) == len(keys)
    assert all(re.fullmatch("[0-9a-f]{12}", key) for key in keys)
    same = Notify(URL, secret="a", remind=timedelta(1), quiet=parse_only("sat"), on=NOTICES[::-1])
    assert same.key == Notify(URL).key
    assert Notify(URL, on=("lost", "failed")).key == keys[-1]


def test_the_key_of_a_target_stays_the_same_in_later_versions() -> None:
    """What a store holds is known by it."""
    assert Notify(URL).key == "4fd0f92bfd23"
    assert Notify(URL, on=("lost", "failed"), log="nightly", category="asset").key == "07dd72aa4142"


def test_a_target_is_told_of_its_log_and_category() -> None:
    """What concerns all logs, it is told as well; what has no category, only where it names none."""
    of_log = Notify(URL, log="nightly")
    of_category = Notify(URL, category="asset", on=("failed", "lost"))

    assert Notify(URL).wants("failed", "hourly", "asset")
    assert Notify(URL).wants("store", None, None)
    assert of_log.wants("lost", "nightly", None)
    assert of_log.wants("store", None, None)
    assert not of_log.wants("failed", "hourly", "asset")
    assert of_category.wants("failed", "hourly", "asset")
    assert not of_category.wants("failed", "hourly", "allocation")
    assert not of_category.wants("lost", "hourly", None)
    assert not of_category.wants("missing", "hourly", "asset")


def test_quiet_hours_may_cross_midnight() -> None:
    """A night belongs to the day on which it begins."""
    notify = Notify(URL, quiet=read("notify", "quiet", '"fri 22:00-07:00, sun"'))
    friday = datetime(2026, 11, 20, tzinfo=ZoneInfo("Europe/Berlin"))

    def quiet(hours: float) -> bool:
        return notify.is_quiet(friday + timedelta(hours=hours))

    assert [quiet(hours) for hours in (3, 21.9, 22, 30.9, 31, 47.9, 48, 71.9, 72)] == [
        *(False, False, True, True, False, False, True, True, False)
    ]
    assert not Notify(URL).is_quiet(friday)


BAD_VALUES = {
    ("log", "name"): ['"daily"', '""', "1", '["nightly"]'],
    ("log", "zone"): ['"Berlin"', '""', "1", '"/etc/passwd"', '"+5"'],
    ("expect", "log"): ['"daily"', '"a b"', "1", "true"],
    ("expect", "category"): ['"assets"', '"Asset"', "1", '["asset"]', "{}"],
    ("expect", "every"): ['"15 minutes"', '"0h"', '"hourly"', "15", "06:00:00", '"1.5h"'],
    ("expect", "stages"): ['"Saved"', "[]", '["ComputeError"]', '["Saved", "Saved"]', "[1]", "[[]]", "true"],
    ("expect", "due"): ["20", '"20"', '"1w"', '"24:00"', "2026-11-01", "1.5", '""'],
    ("expect", "only"): ['"workdays"', '""', '["mon-fri"]', "6"],
    ("expect", "except"): ['"2026-02-30"', '["christmas"]', "[2026-12-25T00:00:00]", "[1]", '"20261225"', "{}"],
    ("expect", "since"): ['"yesterday"', '"2026-02-30"', '"20261101"', '"2026-W45-1"', "06:00:00", "2026", "[]"],
    ("notify", "url"): ['"hooks.example.com"', '"https://"', '"https://host:port/"', '"https://a b"', "1", '"://"'],
    ("notify", "secret"): ['""', '"env:"', '"env:A-B"', '"env: A"', "1", '["env:A"]'],
    ("notify", "on"): ['"failed"', "[]", '["late"]', '["lost", "lost"]', "true"],
    ("notify", "log"): ['"daily"', '""', "1", '["nightly"]'],
    ("notify", "category"): ['"assets"', '""', "1", '["asset"]'],
    ("notify", "quiet"): [
        *('"nights"', '""', "22", '["22:00-07:00"]', '"mon-sun"', '"00:00-24:00"', '"06:00-06:00"'),
        *('"22:00-07:00, 06:00-22:00"', '"mon-fri, sat+sun 00:00-12:00, sat+sun 12:00-24:00"'),
    ],
    ("notify", "remind"): ['"0h"', '"daily"', "24", '"-1h"', "06:00:00"],
}


def test_every_key_is_tried_with_bad_values() -> None:
    """A key that is added later comes here as well."""
    assert set(BAD_VALUES) == {
        (name, entry.metadata["key"] or entry.name) for name, table in TABLES.items() for entry in fields(table)
    }


@pytest.mark.parametrize(
    ("table", "key", "value"), [(*place, value) for place, values in BAD_VALUES.items() for value in values]
)
def test_a_bad_value_gets_one_sentence_that_says_where_it_is(table: str, key: str, value: str) -> None:
    """The line, the table, its index and the key; and what must be there instead."""
    [problem] = problems(with_key(table, key, value))

    assert re.match(rf"line 3: {table}\[0\]\.{key} (must be|must name|must leave|names) ", problem)
    assert "\n" not in problem
    assert len(problem) < 250


def test_a_sentence_says_what_was_meant_and_what_was_found() -> None:
    """And what the nearest right name is, where one is near."""
    text = WHOLE + with_key("expect", "every", '"15 minutes"').removeprefix("version = 1\n").replace("asset", "assets")

    assert problems(text) == (
        "line 37: expect[2].every must be a length such as 15m, 1h, 1d, 1w or 1mo, not '15 minutes'",
        "line 38: expect[2].category must be one of allocation, asset, cloudcost (ETLOG_CATEGORIES adds others), "
        "not 'assets'; did you mean asset?",
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "version is missing: the file must begin with version = 1"),
        ("version = 2", "line 1: version must be 1, the one that this etlog reads, not 2"),
        ("version = true", "line 1: version must be 1, the one that this etlog reads, not true"),
        ("version = 1\n[[expects]]", "line 2: expects is not known; did you mean [[expect]]?"),
        (
            "version = 1\ntimezone = 'UTC'",
            "line 2: timezone is not known; the file has version, [[log]], [[expect]], [[notify]]",
        ),
        ("version = 1\n[log]\nname = 'nightly'", "line 2: log must be a list of tables: write [[log]], not [log]"),
        ("version = 1\nlog = ['nightly']", "line 2: log[0] must be a table, not 'nightly'"),
        ("version = 1\n[[log]]\nname = 'nightly'\nzones = 1", "line 4: log[0].zones is not known; did you mean zone?"),
        (
            "version = 1\n[[log]]\nname = 'nightly'\ncolor = 1",
            "line 4: log[0].color is not known; [[log]] has name, zone",
        ),
        ("version = 1\n\n[[log]]\nzone = 'UTC'", 'line 3: log[0].name is missing: add a line such as name = "nightly"'),
        (
            "version = 1\n[[log]]\nname = 'nightly'\n[[log]]\nname = 'nightly'",
            "line 5: log[1].name is 'nightly' once more: give each log once",
        ),
        (
            "version = 1\nlog = [{name = 'x y'}]",
            "line 2: log[0].name must be one of nightly, hourly (ETLOG_NAMES), not 'x y'",
        ),
        (
            "version = 1\n[[notify]]\nurl = 'https://a'\non = ['dead', 'lost']\n\n[[notify]]\nremind = '1h'\n"
            "url = 'https://a'\non = ['lost', 'dead']",
            "line 6: notify[1] is notify[0] once more: they differ in none of url, on, log and category",
        ),
        (
            "version = 1\n[[notify]]\nurl = 'slack://a/b'\nsecret = 'env:A'",
            "line 4: notify[0].secret is only for addresses that begin with https:// or http://",
        ),
        (
            "version = 1\n[[log]]\nname = '''\nzone = x'''",
            "log[0].name must be one of nightly, hourly (ETLOG_NAMES), not 'zone = x'",
        ),
    ],
)
def test_a_file_is_looked_at_as_a_whole(text: str, problem: str) -> None:
    """What must be there, and what is not known."""
    assert problems(text) == (problem,)


def test_all_mistakes_are_told_in_the_order_of_their_lines() -> None:
    """The error itself is one sentence: the first, and where the others are."""
    text = "version = 1\n[[expect]]\ncategory = 'asset'\ndue = '06'\n\n[[log]]\nname = 'x'\n"

    with pytest.raises(ConfigError) as refused:
        config.parse(text, SETTINGS)

    assert [re.sub(r" .*", "", problem[8:]) for problem in refused.value.problems] == [
        *("expect[0].stages", "expect[0].due", "log[0].name")
    ]
    assert str(refused.value) == refused.value.problems[0] + "; and 2 more, which 'etlog config check' lists"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("version = 1\ndue = 20m\nx = 1", "line 2: the file is not TOML: expected newline or end of document after a "),
        (
            "version = 1\n[[log]]\nname = nightly",
            "line 3: the file is not TOML: invalid value; is it a text that must ",
        ),
        ("version = 1\nversion = 1", "line 2: the file is not TOML: a key is given twice in a table"),
        ("[log]\n[log]", "line 2: the file is not TOML: [log] is given twice; several tables of one name are [[log]]"),
        ("version = 1\n\nname = 'x", "line 3: the file is not TOML: "),
        ("version = 1\n[[log]\n", "line 2: the file is not TOML: "),
        ("x = " + "[" * 10_000, "the file is not TOML: it is nested too deeply"),
        ("x = " + "9" * 10_000, "the file is not TOML: exceeds the limit"),
    ],
)
def test_a_text_that_is_not_toml_gets_one_sentence_that_names_the_line(text: str, problem: str) -> None:
    """And says what is usually wrong."""
    [found] = problems(text)

    assert found.startswith(problem)
    assert "\n" not in found


def test_a_file_may_come_from_any_editor(tmp_path: Path) -> None:
    """With a byte order mark, and with the line ends of Windows."""
    path = tmp_path / "etlog.toml"
    path.write_bytes(b"\xef\xbb\xbf" + WHOLE.replace("\n", "\r\n").encode())

    assert config.read(path, SETTINGS) == config.parse(WHOLE, SETTINGS)


def test_a_file_that_cannot_be_read_gets_one_sentence(tmp_path: Path) -> None:
    """With its name."""
    other = tmp_path / "other.toml"
    other.write_bytes(b"\xff\xfe")
    wrong = tmp_path / "wrong.toml"
    wrong.write_text("version = 2")

    def refused(path: Path) -> str:
        with pytest.raises(ConfigError) as refused:
            config.read(path, SETTINGS)
        return str(refused.value)

    assert refused(tmp_path / "none") == (
        f"{tmp_path}/none cannot be read: No such file or directory; ETLOG_CONFIG must name a TOML file"
    )
    assert refused(tmp_path).startswith(f"{tmp_path} cannot be read: ")
    assert refused(other).startswith(f"{other} is not a text in UTF-8")
    assert refused(wrong).startswith(f"{wrong}, line 1: version must be 1")


def test_the_file_of_the_settings_is_loaded(tmp_path: Path) -> None:
    """Where they name one; nothing is said where they do not."""
    path = tmp_path / "etlog.toml"
    path.write_text('version = 1\n[[log]]\nname = "default"\nzone = "+05:30"')

    assert config.load(Settings()) == Config()
    assert str(config.load(Settings(config=path)).logs[0].zone) == "UTC+05:30"


@pytest.mark.parametrize(
    "text",
    [
        'url = "https://user:hunter2@host/hunter2?x=hunter2"\nsecret = "hunter2"',
        'url = "slack://hunter2/hunter2"\nsecret = "env:HUNTER2"\non = ["hunters"]',
        'url = "hunter2"\nsecret = "env:hunter2 hunter2"',
        'url = "https://host:hunter2/hunter2"\nsecret = ["hunter2"]',
        'url = "https://[hunter2"\nsecrets = "hunter2"',
        'url = ["hunter2"]\nsecret = {hunter2 = "hunter2"}',
        'url = "https://hooks.example.com"\nsecret = "hunter2',
        "url = hunter2",
        "secret = 'hunter2'\nsecret = 'hunter2'",
    ],
)
def test_no_secret_is_repeated(text: str) -> None:
    """Neither a literal one, nor the name of its variable, nor one in an address."""
    try:
        file = config.parse("version = 1\n[[notify]]\n" + text, SETTINGS)
        said = f"{file} {[notify.shown for notify in file.notify]}"
    except ConfigError as e:
        said = f"{e!r} {e.problems}"

    assert "hunter2" not in said.lower()


@pytest.mark.parametrize(
    "text",
    [
        f'version = 1\nnotify = ["{URL}/hunter2"]',
        f'version = 1\n[[notify]]\nurl = "{URL}"\nremind = "{URL}/hunter2"',
        f'version = 1\n[[notify]]\nurl = "{URL}"\non = ["{URL}/hunter2"]',
        f'version = 1\n[[notify]]\nurl = "{URL}"\nquiet = "whsec_hunter2hunter2hunter2hunter2"',
        f'version = 1\n[[notify]]\nurl = "{URL}"\nlog = "{URL}/hunter2"',
    ],
    ids=["table", "remind", "on", "quiet", "log"],
)
def test_what_was_pasted_into_the_wrong_line_is_not_repeated(text: str) -> None:
    """An address or a secret is as secret there."""
    found = problems(text)

    assert len(found) == 1
    assert "hunter2" not in found[0]
    assert found[0].startswith("line ")
