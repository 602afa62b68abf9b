"""The verdict on logs of pipelines as there are many: what is planted is found, and nothing else."""

import pytest
from support.labelled import Answer, score
from verdict.pipelines import RECIPES, Recipe


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_a_log_that_is_made_is_judged_right(recipe: Recipe) -> None:
    """By its habits alone, soon after a fault. There are no more problems than faults."""
    log = recipe.log()

    found = score(log, Answer.of(log.judged()))

    assert not found, "\n".join([log.why, f"now {log.now}", str(found), *found.lines()])
    assert len(found.problems) <= len(recipe.kinds), [problem.text for problem in found.problems]
