"""What may go wrong in a run, and when: worked out from a seed before the run begins."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

#: Seconds from one fault to the next.
PAUSE = (0.2, 1.2)


@dataclass(frozen=True, slots=True)
class Fault:
    """At `at` seconds, `what` happens to `target` for `seconds`."""

    at: float
    target: str
    what: str
    seconds: float


#: What may happen to each kind of process, and for at most how many seconds.
POSSIBLE: dict[str, dict[str, float]] = {
    "emitter": {"kill": 0, "terminate": 0, "stop": 5, "cut": 0, "swallow": 3, "delay": 2},
    "consumer": {"kill": 0, "terminate": 0, "stop": 7, "cut": 0, "swallow": 7, "delay": 2},
    "replica": {"kill": 0, "terminate": 0, "stop": 3, "cut": 0, "swallow": 3, "delay": 2},
    "store": {"kill": 2, "stop": 3, "lease": 0, "clients": 0, "functions": 0},
}

#: How often each kind of process is chosen.
WEIGHTS = {"emitter": 4, "consumer": 6, "replica": 2, "store": 2}


def schedule(seed: int, seconds: float, processes: Sequence[str]) -> list[Fault]:
    """The faults of a run, by time. `processes` are names such as `consumer-2`; the same seed gives the same faults."""
    chance = random.Random(seed)
    faults = []
    at = 2.0
    while at < seconds:
        kind = chance.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        target = chance.choice([process for process in processes if process.startswith(kind)])
        what = chance.choice(list(POSSIBLE[kind]))
        longest = POSSIBLE[kind][what]
        faults.append(Fault(round(at, 3), target, what, round(chance.uniform(min(0.2, longest), longest), 3)))
        at += chance.uniform(*PAUSE)
    return faults
