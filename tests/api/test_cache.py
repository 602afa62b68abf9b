"""An answer is made once per version of the log, and costs the store one question at most."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import httpx
import pytest
import redis
from etlog_api import negotiation
from etlog_api.app import create_app
from etlog_api.log import cache
from etlog_api.log.answer import answer
from etlog_consumer import Consumer
from etlog_events.keys import Keys
from etlog_events.settings import Settings
from support.apis import Api, Fill, add, tail
from support.samples import saved

#: Enough for an answer that is compressed.
MANY = [saved(size) for size in range(50)]


def commands(client: redis.Redis) -> dict[str, int]:
    """Calls of each command since the store began."""
    return {name.removeprefix("cmdstat_"): stat["calls"] for name, stat in client.info("commandstats").items()}


@pytest.fixture
def filled(
    client: redis.Redis,
    keys: Keys,
    consuming: Callable[[], AbstractContextManager[Consumer]],
    caught_up: Callable[[], None],
) -> None:
    """A log with events in it, and no one at work on it."""
    add(client, keys, MANY)
    with consuming():
        caught_up()


@pytest.fixture
def spy(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was made: `answer`, `gzip`, `zstd`."""
    made: list[str] = []

    def noted(name: str, work: Any) -> Any:
        def call(*arguments: Any) -> Any:
            made.append(name)
            return work(*arguments)

        return call

    monkeypatch.setattr(cache, "answer", noted("answer", answer))
    codings = {name: noted(name, work) for name, work in negotiation.CODINGS.items()}
    monkeypatch.setattr(negotiation, "CODINGS", codings)
    return made


def test_an_answer_is_made_once_per_version(api: Api, fill: Fill, spy: list[str]) -> None:
    """And compressed once, however many ask."""
    fill(MANY)
    with ThreadPoolExecutor(8) as pool:
        for coding in ("gzip", "zstd", "identity") * 2:
            headers = {"Accept-Encoding": coding}
            answers = list(pool.map(partial(api.get, headers=headers), ["/model/etl/log"] * 8))
            assert len({each.text for each in answers}) == 1
    assert sorted(spy) == ["answer", "gzip", "zstd"]

    fill([saved(1)])
    assert len(api.log()["data"]["allocation"]) == 51
    assert len(spy) == 5


@pytest.mark.usefixtures("filled")
def test_a_question_to_the_store_is_one_command(api: Api, client: redis.Redis) -> None:
    """No request asks more than whether the cursor has moved; without an event nothing else is read."""
    api.log()
    before = commands(client)

    for limit in range(1, 21):
        api.log(limit=str(limit))

    after = commands(client)
    assert {name: after[name] - before.get(name, 0) for name in after if after[name] != before.get(name, 0)} == {
        "get": 20,
        "info": 1,
    }


@pytest.mark.usefixtures("filled")
def test_requests_at_once_share_their_question(client: redis.Redis, store_url: str, keys: Keys) -> None:
    """A hundred requests at once are a handful of questions to the store."""

    async def ask() -> int:
        app = create_app(Settings(redis_url=store_url, name=keys.name))
        transport = httpx.ASGITransport(app)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://x") as mine,
        ):
            await mine.get("/model/etl/log")
            before = commands(client)["get"]
            answers = await asyncio.gather(*(mine.get("/model/etl/log") for _ in range(100)))
            assert {each.status_code for each in answers} == {200}
            return commands(client)["get"] - before

    assert 1 <= asyncio.run(ask()) <= 5


@pytest.mark.parametrize("bound", ["MAX_ANSWERS", "MAX_BYTES"])
def test_the_cache_is_bounded(
    api: Api, fill: Fill, spy: list[str], monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    """In number and in bytes; what was asked for last stays."""
    fill(MANY)
    longest = len(api.get().content)
    monkeypatch.setattr(cache, bound, {"MAX_ANSWERS": 3, "MAX_BYTES": 3 * longest}[bound])
    spy.clear()

    for limit in ("49", "48", "47", "49", "46", "49", "48"):
        api.log(limit=limit)

    assert spy.count("answer") == 5


def test_the_same_log_is_not_sent_again(api: Api, fill: Fill, client: redis.Redis, keys: Keys) -> None:
    """As long as it is the same; the cursor is where the live log goes on: behind all events of the last entry."""

    def end(answer: httpx.Response) -> bytes:
        entry_id, _, place = answer.headers["Etlog-Cursor"].encode().partition(b".")
        assert place == b"499"
        return entry_id

    fill(MANY)
    tag = api.get().headers["ETag"]
    again = api.get(headers={"If-None-Match": tag})
    assert (again.status_code, end(again)) == (304, client.get(keys.cursor))

    fill([saved(1)])
    moved = api.get(headers={"If-None-Match": tag})
    assert (moved.status_code, len(moved.json()["data"]["allocation"])) == (200, 51)
    assert end(moved) == client.get(keys.cursor)
    with tail(api.url, last=moved.headers["Etlog-Cursor"]) as following:
        fill([saved(2)])
        following.wait(1)
        assert following.data == [saved(2)]
    assert moved.headers["ETag"] != tag
    assert api.get(params={"limit": "1"}).headers["ETag"] not in {tag, moved.headers["ETag"]}


def test_a_client_that_has_seen_an_event_applied_finds_it(
    api: Api, fill: Fill, client: redis.Redis, keys: Keys
) -> None:
    """Fifty clients see the cursor move in the store, and none gets an answer without what that applied."""
    fill([saved(0)])

    def counted() -> int:
        return int(client.hget(keys.counters, "AllocationSetSaved") or 0)

    def ask() -> list[tuple[int, int]]:
        found = []
        for _ in range(6):
            seen = counted()
            found.append((seen, api.log(limit="1")["data"]["counters"]["AllocationSetSaved"]))
        return found

    with ThreadPoolExecutor(50) as pool:
        asking = [pool.submit(ask) for _ in range(50)]
        while not all(each.done() for each in asking):
            fill([saved(counted())])
        found = [pair for each in asking for pair in each.result()]

    assert len(found) == 300
    assert all(answered >= seen for seen, answered in found)
    assert len({seen for seen, _ in found}) > 5
