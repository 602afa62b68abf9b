"""People are told: real watchers, consumers, stores and receivers, with the times that people wait. That takes minutes,
so everything that is to be seen happens side by side."""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from etlog_events.keys import Keys
from etlog_events.store import connect
from support.apis import add
from support.commands import run, running
from support.receivers import Answer, Receiver, receiving
from support.samples import saved
from support.servers import Server, wait_until
from support.watching import (
    PATIENCE,
    Watcher,
    answered,
    configured,
    happened,
    notify,
    outbox,
    pipeline,
    teller,
    told,
    watched,
)

#: Seconds for which everything goes on as usual, while no one is to be told anything; longer ones by `make watch-test`.
ORDINARY = float(os.environ.get("ETLOG_TEST_WATCH_SECONDS", "60"))

#: In a long run watchers are killed that wait as long as they do for people; in a short one they are in a hurry.
HURRY = None if ORDINARY > 60 else {"GROUPED": 6.0, "HELD": 4.0, "RETRY": 1.0, "TURN": 1.0}

#: The logs that one consumer applies and one watcher watches, each with its own receiver.
LOGS = ("faults", "holes", "known", "losses", "late", "standing")

#: The stage of which a thousand sets lack every second one: no habit.
EXPECTED = """
[[expect]]
log = "holes"
category = "allocation"
every = "1h"
stages = ["Loaded"]
due = "2m"
since = "2020-01-01"
"""


@dataclass
class Scene:
    """What the scenarios share: a store, a consumer and a watcher of all `LOGS`, and a receiver for each."""

    server: Server
    folder: Path
    receivers: Mapping[str, Receiver]
    going: ExitStack = field(default_factory=ExitStack)

    def etlog(self, log: str, *arguments: str) -> None:
        """Run a command on a log."""
        ended = run(*arguments, "--redis-url", self.server.url, "--log", log, timeout=PATIENCE)
        assert ended.returncode == 0, ended.stderr


#: What happens and must be seen, on a log and with a receiver of its own.
Scenario: TypeAlias = Callable[[Scene], None]


def three_faults_are_one_message_and_so_is_their_end(scene: Scene) -> None:
    """A stage that stopped, a hole and an error are told at once, and never again while everything else goes on."""
    receiver, sets = scene.receivers["faults"], 180
    stopped, hole = range(sets - 5, 10**6), sets - 20
    left_out = {"AssetSetSaved": stopped, "AllocationSetLoaded": range(hole, hole + 1)}
    with pipeline(
        scene.server.url,
        "faults",
        scene.folder,
        every=timedelta(minutes=1),
        sets=sets,
        left_out=lambda kind, place: place in left_out.get(kind, ()),
    ) as stages:
        stages.emit("AllocationSetReconcileError", sets - 10, "403 Forbidden")
        stages.wait_until(lambda: told(receiver), "the faults to be told")
        end, come = time.monotonic() + ORDINARY, stages.come
        stages.wait_until(
            lambda: time.monotonic() >= end and stages.come > come, "ordinary sets to come", ORDINARY + PATIENCE
        )

        [opened] = told(receiver)
        assert opened.happened == "opened"
        assert {
            (problem["category"], *problem["stages"], problem["state"], problem["error"]) for problem in opened.problems
        } == {
            ("asset", "Saved", "stopped", None),
            ("allocation", "Loaded", "missing", None),
            ("allocation", "Reconciled", "failed", "403 Forbidden"),
        }
        assert len(opened.ids) == 3

        left_out.clear()
        for place in range(sets - 5, stages.come):
            stages.emit("AssetSetSaved", place)
        stages.emit("AllocationSetLoaded", hole)
        stages.emit("AllocationSetReconciled", sets - 10)
        stages.wait_until(lambda: len(told(receiver)) > 1, "the end to be told")
        _, resolved = told(receiver)
        assert resolved.happened == "resolved"
        assert resolved.ids == opened.ids


def a_thousand_problems_are_one_message(scene: Scene) -> None:
    """Two thousand sets, of which every second one lacks a stage."""
    receiver = scene.receivers["holes"]
    with pipeline(
        scene.server.url,
        "holes",
        scene.folder,
        sets=2000,
        left_out=lambda kind, place: kind == "AllocationSetLoaded" and place % 2 == 0,
    ) as stages:
        wait_until(lambda: told(receiver), PATIENCE, "the holes to be told")
        [opened] = told(receiver)
        assert opened.happened == "opened"
        assert len(opened.ids) == 1000
        assert {(problem["state"], *problem["stages"]) for problem in opened.problems} == {("missing", "Loaded")}

        for place in range(0, 2000, 2):
            stages.emit("AllocationSetLoaded", place)
        wait_until(lambda: len(told(receiver)) > 1, PATIENCE, "the end to be told")
        _, resolved = told(receiver)
        assert (resolved.happened, resolved.ids) == ("resolved", opened.ids)


