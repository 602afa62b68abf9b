"""The ends of a process that `atexit` does not hear of, and forks that Python does not: every event arrives, once, or
is in the spool when the store is away."""

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import redis
from etlog_events.keys import Keys
from support.producers import spool_files, spooled
from support.samples import WINDOW
from support.servers import PATIENCE
from support.stream import entries

#: Begins each script: a producer, and `emit(who, count)` for events that say who emitted them.
HEAD = f"""
import ctypes, os, signal, sys, time
from etlog_producer import Producer

for number in (signal.SIGTERM, signal.SIGHUP):  # whatever the tests themselves were started by
    signal.signal(number, signal.SIG_DFL)
url, log = sys.argv[1:]
producer = Producer(url, log=log)

def emit(who, count):
    for number in range(count):
        producer.emit("AssetSetSaved", size=number, window={WINDOW!r}, who=who)
"""

#: Runs a script that begins with `HEAD` on the store at an address; returns its exit code.
Ended = Callable[[str, str], int]


@pytest.fixture
def ended(keys: Keys) -> Ended:
    """See `Ended`."""

    def run(url: str, script: str) -> int:
        ended = subprocess.run(
            [sys.executable, "-c", HEAD + script, url, keys.name],
            stderr=subprocess.PIPE,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        assert "Traceback" not in ended.stderr
        return ended.returncode

    return run


def numbers(client: redis.Redis, keys: Keys) -> dict[str, list[int]]:
    """Who emitted which events, by their sizes."""
    found: dict[str, list[int]] = {}
    for entry in entries(client, keys):
        found.setdefault(entry.metadata["who"], []).append(entry.metadata["size"])
    return found


@pytest.mark.parametrize(
    ("end", "code"),
    [
        ("os._exit(3)", 3),
        ("os.kill(os.getpid(), signal.SIGTERM)\ntime.sleep(20)", -15),
        ("os.kill(os.getpid(), signal.SIGHUP)\ntime.sleep(20)", -1),
        ("import atexit\natexit._clear()\nos._exit(0)", 0),
    ],
    ids=["os._exit", "SIGTERM", "SIGHUP", "atexit was cleared"],
)
@pytest.mark.parametrize("is_there", [True, False], ids=["store there", "store away"])
def test_a_process_that_leaves_silently_keeps_its_events(
    ended: Ended,
    store_url: str,
    dead_url: str,
    client: redis.Redis,
    keys: Keys,
    spool_dir: Path,
    end: str,
    code: int,
    is_there: bool,
) -> None:
    """And ends as it would have without them."""
    assert ended(store_url if is_there else dead_url, f"emit('script', 30)\n{end}") == code

    assert numbers(client, keys) == ({"script": list(range(30))} if is_there else {})
    assert [spooled(path) for path in spool_files(spool_dir)] == ([] if is_there else [list(range(1, 31))])


@pytest.mark.parametrize("is_there", [True, False], ids=["store there", "store away"])
def test_a_task_of_airflow_keeps_its_events(
    ended: Ended, store_url: str, dead_url: str, client: redis.Redis, keys: Keys, spool_dir: Path, is_there: bool
) -> None:
    """Its process is forked off, forgets handlers and what is registered for its end, and leaves by `os._exit`."""
    script = """
emit('parent', 1)
if os.fork() == 0:
    import atexit
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    atexit._clear()
    emit('task', 30)
    os._exit(0)
os.wait()
"""
    assert ended(store_url if is_there else dead_url, script) == 0

    found = numbers(client, keys)
    assert found == ({"parent": [0], "task": list(range(30))} if is_there else {})
    assert sum(len(spooled(path)) for path in spool_files(spool_dir)) == (0 if is_there else 31)


def test_the_workers_of_a_pool_that_are_terminated_keep_their_events(
    ended: Ended, store_url: str, client: redis.Redis, keys: Keys
) -> None:
    """As `with Pool()` does at its end."""
    script = """
from multiprocessing import get_context
def work(number):
    emit(f'task {number}', 2)
with get_context("fork").Pool(2) as pool:
    pool.map(work, range(20), chunksize=1)
"""
    assert ended(store_url, script) == 0

    assert numbers(client, keys) == {f"task {number}": [0, 1] for number in range(20)}


def test_forks_that_python_does_not_know_of_are_producers_of_their_own(
    ended: Ended, store_url: str, client: redis.Redis, keys: Keys
) -> None:
    """As those of uWSGI: no hook runs in the child, whichever method of the producer is called first. (The parent has
    no thread yet: without hooks, a child may find Python's own locks taken by another.)"""
    script = """
fork = ctypes.PyDLL(None).fork
first_calls = [lambda: None, producer.stats, lambda: producer.id, lambda: producer.flush(0), lambda: producer.log_id]
for number, call in enumerate(first_calls):
    if fork() == 0:
        call()
        emit(f'child {number}', 5)
        assert producer.flush(20)
        assert str(os.getpid()) in producer.id
        sys.exit(0)
    assert os.waitstatus_to_exitcode(os.wait()[1]) == 0
emit('parent', 5)
"""
    assert ended(store_url, script) == 0

    children = {f"child {number}": list(range(5)) for number in range(5)}
    assert numbers(client, keys) == {"parent": list(range(5))} | children
    ids = {entry.metadata["who"]: entry.producer for entry in entries(client, keys)}
    assert len(set(ids.values())) == 6


def test_a_child_that_python_does_not_know_of_does_not_end_its_closed_parent(
    ended: Ended, store_url: str, client: redis.Redis, keys: Keys
) -> None:
    """It ends at once."""
    script = """
if ctypes.PyDLL(None).fork() == 0:
    producer.close()
    os._exit(0)
assert os.waitstatus_to_exitcode(os.wait()[1]) == 0
emit('parent', 5)
"""
    assert ended(store_url, script) == 0

    assert numbers(client, keys) == {"parent": list(range(5))}


@pytest.mark.parametrize(
    "before",
    [
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)",
        "signal.signal(signal.SIGTERM, print)",
        "libc = ctypes.CDLL(None)\nlibc.signal.restype = ctypes.c_void_p\n"
        "libc.signal.argtypes = [ctypes.c_int, ctypes.c_void_p]\nabort = ctypes.cast(libc.abort, ctypes.c_void_p)\n"
        "libc.signal(15, abort)\n",
    ],
    ids=["ignored", "a handler", "a handler outside of Python"],
)
def test_a_sigterm_that_means_something_is_left_alone(ended: Ended, store_url: str, before: str) -> None:
    """The program around the producer knows better, also where that is not written in Python."""
    script = f"""
producer.close()
signal.signal(signal.SIGTERM, signal.SIG_DFL)
{before}
met = signal.getsignal(signal.SIGTERM)
producer = Producer(url, log=log)
emit('script', 1)
assert signal.getsignal(signal.SIGTERM) == met, signal.getsignal(signal.SIGTERM)
"""
    assert ended(store_url, script) == 0


