"""The processes of a run. Each is started again whenever it ends, and has its own network, which can be spoilt."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from support.emitters import TESTS
from support.proxy import Proxy
from support.servers import Server, free_port

#: Events that each list holds: all of the longest run.
CAP = 1_000_000


class Process:
    """A process that talks to the store through a proxy. What it says goes into a file."""

    def __init__(self, name: str, arguments: list[str], store_port: int, log: str, folder: Path) -> None:
        self.name = name
        self.proxy = Proxy(store_port)
        self._arguments = [argument.replace("URL", self.proxy.url) for argument in arguments]
        self._environment = {name: value for name, value in os.environ.items() if not name.startswith("ETLOG_")} | {
            "PYTHONPATH": str(TESTS),
            "ETLOG_REDIS_URL": self.proxy.url,
            "ETLOG_NAME": log,
            "ETLOG_CAP": str(CAP),
            "ETLOG_RETAIN": "100000000",
        }
        self.output = folder / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.keep()

    def keep(self) -> bool:
        """Start the process unless it runs, as a supervisor would. Returns whether it had to."""
        if self._process is not None and self._process.poll() is None:
            return False
        with self.output.open("ab") as output:
            self._process = subprocess.Popen(
                [sys.executable, *self._arguments],
                env=self._environment,
                stdout=output,
                stderr=output,
                stdin=subprocess.DEVNULL,
            )
        return True

    def begin(self, what: str) -> None:
        """Let the fault `what` happen."""
        match what:
            case "kill":
                self.signal(signal.SIGKILL)
            case "terminate":
                self.signal(signal.SIGTERM)
            case "stop":
                self.signal(signal.SIGSTOP)
            case "cut":
                self.proxy.cut()
            case "swallow":
                self.proxy.swallow_replies(True)
            case "delay":
                self.proxy.delay_replies(0.1)

    def end(self, what: str) -> None:
        """Let it be over."""
        match what:
            case "stop":
                self.signal(signal.SIGCONT)
            case "swallow":
                self.proxy.swallow_replies(False)
                self.proxy.cut()  # replies that disappeared never come
            case "delay":
                self.proxy.delay_replies(0)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, if the process runs."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(number)

    def finish(self, patience: float) -> int | None:
        """End it cleanly, unless it is killed already. Returns its exit code, None when it had to be killed now."""
        assert self._process is not None
        if self._process.poll() is not None:
            return 0
        self.signal(signal.SIGTERM)
        try:
            return self._process.wait(patience)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            return None

    def close(self) -> None:
        """Kill it and take its network away."""
        self.signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()
        self.proxy.close()


class Processes:
    """A whole log: one store, and what works with it."""

    def __init__(self, folder: Path, log: str) -> None:
        self.folder = folder
        # What the store has confirmed it has on disk: else what a killed emitter cannot send again could be lost.
        self.store = Server("--appendonly", "yes", "--appendfsync", "always")
        self.record = folder / "accepted"
        commands = {f"emitter-{i}": ["-m", "chaos.emitter", "URL", log, str(self.record)] for i in range(1, 5)}
        commands |= {f"consumer-{i}": ["-m", "etlog", "consume"] for i in range(1, 4)}
        self.addresses = {}
        for i in range(1, 3):
            port = free_port()
            commands[f"replica-{i}"] = ["-m", "etlog", "serve", "--port", str(port)]
            self.addresses[f"replica-{i}"] = f"http://127.0.0.1:{port}"
        self.by_name = {
            name: Process(name, command, self.store.port, log, folder) for name, command in commands.items()
        }

    def of(self, kind: str) -> list[Process]:
        """The processes of a kind: `emitter`, `consumer`, `replica`."""
        return [process for name, process in self.by_name.items() if name.startswith(kind)]

    def close(self) -> None:
        """End everything."""
        for process in self.by_name.values():
            process.close()
        self.store.close()
