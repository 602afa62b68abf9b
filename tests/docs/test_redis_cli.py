"""docs/redis-cli.md: each of its commands works, and what the page says of the answers is true."""

import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import msgspec
import pytest
import redis
from etlog import marks
from etlog_consumer import Consumer
from etlog_events.event import Event
from etlog_events.keys import Keys
from etlog_events.sequence import Record
from etlog_ledger.marks import Mark, decode_foreign
from etlog_ledger.row import Cell
from etlog_producer.publish import Identity, Publisher
from support.samples import saved

PAGE = Path(__file__).parents[2] / "docs" / "redis-cli.md"

#: A line of the page that is a command.
PROMPT = "$ "

COMMANDS = [line.removeprefix(PROMPT) for line in PAGE.read_text().splitlines() if line.startswith(PROMPT)]

#: The keys in the page's table.
NAMED_KEYS = re.findall(r"`((?:etlog:{default}|…):[a-z:]+)`", PAGE.read_text())

#: Events that are in the log.
SAVED, ASSETS = 5, 3

#: The mark that the page shows.
MARK = decode_foreign(b"5f1c09d2a7b3", re.findall(r"^5f1c09d2a7b3\n(.*)", PAGE.read_text(), re.MULTILINE)[0].encode())

#: Answers the command of the page that contains a text.
Answer = Callable[[str], str]


def pairs(lines: list[str]) -> dict[str, str]:
    """What an answer lists as name, value, name, value …"""
    return dict(zip(lines[::2], lines[1::2], strict=True))


@pytest.fixture(scope="module", autouse=True)
def redis_cli() -> None:
    """The real `redis-cli`."""
    if shutil.which("redis-cli") is None:
        if os.environ.get("CI"):
            pytest.fail("redis-cli is missing; in CI it must not be")
        pytest.skip("redis-cli is not installed")


@pytest.fixture
def consumer(
    client: redis.Redis,
    keys: Keys,
    consuming: Callable[[], AbstractContextManager[Consumer]],
    caught_up: Callable[[], None],
) -> Iterator[Consumer]:
    """The active consumer of a log that holds events of both categories, one entry of each."""
    publisher, who = Publisher(client, keys), Identity("etl-17-9f8e7d6c", "4f3e2d1c")
    publisher(who, 1, [saved(size) for size in range(SAVED)])
    publisher(who, SAVED + 1, [saved(size, prefix="AssetSet") for size in range(ASSETS)])
    assert MARK is not None
    marks.put(client, keys, MARK, now=0)
    client.hset(keys.incidents, "revision", 1)  # as after the first turn of a watcher
    with consuming() as consumer:
        caught_up()
        yield consumer


@pytest.fixture
def run(store_url: str, keys: Keys, caught_up: Callable[[], None]) -> Answer:
    """Runs a command of the page on the test's log, and returns what it answers."""

    def run(command: str) -> str:
        program, *arguments = shlex.split(command.replace("{default}", f"{{{keys.name}}}"))
        done = subprocess.run([program, "-u", store_url, *arguments], capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command}\n{done.stderr}"
        assert "ERR " not in done.stdout, f"{command}\n{done.stdout}"
        assert "WRONGTYPE" not in done.stdout, f"{command}\n{done.stdout}"
        if {"XADD", "FCALL"} & {*arguments}:
            caught_up()
        return done.stdout.strip()

    return run


@pytest.fixture
def answer(run: Answer) -> Answer:
    """Runs the first command of the page that contains a text."""
    return lambda text: run(next(command for command in COMMANDS if text in command))


@pytest.mark.usefixtures("consumer")
def test_every_command_of_the_page_answers(run: Answer) -> None:
    """In the order of the page, none with an error, and none with nothing."""
    assert len(COMMANDS) >= 20
    assert all(command.startswith("redis-cli ") for command in COMMANDS)
    for command in COMMANDS:
        assert run(command), command


@pytest.mark.usefixtures("consumer")
def test_the_page_names_every_key_of_the_log(run: Answer, answer: Answer, client: redis.Redis, keys: Keys) -> None:
    """And no other: those that its own table lists are those that are there."""
    for command in COMMANDS:
        run(command)  # one of them makes the dead letter
    client.zadd(keys.trim, {"1795467230011-0": 1000})  # as after 1,000 events
    client.hset(keys.unrowed, "AssetSetSaved", 0)  # as after the first row was dropped
    found = {key.split("}:")[1] for key in answer("--scan").splitlines()}

    assert found == {name.rpartition("}:")[2].removeprefix("…:") for name in NAMED_KEYS}


