"""Incidents: which faults are one, and what each target is told of them."""

import random
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count

from etlog_watch.faults import Fault
from etlog_watch.incidents import GROUPED, Incident, Notice, Policy, advanced, due, told

NOW = datetime(2026, 12, 1, 3, tzinfo=UTC)
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)


def fault(
    state: str = "stopped", first: int = 0, sets: int = 1, stages: Sequence[str] = ("Saved",), **more: object
) -> Fault:
    """A fault of so many hours from hour `first` of the day on."""
    start, end = (f"{NOW.replace(hour=0) + hour * HOUR:%FT%TZ}" for hour in (first, first + sets))
    values: dict[str, object] = {
        "state": state,
        "text": f"asset {', '.join(stages)} {state}",
        "since": end,
        "category": "asset",
        "every": "1h",
        "stages": tuple(stages),
        "from_": start,
        "to": end,
        "sets": sets,
    }
    return Fault(**values | more)  # type: ignore[arg-type]


LOST = Fault(state="lost", text="2 events are lost", since="2026-12-01T03:00:00Z", count=2)
EVERYTHING = Policy("all", lambda _: True)


class Night:
    """What happens to the incidents of a log, and what one target is told of them."""

    def __init__(self, policy: Policy = EVERYTHING) -> None:
        self.policy = policy
        self.now = NOW
        self.incidents: list[Incident] = []
        self._ids = count(1)

    def see(self, *faults: Fault, after: timedelta = 10 * SECOND, known: bool = True) -> list[tuple[str, str]]:
        """These are the faults `after` the last ones. Returns what is told: what happened, and to which incident."""
        self.now += after
        new_id = lambda: f"i{next(self._ids)}"  # noqa: E731
        self.incidents = advanced(self.incidents, faults, self.now, new_id, lambda _: known)
        notices = due(self.incidents, self.policy, self.now)
        by_incident = {notice.incident.id: notice for notice in notices}
        self.incidents = [
            told(incident, {self.policy.key: by_incident[incident.id]}, self.now)
            if incident.id in by_incident
            else incident
            for incident in self.incidents
        ]
        return [(notice.happened, name) for notice in notices for name in notice.ids]

    def stay(self, *faults: Fault, during: timedelta) -> list[tuple[str, str]]:
        """The same faults, looked at every ten seconds for so long."""
        found = []
        for _ in range(round(during / (10 * SECOND))):
            found += self.see(*faults)
        return found


def test_a_problem_is_told_when_it_opens_and_when_it_ends() -> None:
    """And not in between, however it grows."""
    night = Night()

    assert night.stay(fault(), during=MINUTE) == [("opened", "i1")]
    assert [night.see(fault(sets=sets), after=HOUR) for sets in range(2, 20)] == [[]] * 18
    assert night.stay(during=MINUTE) == [("resolved", "i1")]
    assert night.stay(during=MINUTE) == []
    assert night.incidents == []


def test_what_opens_together_is_told_at_once() -> None:
    """Half a minute after the first."""
    night = Night()
    some = [fault(first=hour) for hour in (0, 5, 10)]

    assert night.see(some[0]) == []
    assert night.see(*some[:2]) == []
    assert night.see(*some) == []
    assert night.see(*some) == [("opened", "i1"), ("opened", "i2"), ("opened", "i3")]


def test_what_is_gone_at_once_is_not_told() -> None:
    """A set that came after all."""
    night = Night()

    assert night.see(fault()) + night.stay(during=5 * MINUTE) == []
    assert night.incidents == []


def test_what_comes_back_at_once_did_not_end() -> None:
    """A verdict that wavers tells nothing."""
    night = Night()
    night.stay(fault(), during=MINUTE)

    for _ in range(20):
        assert night.see() + night.see() + night.see(fault()) == []


def test_a_stop_that_becomes_a_hole_changes() -> None:
    """It is the same incident."""
    night = Night()
    night.stay(fault("stopped", sets=3), during=MINUTE)

    assert night.stay(fault("missing", sets=3), during=HOUR) == [("changed", "i1")]


