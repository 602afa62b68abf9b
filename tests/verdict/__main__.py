"""Judge the labelled logs and show what differs: `PYTHONPATH=tests python -m verdict [part of a name ...]`."""

# ruff: noqa: T201 - it prints what it found
import sys
import time
from pathlib import Path

from support.labelled import Answer, labelled, score


def main(wanted: list[str]) -> int:
    """Judge, and print a line for each log."""
    logs = labelled(Path(__file__).with_name("labelled.jsonl.gz"))
    logs = [log for log in logs if not wanted or any(part in log.name for part in wanted)]
    right = 0
    for log in logs:
        began = time.perf_counter()
        verdict = log.judged()
        took = time.perf_counter() - began
        found = score(log, Answer.of(verdict))
        right += not found
        print("BAD" if found else "ok ", f"{log}: {len(log.wrong)} wrong; {found}; {1000 * took:.0f} ms")
        for line in found.lines(12 if wanted else 4) if found or wanted else ():
            print("       ", line)
    print(f"{right} of {len(logs)} logs judged right")
    return right < len(logs)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
