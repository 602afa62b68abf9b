"""An emitting process of a trial: `python -m chaos.stage WORK`, where WORK is `Work` as JSON.

It emits events whose sizes are their numbers, and notes in the books of the trial what became of each call. What its
producers log and count goes to its standard output, a line of JSON each: a pipe, which takes it even when no file does.
"""

import _thread
import asyncio
import ctypes
import faulthandler
import itertools
import json
import logging
import os
import random
import resource
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from importlib import import_module
from pathlib import Path
from time import sleep
from typing import Any, Literal

from chaos import rights
from chaos.books import Books, Fate, Phase
from etlog_events.ids import new_id
from etlog_producer import Producer, ProducerClosed, SpoolFull, delivery
from support.samples import WINDOW

#: What a log line tells beside its text.
_TOLD = ("action", "dropped", "lost", "undelivered", "first", "last", "path", "producer")

#: Events of which one is long.
LONG_EVERY = 50

#: The way in which a process emits: one call after another; in a coroutine, which gives up flushing; from a signal
#: handler as well; while a signal handler raises again and again; in children that are forked off, too.
Way = Literal["plain", "in a coroutine", "in a handler", "interrupted", "forking"]

#: What a process may not get any more of.
Lack = Literal["descriptors", "threads"]

Ending = Literal["close", "exit", "os._exit", "wait"]


@dataclass(frozen=True, kw_only=True)
class Work:
    """What a process does: it emits the events from `first` to `last` in as many `threads`, `burst` at a time and then
    pausing for `pause` seconds, waits until it is released if it `holds`, and ends in the way of `ending`.

    One event in `LONG_EVERY` has `long` bytes more. After a burst it flushes with the probability `flushing`, and after
    the event `rest_after` it rests for `rest` seconds. From the event `starves_after` on it gets none of what it shall
    `lack`, until it is released. `options` are those of its producer, `id` the id that this begins with, and
    `constants` replace those of the producer's modules. No file may be larger than `file_bytes`.
    """

    url: str
    log: str
    books: str
    spool: str
    seed: int
    first: int
    last: int
    threads: int = 1
    long: int = 0
    burst: int = 10
    pause: float = 0.0
    flushing: float = 0.0
    rest_after: int = 0
    rest: float = 0.0
    lack: Lack | None = None
    starves_after: int = 0
    holds: bool = True
    way: Way = "plain"
    ending: Ending = "close"
    closing: float = 1.0
    children: int = 0
    with_hooks: bool = True
    end_of_children: Literal["sys.exit", "os._exit", "SIGTERM"] = "sys.exit"
    options: dict[str, Any] = field(default_factory=dict)
    constants: dict[str, float] = field(default_factory=dict)
    id: str | None = None
    file_bytes: int | None = None


class _Alarm(Exception):
    """Raised by a signal handler, at any place."""


