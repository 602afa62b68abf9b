"""A long run: `python -m chaos --seconds 600 --seed 7`. Prints a table of what was survived; exit 1 when a promise was
not kept."""

# ruff: noqa: T201 - it prints what it found
import argparse
import secrets
import sys
import tempfile
from pathlib import Path

from chaos.driver import run


def main() -> int:
    """Run, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1_000_000))
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="etlog-chaos-"))
    print(f"{arguments.seconds:.0f} s of chaos with the seed {arguments.seed}; what the processes say is in {folder}")
    outcome = run(arguments.seed, arguments.seconds, folder)
    print(f"\n{'fault':24}{'times':>8}")
    for fault, times in sorted(outcome.faults.items()):
        print(f"{fault:24}{times:>8}")
    print(f"{'in all':24}{outcome.faults.total():>8}\n")
    for name in ("restarts", "takeovers", "accepted", "applied", "duplicates", "lost", "sets"):
        print(f"{name:24}{getattr(outcome, name):>8}")
    print(f"{'settled in':24}{outcome.settled_in:>6.1f} s\n")
    for sentence in outcome.broken:
        print(f"BROKEN: {sentence}")
    if not outcome.broken:
        print("Every promise was kept.")
    return 1 if outcome.broken else 0


if __name__ == "__main__":
    sys.exit(main())
