"""The configuration file: what does not fit into `ETLOG_*` variables. It is one TOML file, which `ETLOG_CONFIG` names.

    version = 1

    [[log]]                     # a log and the zone of its pipeline
    [[expect]]                  # which stages are expected to do which sets; `etlog_ledger.expectations` reads these
    [[notify]]                  # whom to tell of what

A file with a mistake raises `ConfigError` with a sentence for each, which names the table, its index and the key.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields
from datetime import date, datetime, time, timedelta, tzinfo
from difflib import get_close_matches
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from etlog_events import schedule, toml_text
from etlog_events.errors import ConfigError
from etlog_events.kinds import ACTIONS
from etlog_events.schedule import Hours
from etlog_events.settings import Settings
from etlog_events.windows import parse_timezone

#: The version of this file's rules.
VERSION = 1

#: The stages that can be expected, in the order in which a set lives through them: errors are not.
STAGES = tuple(action.name for action in ACTIONS if not action.is_error)

#: What a notification may be about: the faults of a verdict, and the state of the log itself.
NOTICES = ("failed", "missing", "stopped", "unusual", "lost", "dead", "stalled", "store")

#: Names that a sentence lists at most.
_LISTED = 20

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_DATE_AND_TIME = re.compile(
    rf"{_DATE.pattern}[T ][0-9]{{2}}:[0-9]{{2}}(?::[0-9]{{2}}(?:\.[0-9]+)?)?(?:Z|[+-][0-9]{{2}}:[0-9]{{2}})?"
)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S+")


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"must be a text in quotes, not {_shown(value)}")
    return value


def _texts(value: Any, known: Sequence[str]) -> tuple[str, ...]:
    if not isinstance(value, list) or not value:
        raise ValueError(f'must be a list such as ["{known[0]}"], not {_shown(value)}')
    texts = tuple(_one_of(text, known) for text in value)
    for text in texts:
        if texts.count(text) > 1:
            raise ValueError(f"names {text} twice")
    return texts


def _one_of(value: Any, known: Sequence[str], more: str = "") -> str:
    if value not in known:
        listed = ", ".join(known[:_LISTED]) + (" …" if len(known) > _LISTED else "")
        only = "one of " if len(known) > 1 else ""
        raise ValueError(f"must be {only}{listed}{more}, not {_shown(value)}{_nearest(value, known)}")
    return str(value)


def _log(value: Any, settings: Settings) -> str:
    return _one_of(value, settings.logs, f" ({'ETLOG_NAMES' if settings.names else 'ETLOG_NAME'})")


def _zone(value: Any, _: Settings) -> tzinfo:
    return parse_timezone(_text(value))


def _category(value: Any, settings: Settings) -> str:
    return _one_of(value, tuple(settings.kinds.categories), " (ETLOG_CATEGORIES adds others)")


def _every(value: Any, _: Settings) -> str:
    text = _text(value)
    schedule.length(text)
    return text


def _due(value: Any, _: Settings) -> timedelta | time:
    return value if isinstance(value, time) else schedule.parse_due(_text(value))


def _day(value: Any) -> date:
    if isinstance(value, str) and _DATE.fullmatch(value):
        try:
            return date.fromisoformat(value)
        except ValueError:
            pass
    if not isinstance(value, date) or isinstance(value, datetime):
        raise ValueError(f"must be a list of dates such as [2026-12-25], not {_shown(value)}")
    return value


def _days(value: Any, _: Settings) -> frozenset[date]:
    return frozenset(map(_day, value)) if isinstance(value, list) else frozenset({_day(value)})


def _since(value: Any, _: Settings) -> date | datetime:
    if isinstance(value, date):
        return value
    try:
        if isinstance(value, str) and _DATE.fullmatch(value):
            return date.fromisoformat(value)
        if isinstance(value, str) and _DATE_AND_TIME.fullmatch(value):
            return datetime.fromisoformat(value)
    except ValueError:
        pass
    raise ValueError(f"must be a date or a time such as 2026-11-01 or 2026-11-01T06:00:00Z, not {_shown(value)}")


def _address(value: Any, _: Settings) -> str:
    """Refused without being repeated: it may hold a secret."""
    try:
        if isinstance(value, str) and _ADDRESS.fullmatch(value):
            parts = urlsplit(value)
            if parts.scheme not in {"http", "https"} or (parts.hostname and parts.port != 0):
                return value
    except ValueError:
        pass
    raise ValueError("must be an address such as https://hooks.example.com/etlog")


def _secret(value: Any, _: Settings) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("must be a text in quotes such as env:ETLOG_WEBHOOK_SECRET, which names a variable")
    if value.startswith("env:") and not _VARIABLE.fullmatch(value, 4):
        raise ValueError("must name a variable after env:, such as env:ETLOG_WEBHOOK_SECRET")
    return value


def _remind(value: Any, _: Settings) -> timedelta:
    span = schedule.parse_span(_text(value))
    if not span:
        raise ValueError(f"must be a time such as 24h, not {_shown(value)}; leave it out for no reminders")
    return span


def _quiet(value: Any, _: Settings) -> tuple[Hours, ...]:
    quiet = schedule.parse_only(_text(value))
    week = [datetime(2026, 11, 2 + day) for day in range(7)]  # which begins on a Monday
    # If any time is left, the first one of it is the end of some hours.
    if all(any(datetime.combine(day, one.end) in hours for hours in quiet) for day in week for one in quiet):
        raise ValueError(f"must leave time in which messages are sent, not {_shown(value)}")
    return quiet


def _key(
    parse: Callable[[Any, Settings], Any], example: str, default: Any = MISSING, *, key: str = "", secret: bool = False
) -> Any:
    """A field of a table: how its value is read, and an example of it as TOML. Without a default it must be given."""
    return field(default=default, metadata={"parse": parse, "example": example, "key": key}, repr=not secret)


@dataclass(frozen=True, slots=True)
class Log:
    """A `[[log]]`: the zone of its pipeline, None for that of the settings."""

    name: str = _key(_log, '"nightly"')
    zone: tzinfo | None = _key(_zone, '"America/New_York"', None)  # noqa: RUF009


@dataclass(frozen=True, slots=True)
class Expect:
    """An `[[expect]]`: these stages of a category, of one log or of all of them (None), are expected.

    `every` is the cadence, None for any. A `since` without a zone is in that of the log.
    """

    category: str = _key(_category, '"allocation"')
    stages: tuple[str, ...] = _key(lambda value, _: _texts(value, STAGES), '["Saved"]')
    due: timedelta | time = _key(_due, '"20m"')  # noqa: RUF009
    log: str | None = _key(_log, '"nightly"', None)
    every: str | None = _key(_every, '"1h"', None)
    only: tuple[Hours, ...] = _key(lambda value, _: schedule.parse_only(_text(value)), '"mon-fri 06:00-18:00"', ())
    excepted: frozenset[date] = _key(_days, "[2026-12-25]", frozenset(), key="except")
    since: date | datetime | None = _key(_since, "2026-11-01", None)  # noqa: RUF009


@dataclass(frozen=True, slots=True)
class Notify:
    """A `[[notify]]`: where messages go, what signs them, what they are about, and when they are repeated (None: not).

    A `secret` of `env:NAME` stands in the variable of that name. `log` and `category` are None for all of them. `quiet`
    are the hours in which nothing is sent, in the zone of the settings.
    """

    url: str = _key(_address, '"https://hooks.example.com/etlog"', secret=True)
    secret: str | None = _key(_secret, '"env:ETLOG_WEBHOOK_SECRET"', None, secret=True)
    on: tuple[str, ...] = _key(lambda value, _: _texts(value, NOTICES), '["failed"]', NOTICES)
    log: str | None = _key(_log, '"nightly"', None)
    category: str | None = _key(_category, '"allocation"', None)
    remind: timedelta | None = _key(_remind, '"24h"', None)  # noqa: RUF009
    quiet: tuple[Hours, ...] = _key(_quiet, '"22:00-07:00"', ())

    @property
    def is_webhook(self) -> bool:
        """Whether messages are posted there as JSON; every other scheme is one of Apprise."""
        return urlsplit(self.url).scheme in {"http", "https"}

    @property
    def key(self) -> str:
        """12 hexadecimal digits that stand for the target in the store: those of its address and of what it is told.

        A change of `secret`, `remind` or `quiet` keeps it, and what is still to be sent. "All" is the same whether it
        is listed or left out, and when a later version knows more to tell.
        """
        on = None if set(self.on) == set(NOTICES) else sorted(self.on)
        return hashlib.sha256(json.dumps([self.url, on, self.log, self.category]).encode()).hexdigest()[:12]

    @property
    def shown(self) -> str:
        """As much of the address as may be shown: a path or a query, and a host that is none, may be a secret."""
        parts = urlsplit(self.url)
        host = str(parts.hostname) + (f":{parts.port}" if parts.port else "")
        return f"{parts.scheme}://{host if self.is_webhook else '…'}"

    def wants(self, notice: str, log: str | None, category: str | None) -> bool:
        """Whether this target is told of something about a log, and about a category of it.

        What is wrong with a log itself has no category: a target of one category is not told of it. A store that is
        away concerns every log: its log is None, and a target of any log is told.
        """
        is_of_log = log is None or self.log in {None, log}
        return notice in self.on and is_of_log and self.category in {None, category}

    def is_quiet(self, now: datetime) -> bool:
        """Whether nothing is sent at `now`, which is in the zone of the settings."""
        return any(now in hours for hours in self.quiet)


@dataclass(frozen=True, slots=True)
class Config:
    """What the file says, in its order."""

    logs: tuple[Log, ...] = ()
    expect: tuple[Expect, ...] = ()
    notify: tuple[Notify, ...] = ()

    def zone_of(self, log: str, default: tzinfo) -> tzinfo:
        """The zone of a log's pipeline."""
        return next((entry.zone for entry in self.logs if entry.name == log and entry.zone), default)


