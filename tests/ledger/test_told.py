"""Who was told of a problem: by the incident with which it shares a stage of a set, of all that watchers keep."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from etlog_ledger.told import Told, incidents_of
from etlog_ledger.verdict import Problem, ToldShown
from etlog_watch.faults import Fault
from etlog_watch.incidents import Incident
from etlog_watch.incidents import Told as ToldTarget

NOON = datetime(2026, 11, 18, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def spelled(moment: datetime) -> str:
    """As everywhere."""
    return moment.isoformat().replace("+00:00", "Z")


def fault(first: int = 0, last: int = 1, **more: Any) -> Fault:
    """A fault of the hours from `first` to `last`."""
    of = {"state": "failed", "text": "", "since": "", "category": "asset", "every": "1h", "stages": ("Saved",)}
    return Fault(**{**of, "from_": spelled(NOON + first * HOUR), "to": spelled(NOON + last * HOUR), **more})


def problem(first: int = 0, last: int = 1, **more: Any) -> Problem:
    """A problem of the same hours."""
    of = {"id": "p", "category": "asset", "every": "1h", "stages": ["Saved"], "state": "failed", "sets": 1}
    span = {"from_": spelled(NOON + first * HOUR), "to": spelled(NOON + last * HOUR)}
    unknown = {"since": "", "text": "", "last_done": None, "usual_delay": None, "mark": None}
    return Problem(**{**of, **span, **unknown, **more})


def target(first: float = 1, at: float | None = None) -> ToldTarget:
    """A target that was told so many minutes after noon, at first and last."""
    minutes = [NOON + timedelta(minutes=minute) for minute in (first, first if at is None else at)]
    return ToldTarget(ids=("i",), first=minutes[0], at=minutes[1], states=("failed",))


def incident(*faults: Fault, **more: Any) -> Incident:
    """An incident, of which one target was told."""
    return Incident(**{"id": "i", "opened": NOON, "changed": NOON, "faults": faults, "told": {"a": target()}, **more})


def kept(*incidents: Incident) -> Told:
    """What is known when a watcher keeps these."""
    return Told(incidents_of({b"incident:%d" % n: msgspec.json.encode(one) for n, one in enumerate(incidents)}))


def shown(first: int, last: int, targets: int = 1) -> ToldShown:
    """What is shown of targets that were told so many minutes after noon."""
    return ToldShown(f"2026-11-18T12:{first:02}:00Z", f"2026-11-18T12:{last:02}:00Z", targets)


def test_a_problem_was_told_when_its_incident_was() -> None:
    """The first of all targets at first, and any of them last. Fractions of a second do not matter."""
    told = {"a": target(2, 9), "b": target(1.001, 4)}

    assert kept(incident(fault(), told=told)).of(problem()) == shown(1, 9, 2)


#: Problems that are not of an incident of the hours 0 to 2 of `asset Loaded, Saved`.
OTHERS = [
    problem(2, 3),
    problem(-2, 0),
    problem(category="allocation"),
    problem(every="1d"),
    problem(length="1d"),
    problem(stages=["Totaled", "Reconciled"]),
]


def test_a_problem_is_of_the_incident_that_shares_a_stage_of_a_set_with_it() -> None:
    """As a watcher has it, whatever state it is in."""
    told = kept(incident(fault(0, 2, stages=("Loaded", "Saved"))))

    assert [told.of(other) for other in OTHERS] == [None] * len(OTHERS)
    assert told.of(problem(1, 5, state="stopped", stages=["Saved", "Totaled"])) == shown(1, 1)
    assert told.of(problem(-5, 9)) == shown(1, 1)


def test_where_a_problem_joins_incidents_all_of_their_targets_were_told() -> None:
    """Each once: the watcher makes one of them a moment later."""
    first = incident(fault(0, 1), told={"a": target(1), "b": target(3)})
    second = incident(fault(4, 5), fault(7, 8), told={"a": target(7)})

    assert kept(first, second).of(problem(0, 8)) == shown(1, 7, 2)


def test_what_no_one_was_told_of_is_not_told() -> None:
    """Nor what is wrong again after people were told that it is over, nor what is wrong with the log itself."""
    log = incident(Fault(state="lost", text="", since=""), Fault(state="failed", text="", since="", category="asset"))

    assert kept(incident(fault(), told={}), incident(fault(), is_closed=True), log).of(problem()) is None
    assert kept().of(problem()) is None


#: What is no incident, or none that can be understood, whoever wrote it.
MALFORMED = [
    b"",
    b"\xff",
    b"[" * 5000,
    b"{}",
    b'{"faults":1,"told":{}}',
    b'{"faults":[{"from":1}],"told":{}}',
    b'{"faults":[{"category":"asset"}],"told":{"a":{"first":"yesterday","at":"2026-11-18T12:00:00Z"}}}',
    b'{"faults":[{"category":"asset"}],"told":{"a":{"first":"2026-11-18T12:00:00","at":"2026-11-18T12:00:00"}}}',
    b'{"faults":[],"told":{"a":{"first":"0001-01-01T00:00:00+14:00","at":"0001-01-01T00:00:00+14:00"}}}',
    b'{"faults":[],"told":{"a":{"first":null}}}',
]


@pytest.mark.parametrize("text", MALFORMED, ids=range(len(MALFORMED)))
def test_what_is_malformed_is_passed_over(text: bytes) -> None:
    """What stands beside it counts."""
    good = msgspec.json.encode(incident(fault()))

    found = incidents_of({b"incident:x": text, b"incident:y": good, b"message:z": good, b"revision": b"7"})

    assert len(found) == 1
    assert Told(found).of(problem()) == shown(1, 1)


def test_a_part_of_a_second_comes_after_its_beginning() -> None:
    """A window that ends with a second does not overlap one that begins within the next."""
    told = kept(incident(fault(from_="2026-11-18T12:00:00Z", to="2026-11-18T12:00:01Z")))

    assert told.of(problem(from_="2026-11-18T12:00:01.5Z", to="2026-11-18T12:00:02Z")) is None
    assert told.of(problem(from_="2026-11-18T12:00:00.5Z", to="2026-11-18T12:00:02Z")) == shown(1, 1)


@pytest.mark.parametrize("seed", range(20))
def test_it_is_what_a_watcher_means(seed: int) -> None:
    """Of any faults and problems, by comparing each with each."""
    chance = random.Random(seed)

    def drawn() -> dict[str, Any]:
        first = chance.randrange(30)
        stages = chance.sample(("Loaded", "Saved", "Totaled"), chance.randint(1, 3))
        category = chance.choice(("asset", "allocation"))
        return {"first": first, "last": first + chance.randint(1, 9), "stages": stages, "category": category}

    def some() -> list[Fault]:
        found = [drawn() for _ in range(chance.randint(1, 3))]
        return [fault(**{**one, "stages": tuple(one["stages"])}) for one in found]

    incidents = [incident(*some(), told={str(n): target(n)}) for n in range(8)]
    told = kept(*incidents)
    for one in [drawn() for _ in range(40)]:
        meant = fault(**{**one, "stages": tuple(one["stages"])})
        of = [n for n, each in enumerate(incidents) if any(meant.meets(other) for other in each.faults)]
        assert told.of(problem(**one)) == (shown(min(of), max(of), len(of)) if of else None)
