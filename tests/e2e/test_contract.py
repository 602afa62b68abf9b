"""The version of the contract: set by the first writer, and respected by every part, which knows a single one."""

import importlib
import logging
import pkgutil
import re
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import redis
from etlog import dead_letters
from etlog.__main__ import run
from etlog.commands import spool
from etlog.verification import verify
from etlog_api import create_app
from etlog_consumer import Consumer, Target
from etlog_consumer.fleet.membership import Membership
from etlog_consumer.recovery import Progress, Recovery
from etlog_events import OtherContract, Settings, publishing, scripts
from etlog_events.contract import UPGRADING, VERSION
from etlog_events.keys import CONSUMERS, CONSUMERS_CONTRACT, Keys
from etlog_events.kinds import KUBECOST_KINDS
from etlog_events.scripts import Script
from etlog_events.store import connect
from etlog_producer import Producer
from etlog_producer.publish import Identity, Publisher
from etlog_producer.spool import recovery
from support import apis, commands
from support.consumers import Consuming
from support.producers import emit
from support.samples import WINDOW, saved
from support.servers import Server, wait_until
from support.stream import counters, numbers

#: What another release or `etlog upgrade` notes, and what a part says of it after the log's name.
OTHERS = {
    "1": "follows contract 1, but this {part} requires 2; stop all its parts and run 'etlog upgrade'",
    "3": "follows contract 3, but this {part} supports 2; upgrade it",
    UPGRADING.decode(): "is being upgraded; if 'etlog upgrade' was interrupted, run it again",
}

#: The scripts that work on another contract than this release's: they are tested with their command.
CONVERTING = {"cli/etlog/upgrade.lua"}

ROOT = Path(__file__).parents[2]

#: What scripts begin with; no script by itself.
BEGINNINGS = {"head.lua", "contract.lua", "ledger.lua"}


def sentence(keys: Keys, part: str, version: str) -> str:
    """What a part says of a log that follows another contract."""
    return f"log {keys.name} {OTHERS[version].format(part=part)}"


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, store_url: str, keys: Keys) -> None:
    """The commands find the test's own log."""
    monkeypatch.setenv("ETLOG_REDIS_URL", store_url)
    monkeypatch.setenv("ETLOG_NAME", keys.name)


@pytest.fixture(params=OTHERS)
def version(request: pytest.FixtureRequest) -> str:
    """A version that no part knows."""
    version: str = request.param
    return version


@pytest.fixture
def other(client: redis.Redis, keys: Keys, version: str) -> str:
    """The same, and the log follows it from the start."""
    client.set(keys.contract, version)
    return version


def untouched(client: redis.Redis, keys: Keys) -> bool:
    """Whether the log holds nothing but the version of its contract."""
    return list(client.scan_iter(match=keys.events.replace("events", "*"), count=1000)) == [keys.contract.encode()]


def all_scripts() -> dict[str, Script]:
    """Every script of every part, by its path: as the part loads it, or the file alone where no part does that."""
    parts = [path.parent for path in sorted(ROOT.glob("*/pyproject.toml"))]
    for package in [path.parent.name for part in parts for path in part.glob("*/__init__.py")]:
        for module in pkgutil.walk_packages(importlib.import_module(package).__path__, f"{package}."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)
    found = {}
    for path in [path for part in parts for path in part.rglob("*.lua") if path.name not in BEGINNINGS]:
        text = path.read_text()
        texts = [load[-1] for load in scripts._loads.values() if load[0] == "SCRIPT"]
        found[str(path.relative_to(ROOT))] = Script(next((whole for whole in texts if whole.endswith(text)), text))
    return found


SCRIPTS = all_scripts()


def test_the_scripts_are_found() -> None:
    """Those that everything rests on are among them."""
    assert {"events/etlog_events/publish.lua", "consumer/etlog_consumer/apply.lua"} < {*SCRIPTS}
    assert {*SCRIPTS} > CONVERTING


