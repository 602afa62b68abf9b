"""Makes the files of this folder: two logs as release 0.1.0 wrote them, at contract 1.

Run it with the Python of that release, where redis-server 7.0 is in the path and nothing listens on port 6399:

    release-0.1.0/.venv/bin/python make.py

What is in the files is written by the producers, consumers and commands of that release. By hand come only entries of
clients that do without a producer, and the times of producers that are to look idle. Ids and times differ each time,
so `expected.json` is made along with them.
"""

import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from time import monotonic, sleep, time
from typing import Any
from unittest.mock import patch

import httpx
import redis
from etlog_events.contract import VERSION
from etlog_events.event import Event
from etlog_events.settings import Settings
from etlog_producer import Producer

HERE = Path(__file__).parent

API_PORT = 6398
API = f"http://127.0.0.1:{API_PORT}"

#: What spool files and the bookmark name: the address of the store, and the path of the file.
PORT = 6399
URL = f"redis://127.0.0.1:{PORT}/0"
WORK = Path("/tmp/etlog-contract1")
FILE = WORK / "events.ndjson"
SPOOL = WORK / "spool"

#: Lines of the file: two rounds of 5,000, after each of which a bookmark may be saved, and some more.
LINES = 11_000

#: Seconds by which a bookmark lags behind, and a moment.
LAG = 2.5

#: Seconds for which the run goes on at a time: a few hundred lines.
SLICE = 0.005

LOGS = ("default", "nightly")
CATEGORIES = ("allocation", "asset")
ACTIONS = ("Loaded", "Saved", "Aggregated", "Totaled", "Reconciled", "ComputeError")
START = datetime(2026, 1, 1, tzinfo=UTC)
DAY_MS = 24 * 3600 * 1000

#: `etlog` on a host of a given name, which begins the ids that the process takes.
ETLOG = """
import socket, sys
host = sys.argv.pop(1)
socket.gethostname = lambda: host
from etlog.__main__ import main
main()
"""
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("ETLOG_")} | {
    "ETLOG_REDIS_URL": URL,
    "ETLOG_NAMES": ",".join(LOGS),
    "ETLOG_RETAIN": "500",
    "ETLOG_SPOOL_DIR": str(SPOOL),
    "ETLOG_PORT": str(API_PORT),
    "ETLOG_LOG_LEVEL": "WARNING",
}


def event(number: int, prefix: str = "AllocationSet") -> Event:
    """The event of that number, the same each time: of six kinds in turn, every hour one of each."""
    hour, place = divmod(number, len(ACTIONS))
    kind, start = prefix + ACTIONS[place], START + timedelta(hours=hour)
    at = start + timedelta(minutes=place)
    if kind.endswith("Error"):
        return Event.new(kind, error=f"no prices for “eu-{number % 4}”", time=at)
    return Event.new(
        kind,
        size=None if kind.endswith(("Totaled", "Reconciled")) else 100 + place,
        window=(start, start + timedelta(hours=1)),
        time=at,
        metadata={"region": "eu-1"} if place == 1 else None,
    )