def what_is_known_before_it_is_told_is_not_told(scene: Scene) -> None:
    """Nor its end."""
    receiver = scene.receivers["known"]
    with pipeline(scene.server.url, "known", scene.folder) as stages:
        stages.emit("AssetSetReconcileError", 20, "known")
        window = "/".join(stages.window(20))
        scene.etlog("known", "mark", "asset", "acknowledged", "--set", window, "--reason", "we know")
        stages.emit("AllocationSetReconcileError", 20, "unknown")
        wait_until(lambda: told(receiver), PATIENCE, "the other fault to be told")

        stages.emit("AssetSetReconciled", 20)
        stages.emit("AllocationSetReconciled", 20)
        wait_until(lambda: len(told(receiver)) > 1, PATIENCE, "its end to be told")
        opened, resolved = told(receiver)
        assert [opened.happened, resolved.happened] == ["opened", "resolved"]
        assert [problem["error"] for problem in (*opened.problems, *resolved.problems)] == ["unknown", "unknown"]
        assert opened.ids == resolved.ids


def losses_are_told_until_they_are_acknowledged(scene: Scene) -> None:
    """Events that never arrived, and one that cannot be read."""
    receiver, keys = scene.receivers["losses"], Keys("losses")
    with connect(scene.server.url, part="test") as client:
        for number in ("1", "5"):
            add(client, keys, [saved()], producer="p", seq=number)
        add(client, keys, [b"[oops"])
    wait_until(lambda: told(receiver), PATIENCE, "the losses to be told")
    [opened] = told(receiver)
    assert opened.happened == "opened"
    assert {problem["state"]: problem["text"] for problem in opened.problems} == {
        "lost": "3 events were lost; 'etlog status' says more",
        "dead": "1 dead letter; 'etlog dead list' says more",
    }

    for losses in ("lost-events", "dead-letters"):
        scene.etlog("losses", "mark", losses, "acknowledged", "--reason", "seen")
    wait_until(lambda: len(told(receiver)) > 1, PATIENCE, "the end to be told")
    _, resolved = told(receiver)
    assert (resolved.happened, resolved.ids) == ("resolved", opened.ids)


def a_receiver_that_was_away_gets_everything_once_and_in_order(scene: Scene) -> None:
    """Three messages wait for it, the first of which it did not take a few times."""
    receiver = scene.receivers["late"]
    with pipeline(scene.server.url, "late", scene.folder) as stages:

        def waiting() -> int:
            return outbox(scene.server.url, "late")

        with receiver.down():
            stages.emit("AllocationSetReconcileError", 20, "first")
            wait_until(lambda: waiting() == 1, PATIENCE, "the first message")
            stages.emit("AllocationSetReconcileError", 30, "second")
            stages.emit("AllocationSetReconciled", 20)
            wait_until(lambda: waiting() == 3, PATIENCE, "the other messages")
            assert receiver.received == []
        wait_until(lambda: not waiting(), PATIENCE, "all to be sent")

        first, *others = told(receiver)
        said = {one.happened: [problem["error"] for problem in one.problems] for one in others}
        assert (first.happened, [problem["error"] for problem in first.problems]) == ("opened", ["first"])
        assert said == {"opened": ["second"], "resolved": ["first"]}
        assert next(one for one in others if one.happened == "resolved").ids == first.ids
        assert len(receiver.received) == 3


def a_consumer_that_stands_still_is_told(scene: Scene) -> None:
    """It holds its lease and does nothing."""
    receiver = scene.receivers["standing"]
    with (
        running("consume", redis_url=scene.server.url, name="standing") as consumer,
        pipeline(scene.server.url, "standing", scene.folder) as stages,
    ):
        stages.wait_until_applied()
        consumer.process.send_signal(signal.SIGSTOP)
        stages.emit("AssetSetReconcileError", 20, "unseen")
        wait_until(lambda: told(receiver), PATIENCE + 60, "it to be told")
        [opened] = told(receiver)
        assert (opened.happened, opened.states) == ("opened", ["stalled"])

        consumer.process.send_signal(signal.SIGCONT)
        wait_until(lambda: len(told(receiver)) > 2, PATIENCE, "the end to be told")
        after = {message.happened: message for message in told(receiver)[1:]}
        assert after.keys() == {"resolved", "opened"}
        assert after["resolved"].ids == opened.ids
        assert after["opened"].states == ["failed"]