#: The tables of the file, and what each of them is read as.
TABLES: Mapping[str, type[Log] | type[Expect] | type[Notify]] = {"log": Log, "expect": Expect, "notify": Notify}


def load(settings: Settings) -> Config:
    """What the file says that `ETLOG_CONFIG` names; nothing where it names none. Raises `ConfigError`."""
    return read(settings.config, settings) if settings.config is not None else Config()


def read(path: Path, settings: Settings) -> Config:
    """What the file at `path` says for the logs and categories of `settings`. Raises `ConfigError`."""
    try:
        text = path.read_text("utf-8-sig")
    except OSError as e:
        raise ConfigError([f"{path} cannot be read: {e.strerror}; ETLOG_CONFIG must name a TOML file"]) from e
    except UnicodeDecodeError as e:
        raise ConfigError([f"{path} is not a text in UTF-8; ETLOG_CONFIG must name a TOML file"]) from e
    try:
        return parse(text, settings)
    except ConfigError as e:
        raise ConfigError([f"{path}{',' if p.startswith('line ') else ':'} {p}" for p in e.problems]) from e


def parse(text: str, settings: Settings) -> Config:
    """What a file with this text says, as `read` does it. Raises `ConfigError`."""
    reader = _Reader(text, settings)
    tables = {name: reader.tables(name, TABLES[name]) for name in TABLES}
    reader.finish()
    return Config(tables["log"], tables["expect"], tables["notify"])


