"""The users of `deploy/redis/users.acl`: each part can do all of its work, and nothing else."""

import asyncio
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
from etlog.__main__ import run
from etlog.commands import consume
from etlog_api import create_app
from etlog_consumer.fleet.membership import Membership
from etlog_consumer.recovery import Progress, Recovery
from etlog_events import Settings, publishing, scripts
from etlog_events.config import Config, Notify
from etlog_events.event import Event
from etlog_events.keys import CONSUMERS_CONTRACT, GROUP, Keys
from etlog_events.kinds import KUBECOST_KINDS
from etlog_events.scripts import Function
from etlog_events.store import connect, connect_async
from etlog_ledger.marks import Mark, encode
from etlog_ledger.reading.connection import Connection
from etlog_ledger.reading.ledger import LedgerReader
from etlog_producer import Producer
from etlog_producer.errors import IdTaken, OtherLog
from etlog_producer.publish import Identity, Publisher
from etlog_watch.message import Message
from etlog_watch.metrics import Metrics as WatchMetrics
from etlog_watch.sender import SENT, Outcome
from etlog_watch.target import Target
from etlog_watch.watch import Watch
from support import apis
from support.consumers import consumer_thread
from support.guarded import PASSWORDS, REDIS, GuardedServer, redis_server
from support.logged import Logged
from support.samples import WINDOW, saved
from support.servers import wait_until
from support.stream import Client, counters, dead, entries, records, stats

LOG = "nightly"
KEYS = Keys(LOG)

USERS = sorted(PASSWORDS)

P = Identity("p", "token-of-p")


@pytest.fixture(scope="module", params=["redis", "valkey"])
def guarded(request: pytest.FixtureRequest) -> Iterator[GuardedServer]:
    """A server with our users: the oldest Redis that etlog works with, and Valkey."""
    server = GuardedServer(binary=redis_server() if request.param == "redis" else None)
    yield server
    server.close()


@pytest.fixture
def root(guarded: GuardedServer) -> Iterator[Client]:
    """Who may do everything. What the test was refused is known to it alone; there is no log and no function."""
    with connect(guarded.url, part="test") as client:
        client.flushall()
        client.function_flush()
        client.execute_command("ACL", "LOG", "RESET")
        yield client


def refused(root: Client) -> list[tuple[str, str]]:
    """Who was refused what, by the server's own account."""
    return [(entry["username"], entry["object"]) for entry in root.acl_log()]


@contextmanager
def consuming(guarded: GuardedServer, **options: Any) -> Iterator[None]:
    """A consumer under its user."""
    url = guarded.url_of("etlog-consumer")
    with connect(url, part="consumer") as client:
        consume.warn(client)
    with consumer_thread(url, KEYS, **options):
        yield


def of_hour(hour: int) -> bytes:
    """An event of the set of this hour."""
    return Event.new(
        "AllocationSetSaved", size=1, window=(f"2022-06-03T{hour:02}:00:00Z", f"2022-06-03T{hour + 1:02}:00:00Z")
    ).encode()


def functions_loaded(root: Client) -> None:
    """Wait until the store has the function that publishes."""
    wait_until(root.function_list, what="the function")


def applied(root: Client, number: int) -> None:
    """Wait until so many entries are applied, or refused."""
    wait_until(
        lambda: sum(stats(root, KEYS).get(name, 0) for name in ("applied", "dead")) == number,
        what=f"{number} applied entries; refused: {refused(root)}",
    )


