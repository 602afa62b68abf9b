"""An answer is made once a version of the log, compressed once, and not sent again to who has it."""

import asyncio
import gzip
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import httpx
import orjson
import pytest
import redis
import zstandard
from etlog_api import negotiation as bodies
from etlog_api.app import create_app
from etlog_api.log import cache
from etlog_api.log.answer import answer
from etlog_consumer import Consumer
from etlog_events.keys import Keys
from etlog_events.settings import Settings
from support.apis import Api, Fill, add
from support.samples import saved

DECODE: dict[str | None, Callable[[bytes], bytes]] = {
    "gzip": gzip.decompress,
    "zstd": zstandard.decompress,
    None: bytes,
}

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
    """A log with events in it, and nobody at work on it any more."""
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
    monkeypatch.setattr(bodies, "CODINGS", {name: noted(name, work) for name, work in bodies.CODINGS.items()})
    return made


def test_an_answer_is_made_once_a_version(api: Api, fill: Fill, spy: list[str]) -> None:
    """And compressed once a version, however many ask."""
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


def test_what_a_client_has_is_not_sent_again(api: Api, fill: Fill, client: redis.Redis, keys: Keys) -> None:
    """By its tag, alone or in a list, weak or not; and any answer will do for a star."""
    fill(MANY)
    first = api.get()
    tag = first.headers["ETag"]
    kept = {"ETag": tag, "Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
    assert tag.startswith('W/"')
    assert {name: first.headers[name] for name in kept} == kept

    for condition in (tag, tag.removeprefix("W/"), f'"x", {tag}', f'W/"y" ,{tag}, "z"', "*"):
        again = api.get(headers={"If-None-Match": condition})
        assert (again.status_code, again.content) == (304, b"")
        assert {name: again.headers[name] for name in kept} == kept
        assert "Content-Length" not in again.headers
        assert "Content-Encoding" not in again.headers
    again = api.client.get("/model/etl/log", headers=[("If-None-Match", '"x"'), ("If-None-Match", tag)])
    assert again.status_code == 304
    for condition in ('"x"', "", tag + "x", tag[:-2] + '"', '"*"'):
        assert api.get(headers={"If-None-Match": condition}).status_code == 200

    fill([saved(1)])
    moved = api.get(headers={"If-None-Match": tag})
    assert (moved.status_code, len(moved.json()["data"]["allocation"])) == (200, 51)
    assert moved.headers["Etlog-Cursor"].encode() == client.get(keys.cursor)
    assert moved.headers["ETag"] != tag
    assert api.get(params={"limit": "1"}).headers["ETag"] not in {tag, moved.headers["ETag"]}


def test_a_client_gets_the_coding_that_it_accepts(api: Api, fill: Fill) -> None:
    """The cheaper one of equals, none that weighs nothing; the tag is that of the text in all of them."""
    fill(MANY)

    for accepted, coding in (
        ("gzip, deflate, br, zstd", "zstd"),
        ("gzip", "gzip"),
        ("zstd", "zstd"),
        ("gzip;q=1.0, zstd;q=0.5", "gzip"),
        ("GZIP", "gzip"),
        ("*", "zstd"),
        ("*;q=0.5, zstd;q=0", "gzip"),
        ("gzip;q=0", None),
        ("gzip;q=0, *", "zstd"),
        ("*;q=0", None),
        ("gzip ; q=0.1 , br", "gzip"),
        ("identity", None),
        ("deflate, br", None),
        ("", None),
        ("gzip;q=x", None),
        (";;,,q=", None),
    ):
        with api.client.stream("GET", "/model/etl/log", headers={"Accept-Encoding": accepted}) as got:
            raw = b"".join(got.iter_raw())
        assert got.headers.get("Content-Encoding") == coding, accepted
        assert int(got.headers["Content-Length"]) == len(raw)
        text = DECODE[coding](raw)
        assert orjson.loads(text)["data"]["allocation"] == [orjson.loads(each) for each in MANY]
        assert got.headers["ETag"] == api.get().headers["ETag"]
        assert got.headers["Vary"] == "Accept-Encoding"
        assert coding is None or len(raw) < len(text) / 4


def test_a_short_answer_is_not_compressed(api: Api) -> None:
    """It would become longer."""
    assert "Content-Encoding" not in api.get(headers={"Accept-Encoding": "gzip"}).headers


def test_head_gives_the_headers_alone(api: Api, fill: Fill) -> None:
    """The same as those of GET, but no body."""
    fill(MANY)

    for path, headers in (
        ("/model/etl/log", {}),
        ("/model/etl/log", {"Accept-Encoding": "gzip"}),
        ("/model/etl/log", {"If-None-Match": "*"}),
        ("/model/etl/log?limit=0", {}),
        ("/healthz", {}),
        ("/readyz", {}),
    ):
        got, head = (api.client.request(method, path, headers=headers) for method in ("GET", "HEAD"))
        assert head.status_code == got.status_code
        assert head.content == b""
        assert {**head.headers, "date": ""} == {**got.headers, "date": ""}


def test_who_has_seen_an_event_applied_finds_it(api: Api, fill: Fill, client: redis.Redis, keys: Keys) -> None:
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
