"""docs/marks.md: its commands do what the page shows, and its tables are complete."""

import re
import shlex
from pathlib import Path

import pytest
import redis
from etlog.__main__ import run
from etlog_events.event import Event
from etlog_events.keys import Keys
from etlog_ledger.marks import MARK_KINDS
from support.apis import apply

PAGE = (Path(__file__).parents[2] / "docs" / "marks.md").read_text()

#: The commands of the page, each with what it prints.
SHOWN = [
    (command, answer)
    for block in re.findall(r"^```console\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    for command, answer in re.findall(r"^\$ (.*)\n((?:[^$].*\n)*)", block, re.MULTILINE)
]


def without_what_changes(answer: str, keys: Keys) -> list[str]:
    """The lines of an answer with neither ids nor times nor names, and with single spaces, in any order."""
    for pattern, text in (
        (re.escape(keys.name), "default"),
        (r"\b[0-9a-f]{12}\b", "ID"),
        (r"\b20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ", "TIME"),
        (r"\(\S+@\S+, ", "(WHO, "),
        (r" +", " "),
    ):
        answer = re.sub(pattern, text, answer)
    return sorted(line.rstrip() for line in answer.splitlines())


def test_the_commands_answer_as_the_page_shows(
    store_url: str, client: redis.Redis, keys: Keys, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """In its order, on a log with hourly sets, but for ids and times."""
    monkeypatch.setenv("ETLOG_REDIS_URL", store_url)
    monkeypatch.setenv("ETLOG_NAME", keys.name)
    window = ("2026-11-18T08:00:00Z", "2026-11-18T09:00:00Z")
    apply(store_url, keys, [Event.new("AssetSetSaved", size=1, window=window).encode()])
    client.hset(keys.stats, mapping={"lost": 3, "dead": 2})
    ids: dict[str, str] = {}  # on the page -> here

    assert len(SHOWN) >= 8
    for command, shown in SHOWN:
        program, *arguments = [ids.get(word, word) for word in shlex.split(command)]
        assert (program, run(arguments)) == ("etlog", 0), command
        printed = capsys.readouterr()
        assert without_what_changes(printed.out + printed.err, keys) == without_what_changes(shown, keys)
        ids[shown.split()[0]] = printed.out.split()[0]


def test_the_page_explains_every_kind_of_mark() -> None:
    """And no other."""
    [table] = re.findall(r"^\| kind \|.*\n\|[-|]+\n((?:\|.*\n)+)", PAGE, re.MULTILINE)

    assert tuple(re.findall(r"^\| `([a-z-]+)` \|", table, re.MULTILINE)) == MARK_KINDS
