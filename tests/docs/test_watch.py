"""docs/watch.md: its commands, its files and its Python do what the page says, and its tables are complete."""

import asyncio
import base64
import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from os import environ
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
import redis
from etlog.__main__ import run
from etlog_events import config, timestamps
from etlog_events.config import NOTICES, Notify
from etlog_events.event import Event
from etlog_events.keys import Keys
from etlog_events.kinds import KUBECOST_KINDS
from etlog_events.settings import Settings
from etlog_events.store import connect_async
from etlog_ledger.judge import Judge
from etlog_watch import words
from etlog_watch.faults import of_verdict
from etlog_watch.incident_store import Ended, IncidentStore, Kept, Waiting
from etlog_watch.incidents import Incident
from etlog_watch.message import Happened, Message, ProblemTold
from etlog_watch.metrics import Metrics
from etlog_watch.sender import SENT
from etlog_watch.target import Target
from etlog_watch.teller import Teller
from etlog_watch.webhook import Webhook
from support import apis
from support.commands import running
from support.labelled import rows_of
from support.receivers import Answer, Receiver, receiving

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "watch.md").read_text()


def blocks(language: str) -> list[str]:
    """The blocks of code in a language, without their indent."""
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```", PAGE, re.DOTALL | re.MULTILINE)
    return [re.sub(rf"^{indent}", "", text, flags=re.MULTILINE) for indent, text in found]


def rows(heading: str) -> list[str]:
    """What stands in the first column of the table that is headed so."""
    [table] = re.findall(rf"^\| {heading} \|.*\n\|[-|]+\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    return [line.split(" | ")[0].removeprefix("| ") for line in table.splitlines()]


FILES = blocks("toml")
[BODY] = [json.loads(text) for text in blocks("json")]
[PYTHON] = blocks("python")
[TEXT] = blocks("text")

#: The commands of the page, each with what it prints.
SHOWN = [
    (command, answer)
    for block in blocks("console")
    for command, answer in re.findall(r"^\$ (.*)\n((?:[^$].*\n)*)", block, re.MULTILINE)
]

#: What the page shows of fields in the store, by their names.
FIELDS = {command.split()[-1]: answer.strip() for command, answer in SHOWN if "--raw HGET" in command}

ASKED = datetime(2026, 11, 24, 14, 37, 13, tzinfo=UTC)


@pytest.fixture
def receiver() -> Any:
    """A receiver of webhooks, which is not reached by a proxy."""
    with receiving() as receiver:
        yield receiver


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Messages to loopback go there at once."""
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def test_every_command_of_the_page_is_run_below() -> None:
    """Else it would be shown and never tried."""
    programs = [command.split()[0 if "=" not in command.split()[0] else 1] for command, _ in SHOWN]

    assert sorted(set(programs)) == ["etlog", "redis-cli"]
    assert [command.partition("etlog ")[2].split()[0] for command, _ in SHOWN if "redis-cli" not in command] == [
        "config",
        "watch",
        "watch",
        "mark",
    ]


@pytest.mark.parametrize("file", range(len(FILES)))
def test_every_file_is_right(file: int) -> None:
    """And what it names is a target each."""
    settings = Settings(names=("default", "nightly"))

    assert len(config.parse(FILES[file], settings).notify) == (1, 3)[file]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_apprise_knows_the_addresses() -> None:
    """Of Slack and mail."""
    apprise = pytest.importorskip("apprise")
    targets = [notify for text in FILES for notify in config.parse(text, Settings(name="nightly")).notify]
    addresses = [target.url for target in targets if not target.is_webhook]

    assert len(addresses) == 2
    assert all(apprise.Apprise.instantiate(address) for address in addresses)


def test_the_file_is_checked_and_a_sample_sent(
    tmp_path: Path, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As the page shows it, but for the address."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ETLOG_WEBHOOK_SECRET", "whsec_c2VjcmV0")
    monkeypatch.setenv("ETLOG_CONFIG", str(tmp_path / "etlog.toml"))
    (tmp_path / "etlog.toml").write_text(FILES[0].replace("https://hooks.example.com", receiver.url))

    for command, shown in SHOWN[:2]:
        assert run(command.partition("etlog ")[2].split()) == 0
        assert capsys.readouterr().out.replace(receiver.url, "https://hooks.example.com") == shown
    receiver.answer(Answer(403))

    assert [received.is_signed_with(b"secret") for received in receiver.received] == [True]
    assert run(["watch", "--test"]) == 1


def test_a_watcher_says_that_it_watches(tmp_path: Path, store_url: str, keys: Keys) -> None:
    """In the line of the page, but for the time."""
    (tmp_path / "etlog.toml").write_text(FILES[0])
    [shown] = [answer for command, answer in SHOWN if command.endswith("etlog watch")]
    file = str(tmp_path / "etlog.toml")

    with running("watch", config=file, webhook_secret="x", redis_url=store_url, name=keys.name) as watcher:
        line = watcher.wait_for(r"^.* Watching log .*$").group()

    assert re.sub(r"^\S+ \S+ ", "", line).replace(keys.name, "default") == re.sub(r"^\S+ \S+ ", "", shown.strip())


def test_the_mark_answers_as_the_page_shows(
    store_url: str, keys: Keys, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """But for its id and its end."""
    monkeypatch.setenv("ETLOG_REDIS_URL", store_url)
    monkeypatch.setenv("ETLOG_NAME", keys.name)
    window = ("2026-11-18T08:00:00Z", "2026-11-18T09:00:00Z")
    apis.apply(store_url, keys, [Event.new("AssetSetSaved", size=1, window=window).encode()])
    [(command, shown)] = [(command, answer) for command, answer in SHOWN if command.startswith("etlog mark")]

    assert run(shlex.split(command)[1:]) == 0
    printed = capsys.readouterr().out.replace(keys.name, "default")
    variable = r"^[0-9a-f]{12}|20\S+Z"
    assert re.sub(variable, "", printed) == re.sub(variable, "", shown)


def message() -> Message:
    """What a watcher tells of hourly sets up to `ASKED`: one was refused, and assets have stopped in the morning."""
    hour, last = timedelta(hours=1), ASKED.replace(minute=0, second=0)
    events = []
    for start in (last - back * hour for back in range(240, 0, -1)):
        window, saved = (start, start + hour), start + hour + timedelta(seconds=80)
        if start < last - 6 * hour:
            events.append(Event.new("AssetSetSaved", window=window, time=saved, size=97))
        events.append(Event.new("AllocationSetSaved", window=window, time=saved, size=412))
        kind, error = "AllocationSetReconciled", None
        if start == last - 3 * hour:
            kind, error = "AllocationSetReconcileError", "HTTPError: 403 Forbidden"
        events.append(Event.new(kind, window=window, time=saved + timedelta(seconds=95), error=error))
    rows = rows_of(event.encode() for event in events)
    faults = list(of_verdict(Judge(KUBECOST_KINDS, UTC).judge(rows, (), ASKED.replace(second=10))))
    target = Target(0, Notify("https://hooks.example.com/etlog"), Webhook("https://hooks.example.com/etlog"), UTC)
    teller = Teller([target], "default", "https://etlog.example.com/?log=default", Metrics())
    told = teller.next(teller.next(Kept(), faults, ASKED), faults, ASKED + timedelta(seconds=30))
    [waiting] = told.messages.values()
    return Message(waiting.id, waiting.happened, timestamps.from_datetime(waiting.created), waiting.problems)


def test_the_body_is_the_one_that_is_shown() -> None:
    """Of the pipeline of the README, but for the ids, which are random, and so is the order of what opens at once."""
    found, shown = json.loads(message().body), json.loads(json.dumps(BODY))
    assert list(found["data"]["problems"][0]) == list(shown["data"]["problems"][0])
    for body in (found, shown):
        body["data"]["problems"].sort(key=lambda problem: problem["category"])
        ids = [problem.pop("id") for problem in body["data"]["problems"]]
        assert all(re.fullmatch("[0-9a-f]{16}", name) for name in ids)

    assert found == shown


def test_the_words_are_those_that_are_shown() -> None:
    """Of the same message."""
    problems = msgspec.convert(BODY["data"]["problems"], list[ProblemTold])
    shown = Message("msg", "opened", BODY["timestamp"], problems)

    assert f"{words.title(shown)}\n{words.text(shown)}\n" == TEXT


def test_the_python_knows_a_genuine_message(receiver: Receiver) -> None:
    """And no other body, secret or time."""
    found: dict[str, Any] = {}
    exec(compile(PYTHON, "watch.md", "exec"), found)
    is_genuine: Callable[[str, Any, bytes], bool] = found["is_genuine"]
    key = b"k" * 32
    secret = "whsec_" + base64.b64encode(key).decode()

    async def send() -> Any:
        sender = Webhook(receiver.url, key)
        try:
            return await sender.send(message())
        finally:
            await sender.close()

    assert asyncio.run(send()) == SENT
    [received] = receiver.received
    headers = {name.lower(): value for name, value in received.headers.items()}
    assert is_genuine(secret, headers, received.body)
    assert not is_genuine(secret, headers, received.body + b" ")
    assert not is_genuine("whsec_" + base64.b64encode(b"j" * 32).decode(), headers, received.body)
    assert not is_genuine(secret, headers | {"webhook-timestamp": "1795531044"}, received.body)


def test_the_fields_in_the_store_are_as_they_are_shown() -> None:
    """Written by the watcher, each would be the same text."""
    kinds: dict[str, Any] = {"incident": Incident, "message": Waiting, "target": Ended}

    assert sorted(name.partition(":")[0] for name in FIELDS) == sorted(kinds)
    for name, text in FIELDS.items():
        read = msgspec.json.decode(text, type=kinds[name.partition(":")[0]])
        assert msgspec.json.encode(read).decode() == text


@pytest.mark.skipif(not (shutil.which("redis-cli") or environ.get("CI")), reason="no redis-cli on this machine")
def test_redis_cli_shows_it_and_a_target_is_told_again(store_url: str, client: redis.Redis, keys: Keys) -> None:
    """With the commands of the page, in its order; the watcher that tells takes note of what they change."""
    names = re.findall(r'^\d\) "(.*)"$', PAGE, re.MULTILINE)
    texts = {"revision": "7"} | FIELDS
    texts = {name: texts[name] for name in names if name != "watcher"}  # in the order of the page

    async def in_between(commands: Callable[[], None]) -> tuple[list[str], list[str]]:
        async with connect_async(store_url, part="watch", log=keys.name) as connection:
            store = IncidentStore(connection, keys, "vm-10954-a9347ec1a0ec4c64b12e3f7fca986baa")
            assert await store.claim() is not None
            client.hset(keys.incidents, mapping=texts)
            before = await store.claim()
            commands()
            after = await store.claim()
            assert before is not None
            assert after is not None
            return list(before.ended), list(after.ended)

    def by_hand() -> None:
        for command, shown in SHOWN:
            if not command.startswith("redis-cli"):
                continue
            arguments = shlex.split(command.replace("{default}", f"{{{keys.name}}}"))[1:]
            how = [] if "--raw" in arguments else ["--no-raw"]
            line = ["redis-cli", "-u", store_url, *how, *arguments]
            done = subprocess.run(line, capture_output=True, text=True, check=True)
            till = re.compile(r" \d{13}\"$", re.MULTILINE)
            assert till.sub("", done.stdout) == till.sub("", shown), command

    assert asyncio.run(in_between(by_hand)) == (["c46a00422b3b"], [])


def test_the_tables_are_complete() -> None:
    """What happened, states, fields of a problem."""
    happened = [name.strip("`") for name in rows("a message says")]
    states = re.findall(r"`(\w+)`", " ".join(rows("state")))
    problem = re.findall(r"`(\w+)`", " ".join(rows("field")))

    assert happened == list(get_args(Happened))
    assert states == list(NOTICES)
    assert sorted(problem) == sorted(field.encode_name for field in msgspec.structs.fields(ProblemTold))


def test_the_messages_of_the_simulation_add_up() -> None:
    """Every problem that opened was resolved, has expired or is still open, of each pipeline and of all."""
    [table] = re.findall(r"^\| pipeline \|.*\n\|[-|]+\n((?:\|.*\n)+)", PAGE, re.MULTILINE)
    lines = [[cell.strip() for cell in line.split("|")[2:-1]] for line in table.splitlines()]
    *each, total = [[int(cell) for cell in line[:7] + line[8:]] for line in lines]

    assert len(each) == 8
    assert [sum(column) for column in zip(*each, strict=True)] == total
    assert all(opened == resolved + expired + still for _, opened, _, resolved, expired, still, *_ in each)
