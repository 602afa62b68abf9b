"""What the verdict costs a replica: its share of a core while it is asked ten times a second and events arrive.

    python -m benchmarks.coverage [seconds]

2 x 2,000 hourly sets, 100 events a second, for 20 seconds unless another number is given. Exits with 1 when a promise
is broken or an answer is wrong. The share of a core is the processor time of the whole process, all threads.
"""

import json
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from itertools import count, islice

from etlog_events.keys import Keys

from benchmarks import services
from benchmarks.figures import WrongResult
from benchmarks.services import Service
from benchmarks.shared.pace import steadily
from benchmarks.store import Store, running

PATH = "/model/etl/coverage"

KEYS = Keys(services.LOG)

PREFIXES = ("AllocationSet", "AssetSet")
STAGES = ("Loaded", "Saved", "Aggregated", "Totaled", "Reconciled")

#: Sets of each category.
SETS = 2000

#: A second: events that arrive, and questions.
EVENTS, QUESTIONS = 100, 10

#: Percent of a core that all of this may take, and seconds in which each answer comes.
MOST_OF_A_CORE, LONGEST_ANSWER = 5.0, 2.0

HOUR = timedelta(hours=1)


def event(prefix: str, stage: str, start: datetime, time: datetime, size: int) -> bytes:
    """The canonical text of an event."""
    window = f'{{"start":"{start:%Y-%m-%dT%H:%M:%SZ}","end":"{start + HOUR:%Y-%m-%dT%H:%M:%SZ}"}}'
    return (
        f'{{"kind":"{prefix}{stage}","metadata":{{"size":{size},"window":{window},"seconds":2.5}},'
        f'"time":"{time:%Y-%m-%dT%H:%M:%SZ}"}}'
    ).encode()


def whole(newest: datetime) -> Iterator[bytes]:
    """All events of the sets up to the hour that began at `newest`: each stage some seconds later, every day alike."""
    for hours in range(SETS - 1, -1, -1):
        start = newest - hours * HOUR
        for late, stage in enumerate(STAGES):
            for prefix in PREFIXES:
                took = timedelta(seconds=60 + 20 * late + hours % 7)
                yield event(prefix, stage, start, start + HOUR + took, 900 + hours % 24 * 10)


def arriving(newest: datetime) -> Iterator[bytes]:
    """Endlessly, now one stage of one of the newest sets and now another one is done again."""
    for number in count():
        start = newest - number // 10 % 24 * HOUR
        yield event(PREFIXES[number & 1], STAGES[number // 2 % 5], start, datetime.now(UTC), 900 + number % 100)


def add(store: Store, texts: Sequence[bytes]) -> None:
    """Append one entry with these events."""
    names = ("event", *(f"event.{place}" for place in range(1, len(texts))))
    store.client.xadd(KEYS.events, dict(zip(names, texts, strict=True)))


def fill(store: Store, newest: datetime) -> None:
    """A ledger of all the sets, applied by the running consumer."""
    texts, number = whole(newest), 0
    while batch := list(islice(texts, 100)):
        add(store, batch)
        number += len(batch)
    deadline = time.monotonic() + 60
    while int(store.client.hget(KEYS.stats, "applied") or 0) < number:
        if time.monotonic() > deadline:
            raise WrongResult("the events are not applied within a minute")
        time.sleep(0.05)
    for category in ("allocation", "asset"):
        if store.client.hlen(KEYS.sets(category)) != SETS:
            raise WrongResult(f"{category} does not have {SETS} sets")


class Questions:
    """Asks steadily over one connection, in a thread, and looks at the answers."""

    def __init__(self, api: Service, seconds: float) -> None:
        self.times: list[float] = []
        self.tags: set[str] = set()
        self.problem: str | None = None
        self._thread = threading.Thread(target=self._ask, args=(api, seconds))
        self._thread.start()

    def wait(self) -> None:
        """Wait for the last answer. Raises `WrongResult`."""
        self._thread.join()
        if self.problem is not None:
            raise WrongResult(self.problem)

    def _ask(self, api: Service, seconds: float) -> None:
        connection = HTTPConnection("127.0.0.1", api.port, timeout=10)
        for _ in steadily(QUESTIONS, int(QUESTIONS * seconds)):
            began = time.perf_counter()
            connection.request("GET", PATH, headers={"Accept-Encoding": "zstd, identity;q=0.5"})
            response = connection.getresponse()
            response.read()
            self.times.append(time.perf_counter() - began)
            self.tags.add(response.headers["ETag"] or "")
            if response.status != 200:
                self.problem = f"an answer has status {response.status}"
        connection.close()


def check(name: str, value: float, most: float, unit: str) -> bool:
    """Print a figure beside its bound."""
    print(f"{name:<52} {value:>9.2f} {unit:<9} at most {most:g} {'ok' if value <= most else 'BROKEN'}")
    return value <= most


def main() -> int:
    """All figures."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 20.0
    newest = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - 2 * HOUR
    with ExitStack() as started:
        store = started.enter_context(running(append_only=False))
        started.enter_context(services.consumer(store))
        fill(store, newest)
        api = started.enter_context(services.ours(store))
        began = time.perf_counter()
        while (answer := api.get(PATH))[0] == 503 and time.perf_counter() - began < 60:
            time.sleep(0.05)
        print(f"{'the first verdict':<52} {1000 * (time.perf_counter() - began):>9.2f} ms")
        before, began = api.cpu(), time.perf_counter()
        questions = Questions(api, seconds)
        texts = arriving(newest)
        for _ in steadily(EVENTS, int(EVENTS * seconds)):
            add(store, [next(texts)])
        questions.wait()
        share = 100 * (api.cpu() - before) / (time.perf_counter() - began)
        status, _, body = api.get(PATH)
        data = json.loads(body)["data"]
        if status != 200 or data["suspended"] is not None:
            raise WrongResult(f"the last verdict has status {status}: {data['suspended']}")
        shown = sum(len(series["sets"]) for series in data["series"])
        print(f"{'sets in the answer, cells in its summary':<52} {shown:>9} {sum(data['summary'].values())}")
        print(f"{'length of the answer, different verdicts':<52} {len(body):>9} {len(questions.tags)}")
        if answer[0] != 200 or len(questions.tags) < seconds / 2:
            raise WrongResult(f"only {len(questions.tags)} different verdicts in {seconds:g} s")
        median = 1000 * sorted(questions.times)[len(questions.times) // 2]
        print(f"{'an answer, median':<52} {median:>9.2f} ms")
        kept = [
            check("an answer, longest", max(questions.times), LONGEST_ANSWER, "s"),
            check(f"the API, asked {QUESTIONS} times a second", share, MOST_OF_A_CORE, "% of core"),
        ]
    return 0 if all(kept) else 1


if __name__ == "__main__":
    sys.exit(main())