def test_a_sigterm_that_a_child_has_set_back_is_met_again(
    ended: Ended, store_url: str, client: redis.Redis, keys: Keys
) -> None:
    """As Celery does in its children, before their first task."""
    script = """
ready, told = os.pipe()
child = os.fork()
if child == 0:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    emit('child', 5)
    os.write(told, b'.')
    while True:
        signal.pause()
os.read(ready, 1)
os.kill(child, signal.SIGTERM)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM
"""
    assert ended(store_url, script) == 0

    assert numbers(client, keys) == {"child": list(range(5))}


@pytest.mark.parametrize("numbers", [("SIGTERM", "SIGTERM", "SIGTERM"), ("SIGHUP", "SIGTERM", "SIGHUP")])
def test_a_signal_that_comes_again_does_not_cut_the_end_off(
    ended: Ended, spool_dir: Path, numbers: tuple[str, ...]
) -> None:
    """Whatever the moment. The store is silent."""
    script = f"""
import socket, threading
silent = socket.create_server(("127.0.0.1", 0))
producer = Producer(f"redis://127.0.0.1:{{silent.getsockname()[1]}}/0", log=log)
emit('script', 2000)

def tell():
    for number in {numbers}:
        os.kill(os.getpid(), getattr(signal, number))
        time.sleep(0.01)

threading.Thread(target=tell, daemon=True).start()
while True:
    time.sleep(1)
"""
    assert ended("redis://127.0.0.1:1/0", script) in {-signal.SIGTERM, -signal.SIGHUP}

    assert [number for path in spool_files(spool_dir) for number in spooled(path)] == list(range(1, 2001))


@pytest.mark.parametrize("end", ["os.kill(os.getpid(), signal.SIGTERM)", "os._exit(-signal.SIGTERM)"])
def test_an_end_that_comes_while_a_producer_closes_is_waited_for(ended: Ended, spool_dir: Path, end: str) -> None:
    """No longer than for one that is open: nobody knows how long `close` would still wait for a silent store."""
    script = f"""
import socket, threading
silent = socket.create_server(("127.0.0.1", 0))
producer = Producer(f"redis://127.0.0.1:{{silent.getsockname()[1]}}/0", log=log)
emit('script', 10)

def leave():
    time.sleep(0.2)
    {end}

threading.Thread(target=leave, daemon=True).start()
producer.close(60)
"""
    assert ended("redis://127.0.0.1:1/0", script) in {-signal.SIGTERM, 256 - signal.SIGTERM, 0}

    [path] = spool_files(spool_dir)
    assert spooled(path) == list(range(1, 11))


