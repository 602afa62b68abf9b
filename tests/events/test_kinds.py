"""Kinds: the two categories and seven actions of Kubecost's Events API, what comes on top, and who must know them."""

import json
import re
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from etlog.commands.log import _STYLES
from etlog_api.openapi import SCHEMAS
from etlog_api.routes import ui
from etlog_events.kinds import ACTIONS, CATEGORIES, KUBECOST_KINDS, Action, Kinds
from etlog_events.settings import Settings
from etlog_producer.integrations.decorator import stage
from etlog_producer.stage import Stage
from jsonschema_rs import is_valid

ROOT = Path(__file__).parents[2]

DOCUMENTED_ACTIONS = ["Saved", "Loaded", "Aggregated", "Totaled", "Reconciled", "ComputeError", "ReconcileError"]
WITH_CLOUD = Kinds({**CATEGORIES, "cloudcost": "CloudCostSet"})


def test_the_kinds_are_the_fourteen_documented_ones() -> None:
    """Nothing else is a kind of a log without further categories."""
    documented = {f"{prefix}{action}" for prefix in ("AllocationSet", "AssetSet") for action in DOCUMENTED_ACTIONS}

    assert set(KUBECOST_KINDS.by_name) == documented


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("AssetSet", {f"AssetSet{action}" for action in DOCUMENTED_ACTIONS}),
        ("Saved", {"AllocationSetSaved", "AssetSetSaved"}),
        ("AllocationSetSaved", {"AllocationSetSaved"}),
        ("SetReconcile", {f"{p}SetReconcile{s}" for p in ("Allocation", "Asset") for s in ("d", "Error")}),
        ("", set(KUBECOST_KINDS.by_name)),
        ("saved", set()),
    ],
)
def test_a_part_of_a_name_stands_for_all_kinds_that_contain_it(text: str, found: set[str]) -> None:
    """As in the documentation: `AssetSet` retrieves every kind of the assets."""
    assert KUBECOST_KINDS.containing(text) == found


def test_a_kind_knows_its_category_and_what_it_needs() -> None:
    """The consumer files by the category, validation asks for what is needed."""
    kind = KUBECOST_KINDS.by_name["AssetSetTotaled"]

    assert (kind.category, kind.action.name, kind.action.needs, kind.action.is_error) == (
        "asset",
        "Totaled",
        ("window",),
        False,
    )


def test_only_the_two_errors_are_errors() -> None:
    """A reader marks them as failures."""
    errors = {name for name, kind in KUBECOST_KINDS.by_name.items() if kind.action.is_error}

    assert errors == {f"{p}Set{a}Error" for p in ("Allocation", "Asset") for a in ("Compute", "Reconcile")}


def test_a_further_category_has_all_seven_actions() -> None:
    """A log may keep more than allocations and assets."""
    assert WITH_CLOUD.containing("CloudCostSet") == {f"CloudCostSet{action}" for action in DOCUMENTED_ACTIONS}
    assert set(KUBECOST_KINDS.by_name) < set(WITH_CLOUD.by_name)


def test_equal_categories_are_equal_kinds() -> None:
    """They serve as a key, so that validation is built once a log."""
    again = Kinds({**CATEGORIES, "cloudcost": "CloudCostSet"})

    assert again == WITH_CLOUD
    assert hash(again) == hash(WITH_CLOUD)
    assert again != KUBECOST_KINDS


def test_the_refusal_of_a_kind_lists_what_is_known() -> None:
    """Who misspelled a kind sees the right spelling."""
    sentence = WITH_CLOUD.unknown("AllocationSaved")

    assert sentence == (
        "unknown kind 'AllocationSaved'; a kind is one of AllocationSet, AssetSet, CloudCostSet followed by one of "
        "Loaded, Saved, Aggregated, Totaled, Reconciled, ComputeError, ReconcileError"
    )


def test_the_refusal_of_a_long_text_is_short() -> None:
    """A text of a megabyte does not end up in a log line."""
    assert len(KUBECOST_KINDS.unknown("x" * 1_000_000)) < 300


# Every place that names the actions, as CONTRIBUTING leads through them.

every_action = pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action.name)
every_success = pytest.mark.parametrize(
    "action", [action for action in ACTIONS if not action.is_error], ids=lambda action: action.name
)
every_error = pytest.mark.parametrize(
    "action", [action for action in ACTIONS if action.is_error], ids=lambda action: action.name
)

#: What `emit` was called with.
Emitted = list[tuple[str, dict[str, Any]]]


def recorded() -> tuple[Stage, Emitted]:
    """A stage, and the list that what it emits ends in."""
    emitted: Emitted = []
    return Stage(lambda kind, **more: emitted.append((kind, more)), "AssetSet", None), emitted