class _Reader:
    """Reads the tables of a text, and notes what is wrong with them."""

    def __init__(self, text: str, settings: Settings) -> None:
        self._settings = settings
        self._lines = toml_text.lines_of(text)
        self._problems: list[tuple[int, str]] = []
        self._targets: dict[str, int] = {}
        try:
            self._file = toml_text.tables_of(text)
        except ValueError as e:
            raise ConfigError([str(e)]) from e

    def tables(self, name: str, table: Callable[..., Any]) -> tuple[Any, ...]:
        """The tables `[[name]]` that are right."""
        values = self._file.get(name, [])
        if not isinstance(values, list):
            self._note((name,), f"{name} must be a list of tables: write [[{name}]], not [{name}]")
            return ()
        return tuple(filter(None, (self._table(name, index, value) for index, value in enumerate(values))))

    def _table(self, name: str, index: int, values: Any) -> Any:
        where = f"{name}[{index}]"
        if not isinstance(values, dict):
            shown = "something else" if name == "notify" else _shown(values)  # it may be an address
            return self._note((name, index), f"{where} must be a table, not {shown}")
        table, before = TABLES[name], len(self._problems)
        keys = {entry.metadata["key"] or entry.name: entry for entry in fields(table)}
        read: dict[str, Any] = {}
        for key, value in values.items():
            if key not in keys:
                rest = _nearest(key, keys) or f"; [[{name}]] has {', '.join(keys)}"
                self._note((name, index, key), f"{where}.{key} is not known{rest}")
                continue
            try:
                read[keys[key].name] = keys[key].metadata["parse"](value, self._settings)
            except ValueError as e:
                self._note((name, index, key), f"{where}.{key} {_without_secrets(str(e)) if name == 'notify' else e}")
        for key, entry in keys.items():
            if key not in values and entry.default is MISSING:
                self._note(
                    (name, index), f"{where}.{key} is missing: add a line such as {key} = {entry.metadata['example']}"
                )
        if len(self._problems) > before:
            return None
        made = table(**read)
        if isinstance(made, Notify):
            self._check_target(index, made)
        return made

    def _check_target(self, index: int, notify: Notify) -> None:
        """Refuse a target that is told the same things twice, and a secret with which nothing would be signed."""
        first = self._targets.setdefault(notify.key, index)
        if first != index:
            problem = f"notify[{index}] is notify[{first}] once more: they differ in none of url, on, log and category"
            self._note(("notify", index), problem)
        if notify.secret is not None and not notify.is_webhook:
            problem = f"notify[{index}].secret is only for addresses that begin with https:// or http://"
            self._note(("notify", index, "secret"), problem)

    def finish(self) -> None:
        """Look at the file as a whole. Raises `ConfigError` if anything was wrong, with all of it, line by line."""
        version = self._file.get("version")
        if "version" not in self._file:
            self._note((), f"version is missing: the file must begin with version = {VERSION}")
        elif type(version) is not int or version != VERSION:
            self._note(("version",), f"version must be {VERSION}, the one that this etlog reads, not {_shown(version)}")
        known = ["version", *(f"[[{name}]]" for name in TABLES)]
        for key in self._file.keys() - TABLES.keys() - {"version"}:
            rest = _nearest(key, known) or f"; the file has {', '.join(known)}"
            self._note((key,), f"{key} is not known{rest}")
        logs = self._file.get("log", [])
        names = [log.get("name") if isinstance(log, dict) else None for log in logs] if isinstance(logs, list) else []
        for index, name in enumerate(names):
            if name is not None and name in names[:index]:
                self._note(("log", index, "name"), f"log[{index}].name is {_shown(name)} once more: give each log once")
        if self._problems:
            raise ConfigError([problem for _, problem in sorted(self._problems)])

    def _note(self, place: tuple[str | int, ...], problem: str) -> None:
        """Note a problem at a place of the file, with the line of it or of what it is in, where that is known."""
        line = next((self._lines[place[:n]] for n in range(len(place), 0, -1) if place[:n] in self._lines), 0)
        self._problems.append((line, f"line {line}: {problem}" if line else problem))


def _nearest(value: Any, known: Iterable[str]) -> str:
    """The end of a sentence that asks whether the nearest of the known names was meant; empty where none is near."""
    by_lower = {name.strip("[]").lower(): name for name in known}
    near = get_close_matches(value.lower(), by_lower, 1) if isinstance(value, str) else []
    return f"; did you mean {by_lower[near[0]]}?" if near else ""


def _without_secrets(text: str) -> str:
    """A sentence on a target without what may have been pasted into the wrong line: addresses, and long words."""
    return re.sub(r"\w+://[^\s'\"]+|[^\s'\",;]{25,}", "…", text)


def _shown(value: Any) -> str:
    """A value as a sentence shows it."""
    match value:
        case bool():
            return str(value).lower()
        case dict():
            return "a table"
        case list():
            return "a list" if value else "an empty list"
        case date() | time():
            return value.isoformat()
    shown = repr(value)
    return shown if len(shown) <= 60 else shown[:60] + "…"
