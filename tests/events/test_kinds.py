"""Kinds: the two categories and seven actions of Kubecost's Events API, and what comes on top."""

import pytest
from etlog_events.kinds import CATEGORIES, KUBECOST_KINDS, Kinds

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
