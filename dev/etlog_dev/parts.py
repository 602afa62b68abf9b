"""The parts that `etlog dev` starts: each a process with a log file of its own."""

import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

#: Seconds that a part gets to end by itself before it is killed.
STOP_TIMEOUT = 10.0

#: Lines of a part's log that are shown when it ended unasked.
LAST_LINES = 8


@dataclass(frozen=True, slots=True)
class Part:
    """A running process: what it is called on screen, and the file that holds what it prints."""

    name: str
    process: subprocess.Popen[bytes]
    output: Path

    @property
    def exit_code(self) -> int | None:
        """Its exit code, None while it runs."""
        return self.process.poll()

    def stop(self) -> None:
        """Ask it to end, and see that it does."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def last_lines(self) -> str:
        """The end of what it printed."""
        return "\n".join(self.output.read_text(errors="replace").splitlines()[-LAST_LINES:])


def start(name: str, command: Sequence[str], output: Path, environment: Mapping[str, str]) -> Part:
    """Start a part, with an `output` that begins anew.

    It gets a session of its own, so that Ctrl-C reaches only us and we can end the parts in order.
    """
    # Should we be killed, the parts must not stay behind: the kernel tells them, where there is a tool to ask it to.
    setpriv = shutil.which("setpriv") if sys.platform == "linux" else None
    tied = [setpriv, "--pdeathsig", "TERM"] if setpriv else []
    with output.open("wb") as file:
        process = subprocess.Popen(
            [*tied, *command],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=dict(environment),
        )
    return Part(name, process, output)


def etlog(*arguments: str) -> list[str]:
    """The command line of `etlog` in this very environment."""
    return [sys.executable, "-m", "etlog", *arguments]
