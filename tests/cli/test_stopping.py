"""Work that goes on until a signal asks for its end. Each case is a process of its own, since signals are."""

import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from support.servers import PATIENCE


@contextmanager
def script(text: str) -> Iterator["subprocess.Popen[str]"]:
    """A process that runs Python with `until_stopped` at hand."""
    source = "import os, signal, sys, threading, time\nfrom etlog.stopping import until_stopped\n"
    command = [sys.executable, "-u", "-c", source + textwrap.dedent(text)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def line(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_asks_the_work_for_its_end(number: signal.Signals) -> None:
    """And what the work returns is returned."""
    with script("""
        def work(stop):
            print("working")
            stop.wait()
            return "result"
        print(until_stopped(work))
    """) as process:
        assert line(process) == "working"
        process.send_signal(number)

        assert line(process) == "result"
        assert process.wait(PATIENCE) == 0


def test_work_that_ends_by_itself_needs_no_signal() -> None:
    """What it raises is raised."""
    with script("""
        print(until_stopped(lambda stop: 7))
        try:
            until_stopped(lambda stop: 1 / 0)
        except ZeroDivisionError:
            print("raised")
    """) as process:
        assert [line(process), line(process)] == ["7", "raised"]
        assert process.wait(PATIENCE) == 0


def test_an_impatient_user_does_not_break_the_end() -> None:
    """Ctrl-C once more while the work ends is no second thought."""
    with script("""
        def work(stop):
            print("working")
            stop.wait()
            print("ending")
            sys.stdin.readline()
            return "ended"
        print(until_stopped(work))
    """) as process:
        assert line(process) == "working"
        process.send_signal(signal.SIGINT)
        assert line(process) == "ending"
        for number in (signal.SIGINT, signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            process.send_signal(number)
        process.communicate("\n")

        assert process.returncode == 0


def test_a_signal_long_before_the_work_listens_is_not_lost() -> None:
    """It may come in the very first instant."""
    with script("""
        def work(stop):
            os.kill(os.getpid(), signal.SIGTERM)
            stop.wait()
            return "stopped"
        for _ in range(200):
            assert until_stopped(work) == "stopped"
        print("done")
    """) as process:
        assert line(process) == "done"


def test_afterwards_signals_mean_what_they_did_before() -> None:
    """Ctrl-C raises `KeyboardInterrupt` again."""
    with script("""
        until_stopped(lambda stop: None)
        assert signal.set_wakeup_fd(-1) == -1
        try:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(10)
        except KeyboardInterrupt:
            print("interrupted")
    """) as process:
        assert line(process) == "interrupted"
