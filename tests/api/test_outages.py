"""While the store is away every request is answered within 2 seconds, and with its return all is well by itself."""

import asyncio
import re
import threading
import time
from collections.abc import Iterator
from contextlib import closing

import httpx
import pytest
from etlog_api.live import hub
from etlog_api.log import reader
from etlog_events.keys import Keys
from etlog_events.store import connect, liveness
from etlog_ledger.reading import connection
from support.apis import Api, Serving, apply, tail
from support.fakes import Clock
from support.proxy import Proxy
from support.samples import saved
from support.servers import Server, wait_until

pytestmark = pytest.mark.timed

#: Seconds within which every answer comes, and all is well again.
PROMISE = 2.0

PATHS = {
    "/model/etl/log": 200,
    "/model/etl/log?limit=1": 200,
    "/model/etl/coverage": 503,
    "/model/etl/status": 503,
    "/readyz": 503,
    "/metrics": 200,
    "/model/etl/bugreport": 200,
    "/model/etl/log/stream": 503,
    "/healthz": 200,
}


def ask_at_once(api: Api, paths: list[str]) -> list[httpx.Response]:
    """The answers to requests that start together."""

    async def ask() -> list[httpx.Response]:
        async with httpx.AsyncClient(base_url=api.url, timeout=10) as client:
            return await asyncio.gather(*(client.get(path) for path in paths))

    return asyncio.run(ask())


def ask_one_after_the_other(api: Api, number: int) -> list[httpx.Response]:
    """The answers to requests that start a tenth of a second apart, whether or not the one before is answered."""

    async def ask() -> list[httpx.Response]:
        async with httpx.AsyncClient(base_url=api.url, timeout=10) as client:

            async def later(seconds: float) -> httpx.Response:
                await asyncio.sleep(seconds)
                return await client.get("/model/etl/log")

            return await asyncio.gather(*(later(position / 10) for position in range(number)))

    return asyncio.run(ask())


def require_promise(answers: list[httpx.Response]) -> None:
    """Each came in time, with the code that belongs to it, in the envelope."""
    for answer in answers:
        path = answer.request.url.raw_path.decode()
        assert answer.elapsed.total_seconds() < PROMISE, path
        assert answer.status_code == PATHS[path], path
        if answer.status_code == 503:
            assert answer.json()["code"] == 503
            assert answer.headers["Retry-After"] == "5"
        if path.startswith("/model/etl/log"):
            require_away(answer)


def require_away(answer: httpx.Response) -> None:
    """The log as it was, with a word on it; a stream cannot be begun."""
    if answer.status_code == 200:
        assert answer.json()["warning"].startswith("the store has been unreachable since 20")
        assert answer.json()["data"]["counters"] == {"AllocationSetSaved": 3}


def is_well(api: Api, applied: int = 3) -> bool:
    """Whether the log is answered from the store again."""
    answer = api.log()
    return "warning" not in answer and answer["data"]["counters"] == {"AllocationSetSaved": applied}


def require_recovery(api: Api, applied: int = 3) -> None:
    """All is well within the promise, everywhere."""
    began = time.monotonic()
    wait_until(lambda: is_well(api, applied))
    assert time.monotonic() - began < PROMISE
    assert [answer.status_code for answer in ask_at_once(api, ["/model/etl/status"] * 5 + ["/readyz"] * 5)] == [
        200
    ] * 10
    with tail(api.url):
        pass


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Questions are given up after less than a second."""
    for module in (connection, hub, reader):
        monkeypatch.setattr(module, "QUESTION_TIMEOUT", 0.8)


@pytest.fixture
def server_api(serving: Serving, server: Server, keys: Keys) -> Iterator[Api]:
    """The API on a server of the test's own, with three events that it has seen, and idle connections."""
    apply(server.url, keys, [saved(size) for size in range(3)])
    with serving(redis_url=server.url) as api:
        assert {answer.status_code for answer in ask_at_once(api, ["/model/etl/log", "/model/etl/status"] * 5)} == {200}
        yield api


def test_a_silent_store_keeps_no_one_waiting(server_api: Api, server: Server) -> None:
    """Connected, but without a word: for the first request, for all at once, and for one after the other."""
    server.stop()

    require_promise([server_api.get()])
    require_promise(ask_at_once(server_api, [*PATHS, *["/model/etl/log"] * 10]))
    require_promise(ask_one_after_the_other(server_api, 20))

    server.resume()
    require_recovery(server_api)


