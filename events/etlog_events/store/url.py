"""Store addresses: one server's, as the driver takes them, and those that name several nodes.

    redis://[user:password@]host:port/db  rediss://…  unix://[user:password@]/path?db=0
    redis+sentinel://[user:password@]host:port,host:port/primary[/db]
    redis+cluster://[user:password@]host:port,host:port

The nodes of the latter are asked where a log is: sentinels, or some nodes of a cluster.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias
from urllib.parse import parse_qsl, urlencode, urlsplit

#: What an address of several nodes begins with. The `s` after `redis` stands for TLS, as it does elsewhere.
MULTI_NODE_SCHEMES = ("redis+sentinel://", "redis+cluster://", "rediss+sentinel://", "rediss+cluster://")

#: What any address begins with.
SCHEMES = ("redis://", "rediss://", "unix://", *MULTI_NODE_SCHEMES)

#: What an address may add after `?`. Further options of the driver change how it waits and what it answers.
_OPTIONS = re.compile(r"db|username|password|ssl_[a-z_]+")

_ESCAPE = "in a password, write / ? # @ and spaces as %2F %3F %23 %40 and %20"

_MULTI_NODE = re.compile(
    r"(?P<scheme>rediss?)\+(?P<kind>sentinel|cluster)://"
    r"(?P<user>[^/?#@]*@)?(?P<nodes>[^/?#@]*)(?P<path>/[^?#@]*)?(?:\?(?P<query>[^#]*))?"
)
_PORTS = {"sentinel": 26379, "cluster": 6379}
_PATHS = {"sentinel": re.compile(r"/([A-Za-z0-9._-]+)(?:/([0-9]*))?"), "cluster": re.compile(r"()/?(0?)")}
_WRONG_PATHS = {
    "sentinel": "it does not name the primary, as redis+sentinel://host:26379,host:26379/primary/0 does",
    "cluster": "a cluster has no database but 0, as in redis+cluster://host:6379,host:6379",
}

#: Options for the sentinels alone: the user and the password before the hosts are those for the store.
_FOR_SENTINELS = {"sentinel_username": "username", "sentinel_password": "password"}


#: Host and port of a node of several.
Node: TypeAlias = tuple[str, int]


@dataclass(frozen=True, slots=True)
class MultiNodeAddress:
    """An address of several nodes: for each node, the `plain` address it would have if it were the store itself.

    `primary` is the name by which sentinels know the store, "" for a cluster; `credentials` are those for sentinels.
    """

    plain: tuple[str, ...]
    primary: str
    credentials: Mapping[str, str]
    shown: str


def is_multi_node(url: str) -> bool:
    """Whether `url` is meant to name several nodes."""
    return url.startswith(MULTI_NODE_SCHEMES)


def parse_multi_node(url: str) -> MultiNodeAddress:
    """The address; its plain ones are not checked. Raises `ValueError`, whose text repeats no piece of it."""
    found = _MULTI_NODE.fullmatch(url)
    if not found:
        raise ValueError("its parts cannot be told apart; in a password, write / ? # @ as %2F %3F %23 %40")
    kind, nodes = found["kind"], found["nodes"].split(",")
    path = _PATHS[kind].fullmatch(found["path"] or "")
    try:
        options = parse_qsl(found["query"] or "", keep_blank_values=True, strict_parsing=bool(found["query"]))
    except ValueError:
        raise ValueError("its options cannot be understood") from None
    if not path or (kind == "cluster" and "db" in dict(options)):
        raise ValueError(_WRONG_PATHS[kind])
    special = _FOR_SENTINELS if kind == "sentinel" else {}
    query = urlencode([(name, value) for name, value in options if name not in special])
    return MultiNodeAddress(
        plain=tuple(
            f"{found['scheme']}://{found['user'] or ''}{_with_port(node, _PORTS[kind])}/{path[2] or '0'}"
            f"{'?' if query else ''}{query}"
            for node in nodes
        ),
        primary=path[1],
        credentials={special[name]: value for name, value in options if name in special},
        shown=f"{found['scheme']}+{kind}://{found['nodes']}{_path_to(found['path'] or '', path[2] or '', options)}",
    )


def _database(options: Sequence[tuple[str, str]]) -> str:
    """The number of the database that the options name; "" if they name none."""
    named = next((value for name, value in options if name == "db"), "")
    return str(int(named)) if re.fullmatch(r"[0-9]+", named) else ""


def _path_to(path: str, database: str, options: Sequence[tuple[str, str]]) -> str:
    """`path`, which names the `database` at its end or none; that of the options in its place, if it is another."""
    wanted = _database(options)
    if not wanted or int(wanted) == int(database or 0):
        return path
    return f"{path.removesuffix(database).rstrip('/')}/{wanted}"


def _with_port(node: str, port: int) -> str:
    return node if re.search(r":[^:\]]*$", node) else f"{node}:{port}"


def check(url: str) -> None:
    """Raise `ValueError` for an address that the driver would refuse, or would take for another one.

    The text repeats no piece of it: where a password was not escaped, the pieces are not what they seem to be.
    """
    if is_multi_node(url):
        for plain in parse_multi_node(url).plain:
            check(plain)
        return
    try:
        parts = urlsplit(url)
        port = parts.port
        options = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        raise ValueError(f"its host, port or options cannot be understood; {_ESCAPE}") from None
    if parts.fragment or re.search(r"\s", url):
        raise ValueError(f"it holds a space or a #; {_ESCAPE}")
    if parts.scheme == "unix":
        if parts.path in {"", "/"} or parts.netloc.rpartition("@")[2]:
            raise ValueError("it does not name a socket by its full path, as unix:///run/redis.sock does")
    else:
        if not parts.hostname:
            raise ValueError("it names no host")
        if port == 0:
            raise ValueError("its port is not from 1 to 65535")
        if not re.fullmatch(r"/?|/[0-9]+", parts.path):
            raise ValueError(f"what follows host and port is not the number of a database; {_ESCAPE}")
    if not all(_OPTIONS.fullmatch(name) for name, _ in options):
        raise ValueError(f"its options are not among db, username, password and ssl_*; {_ESCAPE}")


def shown(url: str) -> str:
    """`url` without user, password and options, for people to read; nothing of a text that is not an address.

    Two databases of a server are never shown alike: one that stands among the options is shown where it belongs.
    """
    try:
        check(url)
    except ValueError:
        return "an invalid address"
    if is_multi_node(url):
        return parse_multi_node(url).shown
    parts = urlsplit(url)
    host, options = parts.netloc.rpartition("@")[2], parse_qsl(parts.query)
    if parts.scheme == "unix":
        database = _database(options)
        return f"unix://{parts.path}{f'?db={database}' if database not in {'', '0'} else ''}"
    return f"{parts.scheme}://{host}{_path_to(parts.path, parts.path.removeprefix('/'), options)}"
