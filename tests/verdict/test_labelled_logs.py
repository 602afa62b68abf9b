"""The verdict on logs of which a person has said what is wrong: no cell is missed, and none is wrongly alarmed."""

from pathlib import Path

import pytest
from support.labelled import Answer, LabelledLog, labelled, score

LOGS = labelled(Path(__file__).with_name("labelled.jsonl.gz"))

#: How many problems the faults of a log are at most: each as a person would tell of it, in one sentence.
PROBLEMS = {
    "02-three-faults": 3,
    "07-after-a-backfill-stopped": 1,
    "09-all-stopped": 2,
    "10-the-roll-up-that-did-not-come": 2,
    "11-sizes": 2,
    "14-never-computed": 1,
    "16-twelve-categories": 3,
    "18-three-faults-out-of-order": 3,
}


@pytest.mark.parametrize("log", LOGS, ids=str)
def test_a_labelled_log_is_judged_right(log: LabelledLog) -> None:
    """By its habits alone, at its time, in the zone of its pipeline; and its problems say what its cells say."""
    found = score(log, Answer.of(log.judged()))

    assert not found, "\n".join([log.why, str(found), *found.lines()])
    assert len(found.problems) <= PROBLEMS.get(log.name, 0), [problem.text for problem in found.problems]
