"""The ends and forks of a stage's process: events arrive without a `close`, once, under the id of who emitted them."""

import gc
import weakref
from collections import defaultdict
from collections.abc import Callable
from typing import TypeAlias

import pytest
import redis
from etlog_events.keys import Keys
from etlog_producer import Producer
from support.producers import RunStage, emit
from support.stream import entries

#: Begins each script: a producer, and `emit(who, count)` for events that say who emitted them.
HEAD = """
import os, sys
from etlog_producer import Producer

url, log = sys.argv[1:]
producer = Producer(url, log=log)

def emit(who, count):
    for number in range(count):
        producer.emit("AssetSetSaved", size=number, window=("2022-06-03T10:00:00Z", "2022-06-03T11:00:00Z"), who=who)
"""


#: The fixture `emitted_by`: runs a script, and returns what `emitted` then finds.
EmittedBy: TypeAlias = Callable[[str], dict[str, list[int]]]


def emitted(client: redis.Redis, keys: Keys) -> dict[str, list[int]]:
    """Who emitted which events, in stream order. Each must have its own id and numbers without a gap."""
    sizes: dict[str, list[int]] = defaultdict(list)
    ids: dict[str, set[str]] = defaultdict(set)
    numbers: dict[str, list[int]] = defaultdict(list)
    for entry in entries(client, keys):
        who = entry.metadata["who"]
        sizes[who].append(entry.metadata["size"])
        ids[who].add(entry.producer)
        numbers[entry.producer].append(entry.seq)
    assert all(len(found) == 1 for found in ids.values())
    assert len(numbers) == len(sizes)
    assert all(found == list(range(1, len(found) + 1)) for found in numbers.values())
    return sizes


@pytest.fixture
def emitted_by(run_stage: RunStage, client: redis.Redis, keys: Keys) -> EmittedBy:
    """Runs a script that begins with `HEAD`, and tells what it and its children emitted."""

    def run(script: str) -> dict[str, list[int]]:
        run_stage(HEAD + script)
        return emitted(client, keys)

    return run


def test_a_plain_script_delivers_at_its_end(emitted_by: EmittedBy) -> None:
    """It neither flushes nor closes."""
    found = emitted_by("emit('script', 700)")

    assert found == {"script": list(range(700))}


def test_a_producer_that_no_one_refers_to_lives_as_long_as_its_thread(dead_url: str) -> None:
    """Its events wait for the store, and the end of the process must still find it; a close lets it go."""
    producer = Producer(dead_url, log="absent")
    emit(producer, 1)
    reference = weakref.ref(producer)

    del producer
    gc.collect()

    found = reference()
    assert found is not None
    found.close(0)
    assert found.stats().spooled == 1
    del found
    gc.collect()
    assert reference() is None


def test_a_producer_without_events_is_not_kept(dead_url: str) -> None:
    """There is nothing to deliver."""
    reference = weakref.ref(Producer(dead_url, log="absent"))

    gc.collect()

    assert reference() is None


@pytest.mark.parametrize("end", ["sys.exit(0)", "del producer"])
def test_a_script_that_leaves_otherwise_delivers_too(emitted_by: EmittedBy, end: str) -> None:
    """By `sys.exit`, or after it let go of the producer."""
    found = emitted_by(f"emit('script', 300)\n{end}")

    assert found == {"script": list(range(300))}


def test_a_script_that_fails_delivers_what_came_before(emitted_by: EmittedBy) -> None:
    """What led to the failure is what one wants to read."""
    found = emitted_by(
        """
if os.fork() == 0:
    emit('script', 300)
    sys.stderr = open(os.devnull, 'w')
    raise RuntimeError("the stage failed")
assert os.waitstatus_to_exitcode(os.wait()[1]) == 1
"""
    )

    assert found == {"script": list(range(300))}


def test_a_forked_child_emits_under_its_own_id(emitted_by: EmittedBy) -> None:
    """What the parent had not sent yet is the parent's alone; both go on with the same producer."""
    found = emitted_by(
        """
emit('parent', 800)
child = os.fork()
if child == 0:
    emit('child', 300)
    sys.exit(0)
os.waitpid(child, 0)
"""
    )

    assert found == {"parent": list(range(800)), "child": list(range(300))}


def test_a_parent_goes_on_after_a_fork(emitted_by: EmittedBy) -> None:
    """Under the same id, with the following numbers."""
    found = emitted_by(
        """
before = producer.id
emit('parent', 10)
assert producer.flush(20)
child = os.fork()
if child == 0:
    assert producer.id != before
    assert producer.id.split("-")[-2] == str(os.getpid())
    emit('child', 10)
    assert producer.flush(20)
    os._exit(0)
emit('parent', 10)
assert producer.id == before
_, status = os.waitpid(child, 0)
assert status == 0
"""
    )

    assert found == {"parent": [*range(10), *range(10)], "child": list(range(10))}


