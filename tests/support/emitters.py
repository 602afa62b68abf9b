"""Stages as processes, which emit until they are told to end."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from support.servers import PATIENCE, wait_until

#: The folder of all tests, in which the processes of a test find `support`.
TESTS = Path(__file__).parents[1]


class Emitter:
    """A stage called `name` that emits five events every `pause` seconds, of each of `kinds` in turn, `events` in all.

    At its end it gets `closing` seconds to deliver what waits. `constants` replace those of the producer's modules, by
    their full names; its producer begins as `id`, and writes errors to the file `errors`; `options` are those of the
    producer.
    """

    def __init__(
        self,
        url: str,
        log: str,
        name: str,
        *,
        pause: float = 0.02,
        kinds: Sequence[str] = ("AllocationSetSaved",),
        events: int | None = None,
        closing: float = PATIENCE,
        constants: Mapping[str, float] | None = None,
        id: str | None = None,
        errors: Path | None = None,
        **options: Any,
    ) -> None:
        self.name = name
        self.books: dict[str, Any] = {}
        self.acknowledged = 0
        work = {
            "pause": pause,
            "kinds": kinds,
            "events": events,
            "closing": closing,
            "constants": constants or {},
            "id": id,
            "errors": str(errors) if errors else None,
            "options": options,
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "support.run_emitter", url, log, name, json.dumps(work)],
            env=os.environ | {"PYTHONPATH": str(TESTS)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    @property
    def emitted(self) -> int:
        """How many events it has emitted, at least; exact once it has ended."""
        return int(self.books.get("accepted", 0))

    def go_on(self, events: int = 200) -> None:
        """Wait until it was acknowledged so many more."""
        goal = self.acknowledged + events
        wait_until(lambda: self.acknowledged >= goal, what=f"{self.name} to go on")

    def stop(self) -> None:
        """Let it deliver all, and end."""
        assert self._process.stdin is not None
        self._process.stdin.close()

    def wait(self) -> int:
        """Wait for its end. Returns its exit code."""
        code = self._process.wait(2 * PATIENCE)
        self.stop()
        self._reader.join()
        assert self._process.stdout is not None
        self._process.stdout.close()
        return code

    def end(self) -> int:
        """Let it deliver all, and end. Returns how many events it has emitted."""
        self.stop()
        self.wait()
        return self.emitted

    def kill(self) -> int:
        """SIGKILL, if it still runs. Returns how many of its events were acknowledged, at least."""
        self._process.kill()
        self.wait()
        return self.acknowledged

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.endswith("\n"):  # else it was killed
                self.books = json.loads(line)
                self.acknowledged = max(self.acknowledged, self.books["delivered"])
