"""The reader asks the store one question for all who wait, and none waits for long."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from time import monotonic
from typing import Any

import pytest
import redis
from etlog_api.log import reader as reading
from etlog_api.log.reader import Reader, View
from etlog_api.log.snapshot import Snapshot
from etlog_events.errors import StoreUnavailable
from support.servers import wait_until


class Store:
    """A store whose answers a test makes by hand."""

    def __init__(self) -> None:
        self.asked: list[asyncio.Future[bytes | None]] = []
        self.read = 0
        self.dropped = 0
        self.cursor: bytes | None = b"1-0"

    async def read_cursor(self) -> bytes | None:
        self.asked.append(asyncio.get_running_loop().create_future())
        return await self.asked[-1]

    async def read_snapshot(self, _: Snapshot | None = None) -> Snapshot:
        self.read += 1
        return Snapshot(self.cursor, {}, {})

    async def drop(self) -> None:
        self.dropped += 1

    def reader(self) -> Reader:
        """A reader of this store."""
        return Reader(self.read_cursor, self.read_snapshot, self.drop)


def run(test: Callable[[Store, Reader], Coroutine[Any, Any, None]]) -> None:
    """Run `test` with a reader that has a snapshot already."""

    async def main() -> None:
        store = Store()
        reader = store.reader()
        await reader.view()
        assert (store.read, store.asked) == (1, [])
        await test(store, reader)

    asyncio.run(main())


async def until(condition: Callable[[], object]) -> None:
    """Let the reader go on until `condition` holds."""
    await asyncio.to_thread(wait_until, condition)


def requests(reader: Reader, number: int) -> list["asyncio.Task[View]"]:
    """So many requests at once."""
    return [asyncio.create_task(reader.view()) for _ in range(number)]


async def cursors(views: list["asyncio.Task[View]"]) -> set[bytes | None]:
    """What they saw."""
    return {view.snapshot.cursor for view in await asyncio.gather(*views)}


def test_requests_at_once_share_a_question() -> None:
    """Fifty wait for one answer, and nothing else is read while the log stands still."""

    async def test(store: Store, reader: Reader) -> None:
        waiting = requests(reader, 50)
        await until(lambda: store.asked)
        store.asked[0].set_result(b"1-0")
        assert await cursors(waiting) == {b"1-0"}
        assert (len(store.asked), store.read) == (1, 1)

    run(test)


def test_a_question_is_not_shared_with_who_comes_after_it_was_asked() -> None:
    """Its answer may be older than what the late one has seen; all late ones share the next."""

    async def test(store: Store, reader: Reader) -> None:
        early = requests(reader, 3)
        await until(lambda: store.asked)
        late = requests(reader, 3)
        await asyncio.sleep(0)
        store.asked[0].set_result(b"1-0")
        assert await cursors(early) == {b"1-0"}
        assert not any(each.done() for each in late)
        await until(lambda: len(store.asked) == 2)
        store.cursor = b"2-0"
        store.asked[1].set_result(b"2-0")
        assert await cursors(late) == {b"2-0"}
        assert (len(store.asked), store.read) == (2, 2)

    run(test)


def test_a_log_that_moves_is_not_asked_whether_it_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """For a moment; and what stands still meanwhile is the same snapshot, from which answers were made."""
    monkeypatch.setattr(reading, "MOVES_ON", 1000.0)

    async def test(store: Store, reader: Reader) -> None:
        waiting = requests(reader, 1)
        await until(lambda: store.asked)
        store.cursor = b"2-0"
        store.asked[0].set_result(b"2-0")
        assert await cursors(waiting) == {b"2-0"}
        store.cursor = b"3-0"
        moved = await reader.view()
        assert moved.snapshot.cursor == b"3-0"
        assert (await reader.view()).snapshot is moved.snapshot
        assert (len(store.asked), store.read) == (1, 4)

        monkeypatch.setattr(reading, "MOVES_ON", 0.0)
        waiting = requests(reader, 1)
        await until(lambda: len(store.asked) == 2)
        store.asked[1].set_result(b"3-0")
        assert await cursors(waiting) == {b"3-0"}

    run(test)


def test_a_request_that_ends_early_does_not_take_the_question_along() -> None:
    """The others get their answer."""

    async def test(store: Store, reader: Reader) -> None:
        first, *others = requests(reader, 3)
        await until(lambda: store.asked)
        first.cancel()
        await asyncio.sleep(0)
        store.asked[0].set_result(b"1-0")
        assert await cursors(others) == {b"1-0"}

    run(test)


@pytest.mark.timed
def test_no_request_waits_for_two_timeouts(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that comes while a question hangs has its own answer in time, and is told that the store is away."""
    monkeypatch.setattr(reading, "QUESTION_TIMEOUT", 0.3)

    async def test(store: Store, reader: Reader) -> None:
        async def timed() -> tuple[float, View]:
            began = monotonic()
            view = await reader.view()
            return monotonic() - began, view

        waiting = []
        for _ in range(30):
            waiting.append(asyncio.create_task(timed()))
            await asyncio.sleep(0.03)
        for seconds, view in await asyncio.gather(*waiting):
            assert seconds < 0.55
            assert view.snapshot.cursor == b"1-0"
            assert view.away_since is not None
        assert len(store.asked) < 10

    run(test)


@pytest.mark.parametrize(
    "error",
    [redis.ConnectionError("gone"), redis.ResponseError("MASTERDOWN"), redis.exceptions.BusyLoadingError("LOADING")],
)
def test_an_outage_is_told_once_and_ends_by_itself(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    """The last snapshot with the time from which it stands; the connection is not used again."""

    async def test(store: Store, reader: Reader) -> None:
        away = []
        for _ in range(3):
            [waiting] = requests(reader, 1)
            await until(lambda: store.asked)
            store.asked.pop().set_exception(error)
            away.append(await waiting)
        assert {view.snapshot.cursor for view in away} == {b"1-0"}
        assert len({view.away_since for view in away} - {None}) == 1
        assert store.dropped == 3

        [waiting] = requests(reader, 1)
        await until(lambda: store.asked)
        store.asked.pop().set_result(b"1-0")
        assert (await waiting).away_since is None

    with caplog.at_level(logging.INFO, "etlog.api"):
        run(test)

    assert [vars(record)["action"] for record in caplog.records] == ["store_away", "store_back"]


def test_without_a_snapshot_there_is_nothing_to_answer() -> None:
    """Nothing is remembered of it: the next request asks again."""
    answers: list[Awaitable[Snapshot]] = []

    async def main() -> None:
        store = Store()

        async def read_snapshot(_: Snapshot | None) -> Snapshot:
            return await answers.pop()

        reader = Reader(store.read_cursor, read_snapshot, store.drop)
        assert reader.age is None
        answers.append(_refused())
        with pytest.raises(StoreUnavailable, match="nothing was read from it yet"):
            await reader.view()
        assert reader.age is None
        answers.append(store.read_snapshot())
        view = await reader.view()
        assert (view.snapshot.cursor, view.away_since) == (b"1-0", None)
        assert reader.age is not None

    asyncio.run(main())


async def _refused() -> Snapshot:
    raise redis.ConnectionError("refused")
