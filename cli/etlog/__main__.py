"""The `etlog` command: finds the command that was asked for, runs it, and turns an error into one sentence."""

import sys
from importlib import import_module, metadata
from io import TextIOWrapper
from typing import Annotated, Any, cast

import typer
from typer.core import TyperGroup
from typer.main import get_command

from etlog.errors import DONE, EXIT_CODES, INTERRUPTED, MISUSED, explain
from etlog.options import new_app

#: Every command, in the order of the help. Each is the `app` of the module of its name in `etlog.commands`, which is
#: imported only to run it: scripts start `etlog emit` again and again.
COMMANDS = {
    "emit": "Publish one event, or one per line from a file.",
    "consume": "Apply the stream to the lists and counters.",
    "watch": "Tell people of problems.",
    "serve": "Serve the API and its page.",
    "log": "Show the log, oldest event first.",
    "coverage": "Show what is wrong: sets that failed, stopped or are missing.",
    "status": "Show the cursor, the lag and the active consumer.",
    "mark": "Say of sets that something is known or right about them.",
    "verify": "Check that every published event is accounted for.",
    "dead": "List, repair, requeue or drop dead letters.",
    "spool": "List or deliver events that wait on this machine's disk.",
    "config": "Check the configuration file, or suggest one.",
    "upgrade": "Convert logs that an earlier release wrote.",
    "bugreport": "Save a zip for a bug report, without secrets.",
    "sample": "Run the sample ETL, which meters this machine.",
    "dev": "Run everything in this terminal.",
}


class Commands(TyperGroup):
    """The commands, each imported when it is run."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = cast(Any, dict.fromkeys(COMMANDS))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of that name, None where there is none."""
        if cmd_name not in COMMANDS:
            return None
        command = get_command(import_module(f"etlog.commands.{cmd_name}").app)
        for each in (command, *getattr(command, "commands", {}).values()):
            each.epilog = EXIT_CODES
        return command

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """A line of the help for each."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


app = new_app(cls=Commands)


@app.callback(invoke_without_command=True, epilog=EXIT_CODES)
def etlog(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    """The event log for ETL pipelines: which sets were loaded, saved, aggregated, totaled and reconciled,
    which failed, and which never came.

    To see everything at work: etlog dev

    \b
    To use it:
    etlog consume & etlog serve &
    etlog emit AssetSetComputeError --error 'no prices'
    etlog log --kind Error

    Settings are environment variables, ETLOG_*. An option overrides its variable.
    """
    if version:
        typer.echo(f"etlog {metadata.version('etlog')}")
    elif context.invoked_subcommand is None:
        typer.echo(context.get_help(), err=True)
        raise typer.Exit(MISUSED)


def run(arguments: list[str]) -> int:
    """Run the command with `arguments`. Returns its exit code; an error becomes one sentence on standard error."""
    try:
        code = app(arguments, prog_name="etlog", standalone_mode=False)
    except (typer.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except Exception as e:
        sentence, code = explain(e)
        typer.echo(f"etlog: {sentence}", err=True)
    return code if isinstance(code, int) else DONE


def main() -> None:
    """Run the command of this process and end with its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # it is None where the caller closed it
            stream.reconfigure(errors="backslashreplace")  # an event may hold any character
    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
