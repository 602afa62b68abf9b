"""The verdict from end to end: learned from events, declared in a file, marked by people; the same at each replica."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from etlog.__main__ import run
from etlog_api.app import create_app
from etlog_events.event import Event
from etlog_events.keys import Keys
from etlog_events.settings import Settings
from etlog_producer import Producer
from support.apis import Api, apply, serve
from support.consumers import CaughtUp, consumer_thread
from support.labelled import LabelledLog, answer_of, labelled, score
from support.servers import wait_until

HOUR = timedelta(hours=1)

#: Every labelled log if ETLOG_TEST_LOGS is `all`; else a few, with every fault, and with other categories.
LOGS = [
    log
    for log in labelled(Path(__file__).parent.parent / "verdict" / "labelled.jsonl.gz")
    if log.name in {"02-three-faults", "11-sizes", "16-twelve-categories"} or os.environ.get("ETLOG_TEST_LOGS") == "all"
]

#: Runs `etlog` with these arguments, which must end with this code: what it prints.
Etlog = Callable[..., str]


def hourly(kind: str, until: datetime, sets: int) -> list[bytes]:
    """The events of the sets of so many hours before `until`, each a minute after the end of its hour."""
    ends = [until - HOUR * back for back in reversed(range(sets))]
    windows = [(spelled(end - HOUR), spelled(end)) for end in ends]
    return [
        Event.new(kind, size=97, window=window, time=spelled(end + timedelta(seconds=60 + number % 7))).encode()
        for number, (window, end) in enumerate(zip(windows, ends, strict=True))
    ]


def spelled(time: datetime) -> str:
    """As everywhere."""
    return f"{time:%Y-%m-%dT%H:%M:%SZ}"


@pytest.fixture
def etlog(
    store_url: str, keys: Keys, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Etlog]:
    """`etlog("coverage", code=1)` runs the command on the test's log."""
    clients: list[httpx.Client] = []

    class Client(httpx.Client):
        """The end of its process closes that of a command."""

        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            clients.append(self)

    monkeypatch.setattr(httpx, "Client", Client)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setenv("ETLOG_REDIS_URL", store_url)
    monkeypatch.setenv("ETLOG_NAME", keys.name)

    def etlog(*arguments: str, code: int = 0) -> str:
        ended = run(list(arguments))
        printed = capsys.readouterr()
        assert ended == code, printed.out + printed.err
        return printed.out

    yield etlog
    for client in clients:
        client.close()


def coverage(api: Api) -> Any:
    """What a replica says."""
    return api.get("/model/etl/coverage").json()["data"]


def told(api: Api) -> list[tuple[str, Sequence[str], str, str | None]]:
    """The problems that a replica tells: category, stages, state, and the kind of their mark."""
    return sorted(
        (each["category"], each["stages"], each["state"], each["mark"] and each["mark"]["kind"])
        for each in coverage(api)["problems"]
    )


@pytest.mark.timed
def test_what_is_learned_declared_and_marked_is_seen_at_each_replica(
    store_url: str, keys: Keys, tmp_path: Path, etlog: Etlog
) -> None:
    """What was learned becomes a file, the file makes a stage that never came a problem, and a mark is known to all
    within 2 s: one that waives ends the problem, one that acknowledges does not."""
    # given two days of sets, of which assets are not loaded any more since five hours
    last = (datetime.now(UTC) - timedelta(seconds=90)).replace(minute=0, second=0, microsecond=0)
    apply(
        store_url,
        keys,
        [
            *(event for action in ("Loaded", "Saved") for event in hourly(f"AllocationSet{action}", last, 48)),
            *hourly("AssetSetSaved", last, 48),
            *hourly("AssetSetLoaded", last - 5 * HOUR, 43),
        ],
    )
    settings = Settings(redis_url=store_url, name=keys.name)
    stopped = ("asset", ["Loaded"], "stopped", None)

    # when what was learned of it becomes a file, to which a stage is added
    with serve(create_app(settings)) as api:
        assert told(api) == [stopped]
        assert not any(habit.get("declared") for each in coverage(api)["series"] for habit in each["habits"].values())
        suggested = etlog("config", "suggest", "--url", api.url)
    file = tmp_path / "etlog.toml"
    since = (last - 12 * HOUR).date().isoformat()
    file.write_text(
        f'{suggested}\n[[expect]]\ncategory = "allocation"\nevery = "1h"\nstages = ["Reconciled"]\ndue = "10m"\n'
        f'since = "{since}"\n'
    )
    assert "is right: 1 log, 3 expectations" in etlog("config", "check", str(file))

    with ExitStack() as stack:
        replicas = [stack.enter_context(serve(create_app(replace(settings, config=file)))) for _ in range(2)]

        def wait_for(*problems: tuple[str, Sequence[str], str, str | None]) -> None:
            wanted = [list(problems)] * len(replicas)
            wait_until(lambda: [*map(told, replicas)] == wanted, timeout=2, what=f"{problems} at each replica")

        # then both judge by it
        wait_for(("allocation", ["Reconciled"], "stopped", None), stopped)
        for replica in replicas:
            habits = {each["category"]: each["habits"] for each in coverage(replica)["series"]}
            assert habits["allocation"].keys() == {"Loaded", "Saved", "Reconciled"}
            assert all(habit.get("declared") for of in habits.values() for habit in of.values())
        assert "allocation Reconciled stopped: never done" in etlog("coverage", "--url", replicas[1].url, code=1)

        # when one problem is waived, and the other one acknowledged
        etlog("mark", "allocation", "waived", "--stage", "Reconciled", "--reason", "not this year")
        wait_for(stopped)
        etlog("mark", "asset", "acknowledged", "--every", "1h", "--reason", "disk full")

        # then the one is gone, and the other one is still wrong
        wait_for((*stopped[:3], "acknowledged"))
        for replica in replicas:
            screen = etlog("coverage", "--url", replica.url, code=1)
            assert "1 problem, 1 of them acknowledged or being repaired" in screen
            assert ": disk full" in screen
            assert "Reconciled" not in screen.partition("series ")[0]


@pytest.mark.parametrize("log", LOGS, ids=str)
def test_a_labelled_log_is_judged_right_by_the_parts(
    log: LabelledLog, store_url: str, keys: Keys, caught_up: CaughtUp
) -> None:
    """Published by a producer, applied by a consumer, and judged by an API at the time of the log: no cell is missed or
    wrongly alarmed on the way, and the zone and the categories are those of the log."""
    settings = Settings(
        redis_url=store_url,
        name=keys.name,
        timezone=log.zone,
        categories=dict(log.categories),
    )
    with consumer_thread(store_url, keys, kinds=log.kinds), Producer(settings=settings) as producer:
        for kind, start, end, time, size, error in log.events:
            window = (start, end) if start and end else None
            producer.emit(kind, size=size, window=window, error=error, time=time)
        assert producer.flush(30)
        caught_up()

    with serve(create_app(settings, log.now.astimezone)) as api:
        answer = api.get("/model/etl/coverage", params={"window": "2000-01-01T00:00:00Z,2100-01-01T00:00:00Z"})

    found = score(log, answer_of(answer.json()["data"]))
    assert not found, "\n".join([log.why, str(found), *found.lines()])
