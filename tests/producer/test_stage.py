"""A stage at work on a set: its steps and failures become events, and its errors stay its own."""

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import redis
from etlog_events.errors import InvalidEvent
from etlog_events.event import MAX_BYTES, Event
from etlog_events.keys import Keys
from etlog_producer import Producer, Stage
from etlog_producer import stage as stage_module
from etlog_producer.stage import MAX_ERROR, describe
from support.consumers import CaughtUp, Consuming
from support.fakes import Clock
from support.producers import published
from support.samples import WINDOW
from support.stream import entries, rows

SPAN = {"start": WINDOW[0], "end": WINDOW[1]}


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """The clock of all stages, which stands still."""
    clock = Clock()
    monkeypatch.setattr(stage_module, "monotonic", clock)
    return clock


def test_every_step_becomes_an_event(producer: Producer, client: redis.Redis, keys: Keys) -> None:
    """With the window of the set, its size where there is one, how long it took, and what else the stage tells."""
    with producer.stage("AllocationSet", window=WINDOW) as stage:
        stage.loaded(size=1)
        stage.aggregated(size=2, sources=24)
        stage.totaled(cost=1.5)
        stage.saved(size=3, path="/tmp/set")
        with stage.reconciling():
            stage.reconciled(adjusted=7)

    assert published(producer, client, keys) == [
        ("AllocationSetLoaded", {"size": 1, "window": SPAN, "seconds": 0.0}),
        ("AllocationSetAggregated", {"size": 2, "window": SPAN, "seconds": 0.0, "sources": 24}),
        ("AllocationSetTotaled", {"window": SPAN, "seconds": 0.0, "cost": 1.5}),
        ("AllocationSetSaved", {"size": 3, "window": SPAN, "seconds": 0.0, "path": "/tmp/set"}),
        ("AllocationSetReconciled", {"window": SPAN, "seconds": 0.0, "adjusted": 7}),
    ]


def test_each_step_took_the_time_since_the_one_before(
    producer: Producer, client: redis.Redis, keys: Keys, clock: Clock
) -> None:
    """The first one the time since the block began, however long before the stage was made."""
    stage = producer.stage("AllocationSet", window=WINDOW)
    clock.now += 100
    with stage:
        clock.now += 1.23449
        stage.loaded(size=1)
        clock.now += 0.0004
        stage.totaled()
        clock.now += 3600
        stage.saved(size=1)

    assert seconds(producer, client, keys) == [("Loaded", 1.234), ("Totaled", 0.0), ("Saved", 3600.0)]


def test_the_time_of_a_step_begins_with_its_block(
    producer: Producer, client: redis.Redis, keys: Keys, clock: Clock
) -> None:
    """What the code did before it is no part of the step, which may be told within the block or after it."""
    with producer.stage("AllocationSet", window=WINDOW) as stage:
        clock.now += 100
        with stage.saving():
            clock.now += 2
        clock.now += 0.5
        stage.saved(size=1)
        clock.now += 100
        with stage.reconciling():
            clock.now += 3
            stage.loaded(size=1)
            clock.now += 4
            stage.reconciled()

    assert seconds(producer, client, keys) == [("Saved", 2.5), ("Loaded", 3.0), ("Reconciled", 4.0)]


def test_a_failure_took_the_time_since_the_step_before(
    producer: Producer, client: redis.Redis, keys: Keys, clock: Clock
) -> None:
    """And what is done after it, the time since it."""

    def work() -> None:
        with producer.stage("AllocationSet", window=WINDOW) as stage:
            clock.now += 1
            stage.loaded(size=1)
            with suppress(OSError), stage.saving():
                clock.now += 2
                raise OSError("disk full")
            clock.now += 3
            stage.saved(size=1)
            clock.now += 4
            raise ValueError("no prices")

    with pytest.raises(ValueError, match="no prices"):
        work()

    assert seconds(producer, client, keys) == [
        ("Loaded", 1.0),
        ("ComputeError", 2.0),
        ("Saved", 3.0),
        ("ComputeError", 4.0),
    ]


