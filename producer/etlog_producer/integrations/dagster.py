"""A pair of Dagster hooks that turn the success and the failure of ops into events.

@job(hooks={*etlog_hooks(producer, mapping)})
def nightly(): ...
"""

from collections.abc import Callable
from typing import Any

from etlog_producer.integrations.outcome import Outcome, report
from etlog_producer.producer import Producer


def etlog_hooks(producer: Producer, mapping: Callable[[Any, bool], Outcome | None]) -> tuple[Any, Any]:
    """A success hook and a failure hook.

    `mapping(context, succeeded)` gets Dagster's `HookContext` and returns what happened, None for an op that does not
    belong in the log. An error of the mapping is logged and fails nothing.
    """
    import dagster  # type: ignore[import-not-found]  # noqa: PLC0415

    @dagster.success_hook(name="etlog_success")  # type: ignore[untyped-decorator]
    def succeeded(context: Any) -> None:
        report(producer, lambda: mapping(context, True))

    @dagster.failure_hook(name="etlog_failure")  # type: ignore[untyped-decorator]
    def failed(context: Any) -> None:
        report(producer, lambda: mapping(context, False))

    return succeeded, failed
