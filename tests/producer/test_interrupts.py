"""Interrupts, signal handlers and finalizers: they end a wait, never the keeping, and nothing waits for itself."""

import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
import redis
from etlog_events.keys import Keys
from support.producers import spool_files, spooled
from support.samples import WINDOW
from support.servers import PATIENCE
from support.stream import entries

#: Begins each script. `silent` is the address of a store that takes connections and never answers.
HEAD = f"""
import asyncio, gc, itertools, os, signal, socket, sys, threading, time
from etlog_producer import Producer, ProducerClosed

signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever the tests themselves were started by
url, log = sys.argv[1:]
listening = socket.create_server(("127.0.0.1", 0))
silent = f"redis://127.0.0.1:{{listening.getsockname()[1]}}/0"

def emit(producer, size):
    producer.emit("AssetSetSaved", size=size, window={WINDOW!r})
"""

Ended = Callable[[str], tuple[int, str]]


@pytest.fixture
def ended(store_url: str, keys: Keys) -> Ended:
    """Runs a script that begins with `HEAD`. Returns its exit code and what it wrote to standard error."""

    def run(script: str) -> tuple[int, str]:
        ended = subprocess.run(
            [sys.executable, "-c", HEAD + script, store_url, keys.name],
            stderr=subprocess.PIPE,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        return ended.returncode, ended.stderr

    return run


@pytest.mark.parametrize(
    "wait",
    ["producer.close()", "producer.flush()", "with producer:\n    pass", "sys.exit(0)"],
    ids=["close", "flush", "with", "the end of the process"],
)
def test_an_interrupt_while_the_store_is_away_keeps_every_event(ended: Ended, spool_dir: Path, wait: str) -> None:
    """Ctrl-C ends the waiting, and is raised when all is kept; a second one changes nothing."""
    script = f"""
producer = Producer(silent, log=log)
for size in (1, 2, 3):
    emit(producer, size)

def interrupt():
    for _ in range(3):
        time.sleep(0.3)
        os.kill(os.getpid(), signal.SIGINT)

threading.Thread(target=interrupt, daemon=True).start()
{wait}
"""
    code, errors = ended(script)

    assert "KeyboardInterrupt" in errors
    assert code == (0 if wait.startswith("sys.exit") else -signal.SIGINT)
    [path] = spool_files(spool_dir)
    assert spooled(path) == [1, 2, 3]


def test_an_exception_of_a_signal_handler_ends_a_flush_and_keeps_the_events(ended: Ended, spool_dir: Path) -> None:
    """As the time limits of RQ and Celery raise it. Even SIGKILL loses nothing from then on."""
    script = """
class TooLong(Exception):
    pass

def raise_it(*_):
    raise TooLong

signal.signal(signal.SIGALRM, raise_it)
producer = Producer(silent, log=log)
emit(producer, 1)
emit(producer, 2)
signal.setitimer(signal.ITIMER_REAL, 0.3)
try:
    producer.flush()
except TooLong:
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert ended(script)[0] == -signal.SIGKILL

    [path] = spool_files(spool_dir)
    assert spooled(path) == [1, 2]


def test_a_flush_that_gives_up_leaves_the_events_in_the_spool_too(
    ended: Ended, client: redis.Redis, keys: Keys, spool_dir: Path
) -> None:
    """They are still sent from memory; the file is written once, and goes with the delivery."""
    script = """
producer = Producer(silent, log=log)
for size in range(1, 31):
    emit(producer, size)
    assert not producer.flush(0)
assert producer.stats().waiting == 30
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert ended(script)[0] == -signal.SIGKILL

    [path] = spool_files(spool_dir)
    assert spooled(path) == list(range(1, 31))


@pytest.mark.parametrize("durable", [False, True])
def test_an_emit_that_interrupts_an_emit_is_another_event(
    ended: Ended, client: redis.Redis, keys: Keys, durable: bool
) -> None:
    """Again and again, wherever the first one is: none hangs, none is lost, no two have one number."""
    script = f"""
producer = Producer(url, log=log, durable={durable})
numbers = itertools.count()
handled = 0

def emit_too(*_):
    global handled
    if handled < 2000:
        handled = next(numbers)
        emit(producer, handled)

signal.signal(signal.SIGALRM, emit_too)
signal.setitimer(signal.ITIMER_REAL, 0.0001, 0.0001)
size = 10000
while handled < 2000:
    emit(producer, size)
    size += 1
signal.setitimer(signal.ITIMER_REAL, 0)
stats = producer.stats()
handled = next(numbers)
assert stats.emitted == handled + size - 10000, (stats, handled, size)
assert producer.flush(20)
producer.close()
print(handled, size, file=sys.stderr)
"""
    code, errors = ended(script)

    assert code == 0, errors
    found = list(entries(client, keys))
    assert [entry.seq for entry in found] == list(range(1, len(found) + 1))
    sizes = sorted(entry.metadata["size"] for entry in found)
    handled, size = map(int, errors.split()[-2:])
    assert sizes == [*range(handled), *range(10000, size)]


@pytest.mark.parametrize("durable", [False, True])
def test_a_finalizer_may_emit(ended: Ended, client: redis.Redis, keys: Keys, durable: bool) -> None:
    """It runs wherever the garbage is collected, in the sender's thread as well."""
    script = f"""
producer = Producer(url, log=log, durable={durable})

class Emitting:
    def __init__(self):
        self.itself = self

    def __del__(self):
        emit(producer, 1)

gc.set_threshold(5, 2, 2)
for size in range(2, 1500):
    Emitting()
    emit(producer, size)
while producer.stats().emitted < 2 * 1498:  # the sender's thread may be at it
    gc.collect()
    time.sleep(0.01)
assert producer.flush(20)
producer.close()
"""
    code, errors = ended(script)

    assert (code, errors) == (0, "")
    found = list(entries(client, keys))
    assert [entry.seq for entry in found] == list(range(1, 2 * 1498 + 1))


@pytest.mark.parametrize("durable", [False, True])
def test_a_handler_may_close_whatever_it_has_interrupted(
    ended: Ended, client: redis.Redis, keys: Keys, spool_dir: Path, durable: bool
) -> None:
    """An emit above all. What was accepted is in the log or in the spool."""
    script = f"""
for round in range(40):
    producer = Producer(url, log=log, durable={durable})
    accepted = 0

    def close(*_):
        producer.close()

    signal.signal(signal.SIGALRM, close)
    signal.setitimer(signal.ITIMER_REAL, 0.0005 + 0.0001 * round)
    try:
        while True:
            emit(producer, round * 100000 + accepted)
            accepted += 1
    except ProducerClosed:
        pass
    producer.close()
    stats = producer.stats()
    assert stats.delivered + stats.spooled == stats.emitted, stats
    assert stats.emitted in (accepted, accepted + 1), (stats, accepted)
    print(accepted, file=sys.stderr)
"""
    code, errors = ended(script)

    assert code == 0, errors
    accepted = [int(line) for line in errors.split() if line.isdigit()]
    found = {entry.metadata["size"] for entry in entries(client, keys)}
    for path in spool_files(spool_dir):
        text = path.read_text()
        found |= {int(piece.split(",")[0]) for piece in text.split('"size":')[1:]}
    missing = {turn * 100000 + size for turn, count in enumerate(accepted) for size in range(count)} - found
    assert missing == set()


@pytest.mark.timed
def test_an_aflush_that_is_given_up_lets_the_loop_end(ended: Ended, spool_dir: Path) -> None:
    """No thread goes on waiting for it."""
    script = """
async def main():
    producer = Producer(silent, log=log)
    emit(producer, 1)
    try:
        await asyncio.wait_for(producer.aflush(), 0.3)
    except TimeoutError:
        pass
    return producer

began = time.monotonic()
producer = asyncio.run(main())
assert time.monotonic() - began < 3
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert ended(script) == (-signal.SIGKILL, "")

    [path] = spool_files(spool_dir)
    assert spooled(path) == [1]


#: Lets no thread be started from here on, as a limit of processes does.
NO_THREADS = """
import resource
with Producer(url, log="warm-" + log) as producer:  # imports all there is: another user may not read it
    emit(producer, 1)
    assert producer.flush(20)
if os.getuid() == 0:
    os.setuid(54321)
resource.setrlimit(resource.RLIMIT_NPROC, (1, 1))
try:
    threading.Thread(target=print).start()
    os._exit(77)
except RuntimeError:
    pass
"""


@pytest.mark.parametrize(
    "end", ["assert producer.flush(20)\nos.kill(os.getpid(), signal.SIGKILL)", "producer.close()", ""]
)
def test_without_a_thread_the_caller_delivers(ended: Ended, client: redis.Redis, keys: Keys, end: str) -> None:
    """`emit` raises nothing, and waits for nothing."""
    code, errors = ended(
        f"{NO_THREADS}\nproducer = Producer(url, log=log)\nfor size in range(10):\n    emit(producer, size)\n{end}"
    )

    assert code in {0, -signal.SIGKILL}, errors
    assert [entry.metadata["size"] for entry in entries(client, keys)] == list(range(10))
    assert "Traceback" not in errors


@pytest.mark.timed
def test_without_a_thread_and_without_a_store_the_caller_spools(ended: Ended, monkeypatch: pytest.MonkeyPatch) -> None:
    """In time."""
    folder = tempfile.mkdtemp()
    Path(folder).chmod(0o777)
    monkeypatch.setenv("ETLOG_SPOOL_DIR", folder)
    script = f"""
{NO_THREADS}
producer = Producer("redis://127.0.0.1:1/0", log=log)
for size in range(10):
    emit(producer, size)
began = time.monotonic()
producer.close(1)
assert time.monotonic() - began < 4
assert producer.stats().spooled == 10, producer.stats()
"""
    code, errors = ended(script)

    assert code == 0, errors
    [path] = spool_files(Path(folder))
    assert spooled(path) == list(range(1, 11))
    shutil.rmtree(folder)


def test_a_thread_is_started_once_one_is_available(ended: Ended, client: redis.Redis, keys: Keys) -> None:
    """By a later emit: nobody has to flush."""
    script = """
import _thread
from etlog_producer import sender
sender.START_AGAIN = 0.05
start = _thread.start_new_thread
def refuse(*_):
    raise RuntimeError("can't start new thread")
_thread.start_new_thread = refuse
producer = Producer(url, log=log)
emit(producer, 0)
_thread.start_new_thread = start
size = 1
while producer.stats().delivered == 0:
    time.sleep(0.06)
    emit(producer, size)
    size += 1
os.kill(os.getpid(), signal.SIGKILL)
"""
    assert ended(script)[0] == -signal.SIGKILL

    assert entries(client, keys)[0].metadata["size"] == 0


@pytest.mark.parametrize("end", ["os._exit(3)", "os.kill(os.getpid(), signal.SIGTERM)"])
def test_an_interrupt_while_a_process_ends_at_once_keeps_every_event(ended: Ended, spool_dir: Path, end: str) -> None:
    """It only hurries the end, which comes as it was to come."""
    script = f"""
producer = Producer(silent, log=log)
for size in (1, 2, 3):
    emit(producer, size)

def interrupt():
    for _ in range(3):
        time.sleep(0.2)
        os.kill(os.getpid(), signal.SIGINT)

threading.Thread(target=interrupt, daemon=True).start()
{end}
time.sleep(20)
"""
    assert ended(script)[0] in {3, -signal.SIGTERM}

    [path] = spool_files(spool_dir)
    assert spooled(path) == [1, 2, 3]


def test_a_handler_that_leaves_at_once_keeps_the_events(ended: Ended, spool_dir: Path) -> None:
    """Whatever it has interrupted: it never returns to that."""
    script = """
from etlog_producer import inbox
inbox.INBOX_EVENTS, inbox.SPILL_EVENTS = 100, 50
producer = Producer("redis://127.0.0.1:1/0", log=log)
for turn in range(30):
    if os.fork() == 0:
        accepted = 0
        def leave(*_):
            os.write(2, f"{producer.id} {accepted}\\n".encode())
            os._exit(0)
        signal.signal(signal.SIGALRM, leave)
        signal.setitimer(signal.ITIMER_REAL, 0.005 + 0.002 * turn)
        while True:
            emit(producer, accepted + 1)
            accepted += 1
for turn in range(30):
    assert os.wait()[1] == 0
"""
    code, errors = ended(script)

    assert code == 0, errors
    emitted = dict(line.split() for line in errors.splitlines() if line.count(" ") == 1)
    assert len(emitted) == 30
    for producer, accepted in emitted.items():
        files = [path for path in spool_files(spool_dir) if path.name.startswith(producer)]
        assert set(range(1, int(accepted) + 1)) <= {number for path in files for number in spooled(path)}


def test_without_a_thread_exceptions_of_handlers_double_and_lose_nothing(
    ended: Ended, client: redis.Redis, keys: Keys
) -> None:
    """They come between the attempts to deliver, not within."""
    script = """
import _thread, random

def refuse(*_):
    raise RuntimeError("can't start new thread")

class TooLong(Exception):
    pass

def raise_it(*_):
    raise TooLong

_thread.start_new_thread = refuse
signal.signal(signal.SIGALRM, raise_it)
producer = Producer(url, log=log)
size = 0
for turn in range(100):
    signal.setitimer(signal.ITIMER_REAL, random.uniform(0.0002, 0.01))
    try:
        for _ in range(50):
            emit(producer, size)
            size += 1
        producer.flush(0.02)
        time.sleep(0.01)
    except TooLong:
        size += 1  # it may have been in an emit
    signal.setitimer(signal.ITIMER_REAL, 0)
producer.close()
stats = producer.stats()
assert (stats.delivered, stats.spooled, stats.lost) == (stats.emitted, 0, 0), stats
print(stats.emitted, file=sys.stderr)
"""
    code, errors = ended(script)

    assert code == 0, errors
    sizes = [entry.metadata["size"] for entry in entries(client, keys)]
    assert len(sizes) == len(set(sizes)) == int(errors.split()[-1])
