"""How much is read at once follows the size of what was read before."""

from etlog_consumer.intake import BYTES, FIRST, MOST_ENTRIES, Intake


def entries(number: int, size: int) -> list[tuple[bytes, list[bytes]]]:
    """So many entries of so many bytes."""
    return [(b"1-1", [b"x" * size])] * number


def test_it_grows_while_entries_are_small() -> None:
    """Twofold a full batch, up to the most."""
    intake = Intake()
    counts = []
    for _ in range(9):
        counts.append(intake.count)
        intake.took(entries(intake.count, 200))

    assert counts == [*(FIRST * 2**step for step in range(6)), MOST_ENTRIES, MOST_ENTRIES, MOST_ENTRIES]


def test_it_drops_at_once_when_they_are_large() -> None:
    """To as many as fit, and to one by one in the end."""
    intake = Intake()
    intake.took(entries(64, 64 * 1024))
    assert intake.count == BYTES // (64 * 1024)

    intake.took(entries(3, 16 * 1024 * 1024))
    assert intake.count == 1


def test_a_batch_that_is_not_full_says_nothing() -> None:
    """There was no more to read."""
    intake = Intake()

    intake.took(entries(3, 200))

    assert intake.count == FIRST