def test_the_whole_path_works_under_the_users(
    guarded: GuardedServer, root: Client, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Publishing, applying, answering and mending. The server's log of refusals stays empty."""
    with consuming(guarded):
        functions_loaded(root)
    with Producer(guarded.url_of("etlog-producer"), log=LOG) as producer:
        producer.emit("AssetSetTotaled", window=WINDOW)
        producer.emit("AllocationSetSaved", size=3, window=WINDOW)
        assert producer.flush(10)
    with connect(guarded.url_of("etlog-producer"), part="producer") as client:
        publisher = Publisher(client, KEYS)
        publisher(P, 1, [b"no event", saved(), b"no event either"])
        publisher.close(P, 3)
        assert client.wait(0, 1) == 0
        if root.info("server").get("server_name") == "valkey":
            assert client.waitaof(0, 0, 1)
    with consuming(guarded, retain=1):
        applied(root, 5)
    with connect(guarded.url_of("etlog-consumer"), part="consumer") as client:
        member = Membership(client, "one-of-many", [LOG, "hourly"])
        assert member.renew() == ([member.name], False)
        member.leave()

    settings = Settings(redis_url=guarded.url_of("etlog-api"), name=LOG)
    with apis.serve(create_app(settings)) as api:
        assert api.log()["data"]["counters"] == {"AllocationSetSaved": 2, "AssetSetTotaled": 1}
        status = api.get("/model/etl/status").json()["data"]
        assert (status["lag"], status["stats"]["applied"], status["warnings"]) == (0, 3, [])
        assert api.get("/readyz").status_code == 200
        root.hset(KEYS.marks, "revision", 1)
        verdict = api.get("/model/etl/coverage")
        assert (verdict.status_code, verdict.json()["data"]["suspended"]) == (200, None)
        assert "warning" not in api.log(set=",".join(WINDOW))
        assert f'etlog_store_up{{log="{LOG}"}} 1.0' in api.get("/metrics").text
        report = zipfile.ZipFile(io.BytesIO(api.get("/model/etl/bugreport").content))
        assert b"no event either" in report.read("etlog-bugreport/dead.json")
        with apis.tail(api.url) as live, consuming(guarded), Producer(guarded.url_of("etlog-producer"), log=LOG) as p:
            p.emit("AssetSetTotaled", window=WINDOW)
            live.wait(1)
            with apis.tail(api.url, last=live.last) as resumed:
                p.emit("AssetSetTotaled", window=WINDOW)
                resumed.wait(1)
                assert resumed.resyncs == []

    monkeypatch.setenv("ETLOG_REDIS_URL", guarded.url_of("etlog-admin"))
    monkeypatch.setenv("ETLOG_NAME", LOG)
    [first, second] = [entry_id.decode() for entry_id, _ in root.xrange(KEYS.dead)]
    assert run(["dead", "list"]) == 0
    assert run(["dead", "show", first]) == 0
    assert run(["dead", "requeue", first, "--event", saved().decode()]) == 0
    assert run(["dead", "drop", second]) == 0
    assert dead(root, KEYS) == []
    assert run(["verify"]) == 0
    assert "no event" in capsys.readouterr().out
    with consuming(guarded):
        wait_until(lambda: counters(root, KEYS)["AllocationSetSaved"] == 3, what="the mended event")

    assert refused(root) == []


def test_a_producer_waits_until_a_consumer_has_loaded_the_function(guarded: GuardedServer, root: Client) -> None:
    """It may not load it, and says so; nothing is lost meanwhile."""
    with Producer(guarded.url_of("etlog-producer"), log=LOG) as producer:
        producer.emit("AssetSetTotaled", window=WINDOW)
        wait_until(lambda: "start a consumer, which does" in (producer.last_error or ""), what="the reason")
        assert not root.exists(KEYS.events)

        with consuming(guarded):
            assert producer.flush(30)
            applied(root, 1)
            wait_until(lambda: producer.last_error is None, what="the end of the outage")

    assert counters(root, KEYS) == {"AssetSetTotaled": 1}
    assert {*refused(root)} == {("etlog-producer", "function|load")}


def test_publishing_needs_no_more_than_a_producer_has(guarded: GuardedServer, root: Client) -> None:
    """Whatever the function has to do: begin a log, take a batch twice, refuse a gap, note when a producer was seen,
    close it before all is applied, and after."""
    Publisher(root, Keys("another"))(P, 1, [])  # it loads the function
    with connect(guarded.url_of("etlog-producer"), part="producer") as client:
        publisher = Publisher(client, KEYS)
        log_id = publisher(P, 1, [saved()] * 2).log_id
        assert publisher(P, 1, [saved()] * 2, log_id=log_id).held == 2
        assert publisher(P, 4, [saved()]).gap
        root.hset(KEYS.producers, P.producer, "published=2 applied=2 dead=0 lost=0 seen=1 token=token-of-p")
        assert publisher(P, 4, [saved()], skip=True).held == 4
        with pytest.raises(IdTaken):
            publisher(Identity(P.producer, "another-token"), 5, [saved()])
        with pytest.raises(OtherLog):
            publisher(P, 5, [saved()], log_id="another")
        publisher.close(P, 4)
        assert root.hget(KEYS.producers, P.producer).endswith(b" closed")
        root.hset(KEYS.producers, P.producer, "published=4 applied=4 dead=0 lost=0 seen=1 token=token-of-p")
        publisher.close(P, 4)

    assert not root.exists(KEYS.producers, KEYS.producers_seen)
    assert root.hget(KEYS.producers_ended, "published") == b"4"
    assert refused(root) == []


def test_the_commands_of_a_stage_need_no_more_than_a_producer_has(
    guarded: GuardedServer, root: Client, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Emitting by hand and from a file, and what lies in the spool."""
    Publisher(root, Keys("another"))(P, 1, [])  # it loads the function
    file = tmp_path / "events.ndjson"
    file.write_bytes(saved() + b"\nno event\n")
    monkeypatch.setenv("ETLOG_REDIS_URL", guarded.url_of("etlog-producer"))
    monkeypatch.setenv("ETLOG_NAME", LOG)

    assert run(["emit", "AssetSetTotaled", "--start", WINDOW[0], "--end", WINDOW[1]]) == 0
    assert run(["emit", "--file", str(file)]) == 2
    file.write_bytes(saved() + b"\n" + saved() + b"\n")
    assert run(["emit", "--file", str(file), "--resume"]) == 0
    producer = Producer("redis://127.0.0.1:1/0", log=LOG)
    producer.emit("AssetSetTotaled", window=WINDOW)
    producer.close(0.1)
    assert run(["spool", "list"]) == 0
    assert run(["spool", "flush", "--any-store"]) == 0

    assert len(entries(root, KEYS)) == 4
    assert refused(root) == []


def test_a_consumer_may_repair_what_others_broke(
    guarded: GuardedServer, root: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """All that its scripts may ever have to do, they may do."""
    with connect(guarded.url_of("etlog-consumer"), part="consumer") as client:

        def look() -> list[str]:
            caplog.clear()
            progress, recovering = Progress(), Recovery(client, KEYS, retain=1)
            recovering.load(progress)
            recovering.look(progress)
            return [str(record.__dict__["action"]) for record in caplog.records if record.levelname == "WARNING"]

        assert look() == []  # the stream and its group are made
        Publisher(root, KEYS)(P, 1, [saved()] * 3)
        with consuming(guarded):
            applied(root, 3)
        root.delete(KEYS.cursor)
        assert look() == ["cursor_gone"]
        root.xgroup_destroy(KEYS.events, GROUP)
        assert look() == ["group_gone"]
        root.delete(KEYS.events)
        assert look() == ["stream_gone"]
        root.set(KEYS.cursor, "9999999999999-0")
        assert look() == ["cursor_ahead"]
        Publisher(root, KEYS)(P, 4, [saved()])
        root.xtrim(KEYS.events, maxlen=0)
        assert look() == []  # the loss at the stream's end is counted
        assert stats(root, KEYS)["lost"] == 1
        root.delete(KEYS.producers_seen)
        look()  # all records have a place in it again
        assert root.zrange(KEYS.producers_seen, 0, -1) == [P.producer.encode()]
        root.zadd(KEYS.producers_seen, {P.producer: 1})  # it was not seen for so long that it is forgotten
        root.zadd(KEYS.trim, {"1-1": 1, "9999999999999-9": 2})
        look()
        assert not root.exists(KEYS.producers, KEYS.producers_seen, KEYS.trim)
        assert root.hget(KEYS.producers_ended, "lost") == b"1"

    assert refused(root) == []


def test_a_ledger_is_kept_put_right_and_read(guarded: GuardedServer, root: Client, logged: Logged) -> None:
    """By a consumer that keeps few rows, in the store and in memory, and by an API."""
    sets, changes = KEYS.sets("allocation"), KEYS.changes("allocation")

    async def read(reader: LedgerReader) -> int:
        return len((await reader.read()).rows["allocation"])

    def repaired() -> None:
        before = len(logged("ledger_rebuilt"))
        with consuming(guarded, keep_sets=3):
            wait_until(lambda: len(logged("ledger_rebuilt")) > before, what=f"the repair; refused: {refused(root)}")

    with asyncio.Runner() as runner:
        api = connect_async(guarded.url_of("etlog-api"), part="api")
        connection = Connection(api)
        reader = LedgerReader(connection, KEYS, KUBECOST_KINDS)
        assert runner.run(read(reader)) == 0
        publisher = Publisher(root, KEYS)
        with consuming(guarded, keep_sets=3, most_bytes=1):
            publisher(P, 1, [of_hour(hour) for hour in range(3)])
            applied(root, 3)
            assert runner.run(read(reader)) == 3
            publisher(P, 4, [of_hour(hour) for hour in (1, 2, 4)])
            applied(root, 6)
            assert root.hgetall(KEYS.unrowed) == {b"AllocationSetSaved": b"1"}
            assert runner.run(read(reader)) == 3
        root.hset(sets, "no interval", "no row")
        repaired()
        root.delete(changes)
        repaired()
        root.delete(sets, changes)
        repaired()
        assert (root.hlen(sets), root.zcard(changes)) == (3, 3)
        assert runner.run(read(reader)) == 3
        runner.run(connection.close())
        runner.run(api.aclose())

    with connect(guarded.url_of("etlog-admin"), part="test") as client:
        assert client.hget(sets, client.zrange(changes, 0, 0)[0]) is not None
        assert len(client.hscan(sets)[1]) == len(client.zrange(changes, 0, 10, byscore=True)) == client.zcard(changes)
        assert client.hgetall(KEYS.unrowed)

    assert refused(root) == []


def test_people_mark_sets_and_losses_and_the_api_reads_it(
    guarded: GuardedServer, root: Client, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """They put marks, list them, remove them, and with them those that are long over."""
    monkeypatch.setenv("ETLOG_REDIS_URL", guarded.url_of("etlog-admin"))
    monkeypatch.setenv("ETLOG_NAME", LOG)
    root.hset(KEYS.stats, "lost", 3)
    long_over = Mark("old", "asset", "waived", "r", "b", at="2022-06-03T10:00:00Z", until="2022-06-03T11:00:00Z")
    root.hset(KEYS.marks, mapping={"old": encode(long_over), "revision": "many"})

    assert run(["mark", "lost-events", "acknowledged", "--reason", "r"]) == 0
    assert run(["mark", "asset", "waived", "--every", "1h", "--reason", "r"]) == 0
    capsys.readouterr()
    assert run(["mark", "list", "--json"]) == 0
    ids = [json.loads(line)["id"] for line in capsys.readouterr().out.splitlines()]
    assert {*root.hkeys(KEYS.marks)} == {b"revision", *(mark_id.encode() for mark_id in ids)}
    with apis.serve(create_app(Settings(redis_url=guarded.url_of("etlog-api"), name=LOG))) as api:
        status = api.get("/model/etl/status").json()["data"]
        assert (status["acknowledged"]["lost"], status["warnings"]) == (3, [])
    for mark_id in ids:
        assert run(["mark", "remove", mark_id]) == 0

    assert root.hgetall(KEYS.marks) == {b"revision": b"4"}
    assert refused(root) == []


class Taking:
    """A target that takes everything."""

    async def send(self, message: Message) -> Outcome:
        """Take it."""
        return SENT

    async def close(self) -> None:
        """Nothing is open."""


def test_a_watcher_judges_a_log_and_keeps_its_incidents(guarded: GuardedServer, root: Client) -> None:
    """It takes its place, notes what is wrong and what is over, and leaves the place to another one."""
    Publisher(root, KEYS)(P, 1, [of_hour(1)])
    with consuming(guarded):
        applied(root, 1)
    root.hset(KEYS.stats, "lost", 3)
    settings = Settings(redis_url=guarded.url_of("etlog-watch"), name=LOG)
    target = Target(0, Notify("https://hooks.example.com/etlog"), Taking(), UTC)

    def kept() -> dict[bytes, Any]:
        found: dict[bytes, Any] = root.hgetall(KEYS.incidents)
        return {name: json.loads(text) for name, text in found.items() if name.startswith(b"incident:")}

    async def until(condition: Callable[[], bool]) -> None:
        await asyncio.to_thread(wait_until, condition, 30, f"the watcher; refused: {refused(root)}")

    async def watching() -> None:
        stop = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(Watch(settings, Config(), [target], WatchMetrics()).run(stop))
            await until(lambda: any("ended" not in incident for incident in kept().values()))
            root.hset(KEYS.stats, "lost", 0)
            await until(lambda: all("ended" in incident for incident in kept().values()))
            stop.set()

    asyncio.run(watching())
    assert not root.hexists(KEYS.incidents, "watcher")
    assert int(root.hget(KEYS.incidents, "revision")) >= 2
    assert refused(root) == []


@pytest.mark.skipif(shutil.which("redis-cli") is None and not os.environ.get("CI"), reason="no redis-cli")
def test_people_may_read_all_of_a_log(guarded: GuardedServer, root: Client) -> None:
    """With every command that `docs/redis-cli.md` shows, as the admin; as a producer where the function is called."""
    with consuming(guarded):
        Publisher(root, KEYS)(P, 1, [saved(), b"no event"])
        applied(root, 2)
        page = (REDIS.parents[1] / "docs" / "redis-cli.md").read_text()
        for line in page.replace("{default}", f"{{{LOG}}}").splitlines():
            if line.startswith("$ redis-cli"):
                user = "etlog-producer" if " FCALL " in line else "etlog-admin"
                command = ["redis-cli", "-u", guarded.url_of(user), *shlex.split(line)[2:]]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                assert "NOPERM" not in done.stdout, line

    assert refused(root) == []


def test_a_log_is_upgraded_by_the_user_that_the_page_gives(
    guarded: GuardedServer, root: Client, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It may do all that converting a log takes."""
    root.set(KEYS.contract, 1)
    root.hset(KEYS.producers, mapping={"p:published": 3, "p:applied": 2, "p:dead": 1, "p:seen": 1})
    root.hset(f"etlog:{{{LOG}}}:retired", "q", "2 0 1 1654275474092")
    root.hset(KEYS.stats, mapping={"applied": 8, "dead": 1, "lost": 1, "pruned": 6})
    root.hset(KEYS.counters, "AllocationSetSaved", 8)
    root.rpush(KEYS.log("allocation"), saved(), saved())
    for number in (1, 2, 3):
        root.xadd(KEYS.events, {"producer": "p", "seq": number, "event": saved()})
    root.set(KEYS.cursor, root.xrange(KEYS.events)[1][0])
    root.set(CONSUMERS_CONTRACT, 1)
    page = (REDIS.parents[1] / "docs" / "operations.md").read_text()
    [rules] = re.findall(r"^user (etlog-upgrade .*)$", page, re.MULTILINE)
    root.execute_command("ACL", "SETUSER", *rules.split())
    monkeypatch.setenv("ETLOG_REDIS_URL", guarded.url_of("etlog-upgrade", "PASSWORD"))
    monkeypatch.setenv("ETLOG_NAME", LOG)

    assert run(["upgrade"]) == 0

    assert capsys.readouterr().out.splitlines() == [
        f"log {LOG}: 2 producers converted, 1 event waits to be applied",
        f"log {LOG}: the ledger holds 1 set; 6 older events are in no row",
    ]
    assert (root.get(KEYS.contract), root.get(CONSUMERS_CONTRACT)) == (b"2", b"2")
    assert {*records(root, KEYS)} == {"p", "q"}
    assert root.hget(KEYS.producers_ended, "published") == b"6"
    assert refused(root) == []


EVERYBODY = [
    ["CONFIG", "GET", "*"],
    ["CONFIG", "SET", "dir", "/"],
    ["FLUSHALL"],
    ["FLUSHDB"],
    ["SHUTDOWN"],
    ["DEBUG", "SLEEP", "0"],
    ["MONITOR"],
    ["SAVE"],
    ["REPLICAOF", "NO", "ONE"],
    ["MODULE", "LIST"],
    ["ACL", "LIST"],
    ["ACL", "SETUSER", "default", "on"],
    ["CLIENT", "KILL", "TYPE", "normal"],
    ["CLIENT", "PAUSE", "1"],
    ["SCRIPT", "FLUSH"],
    ["FUNCTION", "FLUSH"],
    ["FUNCTION", "RESTORE", ""],
    ["KEYS", "*"],
    ["SUBSCRIBE", "c"],
    ["PUBLISH", "c", "m"],
    ["GET", "another-application"],
    ["SET", "another-application", "1"],
    ["DEL", KEYS.events],
    ["XTRIM", KEYS.events, "MAXLEN", "0"],
    ["XDEL", KEYS.events, "1-0"],
    ["SET", KEYS.counters, "1"],
    ["DEL", KEYS.counters],
    ["RENAME", KEYS.events, KEYS.dead],
    ["RENAME", KEYS.upgrade[8], KEYS.producers],
    ["EXPIRE", KEYS.events, "1"],
]

ONE = {
    "etlog-producer": [
        ["HGETALL", KEYS.incidents],
        ["HSET", KEYS.incidents, "watcher", ""],
        ["XRANGE", KEYS.events, "-", "+"],
        ["XREAD", "STREAMS", KEYS.events, "0"],
        ["XADD", KEYS.dead, "*", "event", ""],
        ["LRANGE", KEYS.log("asset"), "0", "-1"],
        ["HGETALL", KEYS.producers],
        ["HSCAN", KEYS.producers, "0"],
        ["ZRANGE", KEYS.producers_seen, "0", "-1"],
        ["DEL", KEYS.producers_ended],
        ["HGET", KEYS.counters, "AssetSetSaved"],
        ["HGETALL", KEYS.stats],
        ["ZRANGE", KEYS.trim, "0", "-1"],
        ["HGET", KEYS.sets("asset"), "-"],
        ["HSET", KEYS.sets("asset"), "-", ""],
        ["ZRANGE", KEYS.changes("asset"), "0", "-1"],
        ["HGETALL", KEYS.unrowed],
        ["HGETALL", KEYS.marks],
        ["HSET", KEYS.marks, "5f1c09d2a7b3", ""],
        ["GET", KEYS.cursor],
        ["SET", KEYS.cursor, "0-0"],
        ["DEL", KEYS.lease],
        ["FCALL", publishing.FUNCTION.name, "1", KEYS.cursor],
        ["EVAL", "return 1", "1", KEYS.events],
        ["EVALSHA", "0" * 40, "1", KEYS.events],
        ["SCRIPT", "LOAD", "return 1"],
        ["FUNCTION", "LOAD", publishing.FUNCTION.text],
        ["FUNCTION", "LIST"],
        ["INFO"],
        ["CLIENT", "LIST"],
        ["SCAN", "0"],
    ],
    "etlog-consumer": [
        ["HGETALL", KEYS.incidents],
        ["HSET", KEYS.incidents, "watcher", ""],
        ["XADD", KEYS.events, "*", "event", ""],
        ["FCALL", publishing.FUNCTION.name, "1", KEYS.events],
        ["HGETALL", KEYS.producers],
        ["DEL", KEYS.id],
        ["FUNCTION", "DELETE", publishing.FUNCTION.library],
        ["RPUSH", KEYS.events, ""],
        ["DEL", KEYS.producers],
        ["DEL", KEYS.sets("asset")],
        ["HGETALL", KEYS.sets("asset")],
        ["ZRANGEBYSCORE", KEYS.changes("asset"), "0", "1"],
        ["HDEL", KEYS.counters, "AssetSetSaved"],
        ["HDEL", KEYS.unrowed, "AssetSetSaved"],
        ["HGETALL", KEYS.marks],
        ["HSET", KEYS.marks, "5f1c09d2a7b3", ""],
        ["HDEL", KEYS.marks, "5f1c09d2a7b3"],
        ["LREM", KEYS.log("asset"), "0", ""],
        ["DEL", CONSUMERS_CONTRACT],
        ["EVAL", "return 1", "1", KEYS.cursor],
        ["CLIENT", "LIST"],
        ["SCAN", "0"],
    ],
    "etlog-api": [
        ["HSET", KEYS.incidents, "watcher", ""],
        ["HDEL", KEYS.incidents, "watcher"],
        ["XADD", KEYS.events, "*", "event", ""],
        ["SET", KEYS.cursor, "0-0"],
        ["HSET", KEYS.counters, "AssetSetSaved", "1"],
        ["HSET", KEYS.sets("asset"), "-", ""],
        ["HDEL", KEYS.sets("asset"), "-"],
        ["ZADD", KEYS.changes("asset"), "1", "-"],
        ["ZREM", KEYS.changes("asset"), "-"],
        ["HSET", KEYS.unrowed, "AssetSetSaved", "0"],
        ["HSET", KEYS.marks, "5f1c09d2a7b3", ""],
        ["HDEL", KEYS.marks, "5f1c09d2a7b3"],
        ["HINCRBY", KEYS.marks, "revision", "1"],
        ["RPUSH", KEYS.log("asset"), ""],
        ["XGROUP", "SETID", KEYS.events, GROUP, "$"],
        ["SET", KEYS.contract, "9"],
        ["EVAL", "return 1", "0"],
        ["EVALSHA", "0" * 40, "1", KEYS.events],
        ["FCALL", publishing.FUNCTION.name, "1", KEYS.events],
        ["SCRIPT", "LOAD", "return 1"],
        ["FUNCTION", "LOAD", publishing.FUNCTION.text],
        ["CLIENT", "LIST"],
        ["SCAN", "0"],
    ],
    "etlog-watch": [
        ["XADD", KEYS.events, "*", "event", ""],
        ["SET", KEYS.cursor, "0-0"],
        ["HSET", KEYS.counters, "AssetSetSaved", "1"],
        ["HSET", KEYS.stats, "lost", "0"],
        ["HSET", KEYS.sets("asset"), "-", ""],
        ["HDEL", KEYS.sets("asset"), "-"],
        ["ZADD", KEYS.changes("asset"), "1", "-"],
        ["HSET", KEYS.marks, "5f1c09d2a7b3", ""],
        ["HDEL", KEYS.marks, "5f1c09d2a7b3"],
        ["HINCRBY", KEYS.marks, "revision", "1"],
        ["RPUSH", KEYS.log("asset"), ""],
        ["XGROUP", "SETID", KEYS.events, GROUP, "$"],
        ["SET", KEYS.contract, "9"],
        ["SET", KEYS.lease, "x"],
        ["DEL", KEYS.incidents],
        ["SET", KEYS.incidents, ""],
        ["RENAME", KEYS.incidents, KEYS.marks],
        ["EXPIRE", KEYS.incidents, "1"],
        ["EVAL", "return 1", "1", KEYS.incidents],
        ["EVALSHA", "0" * 40, "1", KEYS.events],
        ["EVALSHA", "0" * 40, "1", KEYS.marks],
        ["FCALL", publishing.FUNCTION.name, "1", KEYS.incidents],
        ["FUNCTION", "LOAD", publishing.FUNCTION.text],
        ["CLIENT", "LIST"],
        ["SCAN", "0"],
    ],
    "etlog-admin": [
        ["HSET", KEYS.incidents, "watcher", ""],
        ["HDEL", KEYS.incidents, "watcher"],
        ["FCALL", publishing.FUNCTION.name, "1", KEYS.events],
        ["FUNCTION", "LOAD", publishing.FUNCTION.text],
        ["HSET", KEYS.producers, "p", ""],
        ["SET", KEYS.cursor, "0-0"],
        ["SET", KEYS.contract, "9"],
        ["HSET", KEYS.stats, "lost", "0"],
        ["HSET", KEYS.sets("asset"), "-", ""],
        ["HDEL", KEYS.sets("asset"), "-"],
        ["ZADD", KEYS.changes("asset"), "1", "-"],
        ["HSET", KEYS.unrowed, "AssetSetSaved", "0"],
        ["DEL", KEYS.marks],
        ["SET", KEYS.marks, ""],
        ["HINCRBY", KEYS.stats, "lost", "-1"],
        ["RPUSH", KEYS.log("asset"), ""],
        ["XADD", KEYS.dead, "*", "event", ""],
        ["EVAL", "return 1", "1", KEYS.counters],
        ["DEL", KEYS.lease],
    ],
}


@pytest.mark.parametrize("user", USERS)
def test_each_user_is_refused_what_it_does_not_need(root: Client, user: str) -> None:
    """The server is asked what it would say, so that nothing happens if it would allow it."""
    allowed = []
    for command in EVERYBODY + ONE[user]:
        if user == "etlog-consumer" and command[:2] == ["XTRIM", KEYS.events]:
            continue  # the one that trims
        if root.execute_command("ACL", "DRYRUN", user, *command) == b"OK":
            allowed.append(command)

    assert allowed == []


@pytest.mark.parametrize(
    ("user", "command"),
    [
        ("etlog-api", ["XADD", KEYS.events, "*", "event", ""]),
        ("etlog-producer", ["XRANGE", KEYS.events, "-", "+"]),
        ("etlog-consumer", ["XADD", KEYS.events, "*", "event", ""]),
        *((user, ["CONFIG", "GET", "maxmemory"]) for user in USERS),
        *((user, ["FLUSHALL"]) for user in USERS),
    ],
    ids=lambda value: value if isinstance(value, str) else value[0],
)
def test_a_refusal_is_real(guarded: GuardedServer, root: Client, user: str, command: list[str]) -> None:
    """And the server notes it."""
    with connect(guarded.url_of(user), part="test") as client, pytest.raises(redis.exceptions.NoPermissionError):
        client.execute_command(*command)

    assert [who for who, _ in refused(root)] == [user]


def test_a_function_may_do_no_more_than_its_caller(guarded: GuardedServer, root: Client) -> None:
    """A stage that is taken over may call whatever the store knows, and still reads nothing."""
    Publisher(root, KEYS)(P, 1, [saved()])
    reading = Function("read_all", "another", "return redis.call('XRANGE', KEYS[1], '-', '+')")
    assert len(scripts.run(root, reading.call([KEYS.events]))[0]) == 1
    with (
        connect(guarded.url_of("etlog-producer"), part="test") as client,
        pytest.raises(redis.ResponseError, match=r"permission|can't run"),
    ):
        scripts.run(client, reading.call([KEYS.events]))


def test_nobody_comes_in_without_a_name(guarded: GuardedServer) -> None:
    """Nor with a wrong password: the user that every server has is off."""
    with connect(f"redis://127.0.0.1:{guarded.port}/0", part="test") as client, pytest.raises(redis.RedisError):
        client.ping()
    with (
        connect(guarded.url_of("etlog-api", "a wrong password"), part="test") as client,
        pytest.raises(redis.AuthenticationError),
    ):
        client.ping()


def test_a_part_under_the_wrong_user_says_so(guarded: GuardedServer, root: Client) -> None:
    """An API that was given the address of the producers answers 503, not an empty log."""
    settings = Settings(redis_url=guarded.url_of("etlog-producer"), name=LOG)
    with apis.serve(create_app(settings)) as api:
        assert api.get().status_code == 503
        answer: httpx.Response = api.get("/readyz")

    assert answer.status_code == 503
    assert "permission" in answer.json()["message"]
    assert PASSWORDS["etlog-producer"] not in answer.text


def test_no_password_is_in_a_file(guarded: GuardedServer, tmp_path: Path) -> None:
    """Neither in what is made of them: it holds their hashes."""
    made = (guarded.folder / "users.acl").read_text()

    assert not any(password in made for password in PASSWORDS.values())
    assert "#<" not in made


def test_a_short_password_is_refused(tmp_path: Path) -> None:
    """An empty secret must not become an account that everybody can use."""
    for user in PASSWORDS:
        (tmp_path / user).write_text("\n" if user == "etlog-api" else "long enough for anybody")

    made = subprocess.run([REDIS / "make-users", tmp_path], capture_output=True, text=True, check=False)

    assert (made.returncode, made.stdout) == (1, "")
    assert made.stderr == f"make-users: the password in {tmp_path}/etlog-api has less than 16 characters\n"
