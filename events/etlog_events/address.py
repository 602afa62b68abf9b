"""Addresses that name several nodes, each of which can tell where a log is: sentinels, or some nodes of a cluster.

redis+sentinel://[user:password@]host:port,host:port/primary[/db]
redis+cluster://[user:password@]host:port,host:port
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlencode

#: What such an address begins with. The `s` after `redis` stands for TLS, as it does elsewhere.
SCHEMES = ("redis+sentinel://", "redis+cluster://", "rediss+sentinel://", "rediss+cluster://")

_ADDRESS = re.compile(
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


@dataclass(frozen=True, slots=True)
class SeveralNodes:
    """Such an address: for each node, the `plain` address that it would have if it were the store itself.

    `primary` is the name by which sentinels know the store, "" of a cluster; `credentials` are those for sentinels.
    """

    plain: tuple[str, ...]
    primary: str
    credentials: Mapping[str, str]
    shown: str


def names_several(url: str) -> bool:
    """Whether `url` is meant to be such an address."""
    return url.startswith(SCHEMES)


def parse(url: str) -> SeveralNodes:
    """The address; its plain ones are not looked at. Raises `ValueError`, whose text repeats no piece of it."""
    found = _ADDRESS.fullmatch(url)
    if not found:
        raise ValueError("its parts cannot be told apart; the signs / ? # @ in a password are written %2F %3F %23 %40")
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
    return SeveralNodes(
        plain=tuple(
            f"{found['scheme']}://{found['user'] or ''}{_with_port(node, _PORTS[kind])}/{path[2] or '0'}"
            f"{'?' if query else ''}{query}"
            for node in nodes
        ),
        primary=path[1],
        credentials={special[name]: value for name, value in options if name in special},
        shown=f"{found['scheme']}+{kind}://{found['nodes']}{found['path'] or ''}",
    )


def _with_port(node: str, port: int) -> str:
    return node if re.search(r":[^:\]]*$", node) else f"{node}:{port}"
