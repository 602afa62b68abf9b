"""Sends RQ jobs, each of which emits two events: `python -m hosts.programs.rq_jobs TIMES`."""

import os
import sys

from redis import Redis
from rq import Queue

if __name__ == "__main__":
    queue = Queue(connection=Redis.from_url(os.environ["BROKER"]))
    for _ in range(int(sys.argv[1])):
        queue.enqueue("hosts.emitting.emit", 2)
