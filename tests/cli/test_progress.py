"""Progress is shown to people only, and only of what takes long."""

import pytest
from etlog import progress


@pytest.mark.parametrize(("terminal", "after", "is_shown"), [("1", 0.0, True), ("1", 60.0, False), ("0", 0.0, False)])
def test_progress_is_shown_on_a_terminal_of_what_takes_long(
    terminal: str,
    after: float,
    is_shown: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """On standard error: what a command prints may go elsewhere."""
    monkeypatch.setenv("TTY_COMPATIBLE", terminal)
    monkeypatch.setattr(progress, "SHOWN_AFTER", after)

    with progress.shown("reading") as advance:
        advance(1, 4)
        advance(9, 4)

    printed = capsys.readouterr()
    assert printed.out == ""
    assert ("reading" in printed.err and "4/4" in printed.err) == is_shown
    assert is_shown or printed.err == ""
