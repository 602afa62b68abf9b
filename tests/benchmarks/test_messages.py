"""The count of messages: it adds up, and tells of what was planted."""

from datetime import timedelta

import pytest
from etlog_watch.incidents import GROUPED

from benchmarks.verdict import messages
from benchmarks.verdict.messages import NOISY, Count
from benchmarks.verdict.pipelines import PIPELINES
from benchmarks.verdict.story import Story, tell

BY_NAME = {pipeline.name: pipeline for pipeline in PIPELINES}


@pytest.fixture(scope="module")
def story() -> Story:
    """Two weeks with a failure that is repaired, and then a hole that is not."""
    return tell(BY_NAME["hourly, many retries"], 14, 1, ("retry", "hole"), apart=1)


@pytest.fixture(scope="module")
def counted(story: Story) -> Count:
    """What is told of them."""
    return messages.count(story, 1)


def test_each_problem_is_told_once_and_again_when_it_is_over(story: Story, counted: Count) -> None:
    """Every one that opened was resolved, has expired or is still open, and each of them was planted."""
    told = counted.problems
    assert told["opened"] == told["resolved"] + told["expired"] + counted.still_open
    assert told["opened"] == counted.faults == len(story.faults) > 2
    assert counted.still_open == sum(fault.repaired is None for fault in story.faults) == 1
    assert told["reminder"] == 0


def test_there_are_no_more_messages_than_problems_told(counted: Count) -> None:
    """And fewer than cells that changed: a hole has five of them."""
    assert counted.messages.keys() == counted.problems.keys()
    assert all(counted.messages[happened] <= number for happened, number in counted.problems.items())
    assert 0 < sum(counted.messages.values()) < counted.cells


def test_what_happens_in_a_minute_is_told_before_the_next() -> None:
    """Groups are shorter than the steps of the clock, else the count would be of other groups than the watcher's."""
    assert timedelta(0) < GROUPED < timedelta(minutes=1)


def test_the_table_has_a_line_for_each_pipeline_and_one_for_all(counted: Count) -> None:
    """Which is their sum, of the same days."""
    head, _, first, second, total = messages.table([counted, counted])

    assert first == second
    one, both = ([cell.strip() for cell in line.split("|")[2:-1]] for line in (first, total))
    assert [2 * float(cell) for cell in one] == pytest.approx([float(cell) for cell in both], abs=0.11)
    assert head.count("|") == first.count("|") == total.count("|")


def test_the_noisy_pipelines_are_there() -> None:
    """Each once."""
    assert len(set(NOISY)) == len(NOISY) == 8
    assert set(NOISY) <= BY_NAME.keys()
