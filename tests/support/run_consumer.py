"""A consumer as a process, to be stopped by SIGTERM or killed: `python run_consumer.py URL LOG`.

Unlike `etlog consume` it takes a name: a test then knows which of two holds the lease, and one that was killed comes
back under its old name without waiting for its own lease.
"""

import argparse
import os
import signal
import threading

from etlog_consumer import Consumer, Target
from etlog_events.keys import Keys
from etlog_events.kinds import KUBECOST_KINDS
from etlog_events.store import connect


def main() -> None:
    """Consume until SIGTERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("log")
    parser.add_argument("--cap", type=int, default=1000)
    parser.add_argument("--retain", type=int, default=100_000)
    parser.add_argument("--name")
    arguments = parser.parse_args()

    target = Target(Keys(arguments.log), KUBECOST_KINDS, arguments.cap)
    client = connect(arguments.url, part="consumer")
    consumer = Consumer(client, target, retain=arguments.retain, name=arguments.name)
    stop = threading.Event()

    def consume() -> None:
        try:
            consumer.run(stop)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)  # a consumer that failed ends the process, too

    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    thread = threading.Thread(target=consume)
    thread.start()
    signal.sigwait({signal.SIGTERM})
    stop.set()
    thread.join()


if __name__ == "__main__":
    main()