def test_faults_that_meet_in_one_are_the_older_incident() -> None:
    """Two holes that become one: a target that knows both is told of both when it ends."""
    night = Night()
    night.stay(fault("missing", 0), during=MINUTE)
    assert night.stay(fault("missing", 0), fault("missing", 2), during=MINUTE) == [("opened", "i2")]

    assert night.stay(fault("missing", 0, sets=3), during=MINUTE) == []
    assert [incident.id for incident in night.incidents] == ["i1"]
    assert night.stay(during=MINUTE) == [("resolved", "i1"), ("resolved", "i2")]


def test_a_fault_that_falls_into_two_is_one_incident() -> None:
    """A stop of two stages, of which one is repaired in part."""
    night = Night()
    night.stay(fault(sets=6, stages=("Loaded", "Saved")), during=MINUTE)

    found = night.stay(fault(sets=6, stages=("Saved",)), fault("missing", 3, 2, ("Loaded",)), during=MINUTE)

    assert found == [("changed", "i1")]
    assert len(night.incidents) == 1


def test_other_sets_are_other_incidents() -> None:
    """Other windows, stages, categories, cadences and lengths."""
    night = Night()
    faults = [
        fault(),
        fault(first=1),
        fault(stages=("Loaded",)),
        fault(category="allocation"),
        fault(every="1d"),
        fault(length="7d"),
        fault(from_=None, to=None, every=None, stages=()),
        LOST,
    ]

    night.see(*faults)

    assert len(night.incidents) == len(faults)


def test_windows_that_overlap_are_sets_of_their_own() -> None:
    """Seven days, every day: two holes, two days apart, share no set; one that grows by a day is the same."""
    night = Night()

    def week(day: int, sets: int = 1) -> Fault:
        start, end = (f"2026-11-{number:02d}T00:00:00Z" for number in (day, day + 6 + sets))
        return fault("missing", every="1d", length="7d", from_=start, to=end, sets=sets)

    assert night.stay(week(2), week(4), during=MINUTE) == [("opened", "i1"), ("opened", "i2")]
    assert night.stay(week(2), week(4, 2), during=MINUTE) == []
    assert night.stay(week(4, 2), during=MINUTE) == [("resolved", "i1")]


def test_dangers_and_errors_of_other_kinds_are_told_one_by_one() -> None:
    """Each has its end."""
    night = Night()
    evict, aof = (Fault(state="store", text=text, about=text, since=LOST.since) for text in ("may evict", "no file"))
    errors = [
        Fault(state="failed", text=kind, about=kind, since=LOST.since, category="asset")
        for kind in ("AssetSetComputeError", "AssetSetReconcileError")
    ]

    assert night.stay(evict, errors[0], during=MINUTE) == [("opened", "i1"), ("opened", "i2")]
    assert night.stay(evict, aof, *errors, during=MINUTE) == [("opened", "i3"), ("opened", "i4")]
    assert night.stay(aof, errors[1], during=MINUTE) == [("resolved", "i1"), ("resolved", "i2")]


def test_a_mark_on_a_part_of_an_incident_wakes_no_one() -> None:
    """Neither when it is made, nor when it ends."""
    night = Night()
    stop, failure = fault("stopped", 0, 6), fault("failed", 0, 6, silenced=False)
    night.stay(stop, failure, during=MINUTE)

    assert night.stay(stop, fault("failed", 0, 6, silenced=True), during=MINUTE) == []
    assert night.stay(stop, failure, during=MINUTE) == []


def test_an_incident_whose_sets_left_the_ledger_expires() -> None:
    """Nobody repaired it."""
    night = Night()
    night.stay(fault(), during=MINUTE)

    assert night.see(known=False) + night.stay(during=MINUTE) == [("expired", "i1")]


def test_a_mark_silences_an_incident_until_it_ends() -> None:
    """Who was told that it opened is told that it is over."""
    night = Night(Policy("all", lambda _: True, remind=HOUR))
    known = fault(silenced=True)
    assert night.stay(known, during=MINUTE) == []
    assert night.stay(fault(), during=MINUTE) == [("opened", "i1")]

    assert night.see(known, after=10 * HOUR) == []
    assert night.stay(during=MINUTE) == [("resolved", "i1")]