@pytest.mark.usefixtures("consumer")
def test_the_stream_and_its_group_show_that_everything_is_applied(answer: Answer) -> None:
    """As many entries as there were calls, and a lag of 0 at the cursor."""
    assert answer("XLEN") == "2"

    group = answer("XINFO GROUPS").splitlines()
    told = pairs(group)
    assert (told["name"], told["lag"], told["consumers"], told["pending"]) == ("etlog", "0", "0", "0")
    assert told["last-delivered-id"] == answer(" GET 'etlog:{default}:cursor'")


@pytest.mark.usefixtures("consumer")
def test_the_list_gives_the_newest_three_events_newest_last(answer: Answer) -> None:
    """Each is an event, in its canonical text."""
    newest = [Event.decode(line.encode()) for line in answer("LRANGE").splitlines()]

    assert [event.size for event in newest] == [SAVED - 3, SAVED - 2, SAVED - 1]
    assert answer("LLEN") == str(SAVED)
    assert answer("HGET 'etlog:{default}:counters' AllocationSetSaved") == str(SAVED)


@pytest.mark.usefixtures("consumer")
def test_an_event_that_was_added_by_hand_is_in_its_list(run: Answer, answer: Answer) -> None:
    """With the very text that the page adds."""
    command = next(command for command in COMMANDS if "XADD" in command and "AllocationSetSaved" in command)
    run(command)

    assert answer("LRANGE 'etlog:{default}:log:allocation' -1 -1") == shlex.split(command)[-1]


@pytest.mark.usefixtures("consumer")
def test_an_entry_holds_the_events_of_a_call_under_their_numbers(answer: Answer) -> None:
    """As the page explains it."""
    entry_id, *fields = answer("XRANGE 'etlog:{default}:events'").splitlines()

    assert re.fullmatch(r"[0-9]+-[0-9]+", entry_id)
    assert list(pairs(fields)) == ["producer", "seq", "event", *(f"event.{place}" for place in range(1, SAVED))]
    assert pairs(fields)["seq"] == "1"


@pytest.mark.usefixtures("consumer")
def test_a_refused_event_is_a_dead_letter_that_says_why(run: Answer, answer: Answer, client: redis.Redis) -> None:
    """Under its own id; the reason is the one that the page shows, and the other event of its entry is applied."""
    before = int(answer("LLEN"))
    command = next(command for command in COMMANDS if "XADD" in command and "AllocationSetLost" in command)
    entry_id = run(command)

    assert answer("XLEN 'etlog:{default}:dead'") == "1"
    letter = pairs(answer("XREVRANGE 'etlog:{default}:dead'").splitlines()[1:])
    assert letter["id"] == f"{entry_id}.1"
    assert json.loads(letter["raw"])["kind"] == "AllocationSetLost"
    assert letter["reason"] in PAGE.read_text()
    assert int(answer("LLEN")) == before
    assert "2022-06-03T17:07:58Z" in answer("LRANGE 'etlog:{default}:log:asset'")


@pytest.mark.usefixtures("consumer")
def test_a_call_that_is_repeated_adds_nothing_and_a_close_ends_the_producer(run: Answer, answer: Answer) -> None:
    """The three calls of the page, and what is left of the producer."""
    calls = [command for command in COMMANDS if "FCALL" in command]
    before = answer("XLEN")

    log_id = answer(" GET 'etlog:{default}:id'")
    assert [run(call).splitlines() for call in calls] == [["OK", "1", log_id]] * 3

    assert int(answer("XLEN")) == int(before) + 1
    assert pairs(answer("HGETALL 'etlog:{default}:producers:ended'").splitlines()) == {
        "published": "1",
        "applied": "1",
        "dead": "0",
        "lost": "0",
    }
    assert "by-hand-1" not in answer("HSCAN")


