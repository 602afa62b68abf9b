"""Rows: their text, and how what is told of a set later is taken into them."""

import json
from copy import copy
from itertools import permutations
from typing import Any

import pytest
from etlog_events.kinds import ACTIONS
from etlog_ledger.row import STAGES, Cell, add_events, cell_of, decode, decode_foreign, encode, in_order, merge
from msgspec import structs

TEN = "2022-06-03T10:00:00Z"
ELEVEN = "2022-06-03T11:00:00Z"


def cell(n: int = 1, first: str = TEN, last: str | None = None, **facts: Any) -> Cell:
    """A cell of events at `first`, and at `last` if that is another time."""
    return Cell(n=n, first=first, last=last or first, **facts)


def merged(*cells: Cell) -> Cell:
    """The cell that these make one after another, the same in every order."""
    made = []
    for order in permutations(cells):
        row = {"Saved": copy(order[0])}
        for each in order[1:]:
            row = merge(row, {"Saved": copy(each)})
        made.append(row["Saved"])
    assert all(each == made[0] for each in made)
    return made[0]


def test_a_row_is_the_documented_text() -> None:
    """What is not known is not there."""
    row = {
        "Saved": cell(2, "2022-06-03T11:00:20Z", "2022-06-03T11:04:00.5Z", settled="2022-06-03T11:00:20Z", size=97),
        "ComputeError": cell(first="2022-06-03T11:00:20Z", settled="2022-06-03T11:00:20Z", error="403 Forbidden"),
    }

    assert encode(row) == (
        b'{"Saved":{"n":2,"first":"2022-06-03T11:00:20Z","last":"2022-06-03T11:04:00.5Z",'
        b'"settled":"2022-06-03T11:00:20Z","size":97},'
        b'"ComputeError":{"n":1,"first":"2022-06-03T11:00:20Z","last":"2022-06-03T11:00:20Z",'
        b'"settled":"2022-06-03T11:00:20Z","error":"403 Forbidden"}}'
    )
    assert decode(encode(row)) == row


def test_the_order_of_the_cells_is_that_of_a_sets_life_however_they_came() -> None:
    """The errors of single stages stand behind those of the actions, cells of a later release last."""
    names = [action.name for action in ACTIONS]
    expected = [*names, *(f"ComputeError.{stage}" for stage in STAGES), "Archived", "ComputeError.Archived"]

    assert list(in_order({name: cell() for name in reversed(expected)})) == expected
    for name in expected:
        row = {other: cell() for other in expected if other != name}
        assert list(merge(row, {name: cell()})) == expected


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"garbage",
        b"null",
        b"[]",
        b'"{}"',
        b'{"Saved":1}',
        b'{"Saved":null}',
        b'{"Saved":{}}',
        b'{"Saved":{"n":1,"first":"2022-06-03T10:00:00Z"}}',
        b'{"Saved":{"n":"1","first":"2022-06-03T10:00:00Z","last":"2022-06-03T10:00:00Z"}}',
        b'{"Saved":{"n":1.5,"first":"2022-06-03T10:00:00Z","last":"2022-06-03T10:00:00Z"}}',
        b'{"Saved":{"n":0,"first":"2022-06-03T10:00:00Z","last":"2022-06-03T10:00:00Z"}}',
        b'{"Saved":{"n":-7,"first":"2022-06-03T10:00:00Z","last":"2022-06-03T10:00:00Z"}}',
        b'{"Saved":{"n":1,"first":1,"last":"2022-06-03T10:00:00Z"}}',
        b'{"Saved":{"n":1,"first":"2022-06-03T10:00:00Z","last":"2022-06-03T10:00:00Z"}} {}',
        b'{"Saved":{"n":1,"first":"\xff","last":"2022-06-03T10:00:00Z"}}',
        b'{"a":' * 100_000,
    ],
)
def test_what_is_no_row_raises_a_value_error(text: bytes) -> None:
    """And nothing else, whatever it is."""
    with pytest.raises(ValueError, match=r"row of the ledger|utf-8"):
        decode(text)


@pytest.mark.parametrize(
    ("action", "stage", "expected"),
    [
        *(("ComputeError", stage, f"ComputeError.{stage}") for stage in STAGES),
        *(("ComputeError", stage, "ComputeError") for stage in ("ComputeError", "ReconcileError", "saved", "", None)),
        ("ReconcileError", "Saved", "ReconcileError"),
        ("Saved", "Saved", "Saved"),
    ],
)
def test_only_a_compute_error_has_a_cell_for_its_stage(action: str, stage: str | None, expected: str) -> None:
    """And only if the stage is an action that may succeed."""
    assert cell_of(action, stage) == expected


