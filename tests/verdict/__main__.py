"""Judge the labelled logs and show what differs: `PYTHONPATH=tests:. python -m verdict [part of a name ...]`.

`--seeds 1 2 3` judges those that are made, of these seeds, instead.
"""

# ruff: noqa: T201 - it prints what it found
import argparse
import sys
import time
from pathlib import Path

from support.labelled import Answer, labelled, score
from verdict import pipelines


def main() -> int:
    """Judge, and print a line for each log."""
    parser = argparse.ArgumentParser(prog="python -m verdict", description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", metavar="SEED")
    parser.add_argument("wanted", nargs="*", metavar="name", help="a part of the name of a log")
    arguments = parser.parse_args()
    wanted: list[str] = arguments.wanted
    logs = labelled(Path(__file__).with_name("labelled.jsonl.gz"))
    if arguments.seeds:
        logs = [log for seed in arguments.seeds for log in pipelines.logs(seed)]
    logs = [log for log in logs if not wanted or any(part in log.name for part in wanted)]
    right = 0
    for log in logs:
        began = time.perf_counter()
        verdict = log.judged()
        took = time.perf_counter() - began
        found = score(log, Answer.of(verdict))
        right += not found
        print("BAD" if found else "ok ", f"{log}: {len(log.wrong)} wrong; {found}; {1000 * took:.0f} ms")
        if found and arguments.seeds:
            print(f"        {log.why}; now {log.now:%F %H:%M}Z")
        for line in found.lines(12 if wanted else 4) if found or wanted else ():
            print("       ", line)
    print(f"{right} of {len(logs)} logs judged right")
    return right < len(logs)


if __name__ == "__main__":
    sys.exit(main())
