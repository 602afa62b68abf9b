"""The kinds of faults that are tried, each on a trial of its own."""

import random
import signal
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from chaos import damage
from chaos.books import Phase
from chaos.stage import Lack, Work
from chaos.trial import Stage, Trial

Damage = Callable[[Path, random.Random], set[int]]

#: What leaves the bytes of a file to the process that has it open.
_NAMES_ALONE = (damage.remove, damage.replace, damage.forbid, damage.remove_folder)


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of fault. Unless it `may_lose`, only events may be lost that the trial says are destroyed; each loss must
    be seen, unless the events are `unkeepable`: what was the only copy is gone, and with it who knew of it."""

    run: Callable[[Trial], None]
    may_lose: bool = False
    unkeepable: bool = False


# What happens to spool files


def _hurt_while_owner_lives(trial: Trial, how: Damage) -> None:
    """Once or a few times, while the store is away or comes back."""
    work = _work_with_files(trial, holds=True)
    trial.store_goes("away", "silent")
    stage = trial.start(work)
    for moment in sorted(trial.some_of(stage) for _ in range(trial.chance.choice([1, 1, 2, 3]))):
        trial.reach(stage, moment)
        trial.stop_until(stage, lambda: trial.damage(how))
    if trial.chance.random() < 0.6:
        trial.reach(stage, trial.some_of(stage))
        trial.store_is_back()
        trial.a_moment()
    trial.reach(stage, stage.work.last)
    if trial.chance.random() < 0.3:
        trial.stop_until(stage, lambda: trial.damage(how))
    trial.finish(stage)
    trial.allow()
    if how in _NAMES_ALONE:
        trial.destroyed.clear()
    trial.recover()


def _hurt_after_owner(trial: Trial, how: Damage) -> None:
    """Its owner was killed, or has ended while the store was away."""
    is_killed = trial.chance.random() < 0.5
    options = {"ending": "wait", "durable": True} if is_killed else {}
    work = _work_with_files(trial, closing=0.05, **options)
    stage = trial.start(work)
    if trial.chance.random() < 0.5:
        trial.reach(stage, trial.some_of(stage))
    trial.store_goes("away", "silent")
    if is_killed:
        trial.reach(stage, trial.some_of(stage))
        stage.signal(signal.SIGKILL)
        trial.wait(stage)
    else:
        trial.finish(stage)
    for _ in range(trial.chance.choice([1, 1, 2])):
        trial.damage(how)
    if how is damage.forbid:
        trial.store_is_back()
        trial.later()
        trial.allow()
    trial.recover()


def _work_with_files(trial: Trial, **options: Any) -> Work:
    """Work that leaves spool files while the store is away: the process is durable, or its memory is small."""
    durable = options.pop("durable", trial.chance.random() < 0.5)
    spills = not durable or trial.chance.random() < 0.5
    return trial.work(durable=durable, spills=spills, **options)


# Disks that are full


def _full_disk(trial: Trial, *, is_away: bool) -> None:
    """No file may grow beyond a few kilobytes."""
    work = trial.work(file_bytes=trial.chance.randint(1_000, 60_000), **({} if is_away else {"spills": False}))
    if is_away:
        trial.store_goes("away", "silent")
    stage = trial.start(work)
    if trial.chance.random() < 0.5:
        trial.reach(stage, trial.some_of(stage))
        trial.store_is_back()
    trial.finish(stage)
    trial.recover()


def _full_spool(trial: Trial, *, is_away: bool) -> None:
    """The spool has its limit, and what is beyond it is dropped, waits or is refused."""
    when_full = trial.chance.choice(["drop_newest", "block", "raise"])
    limits = {"spool_bytes": trial.chance.randint(1_000, 60_000), "when_full": when_full}
    stage = trial.start(trial.work(spills=is_away or trial.chance.random() < 0.5, options=limits))
    if is_away:
        trial.reach(stage, trial.some_of(stage) // 4)
        trial.store_goes("away", "silent")
        trial.a_moment(1.0)
        if when_full == "block" or trial.chance.random() < 0.5:
            trial.store_is_back()
    trial.finish(stage)
    trial.recover()


# Ends and interrupts


def _killed(trial: Trial, *, durable: bool) -> None:
    stage = trial.start(trial.work(durable=durable, ending="wait", flushing=0.1))
    _kill_when_store_comes_and_goes(trial, stage, [signal.SIGKILL])
    trial.recover()


def _interrupted(trial: Trial, number: signal.Signals, times: int) -> None:
    stage = trial.start(trial.work(flushing=trial.chance.choice([0.0, 0.2]), holds=trial.chance.random() < 0.5))
    _kill_when_store_comes_and_goes(trial, stage, [number] * times)
    trial.recover()


def _interrupted_by_all(trial: Trial) -> None:
    stage = trial.start(trial.work(holds=trial.chance.random() < 0.5))
    numbers = trial.chance.sample([signal.SIGTERM, signal.SIGHUP, signal.SIGINT], 3)
    _kill_when_store_comes_and_goes(trial, stage, numbers)
    trial.recover()


def _kill_when_store_comes_and_goes(trial: Trial, stage: Stage, numbers: list[signal.Signals]) -> None:
    """Send signals at a random moment: while it emits, flushes, or closes."""
    moment = trial.chance.choice(["emit", "emit", "flush", "close"])
    if trial.chance.random() < 0.5:
        trial.store_goes()
        trial.reach(stage, trial.some_of(stage))
    else:
        trial.reach(stage, trial.some_of(stage))
        trial.store_goes()
    if moment == "flush":
        trial.reach_phase(stage, Phase.FLUSHING)
    elif moment == "close":
        trial.books.release()
        trial.reach_phase(stage, Phase.CLOSING)
    for number in numbers:
        trial.a_moment()
        stage.signal(number)
    trial.finish(stage)


def _alarmed(trial: Trial) -> None:
    """A handler raises an exception, every few milliseconds."""
    _with_store_that_comes_and_goes(trial, trial.work(way="interrupted", ending="close"))


def _in_coroutine(trial: Trial) -> None:
    """The tasks that wait for a flush are cancelled."""
    _with_store_that_comes_and_goes(trial, trial.work(way="in a coroutine", flushing=0.0))


def _in_a_handler(trial: Trial) -> None:
    """A handler emits, a thousand times a second."""
    _with_store_that_comes_and_goes(trial, trial.work(way="in a handler", ending="close"))


def _with_store_that_comes_and_goes(trial: Trial, work: Work) -> None:
    if trial.chance.random() < 0.5:
        trial.store_goes()
    stage = trial.start(work)
    trial.reach(stage, trial.some_of(stage))
    if trial.chance.random() < 0.5:
        trial.store_is_back()
    else:
        trial.store_goes()
    trial.finish(stage)
    trial.recover()


# Forks


def _forked(trial: Trial, *, with_hooks: bool, end_of_children: str) -> None:
    work = trial.work(
        trial.chance.randint(50, 400),
        way="forking",
        threads=1 if not with_hooks else trial.chance.choice([1, 3]),
        with_hooks=with_hooks,
        children=trial.chance.randint(1, 4),
        end_of_children=end_of_children,
    )
    if trial.chance.random() < 0.4:
        trial.store_goes()
    stage = trial.start(work)
    if trial.chance.random() < 0.3:
        trial.reach(stage, trial.some_of(stage))
        trial.store_goes()
    trial.finish(stage)
    trial.recover()


# The network, and others


def _forgotten(trial: Trial) -> None:
    """A balancer forgets the connection while the stage rests. What comes then is delivered, and not left in files."""
    work = trial.work(threads=1, durable=False, spills=False, rest=1.5, ending="close", closing=3.0, holds=False)
    work = replace(work, rest_after=trial.chance.randint(1, work.last - 1))
    stage = trial.start(work)
    trial.reach_phase(stage, Phase.RESTING)
    trial.a_moment(0.1)
    trial.proxy.forget()
    trial.wait(stage)
    if trial.files:
        trial.broken.append("what came after the rest was not delivered")
    trial.recover()


def _silent(trial: Trial) -> None:
    """Answers get lost for a while, or connections break again and again."""
    stage = trial.start(trial.work(closing=5.0))
    for _ in range(trial.chance.randint(1, 5)):
        trial.reach(stage, trial.some_of(stage))
        if trial.store_goes("silent", "cut") == "cut":
            trial.proxy.cut()
        trial.a_moment(0.2)
        trial.store_is_back()
    trial.finish(stage)
    trial.recover()


def _one_id(trial: Trial) -> None:
    """Two processes publish under one id, as after a snapshot was restored."""
    if trial.chance.random() < 0.5:
        trial.store_goes()
    events = trial.chance.randint(200, 2000)
    stages = []
    for place in range(2):
        first = 1 + 10_000 * place
        work = trial.work(events, id="the-same")
        stages.append(trial.start(replace(work, first=first, last=first + events - 1)))
    trial.reach(stages[0], trial.chance.randint(1, events))
    if trial.chance.random() < 0.7:
        trial.store_is_back()
    for stage in stages:
        trial.finish(stage)
    trial.recover()


def _flushed_while_owner_lives(trial: Trial) -> None:
    """`etlog spool flush` runs beside the owner of the files, again and again."""
    work = _work_with_files(trial)
    trial.store_goes("away", "silent")
    stage = trial.start(work)
    trial.reach(stage, trial.some_of(stage))
    trial.store_is_back()
    for _ in range(trial.chance.randint(1, 3)):
        trial.flush()
    trial.finish(stage)
    trial.recover()


def _killed_recovery(trial: Trial) -> None:
    """Who sends what another left is killed, a few times."""
    trial.store_goes("away", "silent")
    stage = trial.start(_work_with_files(trial, closing=0.05))
    trial.finish(stage)
    trial.store_is_back()
    for _ in range(trial.chance.randint(1, 3)):
        finder = trial.start_later(durable=True)
        trial.reach(finder, 1)
        trial.a_moment(0.3)
        finder.signal(signal.SIGKILL)
        trial.wait(finder)
    trial.recover()


def _two_recoveries(trial: Trial) -> None:
    """Two find the same files."""
    trial.store_goes("away", "silent")
    stage = trial.start(_work_with_files(trial, closing=0.05))
    trial.finish(stage)
    trial.store_is_back()
    finders = [trial.start_later() for _ in range(2)]
    trial.flush()
    for finder in finders:
        trial.finish(finder)
    trial.recover()


def _starved(trial: Trial, lack: Lack) -> None:
    """From a random moment on, or from the beginning, the process gets none of something."""
    work = trial.work(lack=lack, spills=False, threads=1)
    work = replace(work, starves_after=trial.chance.choice([1, trial.chance.randint(1, work.last)]))
    _with_store_that_comes_and_goes(trial, work)


def _hurt_while_sent(trial: Trial, how: Damage) -> None:
    """A file is damaged while another process sends it."""
    trial.store_goes("away", "silent")
    stage = trial.start(_work_with_files(trial, closing=0.05))
    trial.finish(stage)
    trial.store_is_back()
    trial.proxy.delay_replies(0.02)
    finder = trial.start_later()
    trial.reach(finder, 1)
    trial.a_moment(0.1)
    trial.stop_until(finder, lambda: trial.damage(how))
    trial.proxy.delay_replies(0.0)
    trial.finish(finder)
    trial.allow()
    trial.recover()


def _kinds() -> dict[str, Kind]:
    kinds = {}
    for what, how in damage.OF_FILES.items():
        kinds[f"spool file {what}, its owner lives"] = Kind(partial(_hurt_while_owner_lives, how=how))
    kinds["spool folder removed, its owner lives"] = Kind(partial(_hurt_while_owner_lives, how=damage.remove_folder))
    kinds["spool folder replaced by a file, its owner lives"] = Kind(
        partial(_hurt_while_owner_lives, how=damage.replace_folder), may_lose=True
    )
    for what, how in damage.OF_FILES.items():
        is_gone = how in {damage.remove, damage.replace, damage.truncate, damage.zero}
        kinds[f"spool file {what}, its owner is gone"] = Kind(partial(_hurt_after_owner, how=how), unkeepable=is_gone)
    for what, how in damage.OF_FILES.items():
        is_gone = how in {damage.remove, damage.replace, damage.truncate, damage.zero}
        kinds[f"spool file {what} while it is sent"] = Kind(partial(_hurt_while_sent, how=how), unkeepable=is_gone)
    for is_away, where in ((False, "there"), (True, "away")):
        kinds[f"disk full, store {where}"] = Kind(partial(_full_disk, is_away=is_away), may_lose=is_away)
        kinds[f"spool at its limit, store {where}"] = Kind(partial(_full_spool, is_away=is_away), may_lose=True)
    kinds["SIGKILL, durable"] = Kind(partial(_killed, durable=True))
    kinds["SIGKILL, not durable"] = Kind(partial(_killed, durable=False), may_lose=True, unkeepable=True)
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        kinds[number.name] = Kind(partial(_interrupted, number=number, times=1))
        kinds[f"{number.name} three times"] = Kind(partial(_interrupted, number=number, times=3))
    kinds["SIGTERM, SIGHUP and SIGINT in turns"] = Kind(_interrupted_by_all)
    kinds["exceptions from a signal handler"] = Kind(_alarmed)
    kinds["emit in a signal handler"] = Kind(_in_a_handler)
    kinds["flushes of coroutines given up"] = Kind(_in_coroutine)
    kinds["no descriptors"] = Kind(partial(_starved, lack="descriptors"))
    kinds["no threads"] = Kind(partial(_starved, lack="threads"))
    for with_hooks, how_forked in ((False, "without hooks"), (True, "with hooks")):
        for end in ("sys.exit", "os._exit", "SIGTERM"):
            run = partial(_forked, with_hooks=with_hooks, end_of_children=end)
            kinds[f"fork {how_forked}, {end}"] = Kind(run)
    kinds["connection forgotten at rest"] = Kind(_forgotten)
    kinds["answers lost, connections cut"] = Kind(_silent)
    kinds["two processes under one id"] = Kind(_one_id)
    kinds["spool flush while the owner lives"] = Kind(_flushed_while_owner_lives)
    kinds["spool flush killed"] = Kind(_killed_recovery)
    kinds["two find the same files"] = Kind(_two_recoveries)
    return kinds


#: All kinds, by their names in the table.
KINDS = _kinds()
