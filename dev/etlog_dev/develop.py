"""Everything in one terminal: starts the parts in order, watches them, and stops them in reverse order."""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
from etlog.errors import DONE, FAILED, CommandFailed
from etlog.listening import why_taken
from etlog.stopping import until_stopped
from etlog_events import store
from etlog_events.settings import Settings
from rich.console import Console
from rich.live import Live
from rich.text import Text

from etlog_dev import parts
from etlog_dev.embedded import sole_use, start_store
from etlog_dev.parts import Part
from etlog_dev.summary import Summarizer

#: Port of the embedded store, or the first one tried.
STORE_PORT = 6379

#: Number of API processes.
API_WORKERS = 2

#: Seconds for the API to answer for the first time. It takes one or two, unless the machine is busy.
API_TIMEOUT = 60.0

#: Seconds between looks at the parts and the log, and between summaries where there is no terminal to redraw.
WATCH, PRINT = 0.5, 10.0


def develop(
    settings: Settings, environment: Mapping[str, str], data: Path, *, etl: bool, fail: bool, seconds: float | None
) -> int:
    """Run everything until stopped, or for `seconds`, with the data in the folder `data`. Returns the exit code.

    The parts get `environment`, which holds `settings`, with addresses of their own. A watcher is one of them if there
    is a configuration file. Raises `CommandFailed` when a part does not start or ends by itself.
    """
    data = data.resolve()
    console = Console(highlight=False, markup=False, soft_wrap=True)
    with sole_use(data):
        return until_stopped(
            lambda stop: _run(settings, environment, data, console, stop, etl=etl, fail=fail, seconds=seconds)
        )


def _run(
    settings: Settings,
    environment: Mapping[str, str],
    data: Path,
    console: Console,
    stop: threading.Event,
    *,
    etl: bool,
    fail: bool,
    seconds: float | None,
) -> int:
    with ExitStack() as started:
        running: list[Part] = []

        def run(part: Part, about: str) -> None:
            started.enter_context(_stopped_at_end(part, console))
            running.append(part)
            console.print(f"  {part.name:<9} {about}")

        console.print(Text("etlog dev", "bold") + Text("  Ctrl-C stops everything\n"))
        store_port = _port("store", STORE_PORT, "127.0.0.1", console)
        api_port = _port("api", settings.port, "127.0.0.1", console)
        url, api = f"redis://127.0.0.1:{store_port}/0", f"http://127.0.0.1:{api_port}"
        environment = {**environment, "ETLOG_REDIS_URL": url, "ETLOG_HOST": "127.0.0.1", "ETLOG_PORT": str(api_port)}

        output = {name: data / "logs" / f"{name}.log" for name in ("store", "consumer", "api", "watch", "etl")}
        run(start_store(data / "store", store_port, output["store"], environment), f"{url}  data in {data / 'store'}")
        consume, serve = parts.etlog("consume"), parts.etlog("serve", "--workers", str(API_WORKERS))
        run(parts.start("consumer", consume, output["consumer"], environment), f"applies {_logs(settings)}")
        run(parts.start("api", serve, output["api"], environment), f"{api}  {API_WORKERS} workers")
        if settings.config is not None:
            # Its metrics would be on the port of the consumer's.
            own = {"ETLOG_PAGE_URL": settings.page_url or api, "ETLOG_METRICS_PORT": "0"}
            watch = parts.start("watch", parts.etlog("watch"), output["watch"], {**environment, **own})
            run(watch, f"tells of problems, by {settings.config}")
        if etl:
            sample = parts.etlog("sample", "--data", str(data / "sample"), *(["--fail"] if fail else []))
            about = f"meters this machine{', and fails now and then' if fail else ''}; sets in {data / 'sample'}"
            run(parts.start("etl", sample, output["etl"], environment), about)
        console.print(f"  {'logs':<9} {data / 'logs'}\n")
        if not _wait_for(api, running, stop):
            return DONE
        console.print(f"Try   curl '{api}/model/etl/log?kind=Saved'")
        console.print(f"      redis-cli -p {store_port} LRANGE {settings.keys.log('allocation')!r} -3 -1")
        console.print(f"      etlog log --url {api}\n")
        with store.connect(url, part="dev") as client:
            summarizer = Summarizer(client, settings.keys, settings.kinds)
            return _watch(running, summarizer, console, stop, seconds)


def _logs(settings: Settings) -> str:
    return f"log {settings.name}" if len(settings.logs) == 1 else f"logs {', '.join(settings.logs)}"


def _port(what: str, wanted: int, host: str, console: Console) -> int:
    """The wanted port, or else the next free one, which is said on the console."""
    reason = why_taken(host, wanted)
    port = next((port for port in range(wanted, min(wanted + 100, 65536)) if why_taken(host, port) is None), None)
    if port is None:
        raise CommandFailed(f"no free port for the {what} between {wanted} and {wanted + 99} ({reason})")
    if port != wanted:
        console.print(f"  Port {wanted} is taken ({reason}), so the {what} uses {port}.")
    return port


@contextmanager
def _stopped_at_end(part: Part, console: Console) -> Iterator[None]:
    try:
        yield
    finally:
        part.stop()
        console.print(f"  {part.name} stopped")


def _ended(running: list[Part]) -> Part | None:
    return next((part for part in running if part.exit_code is not None), None)


def _wait_for(api: str, running: list[Part], stop: threading.Event) -> bool:
    """Wait until the API answers; False when `stop` is set first. Raises `CommandFailed` when a part ends instead."""
    deadline = time.monotonic() + API_TIMEOUT
    while not stop.is_set():
        if part := _ended(running):
            raise CommandFailed(_obituary(part), FAILED)
        if time.monotonic() > deadline:
            raise CommandFailed(f"the API did not answer within {API_TIMEOUT:.0f} s; its log may say why", FAILED)
        try:
            if httpx.get(f"{api}/healthz", timeout=1.0, trust_env=False).status_code == 200:
                return True
        except httpx.HTTPError:
            pass
        stop.wait(0.05)
    return False


def _watch(
    running: list[Part], summarizer: Summarizer, console: Console, stop: threading.Event, seconds: float | None
) -> int:
    """Show the summary until it is time to stop. Raises `CommandFailed` when a part ends by itself."""
    ends = time.monotonic() + seconds if seconds is not None else None
    next_print = 0.0
    with Live(console=console, auto_refresh=False, transient=False) if console.is_terminal else ExitStack() as live:
        while not stop.is_set() and (ends is None or time.monotonic() < ends):
            if part := _ended(running):
                raise CommandFailed(_obituary(part), FAILED)
            text = str(summarizer.look() or "the store does not answer")
            if isinstance(live, Live):
                live.update(Text(text), refresh=True)
            elif time.monotonic() >= next_print:
                console.print(text)
                next_print = time.monotonic() + PRINT
            stop.wait(WATCH)
    console.print("\nStopping")
    return DONE


def _obituary(part: Part) -> str:
    return f"the {part.name} ended with exit code {part.exit_code}; the end of {part.output}:\n{part.last_lines()}"
