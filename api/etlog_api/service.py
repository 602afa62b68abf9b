"""What the routes work with, wired once a process: the logs, and the clock that decides what "today" is in a zone."""

from collections.abc import Callable, Sequence
from datetime import datetime, tzinfo

from etlog_events.settings import Settings
from fastapi import Request

from etlog_api.guard import may_see
from etlog_api.log import Log
from etlog_api.metrics import Metrics
from etlog_api.query import parse_log


class UnknownLog(LookupError):
    """Raised when a log is asked for that is not served, or not to the one who asks: nobody learns which."""


class Service:
    """The logs of `settings`, each made when it is first asked for."""

    def __init__(self, settings: Settings, clock: Callable[[tzinfo], datetime]) -> None:
        self.settings = settings
        self.clock = clock
        self.metrics = Metrics()
        self._logs: dict[str, Log] = {}

    async def close(self) -> None:
        """Leave the store."""
        for log in self._logs.values():
            await log.close()

    def names(self, request: Request) -> Sequence[str]:
        """The names of the logs that the one who asks may see."""
        return [name for name in self.settings.logs if may_see(request.scope, name)]

    def default(self, names: Sequence[str]) -> str | None:
        """Which of the logs `names` is meant when none is named."""
        return self.settings.name if self.settings.name in names else next(iter(names), None)

    def log(self, request: Request) -> Log:
        """The log that `request` asks for. Raises `UnknownLog`, and `BadQuery` for several."""
        names = self.names(request)
        asked = parse_log(request.query_params)
        name = asked or self.default(names)
        if name is None or name not in names:
            raise UnknownLog(f"unknown log {asked[:64]!r}" if asked else "this token opens no log that is served here")
        return self.named(name)

    def named(self, name: str) -> Log:
        """The log `name` of the settings."""
        if name not in self._logs:
            self._logs[name] = Log(self.settings, name)
        return self._logs[name]