class _ToStandardOutput(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        told = {name: vars(record)[name] for name in _TOLD if name in vars(record)}
        say(message=record.getMessage(), **told)


def say(**what: Any) -> None:
    """Say something to the harness."""
    with suppress(OSError):
        os.write(1, json.dumps({"process": os.getpid(), **what}).encode() + b"\n")


class Stage:
    """Does the work of this process."""

    def __init__(self, work: Work, books: Books, producer: Producer) -> None:
        self._work = work
        self._books = books
        self._producer = producer
        self._chance = random.Random(work.seed)
        self._numbers = itertools.count(work.first)
        self._last = work.last

    def run(self) -> None:
        """Emit all, and end."""
        for _ in range(self._work.threads - 1):
            threading.Thread(target=self._emit_all, daemon=True).start()
        match self._work.way:
            case "in a coroutine":
                asyncio.run(self._emit_in_coroutine())
            case "in a handler":
                signal.signal(signal.SIGALRM, lambda *_: self._emit_one())
                signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
            case "interrupted":
                signal.signal(signal.SIGALRM, _raise)
                every = self._chance.uniform(0.001, 0.02)
                signal.setitimer(signal.ITIMER_REAL, every, every)
            case "forking":
                self._run_children()
        self._emit_all()
        self._hold()
        self._end()

    async def _emit_in_coroutine(self) -> None:
        while self._burst():
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._producer.aflush(), self._chance.choice([0.0, 0.001, 0.01, 0.05]))

    def _emit_all(self) -> None:
        going_on = True
        while going_on:
            try:
                going_on = self._burst()
            except _Alarm:
                continue

    def _burst(self) -> bool:
        self._books.phase = Phase.EMITTING
        for _ in range(self._chance.randint(1, 2 * self._work.burst)):
            if not self._emit_one():
                return False
        if self._chance.random() < self._work.flushing:
            self._books.phase = Phase.FLUSHING
            self._producer.flush(self._chance.choice([0.0, 0.01, 0.1]))
        sleep(self._chance.uniform(0, 2 * self._work.pause))
        return True

    def _emit_one(self) -> bool:
        number = next(self._numbers)
        if number > self._last:
            return False
        self._books.note(number, Fate.BEGUN)
        more = {"note": "x" * self._work.long} if number % LONG_EVERY == 0 else {}
        try:
            self._producer.emit("AssetSetSaved", size=number, window=WINDOW, **more)
        except (SpoolFull, ProducerClosed):
            self._books.note(number, Fate.REFUSED)
        else:
            self._books.note(number, Fate.RETURNED)
        if number == self._work.rest_after:
            self._books.phase = Phase.RESTING
            sleep(self._work.rest)
        if number == self._work.starves_after:
            _starve(self._work.lack)
        return True

    def _hold(self) -> None:
        while self._work.holds and not self._books.released:
            with suppress(_Alarm):
                self._books.phase = Phase.HOLDING
                sleep(0.005)
        _feed()

    def _end(self) -> None:
        self._books.phase = Phase.CLOSING
        match self._work.ending:
            case "close":
                _again_when_interrupted(lambda: self._producer.close(self._work.closing))
                signal.setitimer(signal.ITIMER_REAL, 0)
                say(stats=asdict(self._producer.stats()))
            case "exit":
                sys.exit()
            case "os._exit":
                os._exit(0)
            case "wait":
                _rest_for_ever()

    def _run_children(self) -> None:
        """Fork, emit in all, and wait until the children have ended. Each has the numbers from a multiple of 10,000."""
        fork: Callable[[], int] = os.fork if self._work.with_hooks else ctypes.PyDLL(None).fork
        if self._work.with_hooks:
            self._burst()
        children = []
        for place in range(1, self._work.children + 1):
            first = 10_000 * place + 1
            child = fork()
            if child == 0:
                self._be_child(first)
            children.append((child, first))
        self._burst()
        for child, first in children:
            if self._work.end_of_children == "SIGTERM":
                while self._books.returned(first, first + self._work.last) <= self._work.last:
                    sleep(0.001)
                os.kill(child, signal.SIGTERM)
            os.waitpid(child, 0)

    def _be_child(self, first: int) -> None:
        self._numbers = itertools.count(first)
        self._last = first + self._work.last
        self._emit_all()
        match self._work.end_of_children:
            case "sys.exit":
                sys.exit()
            case "os._exit":
                os._exit(0)
            case "SIGTERM":
                _rest_for_ever()


_limits = resource.getrlimit(resource.RLIMIT_NOFILE)
_start_new_thread = _thread.start_new_thread


def _starve(lack: Lack | None) -> None:
    """From now on no further descriptor, or no thread of etlog's, is to be had."""
    if lack == "descriptors":
        resource.setrlimit(resource.RLIMIT_NOFILE, (_next_descriptor(), _limits[1]))
    elif lack == "threads":
        vars(_thread)["start_new_thread"] = _refuse


def _next_descriptor() -> int:
    with Path(os.devnull).open("rb") as file:
        return file.fileno()


def _feed() -> None:
    """Let everything be had again."""
    resource.setrlimit(resource.RLIMIT_NOFILE, _limits)
    vars(_thread)["start_new_thread"] = _start_new_thread


def _refuse(*_: object) -> None:
    raise RuntimeError("can't start new thread")


def _rest_for_ever() -> None:
    while True:
        sleep(0.01)  # `pause` would miss a signal that comes before it


def _raise(*_: object) -> None:
    raise _Alarm


def _again_when_interrupted(call: Callable[[], None]) -> None:
    while True:
        try:
            call()
        except _Alarm:
            continue
        return


def main() -> None:
    """Do the work that the command line says."""
    work = Work(**json.loads(sys.argv[1]))
    books = Books(Path(work.books))
    for name, value in work.constants.items():
        module, _, constant = name.rpartition(".")
        getattr(import_module(module), constant)  # a constant that is gone must not go unnoticed
        setattr(import_module(module), constant, value)
    if work.id:
        ids = iter([work.id])
        vars(delivery)["new_id"] = lambda: next(ids, None) or new_id()
    if work.file_bytes:
        resource.setrlimit(resource.RLIMIT_FSIZE, (work.file_bytes, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    rights.give_up()
    faulthandler.register(signal.SIGUSR1)  # so that one that hangs can say where
    logging.basicConfig(level="INFO", handlers=[_ToStandardOutput()])
    producer = Producer(work.url, log=work.log, spool_dir=work.spool, **work.options)
    Stage(work, books, producer).run()


if __name__ == "__main__":
    main()
