"""Every setting of etlog in one typed object, read from `ETLOG_*` environment variables.

A bad value raises `SettingsError` with one line that names the variable and says what it must be.
"""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, tzinfo
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from etlog_events.errors import SettingsError
from etlog_events.keys import Keys
from etlog_events.kinds import CATEGORIES, Kinds
from etlog_events.store import url
from etlog_events.store.discovery import ReadFrom

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_TOKEN_SECRET = re.compile(r"[A-Za-z0-9._~+/=-]{16,}")


@dataclass(frozen=True, slots=True)
class Token:
    """A token of the API: `secret` is what the caller sends; `logs` are those that it opens, None for all."""

    secret: str = field(repr=False)
    logs: frozenset[str] | None

    @classmethod
    def parse(cls, text: str) -> "Token":
        """The token that `secret` or `secret:log+log` spells. Raises `ValueError`, whose text does not repeat it."""
        secret, limited, logs = text.partition(":")
        if not _TOKEN_SECRET.fullmatch(secret):
            raise ValueError("a token is at least 16 letters, digits or ._~+/=-")
        return cls(secret, frozenset(logs.split("+")) if limited else None)


def log_name(value: str) -> str:
    """The name of a log: it stands in key names and URLs. Raises `ValueError`."""
    if not _NAME.fullmatch(value):
        raise ValueError(
            "must be up to 64 letters, digits, dots, dashes or underscores, starting with a letter or digit, "
            f"not {value!r}"
        )
    return value


def _log_names(value: str) -> tuple[str, ...]:
    names = tuple(log_name(name.strip()) for name in value.split(","))
    if len(set(names)) < len(names):
        raise ValueError(f"must be distinct names, not {value!r}")
    return names


def store_url(value: str) -> str:
    """The address of the store. Raises `ValueError`, whose text does not repeat the address: it may hold a password."""
    if not value.startswith(url.SCHEMES) or value in url.SCHEMES:
        raise ValueError(
            "must be a store address such as redis://127.0.0.1:6379/0, rediss://host:6379, unix:///run/redis.sock, "
            "redis+sentinel://host:26379,host:26379/primary/0 or redis+cluster://host:6379,host:6379"
        )
    try:
        url.check(value)
    except ValueError as e:
        raise ValueError(f"is not a store address: {e}") from e
    return value


def _at_least(least: int, most: int | None = None) -> Callable[[str], int]:
    span = f"a whole number of at least {least}" if most is None else f"a whole number from {least} to {most}"

    def parse(value: str) -> int:
        try:
            number = int(value) if value.isascii() else None
        except ValueError:
            number = None
        if number is None or number < least or (most is not None and number > most):
            raise ValueError(f"must be {span}, not {value!r}")
        return number

    return parse


def _one_of(*choices: str) -> Callable[[str], str]:
    def parse(value: str) -> str:
        match = next((choice for choice in choices if choice.lower() == value.lower()), None)
        if match is None:
            raise ValueError(f"must be one of {', '.join(choices)}, not {value!r}")
        return match

    return parse


def _categories(value: str) -> Mapping[str, str]:
    categories: dict[str, str] = {}
    for pair in filter(None, (part.strip() for part in value.split(","))):
        name, _, prefix = pair.partition("=")
        if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or not re.fullmatch(r"[A-Z][A-Za-z0-9]*", prefix):
            raise ValueError(f"must be pairs such as cloudcost=CloudCostSet, separated by commas, not {pair!r}")
        if name in {*CATEGORIES, *categories, "counters"} or prefix in {
            *CATEGORIES.values(),
            *categories.values(),
        }:
            raise ValueError(f"names {pair!r}, but that category or prefix is taken")
        categories[name] = prefix
    return MappingProxyType(categories)


def _host(value: str) -> str:
    if not value or any(character.isspace() for character in value):
        raise ValueError(f"must be a host name or address, not {value!r}")
    return value


def _timezone(value: str) -> tzinfo:
    from etlog_events.windows import parse_timezone  # noqa: PLC0415 - a stage that names no zone need not pay for it

    return parse_timezone(value)


def _tokens(value: str) -> tuple[str, ...]:
    texts = tuple(text.strip() for text in value.split(","))
    try:
        tokens = [Token.parse(text) for text in texts]
        for name in (name for token in tokens for name in token.logs or ()):
            log_name(name)
    except ValueError:
        raise ValueError(
            "must be tokens of at least 16 letters, digits or ._~+/=- each, separated by commas; "
            ":log+log after one limits it to these logs"
        ) from None
    if len({token.secret for token in tokens}) < len(tokens):
        raise ValueError("must be distinct tokens")
    return texts


def _page_url(value: str) -> str:
    """The address of the page, without a slash at its end. Raises `ValueError`, whose text does not repeat it."""
    try:
        parts = urlsplit(value)
        is_page = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0 and "@" not in parts.netloc
    except ValueError:
        is_page = False
    if not is_page or re.search(r"[\s?#]", value):
        raise ValueError(
            "must be the address at which people open the page, such as https://etlog.example.com, "
            "without user, query or fragment"
        )
    return value.rstrip("/")


def _path(what: str) -> Callable[[str], Path]:
    def parse(value: str) -> Path:
        path = Path(os.path.expanduser(value))  # noqa: PTH111 - the other one fails for a user who does not exist
        if not path.is_absolute() or "\0" in value:
            raise ValueError(f"must be the full path of a {what}, not {value!r}")
        return path

    return parse


