"""One trial: processes that emit, a store that is there or not, a fault; then what is in the stream is compared with
what was emitted."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from chaos.books import Books, Fate, Phase
from chaos.stage import Work
from chaos.verdict import Evidence, Outcome
from etlog.commands.spool import flush, remaining
from etlog.errors import CommandFailed
from etlog.verification import verify
from etlog_events.keys import Keys
from etlog_events.settings import Settings
from etlog_events.store import connect
from support.consumers import consumer_thread
from support.emitters import TESTS
from support.proxy import Proxy
from support.samples import WINDOW
from support.servers import Server, free_port, wait_until
from support.stream import entries, is_applied

#: Seconds after which a process that should have ended hangs.
PATIENCE = 60.0

#: Times that `etlog spool flush` is run at most.
FLUSHES = 4

#: Seconds between the delivery of a spool file and its end. The store of the trials never crashes.
SETTLE = 0.1

#: The number of the event that a later producer emits.
LATER = 59_000

#: The text of an event of a trial.
_EVENT = re.compile(
    rb'\{"kind":"AssetSetSaved","metadata":\{"size":(\d+),"window":\{"start":"%b","end":"%b"\}(?:,"note":"x*")?\},"time":"[-0-9T:.]+Z"\}'
    % (WINDOW[0].encode(), WINDOW[1].encode())
)

_BROKEN_LINES = re.compile(r"(\d+) broken lines?")


class Stage:
    """A process that does `work`."""

    def __init__(self, work: Work, said: list[dict[str, Any]], errors: Path) -> None:
        self.work = work
        self._said = said
        with errors.open("ab") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "chaos.stage", json.dumps(asdict(work))],
                env={name: value for name, value in os.environ.items() if not name.startswith("ETLOG_")}
                | {"PYTHONPATH": str(TESTS)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=file,
                start_new_session=True,
            )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.endswith(b"\n"):
                self._said.append(json.loads(line))
        self.process.stdout.close()

    @property
    def has_ended(self) -> bool:
        """Whether it has."""
        return self.process.poll() is not None

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, if it runs."""
        if not self.has_ended:
            self.process.send_signal(number)

    def wait(self) -> bool:
        """Wait for its end, and for that of its children. Tells whether it has come by itself."""
        try:
            self.process.wait(PATIENCE)
            self._reader.join(PATIENCE)
            if not self._reader.is_alive():
                return True
        except subprocess.TimeoutExpired:
            pass
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGUSR1)
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(1)
        self.close()
        return False

    def close(self) -> None:
        """Kill it and its children."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._reader.join()


@dataclass
class Trial:
    """What a fault is tried on. A kind of fault starts stages, disturbs them, and waits for their end."""

    store: Server
    folder: Path
    chance: random.Random
    destroyed: set[int] = field(default_factory=set)
    broken: list[str] = field(default_factory=list)
    said: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.keys = Keys(f"trial-{self.chance.getrandbits(64):x}")
        self.folder.mkdir(parents=True)
        self.books = Books(self.folder / "books")
        self.proxy = Proxy(self.store.port)
        self.spool = self.folder / "spool" / self.keys.name
        self.spool.parent.mkdir()
        self._nowhere = free_port()
        self._stages: list[Stage] = []
        self._broken_lines = 0

    # The stages

    def work(self, events: int | None = None, **options: Any) -> Work:
        """Work of random events and bursts, in a random mode of the producer, except for what is given."""
        chance = self.chance
        last = events or chance.choice([chance.randint(200, 600), chance.randint(600, 3000)])
        burst = chance.choice([1, 10, 50, 300])
        constants: dict[str, float] = {"etlog_producer.delivery.MARK_EVERY": chance.choice([0.02, 1.0])}
        if options.pop("spills", chance.random() < 0.5):
            constants["etlog_producer.inbox.INBOX_EVENTS"] = chance.choice([20, 50, 150])
            constants["etlog_producer.inbox.SPILL_EVENTS"] = chance.choice([5, 20])
            constants["etlog_producer.spool.writer.SEGMENT_BYTES"] = chance.choice([3_000, 20_000, 32 * 1024 * 1024])
        durable = options.pop("durable", chance.random() < 0.5)
        more = options.pop("options", {})
        given: dict[str, Any] = {
            "url": self.proxy.url,
            "log": self.keys.name,
            "books": str(self.folder / "books"),
            "spool": str(self.spool.parent),
            "seed": chance.getrandbits(32),
            "first": 1,
            "last": last,
            "threads": chance.choice([1, 1, 1, 3]),
            "long": chance.choice([0, 0, 1_000, 20_000]),
            "burst": burst,
            "pause": chance.uniform(0.02, 0.6) * min(1.0, burst / last),
            "flushing": chance.choice([0.0, 0.1]),
            "ending": chance.choice(["close", "close", "exit", "os._exit"]),
            "closing": chance.choice([0.05, 0.5]),
            "constants": constants,
            "options": {"durable": durable} | more,
        }
        return Work(**(given | options))

    def start(self, work: Work) -> Stage:
        """Start a process that does `work`."""
        stage = Stage(work, self.said, self.folder / "errors")
        self._stages.append(stage)
        return stage

    def reach(self, stage: Stage, events: int) -> None:
        """Wait until so many calls of `emit` have returned, or the stage has ended."""
        work = stage.work
        self._wait(lambda: stage.has_ended or self.books.returned(work.first, work.last) >= events, f"{events} events")

    def reach_phase(self, stage: Stage, phase: Phase) -> None:
        """Wait until the stage is there, or has ended."""
        self._wait(lambda: stage.has_ended or self.books.phase >= phase, f"the phase {phase.name}")

    def a_moment(self, most: float = 0.05) -> None:
        """Wait for a random time, at most so many seconds."""
        threading.Event().wait(self.chance.uniform(0, most))

    def some_of(self, stage: Stage) -> int:
        """A random number of its events."""
        return self.chance.randint(1, stage.work.last)

    def finish(self, stage: Stage) -> None:
        """Let it come to its end, and wait for that."""
        self.books.release()
        self.wait(stage)

    def wait(self, stage: Stage) -> None:
        """Wait for its end."""
        if not stage.wait():
            self.broken.append("a process did not end")

    def _wait(self, condition: Callable[[], Any], what: str) -> None:
        wait_until(condition, PATIENCE, what)

    # The store

    def store_goes(self, *ways: str) -> str:
        """Let the store stay, be away, or be silent: what it is asked it does, but its answers are lost. Returns which
        of `ways`, by default any, it was."""
        way = self.chance.choice(ways or ("stays", "away", "silent"))
        if way == "away":
            self.proxy.lead_to(self._nowhere)
        elif way == "silent":
            self.proxy.swallow_replies(True)
        return way

    def store_is_back(self) -> None:
        """Let it be there again."""
        self.proxy.swallow_replies(False)
        self.proxy.lead_to(self.store.port)

    # The spool

    @property
    def files(self) -> list[Path]:
        """The spool files."""
        with suppress(OSError):
            return sorted(path for path in self.spool.iterdir() if path.name.endswith(".spool"))
        return []

    def damage(self, how: Callable[[Path, random.Random], set[int]]) -> bool:
        """Do something to a random spool file. Tells whether there was any."""
        files = [path for path in self.files if path.is_file() and not path.is_symlink()]
        files = [path for path in files if path.stat().st_size and os.access(path, os.R_OK)]
        if not files:
            return False
        self.destroyed |= how(self.chance.choice(files), self.chance)
        return True

    def stop_until(self, stage: Stage, done: Callable[[], object]) -> None:
        """Stop the process wherever it is, until something is done."""
        stage.signal(signal.SIGSTOP)
        try:
            done()
        finally:
            stage.signal(signal.SIGCONT)

    def allow(self) -> None:
        """Let the owner read all spool files."""
        for path in self.files:
            if not path.is_symlink() and path.is_file():
                path.chmod(0o600)

    def recover(self) -> None:
        """Deliver what is left, by `etlog spool flush` as a shell would run it, or by a later producer first."""
        self.store_is_back()
        if self.chance.random() < 0.3:
            self.later()
        for _ in range(FLUSHES):
            self.flush()
            if not self.files:
                break

    def start_later(self, **options: Any) -> Stage:
        """Start a producer that emits one event, and sends what it finds."""
        first = LATER + len(self._stages)
        given = {"ending": "close", "closing": 5.0, "spills": False, "durable": False}
        work = self.work(1, **(given | options))
        constants = work.constants | {"etlog_producer.spool.recovery.SETTLE": SETTLE}
        return self.start(replace(work, first=first, last=first, constants=constants))

    def later(self) -> None:
        """Let a later producer send what it finds."""
        stage = self.start_later()
        with suppress(AssertionError):
            wait_until(lambda: not self.files, 1.0)
        self.finish(stage)

    def flush(self) -> None:
        """Run `etlog spool flush`."""
        settings = Settings(redis_url=self.proxy.url, name=self.keys.name, spool_dir=self.spool.parent)
        try:
            sentences = list(remaining(flush(settings), self.keys.name))
        except CommandFailed as e:
            sentences = [str(e)]
        for sentence in sentences:
            self.said.append({"message": sentence})
            self._broken_lines += sum(map(int, _BROKEN_LINES.findall(sentence)))

    # The verdict

    def judge(self, *, may_lose: bool, unkeepable: bool) -> Outcome:
        """Compare what is in the stream with what was emitted, and let the log prove its completeness."""
        with connect(self.store.url, part="test") as client:
            texts = [entry.event for entry in entries(client, self.keys)]
            if texts:
                with consumer_thread(self.store.url, self.keys):
                    wait_until(lambda: is_applied(client, self.keys), PATIENCE, "all to be applied")
            found = verify(client, self.keys)
            for key in client.scan_iter(f"etlog:{{{self.keys.name}}}:*", count=1000):
                client.delete(key)
        matches = [_EVENT.fullmatch(text) for text in texts]
        if altered := [text for text, match in zip(texts, matches, strict=True) if not match]:
            self.broken.append(f"{len(altered)} events were altered, such as {altered[0][:200]!r}")
        self.broken += found.faults
        if not texts and not self.destroyed and not unkeepable:
            self.broken.append("nothing was published")
        if found.total.in_flight or found.duplicates:
            self.broken.append(f"{found.total.in_flight} events are in flight, {found.duplicates} came twice")
        told = " ".join(told["message"] for told in self.said if "message" in told)
        self.broken += [f"{path} stays, and no one says so" for path in self.files if str(path) not in told]
        self.broken += [told["message"] for told in self.said if told.get("action") == "unexpected_error"]
        return Evidence(
            sure=self.books.of(Fate.RETURNED),
            maybe=self.books.of(Fate.BEGUN),
            sizes=[int(match[1]) for match in matches if match],
            published=found.total.published,
            gaps=found.total.lost,
            dropped=self._reported("dropped"),
            lost=self._reported("lost"),
            broken_lines=self._broken_lines,
            destroyed=self.destroyed,
            may_lose=may_lose,
            unkeepable=unkeepable,
            broken=self.broken,
        ).outcome()

    def _reported(self, what: str) -> int:
        """How many events the producers of all processes say they have lost, or dropped."""
        by_process: dict[int, int] = {}
        for told in self.said:
            process, number = told.get("process", 0), told.get("stats", told).get(what, 0)
            by_process[process] = max(number, by_process.get(process, 0))
        return sum(by_process.values())

    def close(self) -> None:
        """End everything, and leave what was said beside the rest."""
        for stage in self._stages:
            stage.close()
        (self.folder / "said").write_text("".join(json.dumps(told) + "\n" for told in self.said))
        self.proxy.close()
        self.books.close()
