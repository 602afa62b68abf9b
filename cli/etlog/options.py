"""Options that several commands share, and the settings they make with the environment."""

import os
from typing import Annotated

import typer
from etlog_events.errors import SettingsError
from etlog_events.settings import Settings, variable_of

from etlog.errors import CommandFailed

RedisUrl = Annotated[
    str | None, typer.Option("--redis-url", metavar="URL", help="Address of the store.  [env: ETLOG_REDIS_URL]")
]
LogName = Annotated[str | None, typer.Option("--log", metavar="NAME", help="Name of the log.  [env: ETLOG_NAME]")]
AskedLog = Annotated[
    str | None, typer.Option("--log", metavar="NAME", help="Name of the log, where the API serves several.")
]
ApiUrl = Annotated[str, typer.Option("--url", metavar="URL", envvar="ETLOG_URL", help="Address of the API.")]


def settings_of(**options: str | int | None) -> Settings:
    """The settings of the environment, with the options that were given in their place."""
    given = {variable_of(name): str(value) for name, value in options.items() if value is not None}
    spelled = {variable_of(name): f"--{name.replace('_', '-')}" for name in options} | {"ETLOG_NAME": "--log"}
    for variable, value in given.items():
        if not value:
            raise CommandFailed(f"{spelled[variable]} must not be empty")
    os.environ.update(given)  # worker processes read them from there
    if "ETLOG_NAME" in given:
        os.environ.pop("ETLOG_NAMES", None)  # this log alone is meant
    try:
        return Settings.from_environment()
    except SettingsError as e:
        variable, _, rest = str(e).partition(" ")
        raise CommandFailed(f"{spelled[variable]} {rest}" if variable in given else str(e)) from e