def test_a_killed_store_comes_back(server_api: Api, server: Server, keys: Keys) -> None:
    """Answers come at once meanwhile, and what was applied after its return is there."""
    server.kill()
    require_promise(ask_at_once(server_api, list(PATHS) * 3))

    server.start()
    require_recovery(server_api)
    apply(server.url, keys, [saved(3)])
    assert is_well(server_api, 4)


def test_a_store_that_loads_is_waited_for(serving: Serving, keys: Keys) -> None:
    """It is there, but answers nothing else than that."""
    server = Server("--loading-process-events-interval-bytes", "1024")
    with closing(server):
        apply(server.url, keys, [saved(size) for size in range(3)])
        with connect(server.url, part="test") as client:
            client.mset({f"ballast:{number}": "x" * 1000 for number in range(1000)})
            client.save()
        with serving(redis_url=server.url) as api:
            assert is_well(api)
            server.kill()
            server._options += ("--key-load-delay", "1500")
            loading = threading.Thread(target=server.start)
            loading.start()
            wait_until(lambda: "is loading" in str(api.get("/model/etl/status").json().get("message")))
            require_promise(ask_at_once(api, [path for path in PATHS if "stream" not in path]))
            loading.join()
            require_recovery(api)


def test_a_demoted_store_still_answers_if_it_may(server_api: Api, server: Server) -> None:
    """A replica is enough to read from; one that must not give old data is as good as away."""
    with connect(server.url, part="test") as client:
        client.execute_command("REPLICAOF", "127.0.0.1", "1")
        assert is_well(server_api)
        assert server_api.get("/model/etl/status").json()["data"]["store"]["role"] == "slave"

        client.config_set("replica-serve-stale-data", "no")
        away = server_api.get()
        assert away.elapsed.total_seconds() < PROMISE
        require_away(away)
        assert "replica-serve-stale-data" in server_api.get("/model/etl/status").json()["message"]

        client.execute_command("REPLICAOF", "NO", "ONE")
    require_recovery(server_api)


def test_a_password_that_is_wrong_from_now_on(server_api: Api, server: Server) -> None:
    """Said as it is, without the password; and forgotten when it is right again."""
    with connect(server.url, part="test") as client:
        client.config_set("requirepass", "new-password")
        client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        require_promise(ask_at_once(server_api, list(PATHS)))
        assert "Authentication required" in server_api.get("/readyz").json()["message"]
        client.config_set("requirepass", "")
    require_recovery(server_api)


@pytest.fixture
def proxy(server: Server) -> Iterator[Proxy]:
    """A bad network in front of the server."""
    with closing(Proxy(server.port)) as proxy:
        yield proxy


@pytest.fixture
def proxied_api(serving: Serving, server: Server, proxy: Proxy, keys: Keys) -> Iterator[Api]:
    """The API behind the bad network, with three events that it has seen."""
    apply(server.url, keys, [saved(size) for size in range(3)])
    with serving(redis_url=proxy.url) as api:
        assert is_well(api)
        yield api


@pytest.mark.usefixtures("impatient")
def test_a_network_that_swallows_replies(proxied_api: Api, proxy: Proxy) -> None:
    """What was owed on an old connection is never taken for an answer to a new question."""
    proxy.swallow_replies(True)
    require_promise(ask_at_once(proxied_api, list(PATHS) * 2))

    proxy.swallow_replies(False)
    require_recovery(proxied_api)


@pytest.mark.usefixtures("impatient")
def test_a_network_that_is_slow(proxied_api: Api, proxy: Proxy, server: Server, keys: Keys) -> None:
    """A reply that comes after its time is no answer to the next question."""
    proxy.delay_replies(1.0)
    require_promise(ask_at_once(proxied_api, list(PATHS)))

    apply(server.url, keys, [saved(3)])
    proxy.delay_replies(0.0)
    wait_until(lambda: is_well(proxied_api, 4))
    assert all(is_well(proxied_api, 4) for _ in range(20))