@pytest.mark.parametrize("name", sorted({*SCRIPTS} - CONVERTING))
def test_a_script_refuses_another_contract(client: redis.Redis, keys: Keys, other: str, name: str) -> None:
    """Before it writes anything, in the same words as every other; it holds the version that the parts know, once."""
    script = SCRIPTS[name]
    signature = r"^-- (?:EVALSHA|FCALL) \S+ (\d+)(?:\+\d*n)? ([a-z_ ]+?)(?:  | \[|$)"
    [(number, names)] = re.findall(signature, script.text, re.MULTILINE)
    given = [keys.contract if key == "contract" else f"{keys.contract}:{key}" for key in names.split()[: int(number)]]
    assert keys.contract in given

    with pytest.raises(redis.ResponseError, match=f"^CONTRACT {other} is not {VERSION}, "):
        script.run(client, given, ["1"] * 9)

    assert untouched(client, keys)
    assert re.findall(r"^local CONTRACT = '(\d+)'$", script.text, re.MULTILINE) == [str(VERSION)]


def test_the_function_that_publishes_refuses_another_contract(client: redis.Redis, keys: Keys, other: str) -> None:
    """As its script does."""
    with pytest.raises(redis.ResponseError, match=f"CONTRACT {other} is not {VERSION}, "):
        scripts.run(client, publishing.FUNCTION.call(keys.publishing, ("p", "", "", 1, "follow", saved())))

    assert untouched(client, keys)


def test_the_first_batch_that_is_published_sets_the_version(client: redis.Redis, keys: Keys) -> None:
    """A mere question does not."""
    publisher = Publisher(client, keys)
    publisher(Identity("p"), 1, [])
    assert not client.exists(keys.contract)

    publisher(Identity("p"), 1, [saved()])
    assert client.get(keys.contract) == str(VERSION).encode()


def test_a_consumer_sets_the_version_where_others_publish(
    client: redis.Redis, keys: Keys, consuming: Consuming, caught_up: Callable[[], None]
) -> None:
    """A plain XADD knows of no version."""
    client.xadd(keys.events, {"event": saved()})

    with consuming():
        caught_up()

    assert client.get(keys.contract) == str(VERSION).encode()


def test_a_producer_keeps_its_events_until_it_may_publish(
    client: redis.Redis, keys: Keys, other: str, caplog: pytest.LogCaptureFixture
) -> None:
    """One line says why; `flush` does not wait for what waiting cannot cure; nothing is lost and none is doubled."""
    with caplog.at_level(logging.WARNING, "etlog.producer"), Producer() as producer:
        emit(producer, *range(3))
        with pytest.raises(OtherContract, match=re.escape(sentence(keys, "etlog-producer", other))):
            producer.flush()
        wait_until(lambda: producer.stats().retries >= 3, what="more attempts")
        assert untouched(client, keys)
        assert (producer.stats().waiting, producer.stats().lost) == (3, 0)

        client.set(keys.contract, VERSION)  # as if the contract had been raised by mistake
        wait_until(lambda: producer.stats().delivered == 3, what="the events to be delivered")

    assert numbers(client, keys) == [1, 2, 3]
    said = [record.getMessage() for record in caplog.records]
    assert said[0] == f"Cannot publish, will keep trying: {sentence(keys, 'etlog-producer', other)}"
    assert len(said) == 2  # and that it goes on


