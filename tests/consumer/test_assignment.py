"""Who applies which log: fair, the same for everybody who computes it, and stable."""

from etlog_consumer.fleet.assignment import shares
from hypothesis import given
from hypothesis import strategies as st

LOGS = [f"log-{number}" for number in range(50)]
MEMBERS = ["a", "b", "c"]


@given(st.sets(st.text(), max_size=60), st.sets(st.text(), min_size=1, max_size=12))
def test_every_log_goes_to_one_member_and_no_member_has_two_more_than_another(
    logs: set[str], members: set[str]
) -> None:
    """However many there are of each."""
    found = shares(logs, list(members))

    assert set(found) == members
    assert sorted(log for share in found.values() for log in share) == sorted(logs)
    sizes = [len(share) for share in found.values()]
    assert max(sizes) - min(sizes) <= 1


def test_it_does_not_depend_on_the_order() -> None:
    """Each process computes it by itself."""
    found = shares(LOGS, MEMBERS)
    again = shares(reversed(LOGS), MEMBERS[::-1])

    assert {member: set(share) for member, share in found.items()} == {
        member: set(share) for member, share in again.items()
    }


def test_few_logs_change_hands_when_a_member_goes() -> None:
    """Those of the one that went, and a few that make the others even."""
    before, after = shares(LOGS, MEMBERS), shares(LOGS, MEMBERS[:2])

    moved = sum(log not in after[member] for member in MEMBERS[:2] for log in before[member])
    assert moved <= len(LOGS) // 5
