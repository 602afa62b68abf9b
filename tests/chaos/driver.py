"""A run: everything works, everything fails at random, everything is healed; then the log must be complete."""

import heapq
import re
import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import orjson
import redis
from chaos.faults import Fault, schedule
from chaos.processes import Process, Processes
from etlog.verification import verify
from etlog_events.entry import contents
from etlog_events.keys import Keys
from etlog_events.store import connect
from support.ledgers import faults, ledger, unrowed
from support.recomputed import recomputed
from support.servers import wait_until
from support.stream import is_applied, stats

#: Seconds that everything gets to settle, once healed.
SETTLING = 120.0

CATEGORIES = ("allocation", "asset")


@dataclass(slots=True)
class Outcome:
    """What a run survived, and what came of it; `sets` are those that have a row in the ledger. `broken` holds a
    sentence for each promise that was not kept."""

    seed: int
    seconds: float
    faults: Counter[str] = field(default_factory=Counter)
    restarts: int = 0
    accepted: int = 0
    applied: int = 0
    duplicates: int = 0
    lost: int = 0
    takeovers: int = 0
    sets: int = 0
    settled_in: float = 0.0
    broken: list[str] = field(default_factory=list)


def run(seed: int, seconds: float, folder: Path) -> Outcome:
    """Run for `seconds` with the faults that `seed` gives. What the processes say is left in `folder`."""
    outcome = Outcome(seed, seconds)
    keys = Keys("chaos")
    processes = Processes(folder, keys.name)
    try:
        _suffer(processes, keys, schedule(seed, seconds, [*processes.by_name, "store"]), seconds, outcome)
        with connect(processes.store.url, part="test") as client:
            _settle(processes, client, keys, outcome)
            _judge(processes, client, keys, outcome)
    finally:
        processes.close()
    return outcome


def _suffer(processes: Processes, keys: Keys, faults: list[Fault], seconds: float, outcome: Outcome) -> None:
    began = time.monotonic()
    ends: list[tuple[float, int, Fault]] = []
    for place, fault in enumerate([*faults, Fault(seconds, "", "", 0)]):
        while (now := time.monotonic() - began) < fault.at or (ends and ends[0][0] <= now):
            if ends and ends[0][0] <= now:
                _end(processes, heapq.heappop(ends)[2])
            else:
                time.sleep(max(0.0, min(fault.at - now, 0.05)))
            outcome.restarts += sum(process.keep() for process in processes.by_name.values())
        if fault.target:
            _begin(processes, keys, fault)
            outcome.faults[f"{fault.target.partition('-')[0]} {fault.what}"] += 1
            heapq.heappush(ends, (fault.at + fault.seconds, place, fault))
    while ends:
        _end(processes, heapq.heappop(ends)[2])


def _begin(processes: Processes, keys: Keys, fault: Fault) -> None:
    if fault.target != "store":
        processes.by_name[fault.target].begin(fault.what)
    elif fault.what == "kill":
        processes.store.kill()
    elif fault.what == "stop":
        processes.store.stop()
    else:
        try:
            with connect(processes.store.url, part="chaos") as client:
                if fault.what == "lease":
                    client.delete(keys.lease)
                elif fault.what == "functions":
                    client.function_flush("SYNC")
                else:
                    client.client_kill_filter(_type="normal", skipme=True)
        except redis.RedisError:  # another fault has it
            pass


def _end(processes: Processes, fault: Fault) -> None:
    if fault.target != "store":
        processes.by_name[fault.target].end(fault.what)
    elif fault.what == "kill":
        if processes.store.process.poll() is not None:
            processes.store.start()
    elif fault.what == "stop" and processes.store.process.poll() is None:
        processes.store.resume()


def _settle(processes: Processes, client: redis.Redis, keys: Keys, outcome: Outcome) -> None:
    """Everything is healed: the emitters deliver what they have and end, and the rest is applied."""
    began = time.monotonic()
    for emitter in processes.of("emitter"):
        code = emitter.finish(SETTLING)
        if code not in {0, -signal.SIGTERM}:  # one that was started just now did not come to listen
            outcome.broken.append(f"{emitter.name} ended with {code}")

    def settled() -> bool:
        for process in (*processes.of("consumer"), *processes.of("replica")):
            process.keep()
        return is_applied(client, keys)

    wait_until(settled, SETTLING, "everything to be applied")
    outcome.settled_in = time.monotonic() - began