def test_a_grandchild_is_a_producer_of_its_own(emitted_by: EmittedBy) -> None:
    """Forks of forks, as daemons make them; a child that emits nothing passes on nothing."""
    found = emitted_by(
        """
emit('parent', 50)
child = os.fork()
if child == 0:
    grandchild = os.fork()
    if grandchild == 0:
        emit('grandchild', 50)
        sys.exit(0)
    os.waitpid(grandchild, 0)
    sys.exit(0)
os.waitpid(child, 0)
"""
    )

    assert found == {"parent": list(range(50)), "grandchild": list(range(50))}


def test_a_fork_while_the_sender_is_connecting_does_no_harm(emitted_by: EmittedBy) -> None:
    """A module that another thread was about to import at the fork is broken in the child for ever."""
    found = emitted_by(
        """
import threading
from importlib.machinery import SourceFileLoader

importing, forked = threading.Event(), threading.Event()
load = SourceFileLoader.exec_module

def load_during_fork(self, module):
    if threading.current_thread() is not threading.main_thread() and not forked.is_set():
        importing.set()
        forked.wait()
    load(self, module)

SourceFileLoader.exec_module = load_during_fork
emit('parent', 10)
importing.wait(0.5)
child = os.fork()
forked.set()
if child == 0:
    emit('child', 10)
    sys.exit(0)
os.waitpid(child, 0)
"""
    )

    assert found == {"parent": list(range(10)), "child": list(range(10))}


def test_a_child_of_a_closed_producer_has_a_closed_one(emitted_by: EmittedBy) -> None:
    """A fork does not open it again."""
    found = emitted_by(
        """
from etlog_producer import ProducerClosed
emit('parent', 1)
producer.close()
child = os.fork()
if child == 0:
    try:
        emit('child', 1)
    except ProducerClosed:
        os._exit(0)
    os._exit(1)
assert os.waitpid(child, 0)[1] == 0
"""
    )

    assert found == {"parent": [0]}


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_child_of_multiprocessing_delivers_at_its_end(emitted_by: EmittedBy, method: str) -> None:
    """Such a child leaves past everything that is registered for the end of a process."""
    found = emitted_by(
        f"""
import multiprocessing

if __name__ == "__main__":
    emit('parent', 400)
    context = multiprocessing.get_context({method!r})
    children = [context.Process(target=emit, args=(f'child {{number}}', 300)) for number in range(2)]
    for child in children:
        child.start()
    for child in children:
        child.join()
        assert child.exitcode == 0
    emit('parent', 1)
"""
    )

    assert found == {
        "parent": [*range(400), 0],
        "child 0": list(range(300)),
        "child 1": list(range(300)),
    }


def test_a_child_that_makes_its_own_producer_delivers_at_its_end(
    run_stage: RunStage, client: redis.Redis, keys: Keys
) -> None:
    """Nothing of it was there before the fork."""
    run_stage(
        """
import multiprocessing, sys

def work(url, log):
    from etlog_producer import Producer
    producer = Producer(url, log=log)
    window = ("2022-06-03T10:00:00Z", "2022-06-03T11:00:00Z")
    for number in range(300):
        producer.emit("AssetSetSaved", size=number, window=window, who="child")

if __name__ == "__main__":
    child = multiprocessing.get_context("fork").Process(target=work, args=sys.argv[1:])
    child.start()
    child.join()
    assert child.exitcode == 0
"""
    )

    assert emitted(client, keys) == {"child": list(range(300))}


def test_a_child_that_fails_delivers_what_came_before(emitted_by: EmittedBy) -> None:
    """What led to the failure is what one wants to read."""
    found = emitted_by(
        """
import multiprocessing

def fail():
    emit('child', 300)
    sys.stderr = open(os.devnull, 'w')
    raise RuntimeError

if __name__ == "__main__":
    child = multiprocessing.get_context("fork").Process(target=fail)
    child.start()
    child.join()
    assert child.exitcode == 1
"""
    )

    assert found == {"child": list(range(300))}


def test_the_workers_of_a_pool_deliver_at_their_end(emitted_by: EmittedBy) -> None:
    """One producer a worker, through all of its tasks."""
    found = emitted_by(
        """
from concurrent.futures import ProcessPoolExecutor
import multiprocessing

def work(count):
    emit(str(os.getpid()), count)
    return os.getpid()

if __name__ == "__main__":
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("fork")) as pool:
        assert os.getpid() not in list(pool.map(work, [100] * 6))
"""
    )

    assert sum(len(sizes) for sizes in found.values()) == 600