def test_all_cells_of_a_compute_error_count_for_its_kind() -> None:
    """The sum of the rows is that of the counters."""
    sums = {"AssetSetSaved": 1}

    add_events(sums, {"Saved": cell(2), "ComputeError": cell(3), "ComputeError.Saved": cell(4)}, "AssetSet")
    add_events(sums, {}, "AssetSet")

    assert sums == {"AssetSetSaved": 3, "AssetSetComputeError": 7}


def test_events_are_added_and_the_earliest_and_latest_times_stay() -> None:
    """In whatever order they come."""
    found = merged(cell(2, TEN, ELEVEN), cell(3, "2022-06-03T09:00:00Z"), cell(4, "2022-06-03T10:30:00Z"))

    assert found == cell(9, "2022-06-03T09:00:00Z", ELEVEN)


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ("2022-06-03T17:07:54Z", "2022-06-03T17:07:54.1Z"),
        ("2022-06-03T17:07:54Z", "2022-06-03T17:07:54.000000001Z"),
        ("2022-06-03T17:07:54.1Z", "2022-06-03T17:07:54.11Z"),
        ("2022-06-03T17:07:54.09Z", "2022-06-03T17:07:54.1Z"),
        ("2022-06-03T17:07:53.999999999Z", "2022-06-03T17:07:54Z"),
        ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999999Z"),
    ],
)
def test_times_compare_as_instants(earlier: str, later: str) -> None:
    """With or without a fraction: as texts with their `Z`, 54.1 seconds would stand before 54."""
    found = merged(cell(first=earlier, settled=earlier, size=1), cell(first=later, settled=later, size=2))

    assert found == cell(2, earlier, later, settled=earlier, size=2)


def test_the_latest_event_decides_even_if_it_tells_less() -> None:
    """A size, a duration or an error of before is not that of the latest event."""
    found = merged(
        cell(first=TEN, size=97, seconds=1.5, error="e"), cell(first=ELEVEN, size=3), cell(first="0001-01-01T00:00:00Z")
    )

    assert found == cell(3, "0001-01-01T00:00:00Z", ELEVEN, size=3)


def test_of_events_at_the_same_time_the_greatest_values_stay() -> None:
    """Each by itself, and whatever is absent from some."""
    found = merged(
        cell(size=3, seconds=1.5), cell(size=2**63 - 1, error="a"), cell(seconds=0.0, error="b"), cell(error="")
    )

    assert found == cell(4, size=2**63 - 1, seconds=1.5, error="b")


def test_a_zero_is_a_value() -> None:
    """And so is the empty error."""
    assert merged(cell(size=0, seconds=0.0, error=""), cell()) == cell(2, size=0, seconds=0.0, error="")


def test_a_set_settles_with_the_first_event_behind_its_end() -> None:
    """Events before the end do not unsettle it."""
    found = merged(cell(settled=None), cell(first=ELEVEN, settled="2022-06-03T11:00:00.5Z"), cell(settled=ELEVEN))

    assert found.settled == ELEVEN


def test_cells_of_a_later_release_survive() -> None:
    """A consumer that was rolled back merges into rows that it does not know all of."""
    row = decode(b'{"Archived":{"n":7,"first":"2022-06-03T10:00:00Z","last":"2022-06-03T10:00:00Z"}}')

    row = merge(row, {"Saved": cell()})

    assert list(json.loads(encode(row))) == ["Saved", "Archived"]
    assert decode(encode(row)) == {"Saved": cell(), "Archived": cell(7)}


@pytest.mark.parametrize("name", ["first", "last", "settled"])
@pytest.mark.parametrize("time", ["", "now", "2022-06-03T10:00:00", "2022-02-30T10:00:00Z", "2022-06-03 10:00:00Z"])
def test_a_row_that_someone_else_has_made_must_hold_times(name: str, time: str) -> None:
    """A set need not be settled; cells of a later release are taken."""
    good = {"Saved": cell(settled=ELEVEN), "Archived": cell()}

    assert decode_foreign(b"{}") == {}
    assert decode_foreign(encode(good)) == good
    assert decode_foreign(encode({**good, "Saved": structs.replace(good["Saved"], **{name: time})})) is None
    assert decode_foreign(b"[]") is None
