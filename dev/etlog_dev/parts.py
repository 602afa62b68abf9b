"""The parts that `etlog dev` starts: processes, each with its log file."""

import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

#: Seconds for a part to end before it is killed.
STOP_TIMEOUT = 10.0

#: Lines of its log that are shown when a part ends by itself.
LAST_LINES = 8


@dataclass(frozen=True, slots=True)
class Part:
    """A running process: its name on the screen, and the file that holds its output."""

    name: str
    process: subprocess.Popen[bytes]
    output: Path

    @property
    def exit_code(self) -> int | None:
        """The exit code, None while it runs."""
        return self.process.poll()

    def stop(self) -> None:
        """Terminate it, and kill it if that takes too long."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(STOP_TIMEOUT)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def last_lines(self) -> str:
        """The end of its output."""
        return "\n".join(self.output.read_text(errors="replace").splitlines()[-LAST_LINES:])


def start(name: str, command: Sequence[str], output: Path, environment: Mapping[str, str]) -> Part:
    """Start a part, and overwrite `output`.

    It gets its own session: Ctrl-C must reach only `etlog dev`, which stops the parts in order.
    """
    # If `etlog dev` is killed, the parts must not stay behind: `setpriv` has the kernel terminate them.
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
    """The command line of `etlog`, run by this interpreter."""
    return [sys.executable, "-m", "etlog", *arguments]
