"""Options that several commands share, and the settings that they make together with the environment."""

import os
from typing import Annotated, Any

import typer
from etlog_events.errors import SettingsError
from etlog_events.settings import Settings, variable_of

from etlog.errors import CommandFailed

RedisUrl = Annotated[
    str | None, typer.Option("--redis-url", metavar="URL", help="Address of the store.  [env: ETLOG_REDIS_URL]")
]
LogName = Annotated[str | None, typer.Option("--log", metavar="NAME", help="Name of the log.  [env: ETLOG_NAME]")]
AskedLog = Annotated[
    str | None, typer.Option("--log", metavar="NAME", help="Name of the log, if the API serves several.")
]
ApiUrl = Annotated[str, typer.Option("--url", metavar="URL", envvar="ETLOG_URL", help="Address of the API.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]

#: Where the API is unless `--url` or ETLOG_URL says otherwise.
API_URL = "http://127.0.0.1:9090"


def new_app(**options: Any) -> typer.Typer:
    """An application of one command, or of a group of them: plain help, and errors that reach the caller."""
    return typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False, **options)


def variables_of(**options: str | int | None) -> dict[str, str]:
    """The environment variables that mean the same as the options that were given, each named as its setting."""
    given = {variable_of(name): str(value) for name, value in options.items() if value is not None}
    if "ETLOG_NAME" in given:
        given["ETLOG_NAMES"] = ""  # --log means this log alone
    return given


def settings_of(**options: str | int | None) -> Settings:
    """The settings of the environment, overridden by the options that were given.

    Raises `SettingsError` for a bad variable, and `CommandFailed` for a bad option.
    """
    spelled = {variable_of(name): f"--{name.replace('_', '-')}" for name in options} | {"ETLOG_NAME": "--log"}
    given = variables_of(**options)
    for variable, value in given.items():
        if not value and variable in spelled:
            raise CommandFailed(f"{spelled[variable]} must not be empty")
    try:
        return Settings.from_environment({**os.environ, **given})
    except SettingsError as e:
        variable, _, rest = str(e).partition(" ")
        raise CommandFailed(f"{spelled[variable]} {rest}" if variable in given else str(e)) from e