def test_a_step_that_was_refused_ends_no_time(
    producer: Producer, client: redis.Redis, keys: Keys, clock: Clock
) -> None:
    """It is not in the log, so the next event takes its time over."""
    with producer.stage("AllocationSet", window=WINDOW) as stage:
        clock.now += 1
        with pytest.raises(InvalidEvent):
            stage.saved(size=-1)
        clock.now += 2
        stage.saved(size=1)

    assert seconds(producer, client, keys) == [("Saved", 3.0)]


def test_the_seconds_that_a_stage_tells_itself_win(
    producer: Producer, client: redis.Redis, keys: Keys, clock: Clock
) -> None:
    """It may know better, when its work was done elsewhere."""
    with producer.stage("AllocationSet", window=WINDOW) as stage:
        clock.now += 1
        stage.saved(size=1, seconds=12.5)
        clock.now += 2
        stage.totaled()

    assert seconds(producer, client, keys) == [("Saved", 12.5), ("Totaled", 2.0)]


def seconds(producer: Producer, client: redis.Redis, keys: Keys) -> list[tuple[str, float]]:
    """The actions in the stream, and how long each took."""
    found = published(producer, client, keys)
    return [(kind.removeprefix("AllocationSet"), metadata["seconds"]) for kind, metadata in found]


@pytest.mark.parametrize(
    ("block", "named"),
    [("loading", "Loaded"), ("saving", "Saved"), ("aggregating", "Aggregated"), ("totaling", "Totaled")],
)
def test_a_failure_in_the_block_of_a_step_names_it(
    producer: Producer, client: redis.Redis, keys: Keys, block: str, named: str
) -> None:
    """Once, and it is raised on."""
    failure = OSError("disk full")

    def work() -> None:
        with producer.stage("AssetSet", window=WINDOW) as stage, getattr(stage, block)():
            raise failure

    with pytest.raises(OSError, match="disk full") as raised:
        work()

    assert raised.value is failure
    assert published(producer, client, keys) == [
        ("AssetSetComputeError", {"window": SPAN, "error": "OSError: disk full", "seconds": 0.0, "stage": named})
    ]


def test_the_ledger_tells_how_long_each_step_took(
    producer: Producer, client: redis.Redis, keys: Keys, clock: Clock, consuming: Consuming, caught_up: CaughtUp
) -> None:
    """Once a consumer has applied the events; a failure as well, in the cell of what failed."""

    def work() -> None:
        with producer.stage("AllocationSet", window=WINDOW) as stage:
            clock.now += 12.5
            stage.saved(size=97)
            with stage.totaling():
                clock.now += 3
                raise ValueError("no prices")

    with pytest.raises(ValueError, match="no prices"):
        work()
    assert producer.flush(10)

    with consuming():
        caught_up()

    row = rows(client, keys, "allocation")["/".join(WINDOW)]
    assert {name: cell["seconds"] for name, cell in row.items()} == {"Saved": 12.5, "ComputeError.Totaled": 3.0}


def between(stage: Stage) -> None:
    with stage.saving():
        stage.saved(size=1)
    raise OSError


def after_its_step(stage: Stage) -> None:
    with stage.saving():
        stage.saved(size=1)
        raise OSError


def after_another_step(stage: Stage) -> None:
    with stage.saving():
        stage.loaded(size=1)
        raise OSError


def within_another_block(stage: Stage) -> None:
    with stage.saving(), stage.loading():
        raise OSError


def after_a_block_within(stage: Stage) -> None:
    with stage.saving():
        with stage.loading():
            stage.loaded(size=1)
        raise OSError


def within_reconciling(stage: Stage) -> None:
    with stage.reconciling(), stage.loading():
        raise OSError


@pytest.mark.parametrize(
    ("work", "named"),
    [
        (between, None),
        (after_its_step, None),
        (after_another_step, "Saved"),
        (within_another_block, "Loaded"),
        (after_a_block_within, "Saved"),
        (within_reconciling, "Loaded"),
    ],
)
def test_a_failure_names_no_step_that_is_not_certain(
    producer: Producer, client: redis.Redis, keys: Keys, work: Callable[[Stage], None], named: str | None
) -> None:
    """It is that of the innermost block until its step is done; elsewhere no one has said what was at work."""
    with pytest.raises(OSError), producer.stage("AssetSet", window=WINDOW) as stage:  # noqa: PT011 - all that is raised
        work(stage)

    [metadata] = [metadata for kind, metadata in published(producer, client, keys) if kind.endswith("Error")]
    assert metadata.get("stage") == named


