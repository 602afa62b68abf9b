"""Folding: what the events of a batch tell of their sets, from their texts to the rows."""

import json
from typing import Any

import pytest
from etlog_events.kinds import KUBECOST_KINDS
from etlog_events.validation import NO_WINDOW, Note, noter
from etlog_ledger.fold import fold
from etlog_ledger.row import MAX_ERROR, encode
from support.recomputed import recomputed
from support.samples import text

WINDOW = '"window":{"start":"2022-06-03T10:00:00Z","end":"2022-06-03T11:00:00Z"}'
INTERVAL = "2022-06-03T10:00:00Z/2022-06-03T11:00:00Z"


def folded(*texts: bytes) -> dict[str, dict[str, Any]]:
    """The rows that these events make, category -> interval -> row; they must be those of the recomputation."""
    note = noter(KUBECOST_KINDS)
    notes: dict[tuple[str, str], list[Note]] = {}
    canonical = []
    for raw in texts:
        kind, spelled, interval, noted = note(raw)
        notes.setdefault((kind.name, interval), []).append(noted)
        canonical.append(spelled)
    rows = {
        category: {interval: json.loads(encode(row)) for interval, row in of_category.items()}
        for category, of_category in fold(notes, KUBECOST_KINDS).items()
    }
    assert rows == {category: of_category for category, of_category in recomputed(canonical).items() if of_category}
    return rows


def cell(*texts: bytes, interval: str = INTERVAL, name: str = "Saved") -> dict[str, Any]:
    """The cell that these events of one set and action make, in whatever order they come."""
    found = folded(*texts)["allocation"][interval]
    assert found == folded(*reversed(texts))["allocation"][interval]
    assert list(found) == [name]
    only: dict[str, Any] = found[name]
    return only


def error(metadata: str = "", *, error: str = "e", time: str = "2022-06-03T11:00:20Z") -> bytes:
    """A ComputeError with the window of `WINDOW`, and more metadata."""
    spelled = json.dumps(error, ensure_ascii=False)
    more = f",{metadata}" if metadata else ""
    return text(f'{WINDOW},"error":{spelled}{more}', kind="AllocationSetComputeError", time=f'"{time}"')


def test_a_batch_makes_a_row_for_each_set_and_a_cell_for_each_action() -> None:
    """In each category."""
    found = folded(
        text(),
        text(kind="AllocationSetLoaded"),
        text(kind="AssetSetLoaded"),
        text(WINDOW, kind="AllocationSetTotaled"),
        text('"size":1,"window":{"start":"2022-06-03T10:00:00Z","end":"2022-06-03T10:00:00.5Z"}'),
        text('"error":"e"', kind="AssetSetReconcileError"),
    )

    assert {category: {i: list(row) for i, row in rows.items()} for category, rows in found.items()} == {
        "allocation": {
            INTERVAL: ["Loaded", "Saved", "Totaled"],
            "2022-06-03T10:00:00Z/2022-06-03T10:00:00.5Z": ["Saved"],
        },
        "asset": {INTERVAL: ["Loaded"], NO_WINDOW: ["ReconcileError"]},
    }


def test_one_spelling_of_a_window_is_one_set() -> None:
    """Offsets and letters do not matter."""
    other = text('"size":97,"window":{"start":"2022-06-03T12:00:00.000+02:00","end":"2022-06-03t11:00:00z"}')

    assert cell(text(), other)["n"] == 2


@pytest.mark.parametrize(
    ("times", "settled"),
    [
        (["2022-06-03T10:59:59.999999999Z"], None),
        (["2022-06-03T11:00:00Z"], "2022-06-03T11:00:00Z"),
        (["2022-06-03T11:00:00.000000001Z", "2022-06-03T10:00:00Z"], "2022-06-03T11:00:00.000000001Z"),
        (["2022-06-03T11:00:00.1Z", "2022-06-03T11:00:00Z"], "2022-06-03T11:00:00Z"),
        (["2022-06-03T12:00:00Z", "2022-06-03T11:30:00Z", "2022-06-03T10:30:00Z"], "2022-06-03T11:30:00Z"),
        (["0001-01-01T00:00:00Z", "0001-01-01T00:00:00.5Z"], None),
        (["9999-12-31T23:59:59.999999999Z"], "9999-12-31T23:59:59.999999999Z"),
    ],
)
def test_a_set_is_settled_by_the_first_event_at_or_after_its_end(times: list[str], settled: str | None) -> None:
    """To the nanosecond."""
    assert cell(*(text(time=f'"{time}"') for time in times)).get("settled") == settled


@pytest.mark.parametrize(
    ("window", "settled"),
    [
        (("2022-06-03T17:07:54Z", "2022-06-03T17:07:54.092619416Z"), True),
        (("2022-06-03T17:07:54Z", "2022-06-03T17:07:54.092619417Z"), False),
        (("2022-06-03T17:07:54.0926194Z", "2022-06-03T17:07:54.0926194000001Z"), None),
        (("0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000000001Z"), True),
        (("9999-12-31T23:59:59Z", "9999-12-31T23:59:59.999999999Z"), False),
    ],
)
def test_windows_may_end_between_two_seconds(window: tuple[str, str], settled: bool | None) -> None:
    """The time of the event is …54.092619416; a window that is empty to the nanosecond is refused."""
    raw = text(f'"size":1,"window":{{"start":"{window[0]}","end":"{window[1]}"}}')
    if settled is None:
        with pytest.raises(ValueError, match="must start before it ends"):
            folded(raw)
    else:
        assert ("settled" in cell(raw, interval="/".join(window))) == settled


