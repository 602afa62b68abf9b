"""How often the verdict alarms for nothing, and how soon it tells of faults: `python -m benchmarks.verdict`.

The clock walks through days of pipelines with planted faults, in steps of a minute. Exit code 1 when a bound is broken.
"""

import argparse
import logging
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed

from benchmarks.verdict import report
from benchmarks.verdict.pipelines import PIPELINES, Pipeline
from benchmarks.verdict.report import Run
from benchmarks.verdict.story import tell
from benchmarks.verdict.walk import Walk

#: A few pipelines that are judged in less than a minute.
QUICK = {"hourly, long tail", "daily, long tail, Berlin", "office hours", "nightly batch"}


def run(name: str, days: int, seed: int, healthy: bool, every_minute: bool) -> Run:
    """One pipeline from its first day to its last, in a process of its own."""
    pipeline = next(each for each in PIPELINES if each.name == name)
    story = tell(pipeline, days, seed, () if healthy else None)
    began = time.process_time()
    outcome = Walk(story, every_minute=every_minute, seed=seed).run()
    outcome.seconds = time.process_time() - began
    return report.summed_up(story, outcome, seed)


def main() -> int:
    """Run all pipelines, print what was wrong of each as it ends, and a table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.verdict", description=__doc__)
    parser.add_argument("--days", type=int, default=90)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1], metavar="SEED")
    parser.add_argument("--healthy", action="store_true", help="plant no faults")
    parser.add_argument(
        "--every-minute", action="store_true", help="skip no minute, not even those that change nothing"
    )
    parser.add_argument("--quick", action="store_true", help="only a few pipelines, to see that all is well")
    parser.add_argument("pipelines", nargs="*", metavar="pipeline", help="a part of a name; all if none is given")
    arguments = parser.parse_args()
    wanted = arguments.pipelines or [""]
    chosen = [each for each in PIPELINES if any(part in each.name for part in wanted)]
    chosen = [each for each in chosen if each.name in QUICK or not arguments.quick]
    if not chosen:
        parser.error(f"no such pipeline; they are: {', '.join(each.name for each in PIPELINES)}")
    logging.disable()
    began = time.monotonic()
    runs = _run_all(chosen, arguments)
    print()
    print(*report.table(runs), sep="\n")
    print()
    broken = [sentence for each in runs for sentence in each.broken]
    print(*(f"BROKEN: {sentence}" for sentence in broken), sep="\n", end="\n" if broken else "")
    print(f"{len(broken)} bounds broken, {time.monotonic() - began:.0f} s")
    return 1 if broken else 0


def _run_all(chosen: Sequence[Pipeline], arguments: argparse.Namespace) -> list[Run]:
    jobs = [(pipeline, seed) for seed in arguments.seeds for pipeline in chosen]
    options = (arguments.healthy, arguments.every_minute)
    runs: dict[int, Run] = {}
    with ProcessPoolExecutor(min(os.cpu_count() or 1, len(jobs))) as pool:
        waiting = {
            pool.submit(run, pipeline.name, arguments.days, seed, *options): place
            for place, (pipeline, seed) in enumerate(jobs)
        }
        for number, future in enumerate(as_completed(waiting), 1):
            found = runs[waiting[future]] = future.result()
            print(f"[{number}/{len(jobs)}]", *report.lines(found), sep="\n    ", flush=True)
    return [runs[place] for place in sorted(runs)]


if __name__ == "__main__":
    sys.exit(main())
