"""A stage at work on a set: its steps and failures become events, and its errors stay its own."""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import redis
from etlog_events.errors import InvalidEvent
from etlog_events.event import MAX_BYTES, Event
from etlog_events.keys import Keys
from etlog_producer import Producer
from etlog_producer.stage import MAX_ERROR, describe
from support.producers import published
from support.samples import WINDOW
from support.stream import entries


def test_every_step_becomes_an_event(producer: Producer, client: redis.Redis, keys: Keys) -> None:
    """With the window of the set, its size where there is one, and what else the stage tells."""
    with producer.stage("AllocationSet", window=WINDOW) as stage:
        stage.loaded(size=1)
        stage.aggregated(size=2, sources=24)
        stage.totaled(cost=1.5)
        stage.saved(size=3, path="/tmp/set")
        with stage.reconciling():
            stage.reconciled(adjusted=7)

    window = {"start": WINDOW[0], "end": WINDOW[1]}
    assert published(producer, client, keys) == [
        ("AllocationSetLoaded", {"size": 1, "window": window}),
        ("AllocationSetAggregated", {"size": 2, "window": window, "sources": 24}),
        ("AllocationSetTotaled", {"window": window, "cost": 1.5}),
        ("AllocationSetSaved", {"size": 3, "window": window, "path": "/tmp/set"}),
        ("AllocationSetReconciled", {"window": window, "adjusted": 7}),
    ]


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
    window = {"start": WINDOW[0], "end": WINDOW[1]}
    assert published(producer, client, keys) == [
        ("AssetSetLoaded", {"size": 1, "window": window}),
        ("AssetSetComputeError", {"window": window, "error": "ValueError: no prices for 2022-06-03"}),
    ]


def test_a_failure_of_reconciliation_is_told_once(producer: Producer, client: redis.Redis, keys: Keys) -> None:
    """It leaves both blocks, and is an error of the inner one."""
    failure = KeyError("node-1")

    def work() -> None:
        with producer.stage("AllocationSet", window=WINDOW) as stage, stage.reconciling():
            raise failure

    with pytest.raises(KeyError) as raised:
        work()

    assert raised.value is failure
    assert [kind for kind, _ in published(producer, client, keys)] == ["AllocationSetReconcileError"]


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

    assert published(producer, client, keys) == [("AssetSetComputeError", {"error": "RuntimeError: no window"})]


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
