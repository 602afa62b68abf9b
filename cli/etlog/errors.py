"""How a command fails: one sentence on standard error that says what to do next, and an exit code."""

import typer
from etlog_events.errors import EtlogError, OtherContract, StoreError, StoreUnavailable

#: Exit codes: the command succeeded, it failed or found something wrong, it was asked for something impossible, the
#: store or the API cannot be reached or cannot say how things stand now, it was stopped by Ctrl-C.
DONE, FAILED, MISUSED, UNREACHABLE, INTERRUPTED = 0, 1, 2, 3, 130

#: What the help of every command says of them.
EXIT_CODES = (
    f"Exit codes: {DONE} done and nothing wrong; {FAILED} something is wrong; {MISUSED} misused; {UNREACHABLE} the "
    "store or the API cannot be reached, or the verdict is suspended or older than 60 s."
)


class CommandFailed(EtlogError):
    """Raised when a command cannot do what it was asked to do; `code` is the exit code."""

    def __init__(self, sentence: str, code: int = MISUSED) -> None:
        super().__init__(sentence)
        self.code = code


def explain(error: Exception) -> tuple[str, int]:
    """The sentence and the exit code for an error. Raises the error itself where there is neither: it is a bug."""
    match error:
        case typer.TyperException():
            context = getattr(error, "ctx", None)
            command = context.command_path if context else "etlog"
            message = error.format_message().rstrip(".")
            return f"{message}{' See' if message.endswith('?') else '; see'} '{command} --help'", MISUSED
        case CommandFailed():
            return str(error), error.code
        case OtherContract():
            return str(error), FAILED
        case StoreError():
            code = UNREACHABLE if isinstance(error, StoreUnavailable) else MISUSED
            return f"{str(error).rstrip('.')}; name another with --redis-url or ETLOG_REDIS_URL", code
        case EtlogError():
            return str(error), MISUSED
        case OSError():  # a full disk, a file that is gone
            return f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}", FAILED
        case ModuleNotFoundError(name=str(module)) if module.partition(".")[0] == "etlog_dev":
            install = "run pip install ./dev in a checkout of etlog, or use the image etlog-dev"
            return f"this command requires the package etlog-dev, which is not installed: {install}", MISUSED
    raise error