def a_watcher_that_is_killed_loses_and_repeats_nothing(scene: Scene) -> None:
    """The one that tells is killed ten times: before it had an answer, just after it, and while nothing was sent."""
    problems = 10
    with watched(scene.server.url, "killed", scene.folder, HURRY) as own:
        receiver, stages = own.receiver, own.stages
        watchers = [own.start(), own.start()]

        def kill(victim: Watcher, moment: int) -> None:
            """Before it has an answer, with its answer, or now."""

            def answer(write: Callable[[bytes], object], _: threading.Event) -> None:
                if moment == 1:
                    answered(write)
                victim.process.kill()

            if moment < 2:
                receiver.answer(Answer(raw=answer), Answer())
            else:
                victim.process.kill()
            wait_until(lambda: victim.process.poll() is not None, PATIENCE, "a message to come")

        def ids(what: str) -> dict[str, list[str]]:
            """The ids of problems of which that was told, by their errors."""
            found: dict[str, list[str]] = {}
            for message in told(receiver):
                for problem in message.problems if message.happened == what else ():
                    found.setdefault(problem["error"], []).append(problem["id"])
            return found

        broken = []
        for number in range(problems):
            stages.emit("AllocationSetReconcileError", number * 3, f"fault {number}")
            broken.append(number)
            if f"fault {broken[0]}" in ids("opened"):
                stages.emit("AllocationSetReconciled", broken.pop(0) * 3)
            victim = teller(watchers)
            kill(victim, number % 3)
            watchers = [one for one in watchers if one is not victim] + [own.start()]
        wait_until(lambda: len(ids("opened")) == problems, PATIENCE, "all to be told")
        for number in broken:
            stages.emit("AllocationSetReconciled", number * 3)
        wait_until(lambda: len(ids("resolved")) == problems, PATIENCE, "all to be resolved")

        assert ids("opened").keys() == {f"fault {number}" for number in range(problems)}
        assert all(len(names) == 1 for names in ids("opened").values())
        assert len({name for [name] in ids("opened").values()}) == problems
        assert ids("resolved") == ids("opened")
        repeated = len(receiver.received) - len(told(receiver))
        assert 0 < repeated <= problems, "only what was on its way came again"
        assert all(received.is_signed_with(own.secret.encode()) for received in receiver.received)
        messages = [message.id for message in told(receiver)]
        with connect(scene.server.url, part="test") as client:
            wait_until(
                lambda: not any(b":" in name for name in client.hkeys(Keys("killed").incidents)),
                PATIENCE,
                "nothing to be kept",
            )
        assert [message.id for message in told(receiver)] == messages
        assert set(happened(receiver)) == {"opened", "resolved"}


def a_watcher_that_slept_repeats_nothing(scene: Scene) -> None:
    """It slept with a message on its way, which another one sent again, and with all that came after it."""
    with watched(scene.server.url, "slept", scene.folder, HURRY) as own:
        receiver, stages = own.receiver, own.stages
        watchers = [own.start(), own.start()]
        sleeper = teller(watchers)

        def answer(write: Callable[[bytes], object], _: threading.Event) -> None:
            sleeper.process.send_signal(signal.SIGSTOP)
            answered(write)

        receiver.answer(Answer(raw=answer), Answer())
        stages.emit("AllocationSetReconcileError", 3, "first")
        wait_until(lambda: len(receiver.received) == 2, PATIENCE, "another one to send it again")
        stages.emit("AllocationSetReconciled", 3)
        wait_until(lambda: len(told(receiver)) == 2, PATIENCE, "the end of the first fault to be told")
        stages.emit("AllocationSetReconcileError", 6, "second")
        wait_until(lambda: len(told(receiver)) == 3, PATIENCE, "the second fault to be told")

        sleeper.process.send_signal(signal.SIGCONT)
        sleeper.wait_for("Standing by")
        stages.emit("AllocationSetReconciled", 6)
        wait_until(lambda: len(told(receiver)) == 4, PATIENCE, "its end to be told")
        first, its_end, second, end_of_second = told(receiver)
        assert happened(receiver) == ["opened", "resolved", "opened", "resolved"]
        assert (its_end.ids, end_of_second.ids) == (first.ids, second.ids)
        assert first.ids.isdisjoint(second.ids)
        assert [len(message.copies) for message in told(receiver)] == [2, 1, 1, 1]


def a_watcher_that_is_stopped_waits_for_no_receiver(scene: Scene) -> None:
    """What the receiver did not take, the next watcher sends."""
    with watched(scene.server.url, "hung", scene.folder, HURRY) as own:
        receiver, stages = own.receiver, own.stages
        watcher = own.start()

        def hang(_: Callable[[bytes], object], ended: threading.Event) -> None:
            ended.wait()

        receiver.answer(Answer(raw=hang), Answer())
        stages.emit("AllocationSetReconcileError", 3, "first")
        wait_until(lambda: receiver.received, PATIENCE, "it to be told")

        assert watcher.stop() < 12
        assert watcher.process.returncode == 0
        assert outbox(scene.server.url, "hung") == 1
        own.start()
        wait_until(lambda: len(receiver.received) == 2, PATIENCE, "it to be told again")
        wait_until(lambda: not outbox(scene.server.url, "hung"), PATIENCE, "it to be noted")
        [opened] = told(receiver)
        assert len(opened.copies) == 2