def test_the_workers_of_a_spawned_pool_deliver_at_their_end(emitted_by: EmittedBy) -> None:
    """As `ProcessPoolExecutor` starts them where forking is not the default."""
    found = emitted_by(
        """
from concurrent.futures import ProcessPoolExecutor
import multiprocessing

def work(count):
    emit(str(os.getpid()), count)

if __name__ == "__main__":
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        list(pool.map(work, [100] * 4))
"""
    )

    assert sum(len(sizes) for sizes in found.values()) == 400


def test_a_process_may_leave_at_once_after_a_flush(emitted_by: EmittedBy) -> None:
    """By `os._exit`, past everything that is registered for its end."""
    found = emitted_by("emit('script', 700)\nassert producer.flush(20)\nos._exit(0)")

    assert found == {"script": list(range(700))}


def test_the_workers_of_a_server_that_forks_before_it_serves(emitted_by: EmittedBy) -> None:
    """As gunicorn does: the producer was made, and had events under way, in the parent, which goes on as well.

    Workers end by SIGTERM, upon which they leave by `sys.exit`.
    """
    found = emitted_by(
        """
import signal
emit('master', 500)
workers = []
for number in range(3):
    ready, told = os.pipe()
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        for request in range(10):
            emit(f'worker {number}', 20)
        os.write(told, b'.')
        while True:
            signal.pause()
    os.read(ready, 1)
    workers.append(child)
emit('master', 1)
for child in workers:
    os.kill(child, signal.SIGTERM)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""
    )

    assert {who: len(sizes) for who, sizes in found.items()} == {
        "master": 501,
        "worker 0": 200,
        "worker 1": 200,
        "worker 2": 200,
    }


def test_threads_share_a_producer_until_the_end_of_the_script(emitted_by: EmittedBy) -> None:
    """No event of theirs is missing, without a flush."""
    found = emitted_by(
        """
from threading import Thread
threads = [Thread(target=emit, args=('script', 250)) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""
    )

    assert sorted(found["script"]) == sorted(list(range(250)) * 4)


@pytest.mark.timed
def test_coroutines_emit_without_blocking_the_loop(run_stage: RunStage, client: redis.Redis, keys: Keys) -> None:
    """While the store is silent the loop ticks on, through `emit` and through `aflush`."""
    run_stage(
        """
import asyncio, socket, sys, time
from etlog_producer import Producer

silent = socket.create_server(("127.0.0.1", 0))
url, log = sys.argv[1:]
window = ("2022-06-03T10:00:00Z", "2022-06-03T11:00:00Z")

async def ticker(longest):
    last = time.monotonic()
    while True:
        await asyncio.sleep(0.01)
        now = time.monotonic()
        longest[0] = max(longest[0], now - last)
        last = now

async def main():
    longest = [0.0]
    ticking = asyncio.create_task(ticker(longest))
    stuck = Producer(f"redis://127.0.0.1:{silent.getsockname()[1]}/0", log="stuck")
    producer = Producer(url, log=log)
    for number in range(300):
        for one in (stuck, producer):
            one.emit("AssetSetSaved", size=number, window=window, who="script")
        await asyncio.sleep(0)
    assert not await stuck.aflush(0.5)
    assert await producer.aflush(20)
    ticking.cancel()
    assert longest[0] < 0.4, longest
    import logging
    logging.disable()
    await asyncio.to_thread(stuck.close, 0)

asyncio.run(main())
"""
    )

    assert emitted(client, keys) == {"script": list(range(300))}


def test_a_child_does_not_keep_the_spool_of_its_parent(run_stage: RunStage, client: redis.Redis, keys: Keys) -> None:
    """The parent is killed, the child lives on: what the parent left must not stay locked until the child ends."""
    run_stage(
        """
import os, signal, sys, time
from pathlib import Path
from etlog_producer import Producer, sender

url, log = sys.argv[1:]
window = ("2022-06-03T10:00:00Z", "2022-06-03T11:00:00Z")
ready, told = os.pipe()
parent = os.fork()
if parent == 0:
    sender.LINGER = 60  # it never gets to send anything
    producer = Producer(url, log=log, durable=True)
    producer.emit("AssetSetSaved", size=1, window=window, who="parent")
    if os.fork() == 0:
        os.write(told, b"%d" % os.getpid())
        signal.pause()
    signal.pause()
child = int(os.read(ready, 20))
os.kill(parent, signal.SIGKILL)
os.waitpid(parent, 0)
with Producer(url, log=log) as producer:
    producer.emit("AssetSetSaved", size=2, window=window, who="later")
    while list(Path(os.environ["ETLOG_SPOOL_DIR"]).rglob("*.spool")):
        time.sleep(0.01)
os.kill(child, signal.SIGKILL)
"""
    )

    assert emitted(client, keys) == {"parent": [1], "later": [2]}
