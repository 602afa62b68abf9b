"""The ways in for code that a host calls. Hosts that are not installed are stood in for by their documented interface:
Airflow's `airflow.listeners.hookimpl` marks methods, Dagster's hooks wrap a function of one `HookContext`.
"""

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import redis
from etlog_events.keys import Keys
from etlog_events.kinds import ACTIONS, Action
from etlog_producer import Producer
from etlog_producer.integrations.airflow import EtlogListener
from etlog_producer.integrations.dagster import etlog_hooks
from etlog_producer.integrations.decorator import stage
from etlog_producer.integrations.outcome import Outcome
from support.producers import published
from support.samples import WINDOW
from support.servers import PATIENCE

SPAN = {"start": WINDOW[0], "end": WINDOW[1]}


def test_a_decorated_function_tells_of_its_success(producer: Producer, client: redis.Redis, keys: Keys) -> None:
    """With the size of what it returned, the window that its arguments name, and how long it took."""

    @stage(producer, "AssetSet", window=lambda start, end: (start, end), done="Loaded")
    def load(start: str, end: str) -> list[str]:
        """Load the set."""
        return ["a", "b"]

    assert load(*WINDOW) == ["a", "b"]
    assert load.__doc__ == "Load the set."
    [(kind, metadata)] = published(producer, client, keys)
    assert (kind, metadata["size"], metadata["window"]) == ("AssetSetLoaded", 2, SPAN)
    assert 0 <= metadata["seconds"] < PATIENCE


@pytest.mark.parametrize(
    "action", [action for action in ACTIONS if not action.is_error], ids=lambda action: action.name
)
def test_a_decorated_function_may_end_in_any_action(
    producer: Producer, client: redis.Redis, keys: Keys, action: Action
) -> None:
    """With the size where an event of it must carry one, and without it elsewhere."""

    @stage(producer, "AssetSet", window=WINDOW, done=action.name)
    def work() -> list[str]:
        return ["a", "b"]

    work()

    [(kind, metadata)] = published(producer, client, keys)
    assert kind == "AssetSet" + action.name
    assert ("size" in metadata) == ("size" in action.needs)


def test_a_decorated_function_tells_of_its_failure(producer: Producer, client: redis.Redis, keys: Keys) -> None:
    """And what it was to do, and raises it on."""

    @stage(producer, "AssetSet", window=WINDOW, done="Totaled")
    def total() -> None:
        raise ValueError("no prices")

    with pytest.raises(ValueError, match="no prices"):
        total()

    [(kind, metadata)] = published(producer, client, keys)
    assert (kind, metadata["window"], metadata["error"]) == ("AssetSetComputeError", SPAN, "ValueError: no prices")
    assert metadata["stage"] == "Totaled"
    assert 0 <= metadata["seconds"] < PATIENCE


def outcome(task: Any, error: object) -> Outcome | None:
    """A user's mapping for Airflow."""
    if task.task_id == "unknown":
        raise KeyError("a fault of the mapping")
    if task.task_id == "other":
        return None
    if error is None:
        return Outcome("AssetSetSaved", size=task.size, window=WINDOW, metadata={"task": task.task_id})
    return Outcome("AssetSetComputeError", error=str(error), window=WINDOW)


@pytest.fixture
def airflow(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package, or its documented interface."""
    if importlib.util.find_spec("airflow") is None:
        listeners: Any = ModuleType("airflow.listeners")
        listeners.hookimpl = lambda function: function
        monkeypatch.setitem(sys.modules, "airflow", ModuleType("airflow"))
        monkeypatch.setitem(sys.modules, "airflow.listeners", listeners)


def test_an_airflow_listener_turns_task_instances_into_events(
    airflow: None, producer: Producer, client: redis.Redis, keys: Keys
) -> None:
    """As the mapping says; its own faults fail no task."""
    listener: Any = EtlogListener(producer, outcome)
    for name in ("save", "other", "unknown"):
        listener.on_task_instance_success(previous_state=None, task_instance=SimpleNamespace(task_id=name, size=3))
    listener.on_task_instance_failed(
        previous_state=None, task_instance=SimpleNamespace(task_id="save"), error=ValueError("disk full")
    )

    assert published(producer, client, keys) == [
        ("AssetSetSaved", {"size": 3, "window": SPAN, "task": "save"}),
        ("AssetSetComputeError", {"window": SPAN, "error": "disk full"}),
    ]


@pytest.fixture
def dagster(monkeypatch: pytest.MonkeyPatch) -> None:
    """The package, or its documented interface."""
    if importlib.util.find_spec("dagster") is None:

        def hook(name: str) -> Callable[[Callable[[Any], None]], Callable[[Any], None]]:
            return lambda function: function

        module: Any = ModuleType("dagster")
        module.success_hook = module.failure_hook = hook
        monkeypatch.setitem(sys.modules, "dagster", module)


def test_dagster_hooks_turn_ops_into_events(dagster: None, producer: Producer, client: redis.Redis, keys: Keys) -> None:
    """As the mapping says."""

    def mapping(context: Any, succeeded: bool) -> Outcome | None:
        if succeeded:
            return Outcome("AssetSetTotaled", window=WINDOW, metadata={"op": context.op.name})
        return Outcome("AssetSetComputeError", error=str(context.op_exception))

    on_success, on_failure = etlog_hooks(producer, mapping)
    if not hasattr(sys.modules["dagster"], "__file__"):
        on_success(SimpleNamespace(op=SimpleNamespace(name="save")))
        on_failure(SimpleNamespace(op=SimpleNamespace(name="fail"), op_exception=ValueError("disk full")))
    else:
        run_ops(on_success, on_failure)

    assert published(producer, client, keys) == [
        ("AssetSetTotaled", {"window": SPAN, "op": "save"}),
        ("AssetSetComputeError", {"error": "disk full"}),
    ]


def run_ops(*hooks: Any) -> None:
    """Two ops, one of which fails, in a real job."""
    dagster: Any = importlib.import_module("dagster")

    def save() -> int:
        return 1

    def fail(_value: int) -> None:
        raise ValueError("disk full")

    first, second = dagster.op(save), dagster.op(fail)

    def nightly() -> None:
        second(first())

    job = dagster.job(hooks=set(hooks))(nightly)
    assert not job.execute_in_process(raise_on_error=False).success


def test_nothing_of_a_host_is_imported_unless_it_is_used() -> None:
    """Not even by importing the integrations."""
    code = (
        "import sys, etlog_producer.integrations.airflow, etlog_producer.integrations.dagster; "
        "import etlog_producer.integrations.decorator; print([n for n in ('airflow', 'dagster') if n in sys.modules])"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert ended.stdout == "[]\n"