def a_store_that_is_away_is_told_by_each_watcher(scene: Scene) -> None:
    """Once that it is away, once that it is back; and what was told before is not told again."""
    server = Server("--appendonly", "yes", "--appendfsync", "always")
    with closing(server), watched(server.url, "away", scene.folder, None) as own:
        receiver, stages = own.receiver, own.stages
        watchers = [own.start(), own.start()]
        stages.emit("AssetSetReconcileError", 20, "before")
        wait_until(lambda: told(receiver), PATIENCE, "the fault to be told")
        [before] = told(receiver)
        assert (before.happened, before.states) == ("opened", ["failed"])

        wait_until(lambda: not outbox(server.url, "away"), PATIENCE, "it to be noted: else it may come again")
        server.kill()
        wait_until(lambda: len(told(receiver)) >= 3, PATIENCE, "both to tell that the store is away")
        away = told(receiver)[1:]
        assert [(message.happened, message.states) for message in away] == [("opened", ["store"])] * 2
        assert all("cannot be reached (since" in message.problems[0]["text"] for message in away)
        assert all(message.problems[0]["log"] is None for message in away)

        server.start()
        wait_until(lambda: len(told(receiver)) >= 5, PATIENCE, "both to tell that it is back")
        back = told(receiver)[3:]
        assert [(message.happened, message.states) for message in back] == [("resolved", ["store"])] * 2
        assert sorted(name for message in back for name in message.ids) == sorted(
            name for message in away for name in message.ids
        )

        stages.emit("AssetSetReconciled", 20)
        wait_until(lambda: len(told(receiver)) >= 6, PATIENCE, "the end of the fault to be told")
        [after] = told(receiver)[5:]
        assert (after.happened, after.ids) == ("resolved", before.ids)
        came = [(f"{one.at:.2f}", one.id[-6:], one.json["type"]) for one in receiver.received]
        assert len(came) == 6, came
        assert all(watcher.process.poll() is None for watcher in watchers)


SCENARIOS: tuple[Scenario, ...] = (
    three_faults_are_one_message_and_so_is_their_end,
    a_thousand_problems_are_one_message,
    what_is_known_before_it_is_told_is_not_told,
    losses_are_told_until_they_are_acknowledged,
    a_receiver_that_was_away_gets_everything_once_and_in_order,
    a_consumer_that_stands_still_is_told,
    a_watcher_that_is_killed_loses_and_repeats_nothing,
    a_watcher_that_slept_repeats_nothing,
    a_watcher_that_is_stopped_waits_for_no_receiver,
    a_store_that_is_away_is_told_by_each_watcher,
)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """The parts that all scenarios use, while they last."""
    folder = tmp_path_factory.mktemp("watch")
    with ExitStack() as going:
        environment = going.enter_context(pytest.MonkeyPatch.context())
        for name in os.environ:
            if name.startswith("ETLOG_") and not name.startswith("ETLOG_TEST_"):
                environment.delenv(name)
        server = Server("--appendonly", "yes", "--appendfsync", "always")
        going.callback(server.close)
        receivers = {log: going.enter_context(receiving()) for log in LOGS}
        tables = [notify(receiver, log=log) for log, receiver in receivers.items()]
        config = configured(folder / "etlog.toml", EXPECTED, *tables)
        consumed = ",".join(log for log in LOGS if log != "standing")
        shared: dict[str, Any] = {"redis_url": server.url, "config": str(config)}
        consumer = going.enter_context(running("consume", names=consumed, **shared))
        watcher = going.enter_context(running("watch", names=",".join(LOGS), **shared))
        watcher.wait_for("Watching log")
        yield Scene(server, folder, receivers)
        assert [consumer.process.poll(), watcher.process.poll()] == [None, None], consumer.shown + watcher.shown


@pytest.fixture(scope="module")
def begun(scene: Scene, request: pytest.FixtureRequest) -> Iterator[Mapping[Scenario, "Future[None]"]]:
    """Every scenario whose test is to run, in a thread."""
    chosen = [
        item.callspec.params["scenario"]
        for item in request.session.items
        if hasattr(item, "callspec") and item.callspec.params.get("scenario") in SCENARIOS
    ]
    with ThreadPoolExecutor(len(chosen)) as threads:
        yield {scenario: threads.submit(scenario, scene) for scenario in chosen}


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_people_are_told(scenario: Scenario, begun: Mapping[Scenario, "Future[None]"]) -> None:
    """What each scenario says."""
    begun[scenario].result()
