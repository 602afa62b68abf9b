"""A token of the API, and the logs that it opens."""

import re
from dataclasses import dataclass, field

_SECRET = re.compile(r"[A-Za-z0-9._~+/=-]{16,}")


@dataclass(frozen=True, slots=True)
class Token:
    """`secret` is what the asker sends; `logs` are those that it may see, None for all."""

    secret: str = field(repr=False)
    logs: frozenset[str] | None

    @classmethod
    def parse(cls, text: str) -> "Token":
        """The token that `secret` or `secret:log+log` spells. Raises `ValueError`, whose text does not repeat it."""
        secret, limited, logs = text.partition(":")
        if not _SECRET.fullmatch(secret):
            raise ValueError("a token is at least 16 letters, digits or ._~+/=-")
        return cls(secret, frozenset(logs.split("+")) if limited else None)
