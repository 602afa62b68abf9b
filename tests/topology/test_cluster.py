"""A real cluster of three primaries: every part reaches the node that has the log, wherever it moves."""

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import httpx
import pytest
from etlog.__main__ import run
from etlog.verification import verify
from etlog_api.app import create_app
from etlog_events.keys import Keys
from etlog_events.publishing import FUNCTION
from etlog_events.settings import Settings
from etlog_events.store import connect
from etlog_producer import Producer
from support.apis import serve
from support.clustered import Clustered
from support.consumers import catch_up
from support.samples import WINDOW, saved
from support.servers import free_port, wait_until
from support.stream import Client, stats
from topology.processes import AFTER, SOON, Processes, numbers_of, times_until

pytestmark = pytest.mark.timed

KEYS = Keys("clustered")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Clustered]:
    """Three primaries, and a replica of the one that has the log at first."""
    with closing(Clustered(KEYS)) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def processes(cluster: Clustered) -> Iterator[Processes]:
    """All processes at work."""
    with closing(Processes(cluster.url, KEYS.name)) as processes:
        yield processes


@pytest.fixture
def client(cluster: Clustered) -> Iterator[Client]:
    """A client that is led to the log."""
    with connect(cluster.url, part="test", log=KEYS.name) as client:
        yield client


@pytest.fixture
def etlog(
    cluster: Clustered, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Runs a command on the log, and returns what it prints."""
    monkeypatch.setenv("ETLOG_REDIS_URL", "")
    monkeypatch.setenv("ETLOG_NAME", "")

    def command(*arguments: str) -> str:
        capsys.readouterr()
        assert run([*arguments, "--redis-url", cluster.url, "--log", KEYS.name]) == 0
        return capsys.readouterr().out

    return command


def test_a_slot_that_moves_under_load_loses_and_doubles_nothing(
    cluster: Clustered, processes: Processes, client: Client
) -> None:
    """There and back; while its keys are in two places all wait, and then go on within seconds."""
    home = cluster.holder()
    stage = processes.stage("moving")
    processes.wait(stage)

    for target, at_once in ((cluster.others()[0], False), (home, True)):
        if not (at_once and cluster.move_at_once(target)):
            cluster.move(target, lambda: _let_it_emit(stage, processes))
        goal = stage.emitted + AFTER
        times = times_until(
            producer=lambda: stage.acknowledged >= goal,  # noqa: B023
            api=lambda: processes.answered("moving") >= goal,  # noqa: B023
            live=lambda: processes.followed("moving") >= goal,  # noqa: B023
        )
        assert max(times.values()) <= SOON, times

    emitted = stage.end()
    assert numbers_of(client, KEYS, "moving") == list(range(1, emitted + 1))
    wait_until(lambda: stats(client, KEYS) == {"applied": emitted}, what="all to be applied, once")
    assert verify(client, KEYS).faults == []
    assert cluster.holder() is home


def _let_it_emit(stage: Any, processes: Processes) -> None:
    goal = stage.emitted + 10
    wait_until(lambda: stage.emitted >= goal, what="the stage to emit")
    processes.answered("moving")


def test_the_function_that_publishes_is_loaded_where_the_log_is(cluster: Clustered, processes: Processes) -> None:
    """By the consumer, which goes with the log from node to node; so a stage needs no right to load it."""
    stage = processes.stage("at first")
    processes.wait(stage)
    stage.end()
    home = cluster.holder()
    cluster.move(cluster.others()[0], lambda: None)
    for node in cluster.primaries:
        node.client.execute_command("FUNCTION", "FLUSH")

    wait_until(lambda: _has_function(cluster.holder().client), what="the consumer to load it there")
    assert not any(_has_function(node.client) for node in cluster.others())
    cluster.move(home, lambda: None)


def _has_function(client: Client) -> bool:
    return bool(client.execute_command("FUNCTION", "LIST", "LIBRARYNAME", FUNCTION.library))


def test_every_command_reaches_the_log(
    cluster: Clustered, processes: Processes, client: Client, etlog: Callable[..., str]
) -> None:
    """Those that write, and those that look after it; and what waits in the spool for the cluster is sent there."""
    applied = stats(client, KEYS).get("applied", 0)
    etlog("emit", "AssetSetSaved", "--size", "1", "--start", WINDOW[0], "--end", WINDOW[1])
    client.xadd(KEYS.events, {"event": "no event"})
    wait_until(lambda: stats(client, KEYS).get("dead"), what="a dead letter")
    letter = etlog("dead", "list", "--json")
    etlog("dead", "requeue", json.loads(letter)["id"], "--event", saved(2).decode())
    with Producer(f"redis+cluster://127.0.0.1:{free_port()}", log=KEYS.name) as producer:
        producer.emit("AssetSetSaved", size=3, window=WINDOW)
        producer.close(0)
    assert etlog("spool", "flush", "--any-store").startswith("1 event delivered")
    wait_until(lambda: stats(client, KEYS)["applied"] == applied + 3, what="all to be applied")

    assert json.loads(etlog("verify", "--json"))["holds"]
    processes.api.wait()
    status = httpx.get(f"{processes.api.url}/model/etl/status").json()["data"]
    assert status["stats"]["applied"] == applied + 3
    assert httpx.get(f"{processes.api.url}/model/etl/bugreport").status_code == 200


def test_the_api_reads_from_a_replica_of_the_node(cluster: Clustered, client: Client) -> None:
    """Where there is one, which the primary is spared then."""
    counted = sum(map(int, client.hvals(KEYS.counters)))
    settings = Settings(redis_url=cluster.url, name=KEYS.name, read_from="replica")
    assert _apis(cluster.replica.client) == 0
    with serve(create_app(settings)) as api:
        wait_until(lambda: sum(api.log()["data"]["counters"].values()) == counted, what="the replica to be in step")

        assert "warning" not in api.log()
        assert _apis(cluster.replica.client) == 1


def test_a_replica_takes_the_place_of_a_node_that_is_lost(
    cluster: Clustered, processes: Processes, client: Client
) -> None:
    """The last test of this cluster: all processes go on there, and nothing is missing."""
    stage = processes.stage("surviving")
    processes.wait(stage)
    cluster.lose(cluster.holder())
    goal = stage.emitted + AFTER
    times = times_until(
        failover=lambda: cluster.holds(cluster.replica),
        producer=lambda: stage.acknowledged >= goal,
        api=lambda: processes.answered("surviving") >= goal,
        live=lambda: processes.followed("surviving") >= goal,
    )
    emitted = stage.end()

    assert max(times.values()) <= times["failover"] + SOON, times
    assert numbers_of(client, KEYS, "surviving") == list(range(1, emitted + 1))
    catch_up(client, KEYS)
    assert verify(client, KEYS).faults == []


def _apis(client: Client) -> int:
    return sum(connection["name"] == "etlog-api" for connection in client.client_list())
