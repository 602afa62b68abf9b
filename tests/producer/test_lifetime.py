"""The ends and forks of a stage's process: events arrive without a `close`, once, under the id of who emitted them."""

from collections import defaultdict
from collections.abc import Callable

import pytest
import redis
from etlog_events.keys import Keys
from stream import entries

RunStage = Callable[[str], None]

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


def emitted(client: redis.Redis, keys: Keys) -> dict[str, list[int]]:
    """Who emitted which events, in stream order. Each must have an id of its own and numbers without a gap."""
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


def test_a_plain_script_delivers_at_its_end(run_stage: RunStage, client: redis.Redis, keys: Keys) -> None:
    """It neither flushes nor closes."""
    run_stage(HEAD + "emit('script', 700)")

    assert emitted(client, keys) == {"script": list(range(700))}


@pytest.mark.parametrize("end", ["sys.exit(0)", "del producer"])
def test_a_script_that_leaves_otherwise_delivers_too(
    run_stage: RunStage, client: redis.Redis, keys: Keys, end: str
) -> None:
    """By `sys.exit`, or after it let go of the producer."""
    run_stage(HEAD + f"emit('script', 300)\n{end}")

    assert emitted(client, keys) == {"script": list(range(300))}


def test_a_script_that_fails_delivers_what_came_before(run_stage: RunStage, client: redis.Redis, keys: Keys) -> None:
    """What led to the failure is what one wants to read."""
    run_stage(
        HEAD
        + """
if os.fork() == 0:
    emit('script', 300)
    sys.stderr = open(os.devnull, 'w')
    raise RuntimeError("the stage failed")
assert os.waitstatus_to_exitcode(os.wait()[1]) == 1
"""
    )

    assert emitted(client, keys) == {"script": list(range(300))}


def test_a_forked_child_emits_under_its_own_id(run_stage: RunStage, client: redis.Redis, keys: Keys) -> None:
    """What the parent had not sent yet is the parent's alone; both go on with the same producer."""
    run_stage(
        HEAD
        + """
emit('parent', 800)
child = os.fork()
if child == 0:
    emit('child', 300)
    sys.exit(0)
os.waitpid(child, 0)
"""
    )

    assert emitted(client, keys) == {"parent": list(range(800)), "child": list(range(300))}


def test_a_parent_goes_on_after_a_fork(run_stage: RunStage, client: redis.Redis, keys: Keys) -> None:
    """Under the same id, with the following numbers."""
    run_stage(
        HEAD
        + """
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

    assert emitted(client, keys) == {"parent": [*range(10), *range(10)], "child": list(range(10))}


def test_a_grandchild_is_a_producer_of_its_own(run_stage: RunStage, client: redis.Redis, keys: Keys) -> None:
    """Forks of forks, as daemons make them; a child that emits nothing passes on nothing."""
    run_stage(
        HEAD
        + """
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

    assert emitted(client, keys) == {"parent": list(range(50)), "grandchild": list(range(50))}


def test_a_child_of_a_closed_producer_has_a_closed_one(run_stage: RunStage, client: redis.Redis, keys: Keys) -> None:
    """A fork does not open it again."""
    run_stage(
        HEAD
        + """
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

    assert emitted(client, keys) == {"parent": [0]}


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_a_child_of_multiprocessing_delivers_at_its_end(
    run_stage: RunStage, client: redis.Redis, keys: Keys, method: str
) -> None:
    """Such a child leaves past everything that is registered for the end of a process."""
    run_stage(
        HEAD
        + f"""
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

    assert emitted(client, keys) == {
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
    for number in range(300):
        window = ("2022-06-03T10:00:00Z", "2022-06-03T11:00:00Z")
        producer.emit("AssetSetSaved", size=number, window=window, who="child")

if __name__ == "__main__":
    child = multiprocessing.get_context("fork").Process(target=work, args=sys.argv[1:])
    child.start()
    child.join()
    assert child.exitcode == 0
"""
    )

    assert emitted(client, keys) == {"child": list(range(300))}


def test_a_child_that_fails_delivers_what_came_before(run_stage: RunStage, client: redis.Redis, keys: Keys) -> None:
    """What led to the failure is what one wants to read."""
    run_stage(
        HEAD
        + """
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

    assert emitted(client, keys) == {"child": list(range(300))}


def test_the_workers_of_a_pool_deliver_at_their_end(run_stage: RunStage, client: redis.Redis, keys: Keys) -> None:
    """One producer a worker, through all of its tasks."""
    run_stage(
        HEAD
        + """
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

    assert sum(len(sizes) for sizes in emitted(client, keys).values()) == 600