def _default_spool_dir(environment: Mapping[str, str]) -> Path:
    """Where this user's programs keep what must outlive them (XDG Base Directory Specification)."""
    named = environment.get("XDG_STATE_HOME", "")
    state = Path(named) if named.startswith("/") else Path(os.path.expanduser("~")) / ".local" / "state"  # noqa: PTH111
    return state / "etlog" / "spool"


def _setting(parse: Callable[[str], Any], default: Any, about: str, *, secret: bool = False) -> Any:
    """A field of `Settings`: how its text is read, its default or what makes it, and what it means, with its unit."""
    made = {"default_factory": default} if callable(default) else {"default": default}
    return field(**made, metadata={"parse": parse, "about": about}, repr=not secret)


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings, each with its default; `from_environment` reads those that are set."""

    redis_url: str = _setting(store_url, "redis://127.0.0.1:6379/0", "Address of the store", secret=True)
    name: str = _setting(log_name, "default", "Name of the log")
    names: tuple[str, ...] = _setting(
        _log_names,
        (),
        "Names of all logs that are applied, served and watched, comma-separated; unset: only `ETLOG_NAME`",
    )
    cap: int = _setting(_at_least(1, 1_000_000), 1000, "Events that each category's list holds")
    keep_sets: int = _setting(
        _at_least(1, 50_000), 2000, "Sets of each category and length of window that the ledger keeps, the newest"
    )
    retain: int = _setting(_at_least(0), 100_000, "Applied events that stay in the stream, at least")
    categories: Mapping[str, str] = _setting(
        _categories,
        lambda: MappingProxyType({}),
        "Categories in addition to allocation and asset, as name=Prefix,name=Prefix",
    )
    timezone: tzinfo = _setting(  # noqa: RUF009
        _timezone, UTC, "Zone that decides what 'today' is: an IANA name or +05:30"
    )
    api_token: tuple[str, ...] = _setting(
        _tokens,
        (),
        "Bearer tokens, comma-separated; the API requires one of them; unset: open to anyone. "
        "token:log+log opens these logs only",
        secret=True,
    )
    host: str = _setting(_host, "127.0.0.1", "Address the API listens on, and the metrics of other parts")
    port: int = _setting(_at_least(1, 65535), 9090, "Port the API listens on")
    read_from: ReadFrom = _setting(  # noqa: RUF009
        _one_of("primary", "replica"), "primary", "Whether the API reads from the primary or a replica of the store"
    )
    spool_dir: Path = _setting(  # noqa: RUF009
        _path("folder"), lambda: _default_spool_dir({}), "Folder for events that wait for the store on disk"
    )
    config: Path | None = _setting(  # noqa: RUF009
        _path("file"), None, "TOML file of zones, expectations and notifications"
    )
    page_url: str = _setting(
        _page_url, "", "Address at which people open the page, for links in messages; unset: no links"
    )
    metrics_port: int = _setting(
        _at_least(0, 65535),
        0,
        "Port of the consumer's or the watcher's metrics and readiness, on the same address; 0: none",
    )
    log_level: str = _setting(_one_of("DEBUG", "INFO", "WARNING", "ERROR"), "INFO", "Lowest severity to log")
    log_format: str = _setting(_one_of("text", "json"), "text", "Format of log lines")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Settings":
        """The settings that `environment` gives. Raises `SettingsError`, naming the variable."""
        values: dict[str, Any] = {}
        for setting in fields(cls):
            variable = variable_of(setting.name)
            text = environment.get(variable)
            if text is not None and text != "":
                try:
                    values[setting.name] = setting.metadata["parse"](text)
                except ValueError as e:
                    raise SettingsError(f"{variable} {e}") from e
        if "names" in values:
            values.setdefault("name", values["names"][0])
        values.setdefault("spool_dir", _default_spool_dir(environment))
        return cls(**values)

    def __post_init__(self) -> None:
        """Raise `SettingsError` for a default log that no one would apply."""
        if self.names and self.name not in self.names:
            raise SettingsError(f"ETLOG_NAME must be one of ETLOG_NAMES, {', '.join(self.names)}, not {self.name!r}")

    def public(self) -> dict[str, str]:
        """Every setting as text that may be shown: no password, no token."""
        shown = {setting.name: str(getattr(self, setting.name)) for setting in fields(self)}
        shown["redis_url"] = url.shown(self.redis_url)
        shown["names"] = ",".join(self.names)
        shown["config"] = str(self.config or "")
        shown["categories"] = ",".join(f"{name}={prefix}" for name, prefix in self.categories.items())
        shown["api_token"] = f"{len(self.api_token)} set" if self.api_token else "not set"
        return {variable_of(name): value for name, value in shown.items()}

    @property
    def logs(self) -> tuple[str, ...]:
        """The names of all logs, in their order."""
        return self.names or (self.name,)

    @property
    def tokens(self) -> tuple[Token, ...]:
        """The tokens of the API, with what each may see."""
        return tuple(map(Token.parse, self.api_token))

    @property
    def kinds(self) -> Kinds:
        """All kinds of these logs."""
        return Kinds({**CATEGORIES, **self.categories})

    @property
    def keys(self) -> Keys:
        """The keys of the log `name`."""
        return Keys(self.name)


def variable_of(setting: str) -> str:
    """The environment variable of a setting: `cap` -> `ETLOG_CAP`."""
    return "ETLOG_" + setting.upper()
