"""HTTP services under load: ours and the peers' as processes, and the load itself."""

import json
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from shutil import which

from benchmarks import programs
from benchmarks.figures import WrongResult
from benchmarks.ports import free_port
from benchmarks.programs import HERE, Missing
from benchmarks.store import Store

#: Connections that ask at once.
CONNECTIONS = 16

#: Bytes of status line and headers, at most.
HEAD = 1200

#: The log that all answer from.
LOG = "benchmark"


@dataclass(frozen=True)
class Service:
    """A process that listens on a port of loopback."""

    port: int
    process: subprocess.Popen[bytes]

    def get(self, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
        """Status, headers by lower-case name, and body of one answer."""
        connection = HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", path, headers=headers)
            response = connection.getresponse()
            return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()
        finally:
            connection.close()

    def cpu(self) -> float:
        """Seconds of processor time that it took so far."""
        return cpu_of(self.process.pid)


def cpu_of(process: int) -> float:
    """Seconds of processor time of all threads of a process."""
    return sum(int(path.read_text().split()[0]) for path in Path(f"/proc/{process}/task").glob("*/schedstat")) / 1e9


@contextmanager
def _started(command: list[str], port: int, variables: Mapping[str, str], path: str) -> Iterator[Service]:
    variables = programs.environment(ETLOG_LOG_LEVEL="ERROR", **variables)
    process = subprocess.Popen(command, env=variables, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    service, deadline = Service(port, process), time.monotonic() + 30
    try:
        while True:
            if process.poll() is not None:
                raise WrongResult(f"{' '.join(command[:4])} ended with {process.returncode}")
            try:
                service.get(path)
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
        yield service
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def ours(store: Store) -> AbstractContextManager[Service]:
    """`etlog serve`, one process."""
    port = free_port()
    variables = {"ETLOG_REDIS_URL": store.url, "ETLOG_NAME": LOG}
    command = [programs.python("ours"), "-m", "etlog", "serve", "--host", "127.0.0.1", "--port", str(port)]
    return _started(command, port, variables, "/healthz")


def consumer(store: Store) -> AbstractContextManager[Service]:
    """`etlog consume`, with its endpoint for metrics."""
    port = free_port()
    variables = {"ETLOG_REDIS_URL": store.url, "ETLOG_NAME": LOG, "ETLOG_METRICS_PORT": str(port)}
    command = [programs.python("ours"), "-m", "etlog", "consume"]
    return _started(command, port, variables, "/healthz")


def uvicorn(app: str, environment: str, **variables: str) -> AbstractContextManager[Service]:
    """An app of a peer, or the limit, under the same server with the same settings."""
    port = free_port()
    command = [programs.python(environment), "-m", "uvicorn", app, "--host", "127.0.0.1", "--port", str(port)]
    return _started([*command, "--no-access-log", "--log-level", "error"], port, variables, "/healthz")


def webdis(store: Store) -> AbstractContextManager[Service]:
    """webdis, on loopback alone. Raises `Missing`."""
    program = which("webdis")
    if program is None:
        raise Missing("install webdis")
    port = free_port()
    settings = {
        "redis_host": "127.0.0.1",
        "redis_port": store.port,
        "http_host": "127.0.0.1",
        "http_port": port,
        "threads": 2,
        "daemonize": False,
        "database": 0,
        "verbosity": 0,
        "logfile": str(store.folder / "webdis.log"),
    }
    path = store.folder / "webdis.json"
    path.write_text(json.dumps(settings))
    return _started([program, str(path)], port, {}, "/PING")


def load(service: Service, path: str, seconds: float, length: int | None, **headers: str) -> float:
    """Answers a second under a load that asks for `path`, with bodies of this length where it is known.

    Raises `WrongResult` when the load saw anything else, and `Missing`.
    """
    program = which("wrk")
    if program is None:
        raise Missing("install wrk")
    command = [program, "-t1", f"-c{CONNECTIONS}", f"-d{seconds:g}s" if seconds >= 1 else "-d1s"]
    command += ["-s", str(HERE / "shared/load.lua")]
    for name, value in headers.items():
        command += ["-H", f"{name}: {value}"]
    output = subprocess.run(
        [*command, f"http://127.0.0.1:{service.port}{path}"], capture_output=True, text=True, check=True
    ).stdout
    told = json.loads(output.splitlines()[-1])
    if told["errors"] or not told["requests"]:
        raise WrongResult(f"{path}: {told['errors']} of {told['requests']} answers were wrong")
    if length is not None and not length * 0.998 <= told["bytes"] / told["requests"] <= length * 1.002 + HEAD:
        raise WrongResult(f"{path}: {told['bytes'] / told['requests']:.0f} bytes an answer instead of {length}")
    return float(told["requests"] / told["seconds"])
