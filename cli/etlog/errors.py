"""How a command fails: one sentence on standard error with what to do next, and an exit code."""

from etlog_events.errors import EtlogError

#: Exit codes: the command did what it was asked, it tried and failed, it was asked something it cannot do.
DONE, FAILED, MISUSED = 0, 1, 2


class CommandFailed(EtlogError):
    """Raised when a command cannot do what it was asked; `code` is the exit code."""

    def __init__(self, sentence: str, code: int = MISUSED) -> None:
        super().__init__(sentence)
        self.code = code
