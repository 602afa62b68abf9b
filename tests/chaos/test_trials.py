"""The books of the trials: what they take for lost, doubled, unseen and falsely reported."""

import random
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from chaos import damage
from chaos.books import Books, Fate
from chaos.kinds import KINDS
from chaos.trials import choices
from chaos.verdict import Evidence
from etlog_producer.spool.line import encode
from support.samples import saved


def test_what_arrived_once_is_no_cause_for_complaint() -> None:
    """An event whose `emit` did not return may be there, or not."""
    outcome = Evidence(sure={1, 2}, maybe={3, 4}, sizes=[1, 2, 3], published=3).outcome()

    assert (outcome.emitted, outcome.lost, outcome.doubled, outcome.unseen, outcome.false) == (2, 0, 0, 0, 0)
    assert outcome.broken == ()


@pytest.mark.parametrize(
    ("counted", "unseen", "false"),
    [
        ({"published": 2}, 2, 0),
        ({"published": 4, "gaps": 2}, 0, 0),
        ({"published": 4, "gaps": 2, "lost": 2}, 0, 0),  # the producer knows, and has told the store
        ({"published": 3, "gaps": 1, "lost": 1}, 0, 0),  # one of each
        ({"published": 2, "dropped": 2}, 0, 0),
        ({"published": 2, "lost": 1}, 1, 0),
        ({"published": 4, "gaps": 1, "lost": 1}, 1, 0),  # the same: there is none behind what the store knows
        ({"published": 2, "broken_lines": 1}, 1, 0),
        ({"published": 5, "gaps": 3}, 0, 1),
        ({"published": 2, "dropped": 1, "lost": 2}, 0, 1),
    ],
)
def test_of_the_lost_those_are_unseen_that_no_one_counted(counted: dict[str, Any], unseen: int, false: int) -> None:
    """And what is counted and not lost is as bad."""
    outcome = Evidence(sure={1, 2, 3, 4}, sizes=[1, 2], may_lose=True, **counted).outcome()

    assert (outcome.lost, outcome.unseen, outcome.false) == (2, unseen, false)
    assert len(outcome.broken) == (unseen > 0) + (false > 0)


def test_only_what_was_destroyed_may_be_lost() -> None:
    """Even if it is counted."""
    evidence: dict[str, Any] = {"sure": {1, 2, 3}, "sizes": [1], "published": 3, "gaps": 2}

    assert Evidence(destroyed={2, 3}, **evidence).outcome().broken == ()
    [sentence] = Evidence(destroyed={3}, **evidence).outcome().broken
    assert sentence == "1 events are gone that nothing has destroyed"


def test_what_is_there_twice_or_was_refused_is_told() -> None:
    """Each breaks a promise."""
    outcome = Evidence(sure={1}, sizes=[1, 1, 9], published=3).outcome()

    assert outcome.doubled == 1
    assert outcome.broken == ("1 events are there twice", "1 events were refused and are there")


def test_the_unkeepable_may_be_unseen() -> None:
    """It is in the table all the same."""
    outcome = Evidence(sure={1, 2}, sizes=[1], published=1, may_lose=True, unkeepable=True).outcome()

    assert (outcome.lost, outcome.unseen, outcome.broken) == (1, 1, ())


def test_the_books_outlive_the_process_that_wrote_them(tmp_path: Path) -> None:
    """Each event by its number."""
    books = Books(tmp_path / "books")
    books.note(7, Fate.BEGUN)
    books.note(8, Fate.RETURNED)
    books.close()

    again = Books(tmp_path / "books")
    assert (again.of(Fate.BEGUN), again.of(Fate.RETURNED)) == ({7}, {8})
    assert again.returned(1, 10) == 1
    again.close()


@pytest.mark.parametrize("how", damage.OF_FILES.values(), ids=damage.OF_FILES.keys())
def test_damage_tells_what_it_may_cost(how: Callable[[Path, random.Random], set[int]], tmp_path: Path) -> None:
    """An event that still stands in the file as it did is not among it."""
    for seed in range(20):
        path = tmp_path / f"{seed}.spool"
        lines = [encode(number, saved(100 + number)) for number in range(1, 6)]
        path.write_bytes(b"".join(lines))

        cost = how(path, random.Random(seed))

        if path.is_file() and not path.is_symlink():
            path.chmod(0o600)
        left = path.read_bytes() if path.is_file() else b""
        assert {100 + number for number, line in enumerate(lines, 1) if line not in left} <= cost
        assert cost <= set(range(101, 106))


def test_a_seed_gives_the_same_trials_again_and_each_alone() -> None:
    """Each kind has its turn before any comes again."""
    first = list(islice(choices(7, ""), len(KINDS)))

    assert first == list(islice(choices(7, ""), len(KINDS)))
    assert {kind for _, kind in first} == set(KINDS)
    for seed, kind in first:
        assert next(choices(seed, kind)) == (seed, kind)
