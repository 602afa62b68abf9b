"""The processes of the sample ETL: started, watched, stopped. No store is needed for that."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from etlog_dev.sample import run
from etlog_dev.sample.run import PARTS
from support.servers import wait_until


def children() -> list[psutil.Process]:
    """The sample's processes that run now."""
    mine = []
    for process in psutil.Process().children():
        try:
            if "spawn_main" in " ".join(process.cmdline()):
                mine.append(process)
        except psutil.Error:
            continue
    return mine


@contextmanager
def running(data: Path, stop: threading.Event) -> Iterator["Future[int]"]:
    with ThreadPoolExecutor(1) as pool:
        try:
            yield pool.submit(run, url="unix:///nowhere/valkey.sock", log="test", data=data, fail=False, stop=stop)
        finally:
            stop.set()


@pytest.fixture
def stop() -> threading.Event:
    return threading.Event()


@pytest.mark.timed
def test_the_sample_stops_when_it_is_told(tmp_path: Path, stop: threading.Event) -> None:
    """It returns 0 soon, and leaves no process behind."""
    # given
    with running(tmp_path, stop) as status:
        wait_until(lambda: len(children()) == len(PARTS))

        # when
        told = time.monotonic()
        stop.set()

        # then
        assert status.result(timeout=10) == 0
    assert time.monotonic() - told < 4
    assert children() == []


def test_a_process_that_dies_ends_the_sample(tmp_path: Path, stop: threading.Event) -> None:
    """It is no use to go on without one of the three, so the others are stopped and the status is 1."""
    # given
    with running(tmp_path, stop) as status:
        wait_until(lambda: len(children()) == len(PARTS))

        # when
        children()[0].send_signal(signal.SIGKILL)

        # then
        assert status.result(timeout=10) == 1
    assert children() == []


def test_ctrl_c_is_left_to_the_parent(tmp_path: Path, stop: threading.Event) -> None:
    """A terminal sends it to all processes; the parent stops them in order."""
    # given
    with running(tmp_path, stop) as status:
        wait_until(lambda: len(children()) == len(PARTS))
        pids = [process.pid for process in children()]

        # when
        for pid in pids:
            os.kill(pid, signal.SIGINT)
        wait_until((tmp_path / "asset/10s").exists)

        # then
        assert not status.done()
        assert [process.pid for process in children()] == pids
