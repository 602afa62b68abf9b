"""A node of a store of several, and the order in which this process tries those that are equally good."""

import secrets
from collections.abc import Iterable
from hashlib import blake2b
from typing import TypeAlias

#: Host and port.
Node: TypeAlias = tuple[str, int]

_OF_THIS_PROCESS = secrets.token_bytes(8)


def spread(nodes: Iterable[Node]) -> list[Node]:
    """`nodes` in this process's order, always the same: its connections lead to one of equal nodes, which is never
    behind itself, and other processes take others."""
    return sorted(nodes, key=lambda node: blake2b(repr(node).encode(), key=_OF_THIS_PROCESS).digest())