@pytest.mark.usefixtures("consumer")
def test_the_sums_prove_that_nothing_is_missing(run: Answer, answer: Answer) -> None:
    """Over all records and those that are gone: what the page says that they equal, they do."""
    for command in COMMANDS:
        run(command)

    records = [Record.decode(text.encode()) for text in pairs(answer("HSCAN").splitlines()[1:]).values()]
    ended = {
        name: int(number)
        for name, number in pairs(answer("HGETALL 'etlog:{default}:producers:ended'").splitlines()).items()
    }
    stats = dict.fromkeys(("applied", "dead", "lost", "unnumbered"), 0)
    stats |= {
        name: int(number) for name, number in pairs(answer("HGETALL 'etlog:{default}:stats'").splitlines()).items()
    }
    applied = sum(record.applied for record in records if record) + ended["applied"]

    assert applied + stats["unnumbered"] == stats["applied"] + stats["dead"] + stats["lost"]
    assert sum(record.published for record in records if record) + ended["published"] == stats["published"] == applied
    assert stats["unnumbered"] == 4  # the three calls of XADD
    assert {name for name in stats if f"| `{name}` |" not in PAGE.read_text()} == set()


@pytest.mark.usefixtures("consumer")
def test_a_row_tells_of_the_set_that_was_published_by_hand(run: Answer, answer: Answer) -> None:
    """And the row `-` of the error without a window; the rows that changed last are listed last."""
    for command in COMMANDS:
        run(command)

    row = json.loads(answer("HGET 'etlog:{default}:sets:asset' '2022-06-03"))
    apart = json.loads(answer("HGET 'etlog:{default}:sets:asset' -"))

    assert {action: cell["n"] for action, cell in row.items()} == {"Saved": ASSETS + 1, "Totaled": 1}
    assert apart["ComputeError"]["error"] == "no prices"
    changed = answer("ZREVRANGE 'etlog:{default}:changes:asset'").splitlines()
    assert changed[::2] == ["-", "2022-06-03T10:00:00Z/2022-06-03T11:00:00Z"]
    assert int(changed[1]) > int(changed[3])


def test_the_page_explains_every_field_of_a_cell() -> None:
    """And no other."""
    [table] = re.findall(r"^\| in a cell \|.*\n\|[-|]+\n((?:\|.*\n)+)", PAGE.read_text(), re.MULTILINE)
    names = [name for line in table.splitlines() for name in re.findall(r"`(\w+)`", line.split("|")[1])]

    assert names == [field.name for field in msgspec.structs.fields(Cell)]


@pytest.mark.usefixtures("consumer")
def test_the_page_shows_a_mark_as_it_is_stored(answer: Answer) -> None:
    """To the byte; and the number of changes."""
    [shown] = re.findall(r"^\$ .*:marks'\n(.*?)```", PAGE.read_text(), re.DOTALL | re.MULTILINE)

    assert pairs(answer("HGETALL 'etlog:{default}:marks'").splitlines()) == pairs(shown.splitlines())


def test_the_page_explains_every_field_of_a_mark() -> None:
    """And no other."""
    [table] = re.findall(r"^\| in a mark \|.*\n\|[-|]+\n((?:\|.*\n)+)", PAGE.read_text(), re.MULTILINE)
    names = [name for line in table.splitlines() for name in re.findall(r"`(\w+)`", line.split("|")[1])]

    assert names == [field.encode_name for field in msgspec.structs.fields(Mark)]


@pytest.mark.usefixtures("consumer")
def test_the_counter_is_the_sum_over_the_rows(run: Answer, answer: Answer) -> None:
    """For the kind of the page, by the commands of the page; no event is in no row."""
    for command in COMMANDS:
        run(command)

    rows = [json.loads(row) for row in answer("HMGET 'etlog:{default}:sets:asset'").splitlines() if row]

    assert answer("HLEN 'etlog:{default}:unrowed'") == "0"
    assert answer("HGET 'etlog:{default}:counters' AssetSetTotaled") == str(sum(row["Totaled"]["n"] for row in rows))


def test_the_sum_that_the_page_shows_is_that_of_its_answers() -> None:
    """Of all rows with the cell, as they stand there."""
    [answer] = re.findall(r"HMGET 'etlog:{default}:sets:asset'.*\n((?:{.*}\n)+)", PAGE.read_text())
    numbers = [json.loads(row)["Totaled"]["n"] for row in answer.splitlines()]

    assert f"{' + '.join(map(str, numbers))} = {sum(numbers)}." in PAGE.read_text()
    assert f'AssetSetTotaled\n"{sum(numbers)}"\n' in PAGE.read_text()


def test_the_lease_names_the_active_consumer(consumer: Consumer, answer: Answer) -> None:
    """For at most four seconds."""
    assert answer(" GET 'etlog:{default}:lease'") == consumer.name
    assert 0 < int(answer("PTTL")) <= 4000
