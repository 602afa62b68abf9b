"""The `etlog` command as a process, on its own terminal or with its output in a pipe."""

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

import psutil
from support.servers import PATIENCE, wait_until

#: Escape sequences by which a program colours text and moves the cursor.
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def run(*arguments: str, timeout: float = PATIENCE, **options: Any) -> "subprocess.CompletedProcess[str]":
    """Run `etlog` to its end. What it prints is kept, except for the outputs that `options` send elsewhere."""
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    return subprocess.run(_line(arguments), text=True, timeout=timeout, check=False, env=_environment(), **options)


class Command:
    """`etlog` at work: what it has printed so far, and its end.

    With `columns` it has a terminal that wide, else a pipe. `settings` are added to its environment as `ETLOG_…`. With
    a `line` that is what runs, in the place of the command.
    """

    def __init__(
        self, *arguments: str, columns: int | None = None, line: Sequence[str] | None = None, **settings: str
    ) -> None:
        self.printed = ""
        stdin = None
        if columns is None:
            self._master, output = os.pipe()
        else:
            self._master, output = pty.openpty()
            fcntl.ioctl(output, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
            stdin = output
        self.process = subprocess.Popen(
            _line(arguments) if line is None else line,
            stdin=stdin if stdin is not None else subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            env=_environment() | {f"ETLOG_{name.upper()}": value for name, value in settings.items()},
            preexec_fn=None if columns is None else _take_terminal,  # noqa: PLW1509
        )
        os.close(output)
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    @property
    def shown(self) -> str:
        """What it printed, without colours."""
        return _ESCAPES.sub("", self.printed).replace("\r\n", "\n")

    def wait_for(self, pattern: str) -> "re.Match[str]":
        """Wait until it has printed what the regular expression `pattern` describes."""

        def found() -> "re.Match[str] | None":
            match = re.search(pattern, self.shown, re.MULTILINE)
            assert match or self.process.poll() is None, f"ended without {pattern!r}:\n{self.shown}"
            return match

        match: re.Match[str] = wait_until(found, what=pattern)
        return match

    def type(self, text: str) -> None:
        """Type on its terminal; `\\x03` is Ctrl-C, which reaches every process in the foreground."""
        os.write(self._master, text.encode())

    def hang_up(self) -> None:
        """Close its terminal, as closing a window does."""
        os.close(self._master)
        self._master = -1

    def stop(self, number: signal.Signals = signal.SIGTERM) -> float:
        """Send it a signal and wait for its end. Returns the seconds that it took."""
        began = time.monotonic()
        self.process.send_signal(number)
        self.wait()
        return time.monotonic() - began

    def wait(self) -> int:
        """Its exit code, when it has ended and all that it printed is read."""
        code = self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return code

    def family(self) -> list[psutil.Process]:
        """It and all processes below it."""
        process = psutil.Process(self.process.pid)
        return [process, *process.children(recursive=True)]

    def close(self) -> None:
        """End it, however it stands, with all processes below it."""
        left = self.family() if self.process.poll() is None else []
        for process in left:
            process.kill()
        self.process.wait()
        self._reader.join(PATIENCE)
        if self._master >= 0:
            self.hang_up()

    def _read(self) -> None:
        while True:
            try:
                piece = os.read(self._master, 65536)
            except OSError:  # the end of a terminal
                return
            if not piece:
                return
            self.printed += piece.decode(errors="replace")


@contextmanager
def running(*arguments: str, columns: int | None = None, **settings: str) -> Iterator[Command]:
    """`etlog` while the block lasts."""
    command = Command(*arguments, columns=columns, **settings)
    try:
        yield command
    finally:
        command.close()


def wait_for_end(processes: list[psutil.Process]) -> None:
    """Wait until none of them runs any more."""

    def runs(process: psutil.Process) -> bool:
        with suppress(psutil.NoSuchProcess):
            return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
        return False

    wait_until(lambda: not any(map(runs, processes)), timeout=15, what="all processes to end")


def _take_terminal() -> None:
    """Make standard input the terminal whose Ctrl-C this process gets."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def _environment() -> dict[str, str]:
    """That of the test, free of what would speak for a terminal in the place of the real one."""
    terminal = {"COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "PYTHONUNBUFFERED"}
    return {name: value for name, value in os.environ.items() if name not in terminal} | {"TERM": "xterm"}


def _line(arguments: tuple[str, ...]) -> list[str]:
    return [sys.executable, "-m", "etlog", *arguments]
