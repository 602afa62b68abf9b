"""Replicas of the API as processes: any gives the same answer, and a client may leave one for another at any time."""

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import httpx
import pytest
import redis
from etlog_events.keys import Keys
from etlog_producer import Producer
from support.apis import ApiProcess, api_process, apply, tail
from support.consumers import consumer_process
from support.samples import DOCUMENTED, WINDOW, saved
from support.servers import Server, wait_until
from support.stream import entries

QUERIES = ["", "?kind=AssetSet", "?window=2022-06-03T16:58:41Z,&limit=2", "?kind=nothing", "?window=7y"]


def answers(replica: ApiProcess) -> list[tuple[int, bytes, str | None]]:
    """Status, raw body and tag of the answers to several queries in every coding."""
    found = []
    with httpx.Client() as client:
        for query in QUERIES:
            for coding in ("identity", "gzip", "zstd"):
                with client.stream("GET", replica.log + query, headers={"Accept-Encoding": coding}) as answer:
                    found.append((answer.status_code, b"".join(answer.iter_raw()), answer.headers.get("ETag")))
    return found


def test_replicas_answer_alike(store_url: str, client: redis.Redis, keys: Keys) -> None:
    """Byte for byte, in every coding, with the same tag; one that comes later, too."""
    apply(store_url, keys, [event for events in DOCUMENTED.values() for event in events] * 5)
    with api_process(store_url, name=keys.name) as first, api_process(store_url, name=keys.name) as second:
        before = answers(first)
        assert answers(second) == before
        assert {code for code, _, _ in before} == {200, 400}

        apply(store_url, keys, [saved(size, "AssetSet") for size in range(100)])
        tag = httpx.get(first.log).headers["ETag"]
        assert httpx.get(second.log, headers={"If-None-Match": tag}).status_code == 304
        assert answers(first) == answers(second) != before
        with api_process(store_url, name=keys.name) as third:
            assert answers(third) == answers(first)


@pytest.mark.parametrize("seed", [1, 2])
def test_a_client_that_comes_and_goes_misses_nothing(
    store_url: str, client: redis.Redis, keys: Keys, seed: int
) -> None:
    """It leaves in the middle of whatever comes and resumes at any replica, while events are applied."""
    chance = random.Random(seed)
    got: list[bytes] = []
    done = threading.Event()

    def emit() -> None:
        with Producer(store_url, log=keys.name) as producer:
            for size in range(3000):
                producer.emit("AllocationSetSaved", size=size, window=WINDOW)
                if size % 50 == 0:
                    done.wait(0.02)

    with (
        api_process(store_url, name=keys.name) as one,
        api_process(store_url, name=keys.name) as other,
        consumer_process(store_url, keys.name),
    ):
        apply(store_url, keys, [saved(3000)])
        last, visits = client.get(keys.cursor) or b"", 0
        emitting = threading.Thread(target=emit)
        emitting.start()
        try:
            while len(got) < 3000:
                visits, wanted = visits + 1, min(chance.randrange(1, 200), 3000 - len(got))
                with tail(chance.choice((one, other)).url, last=last) as following:
                    following.wait(wanted)
                assert following.resyncs == []
                got += following.data[:wanted]
                last = following.messages[wanted - 1][0]
        finally:
            done.set()
            emitting.join()

    assert visits > 15
    assert got == [entry.event for entry in entries(client, keys)[1:]]
    assert len(got) == 3000


@pytest.mark.timed
def test_a_replica_stops_at_once(store_url: str, keys: Keys) -> None:
    """With clients of the live log attached, which see a proper end."""
    apply(store_url, keys, [saved()])
    with api_process(store_url, name=keys.name) as replica, ExitStack() as stack:
        clients = [stack.enter_context(tail(replica.url)) for _ in range(20)]
        assert httpx.get(replica.log).status_code == 200

        assert replica.stop() < 2

        wait_until(lambda: all(each.ended for each in clients))
        assert all(each.response.isclosed() for each in clients)
        assert replica.command.process.returncode == 0
        assert "Traceback" not in replica.command.printed
        assert "ERROR" not in replica.command.printed


@pytest.mark.timed
def test_a_replica_keeps_its_promise_while_the_store_is_silent(server: Server, keys: Keys) -> None:
    """Ten requests at once, each within 2 seconds; and all is well within 2 seconds of the store's return."""
    apply(server.url, keys, [saved()])
    with api_process(server.url, name=keys.name) as replica, httpx.Client() as client, ThreadPoolExecutor(10) as pool:
        assert "warning" not in client.get(replica.log).json()
        server.stop()
        for _ in range(2):
            for answer in pool.map(client.get, [replica.log] * 10):
                assert answer.elapsed.total_seconds() < 2
                assert answer.json()["warning"].startswith("the store cannot be reached since")
        server.resume()
        wait_until(lambda: "warning" not in client.get(replica.log).json(), timeout=2)
        assert "Traceback" not in replica.command.printed