def test_both_passes_of_a_repeated_hour_are_sets_of_their_own(
    producer: Producer, client: redis.Redis, keys: Keys
) -> None:
    """Their windows are equal as datetimes, and an hour apart; so are the times of their events."""
    half_past_two = datetime(2022, 10, 30, 2, 30, tzinfo=ZoneInfo("Europe/Berlin"))
    half_past_three = datetime(2022, 10, 30, 3, 30, tzinfo=ZoneInfo("Europe/Berlin"))
    for fold in (0, 1, 0):
        moment = half_past_two.replace(fold=fold)
        with producer.stage("AllocationSet", window=(moment, half_past_three)) as stage:
            stage.saved(size=fold, time=moment)

    assert producer.flush(10)
    events = [Event.decode(entry.event) for entry in entries(client, keys)]
    starts = ("2022-10-30T00:30:00Z", "2022-10-30T01:30:00Z", "2022-10-30T00:30:00Z")
    assert [(event.window, event.time) for event in events] == [
        ((start, "2022-10-30T02:30:00Z"), start) for start in starts
    ]


def test_a_failure_becomes_a_compute_error_and_is_raised_on(
    producer: Producer, client: redis.Redis, keys: Keys
) -> None:
    """The very same exception; the steps before it stay in the log."""
    failure = ValueError("no prices for 2022-06-03")

    def work() -> None:
        with producer.stage("AssetSet", window=WINDOW) as stage:
            stage.loaded(size=1)
            raise failure

    with pytest.raises(ValueError, match="no prices") as raised:
        work()

    assert raised.value is failure
    assert published(producer, client, keys) == [
        ("AssetSetLoaded", {"size": 1, "window": SPAN, "seconds": 0.0}),
        (
            "AssetSetComputeError",
            {"window": SPAN, "error": "ValueError: no prices for 2022-06-03", "seconds": 0.0},
        ),
    ]


def test_a_failure_of_reconciliation_is_told_once(producer: Producer, client: redis.Redis, keys: Keys) -> None:
    """It leaves both blocks, and is an error of the inner one, whose kind says which stage it hit."""
    failure = KeyError("node-1")

    def work() -> None:
        with producer.stage("AllocationSet", window=WINDOW) as stage, stage.reconciling():
            raise failure

    with pytest.raises(KeyError) as raised:
        work()

    assert raised.value is failure
    assert published(producer, client, keys) == [
        ("AllocationSetReconcileError", {"window": SPAN, "error": "KeyError: 'node-1'", "seconds": 0.0})
    ]


def test_another_failure_after_a_reconciliation_that_failed_is_told_too(
    producer: Producer, client: redis.Redis, keys: Keys
) -> None:
    """The stage went on, and failed at something else."""

    def work() -> None:
        with producer.stage("AllocationSet", window=WINDOW) as stage:
            try:
                with stage.reconciling():
                    raise KeyError("node-1")
            except KeyError:
                pass
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        work()

    assert [(kind, metadata["error"]) for kind, metadata in published(producer, client, keys)] == [
        ("AllocationSetReconcileError", "KeyError: 'node-1'"),
        ("AllocationSetComputeError", "OSError: disk full"),
    ]


def test_a_stage_without_a_window_can_still_tell_of_its_failure(
    producer: Producer, client: redis.Redis, keys: Keys
) -> None:
    """Which set it was about may be what it failed to find out."""

    def work() -> None:
        with producer.stage("AssetSet"):
            raise RuntimeError("no window")

    with pytest.raises(RuntimeError):
        work()

    assert published(producer, client, keys) == [
        ("AssetSetComputeError", {"error": "RuntimeError: no window", "seconds": 0.0})
    ]


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_an_interruption_is_no_failure_of_the_set(
    producer: Producer, client: redis.Redis, keys: Keys, interruption: type[BaseException]
) -> None:
    """Someone stopped the process; nothing was wrong with the set."""

    def work() -> None:
        with producer.stage("AssetSet", window=WINDOW) as stage, stage.reconciling():
            raise interruption

    with pytest.raises(interruption):
        work()

    assert published(producer, client, keys) == []