def test_a_producer_that_began_in_another_thread_hears_of_signals_too(
    ended: Ended, store_url: str, client: redis.Redis, keys: Keys
) -> None:
    """Once the main thread has used it: no other may set a handler."""
    script = """
import threading
from etlog_producer import sender
def work():
    global producer
    producer = Producer(url, log=log)
    emit('thread', 5)
producer.close()
for number in (signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_DFL)
thread = threading.Thread(target=work)
thread.start()
thread.join()
emit('main', 5)
os.kill(os.getpid(), signal.SIGTERM)
time.sleep(20)
"""
    assert ended(store_url, script) == -signal.SIGTERM

    assert numbers(client, keys) == {"thread": list(range(5)), "main": list(range(5))}


def test_an_end_that_is_cut_off_while_it_waits_has_kept_the_events(ended: Ended, spool_dir: Path) -> None:
    """The store is away, and it waits for that; but the events are in the spool by then."""
    script = """
import threading
emit('script', 10)

def kill():
    time.sleep(1)
    os.kill(os.getpid(), signal.SIGKILL)

threading.Thread(target=kill, daemon=True).start()
producer.close(20)
"""
    assert ended("redis://127.0.0.1:1/0", script) == -signal.SIGKILL

    [path] = spool_files(spool_dir)
    assert spooled(path) == list(range(1, 11))


def test_the_first_process_of_a_container_ends_by_sigterm_too(
    ended: Ended, store_url: str, client: redis.Redis, keys: Keys
) -> None:
    """The kernel spares it a signal without a handler, and its producer is closed by then."""
    script = """
kill = os.kill
os.kill = lambda pid, number: signal.getsignal(number) == signal.SIG_DFL or kill(pid, number)
emit('script', 10)
os.kill(os.getpid(), signal.SIGTERM)
time.sleep(20)
"""
    assert ended(store_url, script) == 128 + signal.SIGTERM

    assert numbers(client, keys) == {"script": list(range(10))}


def test_threads_of_a_child_that_python_does_not_know_of_share_its_producer(
    ended: Ended, store_url: str, client: redis.Redis, keys: Keys
) -> None:
    """Whichever of them comes first, and whatever the others do meanwhile."""
    script = """
import threading
from etlog_events import store
connect = store.connect
def slow(*arguments, **options):
    time.sleep(0.05)
    return connect(*arguments, **options)
store.connect = slow
if ctypes.PyDLL(None).fork() == 0:
    threads = [threading.Thread(target=emit, args=(f'thread {number}', 5)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert producer.stats().emitted == 40, producer.stats()
    producer.close()
    os._exit(0)
assert os.waitstatus_to_exitcode(os.wait()[1]) == 0
"""
    assert ended(store_url, script) == 0

    assert numbers(client, keys) == {f"thread {number}": list(range(5)) for number in range(8)}
    assert len({entry.producer for entry in entries(client, keys)}) == 1


def test_what_is_registered_for_the_end_later_may_still_emit(
    ended: Ended, store_url: str, client: redis.Redis, keys: Keys
) -> None:
    """It runs before the producer closes, whenever that has met its first event."""
    script = """
import atexit
atexit.register(emit, 'the end', 1)
emit('script', 1)
"""
    assert ended(store_url, script) == 0

    assert numbers(client, keys) == {"script": [0], "the end": [0]}


@pytest.mark.timed
def test_a_signal_that_the_main_thread_has_not_heard_of_ends_the_process_too(
    ended: Ended, store_url: str, client: redis.Redis, keys: Keys
) -> None:
    """As one that comes just as it begins to wait in C code, which nothing interrupts from then on."""
    script = """
import threading
emit('script', 10)
lock = threading.Lock()
lock.acquire()

def tell():
    time.sleep(0.2)
    signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
    time.sleep(20)

threading.Thread(target=tell, daemon=True).start()
lock.acquire()
"""
    assert ended(store_url, script) == -signal.SIGTERM

    assert numbers(client, keys) == {"script": list(range(10))}


def test_all_producers_share_the_time_at_the_end(ended: Ended, keys: Keys, spool_dir: Path) -> None:
    """Each keeps its events, and none has its own five seconds for a store that is silent."""
    script = """
import socket
silent = socket.create_server(("127.0.0.1", 0))
url = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
producers = [Producer(url, log=f"{log}-{number}") for number in range(4)]
for producer in producers:
    emit('script', 3)
began = time.monotonic()
from etlog_producer import process
process._end_all(1.0)
assert time.monotonic() - began < 4, time.monotonic() - began
"""
    assert ended("redis://127.0.0.1:1/0", script) == 0

    assert [spooled(path) for path in spool_files(spool_dir)] == [[1, 2, 3]] * 4
