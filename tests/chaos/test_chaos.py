"""Everything fails at random, and the log is complete."""

from pathlib import Path

from chaos.driver import run
from chaos.faults import POSSIBLE, schedule

#: Seconds of a run; longer ones by `make chaos`.
SECONDS = 15.0
SEED = 20220603


def test_nothing_accepted_is_lost_and_nothing_is_counted_twice(tmp_path: Path) -> None:
    """Four emitters, three consumers, two replicas and a store are killed, stopped and cut off."""
    outcome = run(SEED, SECONDS, tmp_path)

    assert outcome.broken == []
    assert outcome.lost == 0
    assert outcome.faults.total() > SECONDS
    assert outcome.applied >= outcome.accepted > 100
    assert outcome.sets > 50


def test_a_seed_gives_the_same_faults_again() -> None:
    """And sooner or later everything happens to everyone."""
    processes = ["emitter-1", "consumer-1", "consumer-2", "replica-1", "store"]

    faults = schedule(1, 600, processes)

    assert faults == schedule(1, 600, processes)
    assert faults != schedule(2, 600, processes)
    happened = {(fault.target.partition("-")[0], fault.what) for fault in faults}
    assert happened == {(kind, what) for kind, possible in POSSIBLE.items() for what in possible}
