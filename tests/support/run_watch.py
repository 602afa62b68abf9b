"""`etlog watch` that is in more of a hurry than people are: `python run_watch.py CONSTANTS`, a JSON object of seconds.

`GROUPED` is for how long problems are collected for a message, `HELD` for how long a watcher that died holds its place,
`RETRY` how long it waits after an attempt that failed, `TURN` how often it looks.
"""

import json
import sys
from datetime import timedelta

from etlog.__main__ import run
from etlog_watch import incident_store, incidents, teller, watch


def main() -> int:
    """Watch until SIGTERM."""
    constants = json.loads(sys.argv[1])
    incidents.GROUPED = timedelta(seconds=constants["GROUPED"])
    teller.FIRST_RETRY = timedelta(seconds=constants["RETRY"])
    watch.TURN = constants["TURN"]
    incident_store.HELD = constants["HELD"]
    return run(["watch"])


if __name__ == "__main__":
    sys.exit(main())