def make_file() -> None:
    """The file of events that `etlog emit --file` is interrupted in."""
    prefixes = ("AllocationSet", "AssetSet")
    text = b"".join(event(number, prefixes[number // 6 % 2]).encode() + b"\n" for number in range(LINES))
    FILE.write_bytes(text)
    (HERE / "events.ndjson.gz").write_bytes(gzip.compress(text, mtime=0))


def wait_until(condition: Callable[[], Any]) -> Any:
    """What `condition` returns as soon as it is true."""
    deadline = monotonic() + 60
    while not (value := condition()):
        if monotonic() > deadline:
            raise SystemExit("make.py: waited in vain")
        sleep(0.001)
    return value


def command(host: str, *arguments: str) -> list[str]:
    """The line that runs `etlog` on a host of that name."""
    return [sys.executable, "-c", ETLOG, host, *arguments]


def run(host: str, *arguments: str) -> str:
    """What `etlog` prints."""
    ended = subprocess.run(command(host, *arguments), env=ENVIRONMENT, stdout=subprocess.PIPE, text=True, check=True)
    return ended.stdout.strip()


@contextmanager
def running(line: list[str]) -> Iterator["subprocess.Popen[bytes]"]:
    """A process while the block lasts, killed at its end."""
    process = subprocess.Popen(line, env=ENVIRONMENT, stdout=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@contextmanager
def store(folder: str) -> Iterator[Any]:
    """A client of a store on the data in `folder`, while the block lasts."""
    options = {"bind": "127.0.0.1", "port": str(PORT), "dir": folder, "appendonly": "no", "save": ""}
    line = ["redis-server", *(part for name, value in options.items() for part in (f"--{name}", value))]
    with running([*line, "--loglevel", "warning"]), redis.Redis(port=PORT) as client:
        wait_until(lambda: answers(client))
        yield client


def answers(client: Any) -> bool:
    """Whether the store is up."""
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


def key(log: str, suffix: str) -> str:
    """A key of a log at contract 1."""
    return f"etlog:{{{log}}}:{suffix}"


def producer(host: str, log: str = "default", **options: Any) -> Producer:
    """A producer on a host of that name."""
    with patch("socket.gethostname", return_value=host):
        return Producer(settings=Settings(redis_url=URL, name=log, spool_dir=SPOOL), **options)


def publish(to: Producer, numbers: Iterable[int], prefix: str = "AllocationSet", *, unknown: int = 0) -> None:
    """Deliver the events of these numbers, and after them some of a kind that no consumer knows."""
    for number in numbers:
        to.publish(event(number, prefix))
    for number in range(unknown):
        to.publish(Event(prefix + "Exploded", {"size": number}, "2026-01-01T00:00:00Z"))
    wait_until(lambda: to.flush(1.0))


def publish_with_loss(host: str) -> str:
    """A producer with 20 events, of which 2 are unknown, 3 lost numbers, and 5 more events. Returns its id."""
    with producer(host) as first:
        publish(first, range(18), unknown=2)
    with producer(host, resume=(first.id, 23)) as second:
        publish(second, range(23, 28))
    return first.id


def append_by_hand(client: Any, loader: str) -> None:
    """What clients without a producer append: entries without numbers, dead letters, duplicates and a loss.

    One of the duplicates is an event of the producer `loader`.
    """
    events = key("default", "events")
    good = event(4).encode()
    for number in range(6):
        client.xadd(events, {"event": event(number, "AssetSet").encode()})
    client.xadd(events, {"event": '{"kind":"AssetSetImploded","metadata":{},"time":"2026-01-01T00:00:00Z"}'})
    client.xadd(events, {"event": good[:40]})
    client.xadd(events, {"kind": "AllocationSetSaved", "size": "97"})
    client.xadd(events, {"event": good, "producer": "by-hand", "seq": "one"})
    client.xadd(events, {"event": event(4).encode(), "producer": loader, "seq": "5"})
    for number in (1, 2, 2, 3, 7):
        client.xadd(events, {"event": event(number).encode(), "producer": "by-hand", "seq": str(number)})
    client.xadd(events, {"event": good[:40], "producer": "by-hand", "seq": "8"})


def interrupt(client: Any) -> None:
    """Kill `etlog emit --file` in its third round, when its bookmark stands after the first."""
    with running(command("backfill", "emit", "--file", str(FILE))) as process:
        place = wait_until(lambda: next(SPOOL.rglob("*.place"), None))
        field = json.loads(place.read_bytes())["producer"] + ":published"

        def published() -> int:
            return int(client.hget(key("default", "producers"), field) or 0)

        def passes(number: int) -> bool:
            process.send_signal(signal.SIGCONT)
            sleep(SLICE)
            process.send_signal(signal.SIGSTOP)
            return published() > number

        wait_until(lambda: passes(5_000))
        sleep(LAG)
        wait_until(lambda: passes(10_000))
    if not place.exists() or json.loads(place.read_bytes())["number"] != 5_000 or published() == LINES:
        raise SystemExit("make.py: etlog emit was interrupted too early or too late; run it again")


def make_idle(client: Any, producers: Sequence[str], days: int) -> None:
    """Set the time back at which the producers were last seen, and wait until the consumer has retired them."""
    hash_of_all = key("default", "producers")
    for name in producers:
        client.hset(hash_of_all, f"{name}:seen", int(time() * 1000) - days * DAY_MS)
    wait_until(lambda: not any(client.hexists(hash_of_all, f"{name}:seen") for name in producers))


def is_applied(client: Any, log: str) -> bool:
    """Whether the cursor is at the end of the stream."""
    newest = client.xrevrange(key(log, "events"), count=1)
    return bool(newest) and newest[0][0] == client.get(key(log, "cursor"))


def write(client: Any) -> tuple[Producer, Producer]:
    """Fill the store. Returns two producers that still have something to emit when it is gone."""
    with running(command("one", "consume")), running(command("two", "consume")):
        interrupt(client)
        loader, cut_off, durable = producer("loader"), producer("cut-off"), producer("durable", durable=True)
        publish(loader, range(100), unknown=1)
        publish(cut_off, range(30), "AssetSet")
        publish(durable, range(25))
        publish_with_loss("patchy")
        append_by_hand(client, loader.id)
        window = ("--start", "2026-01-01T00:00:00Z", "--end", "2026-01-01T01:00:00Z")
        run("shell", "emit", "AssetSetSaved", "--size", "29", *window)
        run("shell", "emit", "AssetSetComputeError", "--error", "no prices", "--meta", "region=eu-1")
        pruned = [publish_with_loss("pruned"), publish_with_loss("pruned")]
        with producer("resting") as resting:
            publish(resting, range(12))
        retired = [publish_with_loss("retired"), resting.id]
        with producer("night", "nightly") as night:
            publish(night, range(60), "AssetSet", unknown=1)
        run("shell", "emit", "--log", "nightly", "AllocationSetComputeError", "--error", "no prices")
        wait_until(lambda: all(is_applied(client, log) for log in LOGS))
        make_idle(client, retired, days=2)
        make_idle(client, pruned, days=91)
    client.persist("etlog:consumers")  # of the processes, which were killed: it lasts four seconds otherwise
    wait_until(lambda: not any(client.exists(key(log, "lease")) for log in LOGS))

    publish(loader, range(100, 140))
    loader.close()
    with producer("newcomer") as newcomer:
        publish(newcomer, range(15), "AssetSet", unknown=1)
    client.xadd(key("default", "events"), {"event": event(8).encode()})
    client.xadd(key("default", "events"), {"event": '{"kind":"AssetSetSaved"}'})
    return cut_off, durable


def leave_behind(cut_off: Producer, durable: Producer) -> None:
    """Emit while the store is away, and end: all goes to spool files."""
    stranded = producer("stranded")
    for ends, numbers in ((cut_off, range(30, 42)), (durable, range(25, 35)), (stranded, range(20))):
        for number in numbers:
            ends.publish(event(number, "AssetSet"))
        ends.close(0.2)


def digest(items: Iterable[bytes]) -> str:
    """SHA-256 of the items, a newline between each two."""
    return sha256(b"\n".join(items)).hexdigest()


def numbers(found: dict[bytes, bytes]) -> dict[str, int]:
    """A hash of numbers, sorted."""
    return {name.decode(): int(value) for name, value in sorted(found.items())}


def records(client: Any, log: str) -> dict[str, dict[str, Any]]:
    """The record of each producer, as its fields are called; `applied` is the last number accounted for."""
    found: dict[str, dict[str, Any]] = {}
    for field, number in numbers(client.hgetall(key(log, "producers"))).items():
        name, _, what = field.rpartition(":")
        found.setdefault(name, {"retired": False})[what] = number
    for name, record in client.hgetall(key(log, "retired")).items():
        number, dead, lost, seen = map(int, record.split())
        found[name.decode()] = {
            "retired": True,
            **{"published": number, "applied": number, "dead": dead, "lost": lost, "seen": seen},
        }
    return dict(sorted(found.items()))


def reading(client: Any, log: str) -> dict[str, Any]:
    """What a log holds, by its keys, by `etlog verify` and by the answer of the API."""
    cursor = client.get(key(log, "cursor"))
    lists = {category: client.lrange(key(log, f"log:{category}"), 0, -1) for category in CATEGORIES}
    letters = [letter[b"raw"] for _, letter in client.xrange(key(log, "dead"))]
    stats = numbers(client.hgetall(key(log, "stats")))
    return {
        "cursor": cursor.decode(),
        "counters": numbers(client.hgetall(key(log, "counters"))),
        "stats": stats,
        "lists": {category: {"length": len(items), "sha256": digest(items)} for category, items in lists.items()},
        "dead": {"length": len(letters), "sha256": digest(letters)},
        "entries": client.xlen(key(log, "events")),
        "waiting": len(client.xrange(key(log, "events"), min=b"(" + cursor)),
        "producers": records(client, log),
        "pruned": {name: stats.get(name, 0) for name in ("pruned", "pruned_dead", "pruned_lost")},
        "verify": json.loads(run("reader", "verify", "--json", "--log", log)),
        "answer": digest([run("reader", "log", "--json", "--log", log, "--url", API).encode()]),
    }


def is_served() -> bool:
    """Whether the API is up."""
    try:
        return httpx.get(f"{API}/healthz").is_success
    except httpx.TransportError:
        return False


def spooled() -> dict[str, Any]:
    """The events of each spool file, and the bytes that they take."""
    found = {}
    for path in sorted(HERE.glob("spool/default/*.spool")):
        lines = [line.split(b" ", 1) for line in path.read_bytes().splitlines() if line[:1].isdigit()]
        found[path.name] = {
            "producer": path.name.rsplit(".", 2)[0],
            **{"first": int(lines[0][0]), "last": int(lines[-1][0]), "events": len(lines)},
            "bytes": sum(len(text) for _, text in lines),
        }
    return found


def main() -> None:
    """Make all files."""
    if VERSION != 1:
        raise SystemExit(f"make.py: run it with the Python of release 0.1.0; this one is at contract {VERSION}")
    shutil.rmtree(WORK, ignore_errors=True)
    shutil.rmtree(HERE / "spool", ignore_errors=True)
    WORK.mkdir()
    make_file()
    with tempfile.TemporaryDirectory() as data:
        with store(data) as client:
            left = write(client)
            client.shutdown(save=True)
        shutil.copyfile(Path(data, "dump.rdb"), HERE / "store.rdb")
        leave_behind(*left)
        shutil.copytree(SPOOL, HERE / "spool")
        with store(data) as client, running(command("reader", "serve")):
            wait_until(is_served)
            logs = {log: reading(client, log) for log in LOGS}
    [place] = HERE.glob("spool/default/*.place")
    expected = {
        "logs": logs,
        "spool": spooled(),
        "bookmark": {"name": place.name, "lines": LINES, **json.loads(place.read_bytes())},
    }
    (HERE / "expected.json").write_text(json.dumps(expected, indent=2) + "\n")
    shutil.rmtree(WORK)


if __name__ == "__main__":
    main()
