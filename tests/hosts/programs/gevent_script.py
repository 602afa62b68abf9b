"""A script whose greenlets emit forty events: `python -m hosts.programs.gevent_script END`."""

from gevent import monkey

monkey.patch_all()

import os  # noqa: E402
import signal  # noqa: E402
import sys  # noqa: E402

import gevent  # noqa: E402
from hosts.emitting import emit, emit_on  # noqa: E402


def main(end: str) -> None:
    """Emit, and end as it is called."""
    if end == "emits on":
        emit_on()
    gevent.joinall([gevent.spawn(emit, 20) for _ in range(2)])
    if end == "exits at once":
        os._exit(3)
    if end == "is terminated":
        os.kill(os.getpid(), signal.SIGTERM)
        gevent.sleep(60)


if __name__ == "__main__":
    main(sys.argv[1])
