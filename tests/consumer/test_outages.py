"""The store goes away, or says no: the consumer waits, says so once, and goes on where it was."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

import etlog_consumer
import psutil
import pytest
import redis
from etlog.verification import verify
from etlog_consumer import Consumer, Target
from etlog_consumer.recovery import Recovery
from etlog_events.keys import Keys
from etlog_events.kinds import KUBECOST_KINDS
from etlog_events.store import connect
from etlog_producer.publish import Identity, Publisher
from support.consumers import consumer_process, consumer_thread, in_threads
from support.guarded import redis_server
from support.logged import Logged
from support.proxy import Proxy
from support.samples import batches, saved
from support.servers import Server, wait_until
from support.stream import counters, numbers, stats

EVENTS = [saved(size) for size in range(100)]

P = Identity("p")

#: Seconds over which the use of the processor is measured.
MEASURED = 4.0


def consumer_at(url: str, keys: Keys, retain: int = 10) -> AbstractContextManager[Consumer]:
    """A consumer in a thread, which soon gives up on an answer."""
    return consumer_thread(url, keys, cap=100, retain=retain, answer_timeout=1.5)


@contextmanager
def one_outage(url: str, keys: Keys, logged: Logged) -> Iterator[None]:
    """A consumer in a thread. It must say once that the store is away, and at the end once that it is back."""
    with consumer_at(url, keys):
        yield
        wait_until(lambda: logged("store_back"), what="it to be over")
    assert len(logged("store_away")) == len(logged("store_back")) == 1


def by_config(name: str, bad: str, good: str) -> tuple[Callable[[Server], Any], Callable[[Server], Any]]:
    """A setting of the store that makes it refuse, and one that mends it."""

    def setting(value: str) -> Callable[[Server], Any]:
        def set_it(server: Server) -> None:
            with connect(server.url, part="test") as client:
                client.config_set(name, value)

        return set_it

    return setting(bad), setting(good)


def command(*arguments: str, url: Callable[[Server], str] = lambda server: server.url) -> Callable[[Server], Any]:
    """A command to the store."""

    def send(server: Server) -> None:
        with connect(url(server), part="test") as client:
            client.execute_command(*arguments)

    return send


def change_password(server: Server) -> None:
    """Nobody who is connected stays."""
    command("CONFIG", "SET", "requirepass", "hunter22")(server)
    with connect(_with_password(server), part="test") as client:
        client.client_kill_filter(_type="normal", skipme=True)


def _with_password(server: Server) -> str:
    return server.url.replace("redis://", "redis://:hunter22@")


#: What goes wrong, how it is mended, and what the log line says of it.
TROUBLE: dict[str, tuple[Callable[[Server], Any], Callable[[Server], Any], str]] = {
    "restart": (Server.kill, Server.start, "onnect"),
    "frozen": (Server.stop, Server.resume, "imeout"),
    "cannot save": (*by_config("min-replicas-to-write", "3", "0"), "eplicas"),
    "read-only": (
        command("REPLICAOF", "127.0.0.1", "1"),
        command("REPLICAOF", "NO", "ONE"),
        "read only|aster",
    ),
    "another password": (
        change_password,
        command("CONFIG", "SET", "requirepass", "", url=_with_password),
        "uthentication|closed",  # that of the dropped connection comes first
    ),
    "a permission taken": (
        command("ACL", "SETUSER", "default", "-evalsha", "-eval"),
        command("ACL", "SETUSER", "default", "+@all"),
        "permission",
    ),
}


@pytest.mark.parametrize(("break_it", "mend_it", "said"), TROUBLE.values(), ids=TROUBLE.keys())
def test_it_waits_until_the_store_takes_events_again(
    server: Server,
    keys: Keys,
    logged: Logged,
    break_it: Callable[[Server], Any],
    mend_it: Callable[[Server], Any],
    said: str,
) -> None:
    """One line when it goes, one when it is back, and every event applied once."""
    with connect(server.url, part="test") as client, one_outage(server.url, keys, logged):
        publish = Publisher(client, keys)
        publish(P, 1, EVENTS)
        wait_until(lambda: stats(client, keys).get("applied") == 100, what="the first events to be applied")

        break_it(server)
        wait_until(lambda: logged("store_away"), what="it to be noticed")
        mend_it(server)
        wait_until(lambda: logged("store_back"), what="it to be over")
        client.connection_pool.disconnect()
        held = publish(P, 1, ()).held
        publish(P, held + 1, EVENTS)
        wait_until(lambda: stats(client, keys).get("applied") == held + 100, what="the next events to be applied")
        assert verify(client, keys).faults == []

    assert any(part in logged("store_away")[0] for part in said.split("|")), logged("store_away")


def test_a_store_that_loads_is_waited_for(keys: Keys, logged: Logged) -> None:
    """Its file is large; it answers, but not yet to this."""
    server = Server("--appendonly", "yes", "--aof-use-rdb-preamble", "no", "--key-load-delay", "200")
    try:
        with connect(server.url, part="test") as client:
            publish = Publisher(client, keys)
            for number, event in enumerate(EVENTS * 50, 1):
                publish(P, number, [event])
            with consumer_at(server.url, keys):
                wait_until(lambda: logged("active"), what="the consumer to start")
                server.kill()
                server.start()
                client.connection_pool.disconnect()
                wait_until(lambda: stats(client, keys).get("applied") == 5000, what="all to be applied")
    finally:
        server.close()
    assert len(logged("store_away")) == 1


def test_a_store_that_cannot_write_its_file_is_waited_for(keys: Keys, logged: Logged) -> None:
    """MISCONF: a snapshot failed, and the store takes nothing until one succeeds."""
    with (
        closing(Server("--save", "3600 1000000", "--stop-writes-on-bgsave-error", "yes")) as server,
        connect(server.url, part="test") as client,
    ):
        publish = Publisher(client, keys)
        publish(P, 1, EVENTS)
        shutil.rmtree(server.folder)
        client.bgsave()
        wait_until(lambda: client.info("persistence")["rdb_last_bgsave_status"] == "err", what="it to fail")
        with one_outage(server.url, keys, logged):
            wait_until(lambda: logged("store_away"), what="it to be noticed")
            assert "MISCONF" in logged("store_away")[0]
            client.config_set("stop-writes-on-bgsave-error", "no")
            wait_until(lambda: stats(client, keys).get("applied") == 100, what="all to be applied")


def test_a_bad_network_doubles_and_loses_nothing(server: Server, keys: Keys) -> None:
    """Replies swallowed, late, connections cut: what was applied without an answer is not applied again."""
    proxy = Proxy(server.port)
    try:
        with connect(server.url, part="test") as client, consumer_at(proxy.url, keys):
            publish = Publisher(client, keys)
            for round_ in range(3):
                publish(P, 1 + 300 * round_, EVENTS)
                before = proxy.swallowed
                proxy.swallow_replies(True)
                publish(P, 101 + 300 * round_, EVENTS)
                wait_until(partial(_more_swallowed, proxy, before), what="a reply to be swallowed")
                proxy.cut()
                proxy.swallow_replies(False)
                proxy.delay_replies(0.05)
                publish(P, 201 + 300 * round_, EVENTS)
                proxy.delay_replies(0)
                wait_until(partial(_applied, client, keys, 300 * (round_ + 1)), what="all to be applied")
            assert stats(client, keys) == {"applied": 900}
    finally:
        proxy.close()


def test_a_half_open_connection_is_given_up(server: Server, keys: Keys, logged: Logged) -> None:
    """It takes requests, and nothing ever comes back."""
    with (
        closing(Proxy(server.port)) as proxy,
        connect(server.url, part="test") as client,
        one_outage(proxy.url, keys, logged),
    ):
        wait_until(lambda: logged("active"), what="the consumer to start")
        proxy.swallow_replies(True)
        wait_until(lambda: logged("store_away"), what="it to be noticed")
        Publisher(client, keys)(P, 1, EVENTS)
        proxy.swallow_replies(False)
        wait_until(lambda: stats(client, keys).get("applied") == 100, what="all to be applied")


@pytest.mark.timed
@pytest.mark.usefixtures("rested")
def test_a_connection_that_was_forgotten_in_a_rest_is_no_outage(server: Server, keys: Keys, logged: Logged) -> None:
    """A consumer that was stopped, such as with its machine, goes on at once."""
    with (
        closing(Proxy(server.port)) as proxy,
        connect(server.url, part="test") as client,
        connect(proxy.url, part="consumer") as own,
    ):
        consumer = Consumer(own, Target(keys, KUBECOST_KINDS, 100), retain=10)
        with in_threads(consumer):
            wait_until(lambda: logged("active"), what="the consumer to start")
        Publisher(client, keys)(P, 1, EVENTS)
        proxy.forget()

        began = monotonic()
        with in_threads(consumer):
            wait_until(lambda: stats(client, keys).get("applied") == 100, what="all to be applied")

        assert monotonic() - began < 2
    assert logged("store_away") == []


def test_reading_alone_does_not_end_an_outage(server: Server, keys: Keys, logged: Logged) -> None:
    """A list that is no list: entries can be read, and not applied."""
    with connect(server.url, part="test") as client:
        client.set(keys.log("allocation"), "not a list")
        Publisher(client, keys)(P, 1, EVENTS)
        with consumer_at(server.url, keys):
            wait_until(lambda: logged("store_away"), what="it to be noticed")
            before = client.info("commandstats")["cmdstat_evalsha"]["calls"]
            wait_until(
                lambda: client.info("commandstats")["cmdstat_evalsha"]["calls"] > before + 6, what="more attempts"
            )
            assert logged("store_back") == []
            client.delete(keys.log("allocation"))
            wait_until(lambda: logged("store_back"), what="it to be over")
        assert stats(client, keys) == {"applied": 100}
    assert len(logged("store_away")) == 1


@pytest.mark.timed
@pytest.mark.parametrize("state", ["idle", "standing by", "away", "refusing"])
def test_waiting_costs_next_to_nothing(server: Server, keys: Keys, state: str) -> None:
    """Less than 2 % of a core."""
    with connect(server.url, part="test") as client:
        if state == "standing by":
            client.set(keys.lease, "another")
        with consumer_process(server.url, keys.name) as process:
            wait_until(
                lambda: any(c["name"] == "etlog-consumer" for c in client.client_list()), what="the consumer to start"
            )
            if state == "idle":
                wait_until(lambda: client.get(keys.lease), what="the consumer to be active")
            if state == "away":
                server.kill()
            if state == "refusing":
                client.config_set("min-replicas-to-write", "3")
            measured = psutil.Process(process.pid)
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(1)
            before = sum(measured.cpu_times()[:2])
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(MEASURED)
            used = sum(measured.cpu_times()[:2]) - before
    assert before > 0  # it is measured at all
    assert used / MEASURED < 0.02


@pytest.mark.parametrize("kind", ["redis", "valkey"])
def test_a_full_store_gets_room_by_being_applied(keys: Keys, kind: str) -> None:
    """It is full of what waits to be applied, so that nothing else can make room."""
    with (
        closing(Server(binary=redis_server() if kind == "redis" else None)) as server,
        connect(server.url, part="test") as client,
    ):
        publish = Publisher(client, keys)
        sent = 1
        for batch in batches(EVENTS * 200):
            publish(P, sent, batch)
            sent += len(batch)
        client.config_set("maxmemory", client.info("memory")["used_memory"])
        with pytest.raises(redis.ResponseError, match="maxmemory"):
            publish(P, 20_001, EVENTS)

        with consumer_at(server.url, keys, retain=100):
            wait_until(lambda: stats(client, keys).get("applied") == 20_000, what="all to be applied")
            publish(P, 20_001, EVENTS)
            wait_until(lambda: stats(client, keys)["applied"] == 20_100, what="the log to go on")

        assert counters(client, keys) == {"AllocationSetSaved": 20_100}
        assert len(numbers(client, keys)) < 2000


def test_a_field_that_is_no_number_stops_nobody(server: Server, keys: Keys, logged: Logged) -> None:
    """Somebody wrote into the hashes by hand."""
    with connect(server.url, part="test") as client:
        for field, text in {"p": "abc", "x": "published=1", "": "published=1 applied=x dead=0"}.items():
            client.hset(keys.producers, field, text)
        client.zadd(keys.producers_seen, {"nonsense": 1, "": 2})
        client.hset(keys.producers_ended, "published", "many")
        client.hset(keys.counters, "AllocationSetSaved", "many")
        client.hset(keys.stats, "applied", "1e3x")
        with consumer_at(server.url, keys):
            Publisher(client, keys)(P, 1, EVENTS)
            wait_until(lambda: client.hget(keys.stats, "applied") == b"100", what="the events to be applied")

        assert counters(client, keys) == {"AllocationSetSaved": 100}
        assert [fault for fault in verify(client, keys).faults if keys.producers in fault]
    assert logged("store_away") == []


def test_a_bug_in_etlog_is_waited_out(
    server: Server,
    keys: Keys,
    logged: Logged,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Whatever goes wrong, the process stays; the trace is logged once, however often it happens."""
    failures = iter([ZeroDivisionError("a bug")] * 3)

    def failing(*_: Any) -> Any:
        failure = next(failures, None)
        if failure is not None:
            raise failure
        return load(*_)

    load = Recovery.load
    monkeypatch.setattr(Recovery, "load", failing)
    with connect(server.url, part="test") as client, consumer_at(server.url, keys):
        Publisher(client, keys)(P, 1, EVENTS)
        wait_until(lambda: stats(client, keys).get("applied") == 100, what="the events to be applied")
        wait_until(lambda: logged("store_back"), what="it to be over")

    [traced] = [record for record in caplog.records if record.exc_info]
    assert "a bug" in str(traced.exc_info)
    assert len(logged("store_away")) == 1


def test_no_clock_that_somebody_sets_is_asked() -> None:
    """Lease, pauses and looks go by the monotonic clock; the lease's end is the store's affair."""
    for module in Path(etlog_consumer.__file__).parent.rglob("*.py"):
        text = module.read_text()
        assert "time.time" not in text
        assert "datetime" not in text
        if module.name != "metrics.py":  # an entry's age is the difference of two such clocks, and decides nothing
            assert "import monotonic, time" not in text
            assert "from time import time" not in text


def _more_swallowed(proxy: Proxy, before: int) -> bool:
    return proxy.swallowed > before


def _applied(client: redis.Redis, keys: Keys, number: int) -> bool:
    return stats(client, keys).get("applied") == number
