"""Consumers for the tests: in threads of this process, or as processes."""

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol, TypeAlias

from etlog_consumer import Consumer, Target
from etlog_events.keys import Keys
from etlog_events.kinds import KUBECOST_KINDS, Kinds
from etlog_events.store import ANSWER_TIMEOUT, connect
from support.servers import wait_until
from support.stream import Client, is_applied

#: The fixture `consuming`: `with consuming(cap=…):` runs a consumer on the test's log.
Consuming: TypeAlias = Callable[..., AbstractContextManager[Consumer]]

#: The fixture `caught_up`: waits until everything in the stream is applied.
CaughtUp: TypeAlias = Callable[[], None]


class Publish(Protocol):
    """The fixture `publish`: appends texts as a producer would, in batches of one and of several, or of `size`.

    They need not be events.
    """

    def __call__(self, texts: Sequence[bytes], size: int | None = None) -> None:
        """Append `texts`."""


#: A consumer as a process.
Process: TypeAlias = "subprocess.Popen[bytes]"

#: The fixture `start_consumer`: starts a consumer on the test's log as a process, with options of `run_consumer.py`.
StartConsumer: TypeAlias = Callable[..., Process]

_SCRIPT = Path(__file__).with_name("run_consumer.py")


class Runs(Protocol):
    """What works until it is told to stop: a consumer, or a fleet."""

    def run(self, stop: threading.Event) -> Any:
        """Work until `stop` is set."""


@contextmanager
def in_threads(*consumers: Runs) -> Iterator[None]:
    """Run consumers, each in a thread, while the block lasts."""
    stop = threading.Event()
    threads = [threading.Thread(target=each.run, args=(stop,)) for each in consumers]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


@contextmanager
def consumer_thread(
    url: str,
    keys: Keys,
    *,
    kinds: Kinds = KUBECOST_KINDS,
    cap: int = 1000,
    keep_sets: int = 2000,
    retain: int = 100_000,
    answer_timeout: float = ANSWER_TIMEOUT,
    **options: Any,
) -> Iterator[Consumer]:
    """Run a consumer on the log of `keys` in a thread while the block lasts; `options` are those of `Consumer`."""
    with connect(url, part="consumer", answer_timeout=answer_timeout) as client:
        consumer = Consumer(client, Target(keys, kinds, cap, keep_sets), retain=retain, **options)
        with in_threads(consumer):
            yield consumer


def catch_up(client: Client, keys: Keys) -> None:
    """Wait until everything in the stream is applied."""
    wait_until(lambda: is_applied(client, keys), what="the consumer to catch up")


@contextmanager
def consumer_process(url: str, log: str, *options: str) -> Iterator[Process]:
    """A consumer on `log`; it is killed at the end if it still runs. SIGTERM stops it cleanly."""
    process = subprocess.Popen([sys.executable, str(_SCRIPT), url, log, *options])
    try:
        yield process
    finally:
        process.kill()
        process.wait()
