"""An Airflow listener: the success and the failure of task instances become events.

    # in your plugin
    class EtlogPlugin(AirflowPlugin):
        name = "etlog"
        listeners = [EtlogListener(producer, mapping)]

A task's process ends soon after its last event: the listener waits a moment for its delivery, then it is in the spool.
"""

from collections.abc import Callable
from typing import Any

from etlog_producer.integrations.outcome import Outcome, report
from etlog_producer.producer import Producer

#: Seconds that the end of a task may wait for the store.
FLUSH_TIMEOUT = 2.0

#: `mapping(task_instance, error)`: the event of a task instance, None if it does not belong in the log. `error` is
#: None after a success.
Mapping = Callable[[Any, object], Outcome | None]


def EtlogListener(producer: Producer, mapping: Mapping) -> object:
    """An object to put into a plugin's `listeners`."""
    from airflow.listeners import hookimpl  # type: ignore[import-not-found]  # noqa: PLC0415

    class Listener:
        """Calls `mapping`; its own errors are logged and fail no task."""

        @hookimpl  # type: ignore[untyped-decorator]
        def on_task_instance_success(self, previous_state: Any, task_instance: Any) -> None:
            report(producer, lambda: mapping(task_instance, None), wait=FLUSH_TIMEOUT)

        @hookimpl  # type: ignore[untyped-decorator]
        def on_task_instance_failed(self, previous_state: Any, task_instance: Any, error: Any) -> None:
            report(producer, lambda: mapping(task_instance, error or "failed"), wait=FLUSH_TIMEOUT)

    return Listener()
