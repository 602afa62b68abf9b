"""A backup of the store, restored as `docs/operations.md` tells: the log is whole, and goes on."""

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from etlog.verification import verify
from etlog_api import create_app
from etlog_events import Settings
from etlog_events.keys import Keys
from etlog_events.store import connect
from etlog_producer import Producer
from etlog_producer.publish import Identity, Publisher
from support import apis
from support.consumers import consumer_thread
from support.guarded import redis_server
from support.samples import WINDOW, saved
from support.servers import Server, wait_until
from support.stream import Client, stats

PAGE = Path(__file__).parents[2] / "docs" / "operations.md"

#: What the page says to do in the folder of the store.
[RESTORE] = [text for text in re.findall(r"```sh\n(.*?)```", PAGE.read_text(), re.DOTALL) if "aof.manifest" in text]

KEYS = Keys("nightly")

#: A producer beside the one that runs all the time.
ANOTHER = Identity("another", "token-of-another")


@contextmanager
def from_snapshot(store: Server, client: Client) -> Iterator[None]:
    """Back up by `BGSAVE`; at the end of the block, restore by the commands of the page."""
    client.bgsave()
    wait_until(
        lambda: (store.folder / "dump.rdb").exists() and not client.info("persistence")["rdb_bgsave_in_progress"],
        what="the snapshot",
    )
    yield
    subprocess.run(["sh", "-euc", RESTORE], cwd=store.folder, check=True)


@contextmanager
def from_copy(store: Server, client: Client) -> Iterator[None]:
    """Back up by a copy of the append-only file, as a snapshot of its file system is one."""
    store.stop()
    shutil.copytree(store.folder / "appendonlydir", store.folder / "kept")
    store.resume()
    yield
    shutil.rmtree(store.folder / "appendonlydir")
    shutil.move(store.folder / "kept", store.folder / "appendonlydir")


def emit(producer: Producer, number: int) -> None:
    """Publish so many events."""
    for size in range(number):
        producer.emit("AllocationSetSaved", size=size, window=WINDOW)
    assert producer.flush(30)


def applied(client: Client) -> int:
    """How many events are applied."""
    return stats(client, KEYS).get("applied", 0)


@pytest.mark.parametrize(
    ("server", "back_up"), [("redis", from_snapshot), ("valkey", from_snapshot), ("valkey", from_copy)]
)
def test_a_restored_log_is_whole_and_goes_on(server: str, back_up: Callable[[Server, Any], Any]) -> None:
    """Every part goes on by itself, from the state of the backup: what was in flight is applied, a producer that runs
    sends its tail again, and what cannot be sent again is counted as lost."""
    store = Server("--appendonly", "yes", binary=redis_server() if server == "redis" else None)
    app = create_app(Settings(redis_url=store.url, name=KEYS.name))
    try:
        with connect(store.url, part="test") as client, Producer(store.url, log=KEYS.name) as producer:
            with consumer_thread(store.url, KEYS):
                emit(producer, 30)
                wait_until(lambda: applied(client) == 30, what="the events to be applied")
            emit(producer, 5)
            Publisher(client, KEYS)(ANOTHER, 1, [saved()] * 2)
            with apis.serve(app) as api, ExitStack() as work:
                with back_up(store, client):
                    work.enter_context(consumer_thread(store.url, KEYS))
                    emit(producer, 7)
                    Publisher(client, KEYS)(ANOTHER, 3, [saved()] * 2)
                    wait_until(lambda: applied(client) == 46, what="the events to be applied")
                    assert api.log()["data"]["counters"] == {"AllocationSetSaved": 46}
                    store.kill()
                store.start()

                wait_until(lambda: applied(client) == 44, what="the tail to be sent again")
                Publisher(client, KEYS)(ANOTHER, 5, [saved()], skip=True)  # it no longer has 3 and 4
                emit(producer, 1)
                wait_until(lambda: applied(client) == 46, what="the log to go on")
                wait_until(lambda: api.log()["data"]["counters"] == {"AllocationSetSaved": 46}, what="the API")

                found = verify(client, KEYS)
                assert found.faults == []
                assert (found.total.published, found.total.applied, found.total.lost) == (48, 46, 2)
    finally:
        store.close()