def test_an_error_without_a_window_never_settles() -> None:
    """It belongs to no set, so there is no end."""
    found = cell(text('"error":"e"', kind="AllocationSetComputeError"), interval=NO_WINDOW, name="ComputeError")

    assert found == {
        **{"n": 1, "first": "2022-06-03T17:07:54.092619416Z", "last": "2022-06-03T17:07:54.092619416Z"},
        "error": "e",
    }


def test_the_latest_of_a_batch_decides() -> None:
    """…54.1 is later than …54, though its text with the `Z` is before it."""
    earlier = text(f'"size":5,{WINDOW},"seconds":3', time='"2022-06-03T17:07:54Z"')
    later = text(f'"size":4,{WINDOW}', time='"2022-06-03T17:07:54.1Z"')

    found = cell(earlier, later)

    assert (found["size"], found["first"], found["last"]) == (4, "2022-06-03T17:07:54Z", "2022-06-03T17:07:54.1Z")
    assert "seconds" not in found


def test_at_equal_times_the_greatest_of_each_value_stays() -> None:
    """Numbers compare as numbers: 10 is more than 9."""
    found = cell(
        text(f'"size":10,{WINDOW},"seconds":9'),
        text(f'"size":9,{WINDOW},"seconds":10.5'),
        text(f'"size":9,{WINDOW},"error":"e"'),
    )

    assert (found["size"], found["seconds"], found["error"]) == (10, 10.5, "e")


def test_a_size_may_be_as_large_as_an_event_allows() -> None:
    """To the last digit, in a batch and alone."""
    largest, next_to_it = 2**63 - 1, 2**63 - 2

    assert cell(text(f'"size":{largest},{WINDOW}'))["size"] == largest
    assert cell(text(f'"size":{largest},{WINDOW}'), text(f'"size":{next_to_it},{WINDOW}'))["size"] == largest


@pytest.mark.parametrize(
    ("spelled", "seconds"),
    [
        ("0", 0.0),
        ("12", 12.0),
        ("1.5", 1.5),
        ("1.5e2", 150.0),
        ("1E-7", 1e-7),
        ("3162240000", 3162240000.0),
        *((none, None) for none in ("3162240001", "3162240000.1", "1e300", "9" * 400, "-1", "-1e-9", "-5e300")),
        *((none, None) for none in ("true", "false", "null", '"1"', '""', "[1]", "[]", "{}", '{"s":1}')),
    ],
)
def test_seconds_are_a_number_that_a_stage_could_have_taken(spelled: str, seconds: float | None) -> None:
    """Whatever else the stage writes is its own, and kept in the event alone."""
    assert cell(text(f'"size":1,{WINDOW},"seconds":{spelled}')).get("seconds") == seconds
    assert cell(*[text(f'"size":1,{WINDOW},"seconds":{spelled}')] * 2).get("seconds") == seconds


def test_minus_zero_is_zero() -> None:
    """Else the text of a row would tell which came first."""
    both = [text(f'"size":1,{WINDOW},"seconds":{zero}') for zero in ("0.0", "-0.0")]

    assert str(cell(*both)["seconds"]) == str(cell(*reversed(both))["seconds"]) == "0.0"


@pytest.mark.parametrize("stage", ["Loaded", "Saved", "Aggregated", "Totaled", "Reconciled"])
def test_a_compute_error_belongs_to_the_stage_that_it_names(stage: str) -> None:
    """So that one of a set can fail while another does not."""
    found = folded(error(f'"stage":"{stage}"'), error(), error(f'"stage":"{stage}"'))["allocation"][INTERVAL]

    assert {name: of_cell["n"] for name, of_cell in found.items()} == {"ComputeError": 1, f"ComputeError.{stage}": 2}


@pytest.mark.parametrize(
    "stage",
    [
        *('"ComputeError"', '"ReconcileError"', '"saved"', '"AllocationSetSaved"', '"Saved "', '""', '"\\u0000"'),
        *("null", "true", "7", "1.5", '["Saved"]', '{"Saved":1}', "[]"),
    ],
)
def test_a_stage_that_is_no_action_makes_no_cell(stage: str) -> None:
    """It is the stage's own: a name of its process, or anything else."""
    assert cell(error(f'"stage":{stage}'), name="ComputeError")["n"] == 1


def test_the_stage_of_other_events_makes_no_cell() -> None:
    """Not that of a ReconcileError, either."""
    found = folded(
        text(f'"size":1,{WINDOW},"stage":"Saved","seconds":1'),
        text(f'{WINDOW},"error":"e","stage":"Saved"', kind="AllocationSetReconcileError"),
    )

    assert list(found["allocation"][INTERVAL]) == ["Saved", "ReconcileError"]


@pytest.mark.parametrize("character", ["x", "é", "😀", "\u0000", '"', "\U0010ffff", "e\u0301"])
def test_an_error_is_cut_between_characters(character: str) -> None:
    """Whatever they take as UTF-8, or escaped in JSON."""
    long = character * MAX_ERROR

    found = cell(error(error=long + "more"), name="ComputeError")

    assert found["error"] == long[:MAX_ERROR]
    assert cell(error(error=long[:MAX_ERROR]), name="ComputeError")["error"] == long[:MAX_ERROR]


def test_errors_that_differ_behind_the_cut_are_the_same() -> None:
    """Else the order of the events would matter."""
    kept = "é" * MAX_ERROR

    assert cell(error(error=kept + "a"), error(error=kept + "b"), name="ComputeError")["error"] == kept
