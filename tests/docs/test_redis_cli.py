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
from time import time

import pytest
import redis
from etlog_consumer import Consumer
from etlog_events.event import Event
from etlog_events.keys import Keys
from etlog_producer import Producer
from support.samples import WINDOW

PAGE = Path(__file__).parents[2] / "docs" / "redis-cli.md"

#: A line of the page that is a command.
PROMPT = "$ "

COMMANDS = [line.removeprefix(PROMPT) for line in PAGE.read_text().splitlines() if line.startswith(PROMPT)]

#: The keys in the page's table.
NAMED_KEYS = re.findall(r"`((?:etlog:{default}|…):[a-z:]+)`", PAGE.read_text())

#: Events that are in the log.
SAVED, TOTALED = 5, 3

#: Answers the command of the page that contains a text.
Answer = Callable[[str], str]


@pytest.fixture(scope="module", autouse=True)
def redis_cli() -> None:
    """The real `redis-cli`."""
    if shutil.which("redis-cli") is None:
        if os.environ.get("CI"):
            pytest.fail("redis-cli is missing; in CI it must not be")
        pytest.skip("redis-cli is not installed")


@pytest.fixture
def consumer(
    store_url: str, keys: Keys, consuming: Callable[[], AbstractContextManager[Consumer]], caught_up: Callable[[], None]
) -> Iterator[Consumer]:
    """The active consumer of a log that holds events of both categories."""
    with consuming() as consumer, Producer(store_url, log=keys.name) as producer:
        for size in range(SAVED):
            producer.emit("AllocationSetSaved", size=size, window=WINDOW)
        for _ in range(TOTALED):
            producer.emit("AssetSetTotaled", window=WINDOW)
        assert producer.flush(10)
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
        if "XADD" in arguments:
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
    client.hset(keys.retired, "gone-1-abc", f"0 0 0 {time() * 1000:.0f}")  # as after a day
    found = {key.split("}:")[1] for key in answer("--scan").splitlines()}

    assert found == {name.rpartition("}:")[2].removeprefix("…:") for name in NAMED_KEYS}


@pytest.mark.usefixtures("consumer")
def test_the_stream_and_its_group_show_that_everything_is_applied(answer: Answer) -> None:
    """As many entries as were published, and a lag of 0 at the cursor."""
    assert answer("XLEN") == str(SAVED + TOTALED)

    group = answer("XINFO GROUPS").splitlines()
    told = dict(zip(group[::2], group[1::2], strict=True))
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
def test_a_refused_entry_is_a_dead_letter_that_says_why(run: Answer, answer: Answer) -> None:
    """The reason is the one that the page shows."""
    command = next(command for command in COMMANDS if "XADD" in command and "AllocationSetLost" in command)
    entry_id = run(command)

    assert answer("XLEN 'etlog:{default}:dead'") == "1"
    letter = answer("XREVRANGE 'etlog:{default}:dead'").splitlines()
    assert letter[letter.index("id") + 1] == entry_id
    assert json.loads(letter[letter.index("raw") + 1])["kind"] == "AllocationSetLost"
    assert letter[letter.index("reason") + 1] in PAGE.read_text()


@pytest.mark.usefixtures("consumer")
def test_the_sums_prove_that_nothing_is_missing(run: Answer, answer: Answer) -> None:
    """Applied numbers of all producers and entries without a number = applied + dead + lost."""
    unnumbered = [run(command) for command in COMMANDS if "XADD" in command]

    producers = answer("HGETALL 'etlog:{default}:producers'").splitlines()
    numbers = dict(zip(producers[::2], map(int, producers[1::2]), strict=True))
    stats = answer("HGETALL 'etlog:{default}:stats'").splitlines()
    counted = dict(zip(stats[::2], map(int, stats[1::2]), strict=True))
    applied = sum(number for name, number in numbers.items() if name.endswith(":applied"))

    assert applied == sum(number for name, number in numbers.items() if name.endswith(":published"))
    assert applied + len(unnumbered) == counted["applied"] + counted["dead"] + counted.get("lost", 0)


def test_the_lease_names_the_active_consumer(consumer: Consumer, answer: Answer) -> None:
    """For at most four seconds."""
    assert answer(" GET 'etlog:{default}:lease'") == consumer.name
    assert 0 < int(answer("PTTL")) <= 4000