def test_a_target_is_told_what_it_wants() -> None:
    """By state: an incident is opened for it when it becomes what it wants."""
    night = Night(Policy("missing", lambda fault: fault.state == "missing"))

    assert night.stay(fault("stopped"), LOST, during=MINUTE) == []
    assert night.stay(fault("missing"), LOST, during=MINUTE) == [("opened", "i1")]
    assert night.stay(LOST, during=MINUTE) == [("resolved", "i1")]


def test_a_target_is_reminded_when_it_asks_for_it() -> None:
    """Every day, until it ends."""
    night = Night(Policy("all", lambda _: True, remind=24 * HOUR))
    night.stay(fault(), during=MINUTE)

    assert [night.see(fault(), after=HOUR) for _ in range(50)].count([("reminder", "i1")]) == 2


def test_nothing_is_told_in_quiet_hours() -> None:
    """What opened and ended in them never is; the rest is told at their end, at once."""
    night = Night(Policy("all", lambda _: True, is_quiet=lambda now: now.hour < 7))

    assert night.stay(fault(), fault(first=5), during=MINUTE) == []
    assert night.stay(fault(), during=HOUR) == []
    night.now = NOW.replace(hour=7)
    assert night.see(fault()) == [("opened", "i1")]


def test_a_clock_that_is_set_back_holds_nothing_back() -> None:
    """By hours: no one knows how long something has waited."""
    night = Night(Policy("all", lambda _: True, remind=24 * HOUR))
    night.see(fault())

    night.now -= 5 * HOUR
    assert night.see(fault()) == [("opened", "i1")]
    night.now -= 5 * HOUR
    assert night.see() == []
    assert night.stay(during=MINUTE) == [("resolved", "i1")]
    assert night.incidents == []


def test_more_lost_events_are_told_once_an_hour() -> None:
    """There is one incident until they are acknowledged."""
    night = Night()
    more = Fault(state="lost", text="3 events are lost", since=LOST.since, count=3)
    assert night.stay(LOST, during=MINUTE) == [("opened", "i1")]

    assert night.stay(more, during=30 * MINUTE) == []
    assert night.see(more, after=HOUR) == [("changed", "i1")]
    assert night.see(more, after=HOUR) == []
    assert night.stay(during=MINUTE) == [("resolved", "i1")]


def test_a_thousand_faults_are_told_at_once() -> None:
    """And stay the same incidents, in a moment."""
    night = Night()
    some = [fault("missing", 2 * number) for number in range(1000)]

    night.see(*some)
    opened = night.stay(*some, during=MINUTE)

    assert [happened for happened, _ in opened] == ["opened"] * 1000
    assert night.stay(*some, during=MINUTE) == []


def test_whatever_happens_what_is_told_adds_up() -> None:
    """Of each incident: opened, then whatever, then resolved or expired once, and nothing behind."""
    for seed in range(200):
        chance = random.Random(seed)
        night = Night(Policy("all", lambda _: True, remind=chance.choice([None, 5 * MINUTE])))
        story: dict[str, list[str]] = {}

        def note(found: Iterable[tuple[str, str]]) -> None:
            for happened, name in found:
                story.setdefault(name, []).append(happened)  # noqa: B023

        for _ in range(60):
            faults = [
                fault(
                    chance.choice(["stopped", "missing", "failed"]), chance.randrange(4), chance.randint(1, 3),
                    chance.sample(["Loaded", "Saved", "Totaled"], chance.randint(1, 3)),
                )
                for _ in range(chance.randrange(4))
            ]  # fmt: skip
            for _ in range(chance.randint(1, 6)):
                note(night.see(*faults, known=chance.random() < 0.8))
        note(night.stay(during=5 * MINUTE))
        assert night.incidents == [], seed
        for name, happened in story.items():
            assert happened[0] == "opened", (seed, name, happened)
            assert set(happened[1:-1]) <= {"changed", "reminder"}, (seed, name, happened)
            assert happened[-1] in {"resolved", "expired"}, (seed, name, happened)


def test_notices_of_one_incident_say_what_it_is() -> None:
    """The faults that the target wants."""
    incident = Incident(id="i", opened=NOW, changed=NOW, faults=(fault("missing"), fault("failed", 1)))
    policy = Policy("failed", lambda fault: fault.state == "failed")

    [notice] = due([incident], policy, NOW + GROUPED)

    assert notice == Notice("opened", ("i",), incident, [incident.faults[1]])
