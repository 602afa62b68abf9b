"""The registry of a process: the logs that it serves, its metrics, and the clock that says what "today" is."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, tzinfo

from etlog_events import config
from etlog_events.settings import Settings
from fastapi import Request
from starlette.types import Scope

from etlog_api.errors import UnknownLog
from etlog_api.log.log import Log
from etlog_api.metrics import Figures, Metrics
from etlog_api.middleware import may_see
from etlog_api.query import single

#: Logs that the store is asked about at a time: more would wait for one another and seem to wait for the store.
AT_ONCE = 16

#: Seconds in which it must have answered for all of them; a scrape by Prometheus may take 10 by default.
LOOK_TIMEOUT = 5.0


class Registry:
    """The logs of `settings`, each made when it is first asked for.

    Raises `ConfigError` for a bad configuration file.
    """

    def __init__(self, settings: Settings, clock: Callable[[tzinfo], datetime]) -> None:
        self.settings = settings
        self.clock = clock
        self._config = config.load(settings)
        self.metrics = Metrics()
        self._served = frozenset(settings.logs)
        self._logs: dict[str, Log] = {}
        self._sound = settings.name  # the log that was well the last time

    async def close(self) -> None:
        """Leave the store."""
        for log in self._logs.values():
            await log.close()

    def names(self, request: Request) -> Sequence[str]:
        """The names of the logs that the caller may see."""
        return [name for name in self.settings.logs if may_see(request.scope, name)]

    def default(self, names: Sequence[str]) -> str | None:
        """The one of the logs `names` that a request without a name means."""
        return self.settings.name if self.settings.name in names else next(iter(names), None)

    def log(self, request: Request) -> Log:
        """The log that `request` names. Raises `UnknownLog`, and `BadQuery` when it names several."""
        return self.log_named(single(request.query_params, "log"), request.scope)

    def log_named(self, asked: str, scope: Scope) -> Log:
        """The log `asked`, or the default log if that is empty, for the caller whose request has `scope`.

        Raises `UnknownLog`.
        """
        name: str | None = asked or self.settings.name
        if not asked and not may_see(scope, self.settings.name):
            name = next((name for name in self.settings.logs if may_see(scope, name)), None)
        if name is None or name not in self._served or not may_see(scope, name):
            raise UnknownLog(f"unknown log {asked[:64]!r}" if asked else "this token opens no log that is served here")
        return self._log(name)

    async def figures(self, names: Sequence[str]) -> Mapping[str, Figures | None]:
        """Status and counters of each of the logs `names`, None for one that the store does not tell in time."""
        free = asyncio.Semaphore(AT_ONCE)

        async def look(log: Log) -> Figures | None:
            async with free:
                return await log.figures_or_none()

        looks = {name: asyncio.create_task(look(self._log(name))) for name in names}
        if looks:
            _, late = await asyncio.wait(looks.values(), timeout=LOOK_TIMEOUT)
            for task in late:
                task.cancel()
        return {name: task.result() if task.done() else None for name, task in looks.items()}

    def ages(self, names: Sequence[str]) -> Mapping[str, float | None]:
        """The age of the snapshot of each of the logs `names` in seconds, None where there is none."""
        return {name: self._log(name).reader.age for name in names}

    async def problem(self) -> str | None:
        """What keeps this replica from being ready, or None: it is needed as long as one log is well."""
        problem = await self._log(self._sound).problem()
        others = [name for name in self.settings.logs if name != self._sound]
        if problem is None or not others:
            return problem
        problems = await asyncio.gather(*(self._log(name).problem() for name in others))
        self._sound = next((name for name, found in zip(others, problems, strict=True) if found is None), self._sound)
        return problem if None not in problems else None

    def _log(self, name: str) -> Log:
        if name not in self._logs:
            self._logs[name] = Log(self.settings, self._config, name, self.clock)
        return self._logs[name]