def _judge(processes: Processes, client: redis.Redis, keys: Keys, outcome: Outcome) -> None:
    found = verify(client, keys)
    outcome.broken += found.faults
    if found.total.in_flight or not found.counted:
        outcome.broken.append(f"{found.total.in_flight} events are still in flight")
    outcome.applied, outcome.lost, outcome.duplicates = found.total.applied, found.total.lost, found.duplicates

    lists: dict[str, Any] = {category: client.lrange(keys.log(category), 0, -1) for category in CATEGORIES}
    times = Counter(_marker(event) for events in lists.values() for event in events)
    twice = [marker for marker, number in times.items() if number > 1]
    if twice:
        outcome.broken.append(f"{len(twice)} events were applied more than once, such as {twice[0]}")

    reported = _reported(processes.of("consumer"))
    outcome.takeovers = sum(process.output.read_text().count("Active: ") for process in processes.of("consumer"))
    accepted = _accepted(processes.record)
    outcome.accepted = sum(accepted.values())
    missing = [
        (producer, number)
        for producer, last in accepted.items()
        for number in range(1, last + 1)
        if f"{producer} {number}" not in times
        and not any(first <= number <= end for first, end in reported.get(producer, ()))
    ]
    if missing:
        outcome.broken.append(f"{len(missing)} accepted events were neither applied nor reported, such as {missing[0]}")

    ordered: dict[str, list[bytes]] = {category: [] for category in CATEGORIES}
    seen = set()
    for event in _stream(client, keys):
        if event not in seen:
            seen.add(event)
            ordered["allocation" if event.startswith(b'{"kind":"AllocationSet') else "asset"].append(event)
    for category in CATEGORIES:
        if ordered[category] != lists[category]:
            outcome.broken.append(f"the list {category} is not in the order of the stream")
    _judge_ledger(client, keys, ordered["allocation"] + ordered["asset"], outcome)

    answers = {name: _answer(address) for name, address in processes.addresses.items()}
    for name, answer in answers.items():
        for category in CATEGORIES:
            if answer["data"][category] != [orjson.loads(event) for event in lists[category]]:
                outcome.broken.append(f"{name} gives another {category} than the store")
    first, second = answers.values()
    if first != second:
        outcome.broken.append("the replicas give different answers")


def _judge_ledger(client: redis.Redis, keys: Keys, events: list[bytes], outcome: Outcome) -> None:
    """Compare the ledger with what all events of the log make, one by one: there is room for every set."""
    outcome.broken += faults(client, keys)
    found, expected = ledger(client, keys), recomputed(events)
    for category in CATEGORIES:
        rows, wanted = found[category], expected[category]
        outcome.sets += len(rows)
        wrong = sorted(name for name in rows.keys() | wanted.keys() if rows.get(name) != wanted.get(name))
        if wrong:
            outcome.broken.append(
                f"{len(wrong)} rows of {category} are not what the events make, such as {wrong[0]}: "
                f"{rows.get(wrong[0])} instead of {wanted.get(wrong[0])}"
            )
    if without := unrowed(client, keys):
        outcome.broken.append(f"{sum(without.values())} events are in no row, such as {min(without)}")
    if "rebuilt" in stats(client, keys):
        outcome.broken.append("rows of the ledger were rebuilt")


def _marker(event: bytes) -> str:
    """Producer and number of an event."""
    metadata = orjson.loads(event)["metadata"]
    return f"{metadata['emitter']} {metadata['size']}"


def _stream(client: redis.Redis, keys: Keys) -> list[bytes]:
    events: list[bytes] = []
    after = "-"
    while page := client.xrange(keys.events, after, count=5000):
        rows: Any = page
        for _, fields in rows:
            events += contents([text for pair in fields.items() for text in pair]).events
        after = f"({rows[-1][0].decode()}"
    return events


def _accepted(record: Path) -> dict[str, int]:
    """The last number of each producer up to which all were accepted."""
    accepted: dict[str, int] = {}
    for line in record.read_text().splitlines():
        producer, number = line.split()
        accepted[producer] = max(accepted.get(producer, 0), int(number))
    return accepted


def _reported(consumers: list[Process]) -> dict[str, list[tuple[int, int]]]:
    """The losses that the consumers have reported, by producer."""
    reported: dict[str, list[tuple[int, int]]] = {}
    for process in consumers:
        for line in re.finditer(r"Lost: events (\d+) to (\d+) of producer (\S+) never", process.output.read_text()):
            reported.setdefault(line[3], []).append((int(line[1]), int(line[2])))
    return reported


def _answer(address: str) -> Any:
    """What a replica says of the log; it may have been started just now."""

    def ask() -> Any:
        try:
            response = httpx.get(f"{address}/model/etl/log", timeout=30)
        except httpx.HTTPError:
            return None
        body = orjson.loads(response.content)
        return body if response.status_code == 200 and "warning" not in body else None

    return wait_until(ask, SETTLING, f"an answer of {address}")
