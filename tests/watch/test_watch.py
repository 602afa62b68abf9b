"""A watcher of one log: when it takes its place, and when it leaves it."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

import pytest
import redis
from etlog_events.config import Config, Notify
from etlog_events.keys import Keys
from etlog_events.settings import Settings
from etlog_watch import watch
from etlog_watch.message import Message
from etlog_watch.metrics import Metrics
from etlog_watch.sender import SENT, Outcome
from etlog_watch.target import Target
from etlog_watch.watch import LogWatch
from support.servers import wait_until


class Taking:
    """A target that takes everything."""

    async def send(self, message: Message) -> Outcome:
        """Take it."""
        return SENT

    async def close(self) -> None:
        """Nothing is open."""


def test_one_that_can_tell_no_one_leaves_the_log_to_others(
    store_url: str, keys: Keys, client: redis.Redis, tmp_path: Path
) -> None:
    """It takes no place, and touches nothing that waits."""
    client.hset(keys.incidents, "message:m", "{}")
    settings = Settings.from_environment(
        {"ETLOG_REDIS_URL": store_url, "ETLOG_NAME": keys.name, "ETLOG_SPOOL_DIR": str(tmp_path)}
    )

    async def look() -> None:
        watcher = LogWatch(settings, Config(), keys.name, [], "w", datetime.now, Metrics())
        await watcher.turn()
        await watcher.close()

    asyncio.run(look())
    assert client.hgetall(keys.incidents) == {b"message:m": b"{}"}


def test_one_whose_turns_all_fail_gives_way_to_another(
    store_url: str, keys: Keys, client: redis.Redis, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It holds no place that it is of no use in."""
    monkeypatch.setattr(watch, "FAILING", 0.0)
    monkeypatch.setattr(watch, "TURN", 0.01)
    settings = Settings.from_environment(
        {"ETLOG_REDIS_URL": store_url, "ETLOG_NAME": keys.name, "ETLOG_SPOOL_DIR": str(tmp_path)}
    )
    target = Target(0, Notify("https://hooks.example.com/etlog"), Taking(), UTC)
    held: list[bool] = []

    async def story() -> None:
        watcher = LogWatch(settings, Config(), keys.name, [target], "w", datetime.now, Metrics())

        async def fail() -> None:
            held.append(client.hexists(keys.incidents, "watcher"))
            raise RuntimeError("a bug")

        monkeypatch.setattr(watcher._coverage, "view", fail)
        stop = asyncio.Event()
        running = asyncio.create_task(watcher.run(stop))
        await asyncio.to_thread(wait_until, lambda: held and not client.hexists(keys.incidents, "watcher"))
        stop.set()
        await running

    asyncio.run(story())
    assert held[0]
    assert not client.hexists(keys.incidents, "watcher")