@every_success
def test_a_stage_has_a_method_for_each_success(action: Action) -> None:
    """Which takes what an event of it needs."""
    stage, emitted = recorded()
    size = {"size": 3} if "size" in action.needs else {}

    getattr(stage, action.name.lower())(**size)

    [(kind, metadata)] = emitted
    assert kind == "AssetSet" + action.name
    assert metadata.keys() - {"seconds"} == {"window", *size}


def block_of(action: Action) -> str:
    """The name of the block for an action that may succeed."""
    return action.name.lower().removesuffix("ed") + "ing"


@every_success
def test_a_stage_has_a_block_for_each_success(action: Action) -> None:
    """Whose failure is told as one of that action."""
    stage, emitted = recorded()

    with suppress(ValueError), stage, getattr(stage, block_of(action))():
        raise ValueError("in the block")

    [(kind, metadata)] = emitted
    assert kind in {"AssetSetComputeError", f"AssetSet{action.name.removesuffix('d')}Error"}
    assert metadata.get("stage") == (action.name if kind == "AssetSetComputeError" else None)


@every_error
def test_a_stage_has_a_block_for_each_error(action: Action) -> None:
    """The stage is a block itself; it has others within, as `reconciling` is one."""
    found = []
    for name in ["", *(block_of(action) for action in ACTIONS if not action.is_error)]:
        stage, emitted = recorded()
        with suppress(ValueError), stage:
            if name:
                with getattr(stage, name)():
                    raise ValueError("in the block")
            raise ValueError("in the stage")
        found += [kind for kind, _ in emitted]

    assert "AssetSet" + action.name in found


@every_success
def test_the_decorator_gives_a_size_where_it_is_needed(action: Action) -> None:
    """And nowhere else."""
    own, emitted = recorded()
    producer: Any = SimpleNamespace(stage=lambda prefix, window: own)

    stage(producer, "AssetSet", done=action.name)(lambda: ["a", "b"])()

    [(kind, metadata)] = emitted
    assert kind == "AssetSet" + action.name
    assert metadata.get("size") == (2 if "size" in action.needs else None)


@every_action
def test_the_description_of_the_api_lists_each_action(action: Action) -> None:
    """It refuses others."""
    event = {"metadata": {}, "time": "2022-06-03T17:07:54Z"}

    assert is_valid(SCHEMAS["Event"], {**event, "kind": "AssetSet" + action.name})
    assert not is_valid(SCHEMAS["Event"], {**event, "kind": "AssetSet" + action.name + "Not"})


@every_action
def test_the_page_is_told_of_each_action(action: Action) -> None:
    """And whether it is an error."""
    told = json.loads(ui._page_settings(Settings()))["actions"]

    assert {"name": action.name, "is_error": action.is_error} in told


@every_success
def test_the_page_has_two_colours_for_each_success(action: Action) -> None:
    """One for light, one for dark; the bars and the legend use them. Errors share one."""
    style = (ROOT / "api" / "etlog_api" / "static" / "etlog.css").read_text()

    assert len(re.findall(rf"--{action.name}: #[0-9a-f]{{6}};", style)) == 2
    assert f".bar.{action.name}, .key.{action.name} {{ fill: var(--{action.name}); }}" in style


@every_action
def test_the_command_has_a_colour_for_each_action(action: Action) -> None:
    """Which may be that of the terminal, but for an error."""
    assert action.name in _STYLES
    assert ("red" in _STYLES[action.name]) == action.is_error


@every_action
def test_the_dashboard_shows_each_action(action: Action) -> None:
    """In the rates of all kinds, and errors also in the panel of errors, which names them."""
    dashboard = json.loads((ROOT / "deploy" / "grafana" / "etlog.json").read_text())
    panels = {panel["title"]: panel for panel in dashboard["panels"]}
    rates, errors = panels["Events applied, by kind"], panels["Errors of stages, in 15 minutes"]

    assert _matches(rates["targets"][0]["expr"], "AssetSet" + action.name)
    assert _matches(errors["targets"][0]["expr"], "AssetSet" + action.name) == action.is_error
    assert (action.name in errors["description"]) == action.is_error


def _matches(question: str, kind: str) -> bool:
    """Whether a question to Prometheus takes in the counter of a kind."""
    patterns = re.findall(r'etlog_counters\{(?:kind=~"(.*?)")?', question)
    assert patterns
    return any(not pattern or re.fullmatch(pattern, kind) is not None for pattern in patterns)


@every_action
@pytest.mark.parametrize("document", ["README.md", "docs/glossary.md", "docs/redis-cli.md"])
def test_the_documents_that_list_the_actions_list_each(document: str, action: Action) -> None:
    """In a sentence, or in the output of a command."""
    assert re.search(rf"\b{action.name}\b", (ROOT / document).read_text())
