"""A host that is run to its end, and the count of what its processes emitted."""

import os
import signal
import subprocess
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
from etlog.verification import verify
from etlog_events.keys import Keys
from etlog_events.store import connect
from support.commands import run
from support.consumers import catch_up, consumer_thread
from support.producers import spool_files
from support.servers import PATIENCE, Server, free_port, wait_until
from support.stream import entries, stats

TESTS = Path(__file__).parents[1]

#: The programs of the environment that the hosts are installed into.
PROGRAMS = Path(__file__).parent / ".venv/bin"

LOG = "hosts"


@dataclass(frozen=True)
class Account:
    """What became of the events. `emitted` tells when the call of `emit` for an event had returned, in seconds."""

    emitted: dict[str, float]
    arrived: Counter[str]
    lost: int
    faults: list[str]

    def __str__(self) -> str:
        """The numbers, of each process too."""
        parts = [f"{len(self.emitted) - len(self.missing)} of {len(self.emitted)} events are in the log"]
        for process in sorted({name.partition("-")[0] for name in self.emitted}):
            emitted = {name for name in self.emitted if name.startswith(f"{process}-")}
            parts.append(f"{len(emitted - self.missing)} of {len(emitted)} of {process}")
        parts.append(f"{len(self.doubled)} doubled, {self.lost} lost, faults: {self.faults}")
        return "; ".join(parts)

    @property
    def missing(self) -> set[str]:
        """The events that were emitted and are not in the log."""
        return self.emitted.keys() - self.arrived.keys()

    @property
    def doubled(self) -> set[str]:
        """The events that are in the log more than once."""
        return {name for name, times in self.arrived.items() if times > 1}

    @property
    def is_whole(self) -> bool:
        """Whether every event that was emitted is in the log, once, and the log knows of no other."""
        return not (self.missing or self.doubled or self.lost or self.faults)

    @property
    def processes(self) -> int:
        """How many processes have emitted."""
        return len({name.partition("-")[0] for name in self.emitted})


class Host:
    """A program of the hosts' environment at work. What it prints goes to `output`."""

    def __init__(self, command: tuple[str, ...], environment: dict[str, str], output: Path) -> None:
        self._output = output
        with output.open("ab") as sink:
            self._process = subprocess.Popen(
                [str(PROGRAMS / command[0]), *command[1:]],
                env=environment,
                cwd=output.parent,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
                start_new_session=True,
            )

    @property
    def printed(self) -> str:
        """What it has printed so far."""
        return self._output.read_text(errors="replace")

    @property
    def runs(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def wait(self) -> int:
        """Its exit code, when it and every process that it started have ended."""
        code = self._process.wait(PATIENCE)
        wait_until(self._is_alone, what=f"the processes of {self._process.args!r} to end")
        return code

    def end(self, number: signal.Signals, *, whole: bool = False) -> int:
        """Send it a signal, and as a `whole` each process that it started, too. Returns its exit code, when all have
        ended."""
        if whole:
            os.killpg(self._process.pid, number)
        else:
            self._process.send_signal(number)
        return self.wait()

    def close(self) -> None:
        """Kill what is left of it."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _is_alone(self) -> bool:
        def belongs(process: psutil.Process) -> bool:
            with suppress(ProcessLookupError, psutil.NoSuchProcess):
                group = os.getpgid(process.pid)
                return group == self._process.pid and process.status() != psutil.STATUS_ZOMBIE
            return False

        return not any(map(belongs, psutil.process_iter()))


class Trial:
    """One run of a host with a store of its own, which is `away` until the host has ended, or there all the time."""

    def __init__(self, folder: Path, server: Server, *, away: bool) -> None:
        self.folder = folder
        self.away = away
        self._server = server
        self._notes = folder / "emitted"
        self._settings = {
            "ETLOG_REDIS_URL": server.url,
            "ETLOG_NAME": LOG,
            "ETLOG_SPOOL_DIR": str(folder / "spool"),
            "EMITTED": str(self._notes),
        }
        if away:
            server.kill()

    @contextmanager
    def host(self, *command: str, **environment: str) -> Iterator[Host]:
        """Run a program of the hosts' environment while the block lasts, with `environment` added to its own."""
        settings = self._settings | {"PYTHONPATH": str(TESTS), "HOME": str(self.folder)} | environment
        host = Host(command, os.environ | settings, self.folder / "output")
        try:
            yield host
        except BaseException:
            print(host.printed)  # noqa: T201
            raise
        finally:
            host.close()

    def program(self, name: str, *arguments: str, **environment: str) -> int:
        """Run one of the programs beside this module to its end. Returns its exit code."""
        with self.host("python", "-m", f"hosts.programs.{name}", *arguments, **environment) as host:
            return host.wait()

    def emitted(self) -> dict[str, float]:
        """What was emitted so far, and when."""
        if not self._notes.exists():
            return {}
        lines = [line.split() for line in self._notes.read_text().splitlines()]
        return {name: float(time) for name, time in lines}

    def wait_for(self, events: int) -> None:
        """Wait until so many events were emitted."""
        wait_until(lambda: len(self.emitted()) >= events, what=f"{events} events")

    def account(self) -> Account:
        """Bring the store back if it is away, send it what is in the spool, apply everything, and count."""
        if self.away:
            self._server.start()
        if spool_files(self.folder / "spool"):
            flushed = run("spool", "flush", "--redis-url", self._server.url, "--log", LOG)
            assert flushed.returncode == 0, flushed.stderr
        assert spool_files(self.folder / "spool") == []
        keys = Keys(LOG)
        with connect(self._server.url, part="test") as client:
            if client.exists(keys.events):
                with consumer_thread(self._server.url, keys):
                    catch_up(client, keys)
            verified = verify(client, keys)
            arrived = Counter(str(entry.metadata["name"]) for entry in entries(client, keys))
            return Account(self.emitted(), arrived, stats(client, keys).get("lost", 0), list(verified.faults))

    def assert_complete(self, events: int | None = None, *, at_least: int = 1) -> None:
        """Every event that was emitted is in the log, once: `events` of them, or `at_least` so many.

        A process that a signal ended may have emitted one that it could not note any more.
        """
        account = self.account()
        assert account.is_whole, str(account)
        if events is not None:
            assert (len(account.emitted), len(account.arrived)) == (events, events)
        else:
            assert len(account.emitted) >= at_least
            assert len(account.arrived) - len(account.emitted) <= account.processes


class Web:
    """The address at which a host serves the application of `programs/web.py`."""

    def __init__(self) -> None:
        self.address = f"127.0.0.1:{free_port()}"

    def wait(self, host: Host) -> None:
        """Wait until it is served."""

        def answers() -> bool:
            assert host.runs
            with suppress(OSError):
                self.ask(0)
                return True
            return False

        wait_until(answers, what="the host to serve")

    def ask(self, events: int, path: str = "/") -> None:
        """Have a request emit so many events. Raises `OSError` when it is not answered."""
        with urllib.request.urlopen(f"http://{self.address}{path}?{events}", timeout=PATIENCE) as answer:
            answer.read()