class Unspeakable(Exception):
    """An exception whose own text fails."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize(
    "failure",
    [
        ValueError("x" * 10_000_000),
        ValueError("😀" * 100_000),
        ValueError("\x00" * 100_000),
        ValueError('"\\' * 100_000),
        ValueError("\ud800" * 100_000),
        ValueError(b"\xff\xfe"),
        ValueError(),
        ValueError(1, "two", None),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
        ExceptionGroup("several", [ValueError("one"), KeyError("two")]),
        Unspeakable(),
    ],
    ids=lambda failure: f"{type(failure).__name__} {ascii(failure.args)[:12]}",
)
def test_any_error_fits_into_an_event(producer: Producer, client: redis.Redis, keys: Keys, failure: Exception) -> None:
    """However long its text is, and whatever stands in it: it arrives, and the exception is raised on."""

    def work() -> None:
        with producer.stage("AssetSet", window=WINDOW):
            raise failure

    with pytest.raises(type(failure)) as raised:
        work()

    assert raised.value is failure
    assert producer.flush(10)
    [entry] = entries(client, keys)
    assert len(entry.event) <= MAX_BYTES
    assert entry.metadata["error"].startswith(type(failure).__name__)


def test_an_error_is_described_by_its_class_and_text() -> None:
    """As the last line of a traceback does; a long one by its start, what cannot be encoded by its escapes."""
    assert describe(ValueError("no prices")) == "ValueError: no prices"
    assert describe(Unspeakable()) == "Unspeakable"
    assert describe(ValueError("a\ud800b")) == r"ValueError: a\ud800b"
    assert describe(ValueError("x" * 20_000)) == ("ValueError: " + "x" * 20_000)[:MAX_ERROR]


def test_an_unknown_prefix_is_refused_at_once(producer: Producer) -> None:
    """Before the stage has done any work."""
    with pytest.raises(
        InvalidEvent, match=r"^unknown prefix 'Allocation'; a prefix is one of AllocationSet, AssetSet$"
    ):
        producer.stage("Allocation", window=WINDOW)


def test_a_further_category_has_stages(
    store_url: str, client: redis.Redis, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the settings name it."""
    monkeypatch.setenv("ETLOG_CATEGORIES", "cloudcost=CloudCostSet")
    with Producer(store_url, log=keys.name) as producer, producer.stage("CloudCostSet", window=WINDOW) as stage:
        stage.totaled()

    assert b"CloudCostSetTotaled" in entries(client, keys)[0].event


def test_a_misused_step_raises_at_its_call(producer: Producer, client: redis.Redis, keys: Keys) -> None:
    """It names the fault, and as a failure of the stage it becomes an event."""

    def work() -> None:
        with producer.stage("AssetSet", window=WINDOW) as stage:
            stage.saved(size=-1)

    with pytest.raises(InvalidEvent, match=r"^size must be a whole number"):
        work()

    [(kind, metadata)] = published(producer, client, keys)
    assert kind == "AssetSetComputeError"
    assert metadata["error"].startswith("InvalidEvent: size must be a whole number")


def test_a_step_without_a_window_is_refused(producer: Producer) -> None:
    """Only errors may do without one."""
    stage = producer.stage("AssetSet")

    with pytest.raises(InvalidEvent, match=r"^AssetSetTotaled needs window$"):
        stage.totaled()


@pytest.mark.parametrize("window", [5, WINDOW[::-1], ("today", "tomorrow")])
def test_a_bad_window_does_not_hide_the_failure_of_the_stage(
    producer: Producer, window: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """The error event is refused, which is logged; the stage's own exception is what is raised."""

    def work() -> None:
        with producer.stage("AssetSet", window=window):
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        work()

    assert "The error event was refused" in caplog.text


def test_a_closed_producer_does_not_hide_the_failure_of_the_stage(producer: Producer) -> None:
    """The exception of the stage matters more."""
    stage = producer.stage("AssetSet", window=WINDOW)
    producer.close()

    def work() -> None:
        with stage:
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        work()


def test_a_stage_may_work_without_the_store(store_url: str, keys: Keys) -> None:
    """Its steps and its result do not depend on the log."""
    producer = Producer("redis://127.0.0.1:1/0", log=keys.name)
    with producer.stage("AssetSet", window=WINDOW) as stage:
        stage.loaded(size=1)
        stage.saved(size=1)
    producer.close(timeout=0)
