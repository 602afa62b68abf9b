"""Tasks for Celery; `python -m hosts.programs.celery_tasks TASK TIMES` sends some."""

import os
import sys

from celery import Celery
from hosts import emitting

app = Celery("hosts", broker=os.environ["BROKER"])


@app.task(name="emit")  # type: ignore[untyped-decorator]
def emit() -> None:
    """Emit an event."""
    emitting.emit(1)


@app.task(name="emit_on")  # type: ignore[untyped-decorator]
def emit_on() -> None:
    """Emit until the process is ended."""
    emitting.emit_on()


if __name__ == "__main__":
    for _ in range(int(sys.argv[2])):
        app.send_task(sys.argv[1])
