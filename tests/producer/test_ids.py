"""Ids: no two processes share one, however alike they look from inside."""

import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
import redis
from etlog_events.keys import Keys
from etlog_events.store import connect
from support.producers import spool_files, spooled
from support.servers import PATIENCE, Server
from support.stream import Client, entries

#: Becomes the first process of a machine called `container`.
CONTAINED = ("unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child", "--uts", "sh", "-c")
NAMED = 'hostname container && exec "$0" "$@"'

#: What the other way of looking alike does in each process.
DISGUISED = """
import os, socket
os.getpid = lambda: 1
socket.gethostname = lambda: "container"
"""

#: Emits events for the stage that is named, after all of its kind are at this point.
STAGE = """
import sys
from etlog_producer import Producer
url, log, name, count, options = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5:]
producer = Producer(url, log=log, durable="durable" in options)
sys.stdin.readline()
def emit(name, count):
    for number in range(count):
        producer.emit("AssetSetSaved", size=number, window=("2022-06-03T10:00:00Z", "2022-06-03T11:00:00Z"), stage=name)
"""

Start = Callable[..., "subprocess.Popen[str]"]


def can_contain() -> bool:
    """Whether this machine lets its users make containers."""
    if shutil.which("unshare") is None:
        return False
    told = subprocess.run([*CONTAINED, NAMED, "hostname"], capture_output=True, text=True, check=False)
    return told.stdout == "container\n"


def starting(keys: Keys, how: str) -> Iterator[Start]:
    """Starts `source` as process 1 of a machine called `container`. It waits for a line."""
    if how == "contained" and not can_contain():
        pytest.skip("this machine does not let its users make containers")
    started: list[subprocess.Popen[str]] = []

    def start(source: str, url: str, name: str, count: int, *options: str) -> "subprocess.Popen[str]":
        python = [sys.executable, "-c", source if how == "contained" else DISGUISED + source]
        process = subprocess.Popen(
            [
                *((*CONTAINED, NAMED) if how == "contained" else ()),
                *python,
                url,
                keys.name,
                name,
                str(count),
                *options,
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture(params=["contained", "disguised"])
def start(request: pytest.FixtureRequest, keys: Keys) -> Iterator[Start]:
    """Starts a process in a container, or disguised as one."""
    yield from starting(keys, request.param)


@pytest.fixture
def start_disguised(keys: Keys) -> Iterator[Start]:
    """Starts a process that, like its children, takes itself for process 1."""
    yield from starting(keys, "disguised")


def go(*processes: "subprocess.Popen[str]") -> None:
    """Let them go on, all at once, to their ends."""
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    assert [process.wait(PATIENCE) for process in processes] == [0] * len(processes)


def assert_once(client: Client, keys: Keys, stages: Sequence[tuple[str, int]], producers: int) -> None:
    """Each event of each stage is in the log once, under so many ids, all of process 1 of the same host."""
    found = entries(client, keys)
    counted = Counter((entry.metadata["stage"], entry.metadata["size"]) for entry in found)
    assert counted == {(name, number): 1 for name, count in stages for number in range(count)}
    ids = {entry.producer for entry in found}
    assert len(ids) == producers
    assert all(name.startswith("container-1-") for name in ids)


def test_containers_that_look_alike_lose_and_double_nothing(
    start: Start, store_url: str, client: redis.Redis, keys: Keys
) -> None:
    """Same name of the host, same process: only the random part of the id differs."""
    source = f"{STAGE}emit(name, count)\n"

    go(*(start(source, store_url, name, 300) for name in ("one", "other")))

    assert_once(client, keys, [(name, 300) for name in ("one", "other")], producers=2)


def test_a_container_that_comes_back_leaves_its_former_life_to_itself(
    start: Start, server: Server, keys: Keys, spool_dir: Path
) -> None:
    """It was killed before the store had anything; its host, process and volume are the same afterwards."""
    server.kill()
    source = f"""{STAGE}
emit(name, count)
if name == "killed":
    print("emitted", flush=True)
    sys.stdin.readline()
"""
    killed = start(source, server.url, "killed", 50, "durable")
    assert killed.stdin is not None
    assert killed.stdout is not None
    killed.stdin.write("\n")
    killed.stdin.flush()
    assert killed.stdout.readline() == "emitted\n"
    killed.kill()
    killed.wait()
    [left] = spool_files(spool_dir)
    assert spooled(left) == list(range(1, 51))

    server.start()
    go(start(source, server.url, "next", 50, "durable"))

    with connect(server.url, part="test") as client:
        assert_once(client, keys, [("killed", 50), ("next", 50)], producers=2)


def test_forks_that_look_like_their_parent_lose_and_double_nothing(
    start_disguised: Start, store_url: str, client: redis.Redis, keys: Keys
) -> None:
    """Each child is process 1, as in a container of its own: the number of the process tells nothing."""
    source = f"""{STAGE}
emit(name, 10)
children = []
for child in range(2):
    pid = os.fork()
    if pid == 0:
        emit(f"{{name}} {{child}}", count)
        producer.close()
        os._exit(0)
    children.append(pid)
emit(f"{{name}} itself", count)
assert [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children] == [0, 0]
"""
    go(start_disguised(source, store_url, "family", 100))

    stages = [("family", 10), ("family 0", 100), ("family 1", 100), ("family itself", 100)]
    assert_once(client, keys, stages, producers=3)
