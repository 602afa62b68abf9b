"""Run the benchmarks: `python -m benchmarks [--quick] [row ...]`; `make bench` installs what they need before."""

import argparse
import logging
import signal
import sys
import time
from pathlib import Path

from benchmarks import answer, apply, growth, idle, latency, ledger, live, producers, publish, results, table
from benchmarks.figures import Row
from benchmarks.scale import FULL, QUICK

PARTS = {
    "publish": publish.rows,
    "apply": apply.rows,
    "answer": answer.rows,
    "latency": latency.rows,
    "live": live.rows,
    "growth": growth.rows,
    "producers": producers.rows,
    "ledger": ledger.rows,
    "idle": idle.rows,
}

RESULTS = Path(__file__).parent / "results.md"


def main() -> int:
    """Measure, print, and write the results down if everything was measured in full."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="small and once: to see that everything works")
    parser.add_argument("parts", nargs="*", metavar="part", help=f"of {', '.join(PARTS)}; all if none is named")
    arguments = parser.parse_args()
    unknown = set(arguments.parts) - PARTS.keys()
    if unknown:
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    logging.disable()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was started is ended, too
    scale, began, rows = QUICK if arguments.quick else FULL, time.monotonic(), list[Row]()
    for name in arguments.parts or PARTS:
        for row in PARTS[name](scale):
            rows.append(row)
            print(*table.lines(row), sep="\n", flush=True)
    seconds = time.monotonic() - began
    print(f"{seconds:.0f} s")
    if not arguments.parts and not arguments.quick:
        RESULTS.write_text(results.page(rows, scale, seconds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