def test_what_an_old_producer_leaves_is_sent_by_the_upgraded_one(
    client: redis.Redis, keys: Keys, other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It does not wait at its end, and its events are in the spool."""
    monkeypatch.setattr(recovery, "SETTLE", 0.0)
    with Producer() as producer:
        producer.emit("AllocationSetSaved", size=1, window=WINDOW)
    assert producer.stats().spooled == 1
    settings = Settings.from_environment()
    with pytest.raises(OtherContract, match=re.escape(sentence(keys, "etlog-producer", other))):
        spool.flush(settings)

    client.set(keys.contract, VERSION)  # for the release at hand this is what an upgrade is
    [delivered] = spool.flush(settings).done

    assert (delivered.producer, delivered.sent) == (producer.id, 1)
    assert numbers(client, keys) == [1]


@pytest.mark.parametrize(
    "command",
    [
        *(["verify"], ["dead", "list"], ["dead", "requeue", "--all"], ["dead", "drop", "--all"]),
        *(["mark", "list"], ["mark", "remove", "x"], ["mark", "asset", "waived", "--reason", "r"]),
    ],
    ids=" ".join,
)
def test_a_command_ends_with_one_sentence(
    client: redis.Redis, keys: Keys, other: str, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """It has done nothing, and says which version the log follows and which it knows."""
    assert run(command) == 1

    assert capsys.readouterr() == ("", f"etlog: {sentence(keys, 'etlog', other)}\n")
    assert untouched(client, keys)


def test_a_letter_stays_when_the_contract_changes_meanwhile(client: redis.Redis, keys: Keys, other: str) -> None:
    """A command that has begun is told by the script."""
    client.xadd(keys.dead, {"raw": saved()})

    with pytest.raises(OtherContract, match=re.escape(sentence(keys, "etlog", other))):
        dead_letters.drop(client, keys, dead_letters.Choice(all=True))

    assert client.xlen(keys.dead) == 1


def test_nothing_is_taken_from_who_emits_by_hand(client: redis.Redis, keys: Keys, other: str) -> None:
    """The line or the file is still where it was, for the right version of the command."""
    ended = commands.run("emit", "AssetSetTotaled", "--start", WINDOW[0], "--end", WINDOW[1])

    assert (ended.returncode, ended.stdout, ended.stderr) == (1, "", f"etlog: {sentence(keys, 'etlog', other)}\n")
    assert untouched(client, keys)


def test_a_consumer_does_not_start(client: redis.Redis, keys: Keys, other: str) -> None:
    """Nor does it take the lease from one that could work."""
    ended = commands.run("consume")

    assert (ended.returncode, ended.stderr) == (1, f"etlog: {sentence(keys, 'etlog-consumer', other)}\n")
    assert untouched(client, keys)


def test_a_consumer_at_work_ends_when_the_contract_changes(client: redis.Redis, keys: Keys, version: str) -> None:
    """Before it applies another event; its lease lapses, and the right one goes on."""
    with commands.running("consume") as command:
        client.xadd(keys.events, {"event": saved()})
        wait_until(lambda: counters(client, keys), what="the consumer")  # and it will not look after the log so soon
        client.set(keys.contract, version)
        client.xadd(keys.events, {"event": saved()})

        assert command.wait() == 1
    assert command.shown.endswith(f"etlog: {sentence(keys, 'etlog-consumer', version)}\n")
    assert counters(client, keys) == {"AllocationSetSaved": 1}
    wait_until(lambda: not client.exists(keys.lease), what="the lease to lapse")


def test_a_consumer_that_takes_over_changes_nothing(
    store_url: str, client: redis.Redis, keys: Keys, other: str
) -> None:
    """Not even what looks broken to it: there may be no group in another contract."""
    client.xadd(keys.events, {"event": saved()})
    with connect(store_url, part="consumer") as mine:
        standby = Consumer(mine, Target(keys, KUBECOST_KINDS, 1000), retain=1000)

        with pytest.raises(OtherContract, match=re.escape(sentence(keys, "etlog-consumer", other))):
            standby.run(threading.Event())

    assert client.xinfo_groups(keys.events) == []
    assert not client.exists(keys.lease, keys.cursor)


def test_a_consumer_that_stops_says_what_kept_it_from_its_end(
    store_url: str, client: redis.Redis, keys: Keys, version: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The contract was raised a moment ago; the lease lapses."""
    stop = threading.Event()
    with connect(store_url, part="consumer") as mine:
        consumer = Consumer(mine, Target(keys, KUBECOST_KINDS, 1000), retain=1000)
        assert consumer._lease.hold()
        client.set(keys.contract, version)
        stop.set()
        consumer.run(stop)

    assert caplog.messages == [f"Stopped: {sentence(keys, 'etlog-consumer', version)}"]


def test_verification_reads_the_contract_with_the_log(client: redis.Redis, keys: Keys, other: str) -> None:
    """It may have been raised since the command connected."""
    with pytest.raises(OtherContract, match=re.escape(sentence(keys, "etlog", other))):
        verify(client, keys)


def test_a_consumer_closes_no_account(client: redis.Redis, keys: Keys, other: str) -> None:
    """What looks like a loss to it may be none in another contract."""
    client.hset(keys.producers, "p:published", 3)

    with pytest.raises(redis.ResponseError, match=f"CONTRACT {other} "):
        Recovery(client, keys, retain=1000).look(Progress())

    assert client.hgetall(keys.producers) == {b"p:published": b"3"}
    assert not client.exists(keys.stats, keys.events)


@pytest.mark.parametrize("path", ["/model/etl/log", "/model/etl/status", "/model/etl/log/stream", "/readyz"])
def test_the_api_answers_503(store_url: str, keys: Keys, other: str, path: str) -> None:
    """With the sentence in its envelope; and it lives."""
    with apis.serve(create_app(Settings(redis_url=store_url, name=keys.name))) as api:
        with api.client.stream("GET", path) as answer:
            assert answer.status_code == 503
            answer.read()

        assert answer.json() == {"code": 503, "message": sentence(keys, "etlog-api", other)}
        assert api.get("/healthz").status_code == 200


def test_the_api_at_work_refuses_once_something_else_is_applied(
    store_url: str, client: redis.Redis, keys: Keys, version: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What it would make of it is unknown. It says so once, and answers again when it can."""
    apis.apply(store_url, keys, [saved()])
    with apis.serve(create_app(Settings(redis_url=store_url, name=keys.name))) as api:
        assert api.log()["data"]["counters"] == {"AllocationSetSaved": 1}
        client.set(keys.contract, version)
        client.set(keys.cursor, "9999999999999-0")  # another consumer has been at work

        answers = [api.get() for _ in range(3)]
        assert {answer.status_code for answer in answers} == {503}
        assert {answer.json()["message"] for answer in answers} == {sentence(keys, "etlog-api", version)}

        client.set(keys.contract, VERSION)
        assert api.get().status_code == 200
    assert [record.getMessage() for record in caplog.records if "Cannot answer" in record.getMessage()] == [
        f"Cannot answer: {sentence(keys, 'etlog-api', version)}"
    ]


@pytest.mark.parametrize("version", ["1", "3"])
def test_a_process_does_not_join_others_of_another_contract(server: Server, version: str) -> None:
    """The set of consumer processes has a version of its own."""
    with connect(server.url, part="consumer") as client:
        client.set(CONSUMERS_CONTRACT, version)

        with pytest.raises(OtherContract, match=f"the set of consumer processes follows contract {version}, but "):
            Membership(client, "one", ["nightly", "hourly"]).renew()

        assert not client.exists(CONSUMERS)


def test_the_parts_may_be_restarted_in_any_order(
    store_url: str, client: redis.Redis, keys: Keys, consuming: Consuming
) -> None:
    """While the others work, whoever was there first: every event is applied once."""
    settings = Settings(redis_url=store_url, name=keys.name)
    emitted = 0

    def emit() -> None:
        nonlocal emitted
        with Producer() as producer:
            producer.emit("AssetSetTotaled", window=WINDOW)
            assert producer.flush(10)
        emitted += 1

    def applied() -> bool:
        return counters(client, keys) == {"AssetSetTotaled": emitted}

    with apis.serve(create_app(settings)) as api:
        assert api.log()["data"]["counters"] == {}
        emit()
    with consuming():
        emit()
        wait_until(applied, what="the events to be applied")
        with apis.serve(create_app(settings)) as api:
            assert api.log()["data"]["counters"] == {"AssetSetTotaled": emitted}
    emit()
    with consuming(), apis.serve(create_app(settings)) as api:
        wait_until(applied, what="the events to be applied")
        assert api.log()["data"]["counters"] == {"AssetSetTotaled": emitted}

    assert client.get(keys.contract) == str(VERSION).encode()