def test_a_network_that_cuts(proxied_api: Api, proxy: Proxy, server: Server, keys: Keys) -> None:
    """Again and again, in the middle of questions; every answer is one of the log's states, in order."""
    seen: list[int] = []
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            answer = proxied_api.log()
            assert answer["code"] == 200
            seen.append(answer["data"]["counters"]["AllocationSetSaved"])

    asking = threading.Thread(target=ask)
    asking.start()
    for size in range(20):
        proxy.cut()
        apply(server.url, keys, [saved(size)])
    wait_until(lambda: seen[-1:] == [23])
    stop.set()
    asking.join()

    assert seen == sorted(seen)
    require_recovery(proxied_api, 23)


@pytest.mark.usefixtures("rested")
def test_a_network_that_forgets_a_connection_that_rests(
    proxied_api: Api, proxy: Proxy, server: Server, keys: Keys
) -> None:
    """The answer after the rest is from the store, and in time; so is everything else."""
    apply(server.url, keys, [saved(3)])
    proxy.forget()

    answer = proxied_api.get()

    assert answer.elapsed.total_seconds() < PROMISE
    assert answer.json()["data"]["counters"] == {"AllocationSetSaved": 4}
    assert "warning" not in answer.json()
    assert proxy.lost  # it was asked
    assert [proxied_api.get(path).status_code for path in PATHS if "stream" not in path] == [200] * (len(PATHS) - 1)


def test_a_connection_in_use_is_not_asked(
    server_api: Api, server: Server, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It answers, which is enough."""
    monkeypatch.setattr(liveness, "now", clock)
    assert is_well(server_api)

    def pings() -> int:
        with connect(server.url, part="test") as client:
            return int(client.info("commandstats").get("cmdstat_ping", {"calls": 0})["calls"])

    before = pings()
    for _ in range(20):
        clock.now += 0.9
        assert is_well(server_api)

    assert pings() == before


def test_another_store_takes_over_the_address(
    proxied_api: Api, proxy: Proxy, server: Server, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old one was demoted and says no more; its connections are still open, and trusted."""
    with closing(Server()) as other:
        with connect(server.url, part="test") as client:
            client.config_set("repl-diskless-sync-delay", "0")
        with connect(other.url, part="test") as client:
            client.execute_command("REPLICAOF", "127.0.0.1", server.port)
            wait_until(lambda: client.info("replication")["master_link_status"] == "up")
            client.execute_command("REPLICAOF", "NO", "ONE")
        apply(other.url, keys, [saved(3)])
        with tail(proxied_api.url) as following:
            wait_until(lambda: following.last)
            with monkeypatch.context() as trusting:
                trusting.setattr(liveness, "TRUSTED", 3600.0)
                assert is_well(proxied_api)
                server.stop()
                proxy._target = ("127.0.0.1", other.port)
                require_promise([proxied_api.get()])
            require_recovery(proxied_api, 4)
            following.wait(1)
            assert following.data == [saved(3)]
        server.resume()


def test_without_a_snapshot_the_log_cannot_be_answered(serving: Serving, server: Server, keys: Keys) -> None:
    """Until the store is there; then it is, without a restart."""
    apply(server.url, keys, [saved(size) for size in range(3)])
    server.kill()
    with serving(redis_url=server.url) as api:
        for answer in ask_at_once(api, ["/model/etl/log"] * 5):
            assert answer.status_code == 503
            assert answer.headers["Retry-After"] == "5"
            assert answer.json() == {
                "code": 503,
                "message": "the store cannot be reached, and nothing was read from it yet",
            }
        server.start()
        require_recovery(api)


def test_an_outage_is_told_in_the_metrics(server_api: Api, server: Server) -> None:
    """The snapshot ages, and what the store would tell is not a number."""
    server.kill()

    def samples() -> dict[str, str]:
        lines = server_api.get("/metrics").text.splitlines()
        return dict(re.sub(r'{log="[^"]*"}', "", line).rsplit(" ", 1) for line in lines if line[0] != "#")

    first, second = samples(), samples()
    assert first["etlog_store_up"] == "0.0"
    unknown = ("etlog_lag_events", "etlog_lag_entries", "etlog_oldest_unapplied_seconds")
    assert {first[name] for name in unknown} == {"NaN"}
    assert 0 < float(first["etlog_snapshot_age_seconds"]) < float(second["etlog_snapshot_age_seconds"])
