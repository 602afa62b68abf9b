"""Contestants as processes: ours in this environment, peers in theirs, all started in the same way."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.figures import WrongResult

HERE = Path(__file__).parent

#: Interpreters by the name of the environment.
PYTHONS = {"ours": sys.executable, "peers": str(HERE / ".venv/bin/python"), "arq": str(HERE / ".venv-arq/bin/python")}


class Missing(Exception):
    """Raised when a contestant is not installed; the message says how to get it."""


def python(environment: str) -> str:
    """The interpreter of an environment. Raises `Missing`."""
    path = PYTHONS[environment]
    if not Path(path).exists():
        raise Missing("its environment is not there; run `make bench`")
    return path


def environment(**more: str) -> dict[str, str]:
    """The variables of a contestant: no setting of the machine, and the modules that all share."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ETLOG_")}
    return {**kept, "PYTHONPATH": str(HERE), "PYTHONUNBUFFERED": "1", **more}


class Program:
    """A program that says "ready", works on the word "go", and ends with its result as JSON."""

    def __init__(self, path: str, job: Mapping[str, Any], *, environment_name: str = "ours") -> None:
        self._path = path
        self.process = subprocess.Popen(
            [python(environment_name), str(HERE / path), json.dumps(job, default=str)],
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait_ready(self) -> None:
        """Wait until it has everything imported and connected."""
        assert self.process.stdout is not None
        if self.process.stdout.readline() != "ready\n":
            self._fail()

    def go(self) -> None:
        """Let it begin."""
        assert self.process.stdin is not None
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def result(self) -> dict[str, Any]:
        """What it tells at its end."""
        output, errors = self.process.communicate(timeout=180)
        if self.process.returncode:
            raise WrongResult(f"{self._path} failed: {errors.strip()[-500:]}")
        answer: dict[str, Any] = json.loads(output.splitlines()[-1])
        return answer

    def end(self) -> None:
        """End it, however it stands."""
        self.process.kill()
        self.process.communicate()

    def _fail(self) -> None:
        _, errors = self.process.communicate()
        raise WrongResult(f"{self._path} did not start: {errors.strip()[-500:]}")


@contextmanager
def ready(path: str, job: Mapping[str, Any], *, environment_name: str = "ours") -> Iterator[Program]:
    """A program that waits for "go", and is gone after the block."""
    program = Program(path, job, environment_name=environment_name)
    try:
        program.wait_ready()
        yield program
    finally:
        program.end()
