"""Many short trials, each of one fault: `python -m chaos.trials --seconds 600 --seed 7`. Prints a table of what came of
them; exit 1 when a promise was not kept, with the command that repeats the trial."""

# ruff: noqa: T201 - it prints what it found
import argparse
import logging
import random
import secrets
import sys
import tempfile
import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import count
from pathlib import Path

from chaos import rights
from chaos.kinds import KINDS
from chaos.trial import SETTLE, Trial
from chaos.verdict import Outcome
from etlog_producer.spool import recovery
from support.servers import Server

#: Trials that run at once.
WORKERS = 2


def choices(seed: int, only: str) -> Iterator[tuple[int, str]]:
    """Seeds and kinds of trials, without end: each kind whose name contains `only`, in turns, in an order that `seed`
    gives. With the seed of a trial and its kind alone, that trial comes first."""
    kinds = [only] if only in KINDS else [name for name in KINDS if only in name]
    order = random.Random(seed).sample(kinds, len(kinds))
    for place in count():
        yield seed + place, order[place % len(order)]


def try_out(store: Server, folder: Path, seed: int, kind: str) -> Outcome:
    """Run one trial."""
    what = KINDS[kind]
    trial = Trial(store, folder, random.Random(f"{seed} {kind}"))
    try:
        what.run(trial)
        return trial.judge(may_lose=what.may_lose, unkeepable=what.unkeepable)
    except Exception:  # a trial that cannot be judged is not one that was survived
        return Outcome(broken=(traceback.format_exc(),))
    finally:
        trial.close()


def table(tried: "Counter[str]", outcomes: dict[str, Outcome]) -> Iterator[str]:
    """A line for each kind of fault."""
    width = max(map(len, outcomes), default=0)
    columns = ("tried", "events", "lost", "doubled", "unseen")
    yield f"{'kind of fault':{width}}" + "".join(f"{column:>9}" for column in columns)
    for kind in [kind for kind in KINDS if kind in outcomes]:
        outcome = outcomes[kind]
        numbers = (tried[kind], outcome.emitted, outcome.lost, outcome.doubled, outcome.unseen)
        yield f"{kind:{width}}" + "".join(f"{number:>9}" for number in numbers)
    total = sum(outcomes.values(), Outcome())
    numbers = (tried.total(), total.emitted, total.lost, total.doubled, total.unseen)
    yield f"{'in all':{width}}" + "".join(f"{number:>9}" for number in numbers)


def main() -> int:
    """Try, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000))
    parser.add_argument("--only", default="", help="part of the names of the kinds to try")
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="etlog-trials-"))
    print(f"{arguments.seconds:.0f} s of trials with the seed {arguments.seed}; what is left of them is in {folder}")
    logging.basicConfig(filename=folder / "log")
    rights.give_up()
    recovery.SETTLE = SETTLE
    tried: Counter[str] = Counter()
    outcomes: dict[str, Outcome] = defaultdict(Outcome)
    is_broken = False
    until = time.monotonic() + arguments.seconds
    store = Server()
    try:
        with ThreadPoolExecutor(WORKERS) as pool:
            running: dict[Future[Outcome], tuple[int, str]] = {}
            chosen = choices(arguments.seed, arguments.only)
            while running or time.monotonic() < until:
                while len(running) < WORKERS and time.monotonic() < until:
                    seed, kind = next(chosen)
                    running[pool.submit(try_out, store, folder / f"{seed}", seed, kind)] = seed, kind
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for trial in done:
                    seed, kind = running.pop(trial)
                    outcome = trial.result()
                    tried[kind] += 1
                    outcomes[kind] += outcome
                    for sentence in outcome.broken:
                        is_broken = True
                        print(
                            f'BROKEN: {sentence.rstrip()}; make trials SECONDS=1 SEED={seed} ONLY="{kind}"', flush=True
                        )
    finally:
        store.close()
    print(*table(tried, outcomes), sep="\n")
    if not is_broken:
        print("Every promise was kept.")
    return 1 if is_broken else 0


if __name__ == "__main__":
    sys.exit(main())
