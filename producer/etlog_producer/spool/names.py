"""The names of spool files: `<producer>.<first number>.<token>.spool`, so that two processes never share a file."""

import os
import re
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path

_NAME = re.compile(r"(?P<producer>.+)\.(?P<first>[0-9]{20})(?:\.(?P<token>[0-9a-f]{1,32})(?P<taken>\.taken)?)?\.spool")
_TOKEN = re.compile(r"[0-9a-f]{1,32}")

#: Bytes of the id of a producer from which a longer one is made. The store takes 256.
_MOST_OF_ID = 200


@dataclass(frozen=True, slots=True)
class SpoolFile:
    """A spool file by its name; `token` is "" in those of earlier releases."""

    path: Path
    producer: str
    first: int
    token: str = ""
    taken: bool = False

    @classmethod
    def named(cls, path: Path) -> "SpoolFile | None":
        """The file at `path`, None if its name is not that of a spool file."""
        match = _NAME.fullmatch(path.name)
        if not match:
            return None
        return cls(path, match["producer"], int(match["first"]), match["token"] or "", match["taken"] is not None)

    @property
    def owner(self) -> tuple[str, str, int]:
        """The same for the files that are sent under one id: those of one process, and each alone that is `taken`."""
        return self.producer, self.token, self.first if self.taken else 0

    @property
    def id_of_its_own(self) -> str:
        """The id for a file that is `taken`: the same at each attempt, so that none doubles the events of another."""
        producer = self.producer.encode()[:_MOST_OF_ID].decode(errors="ignore")
        return f"{producer}~{self.token}-{self.first}"

    def mark_taken(self) -> "SpoolFile":
        """Rename it to what it is called once its id is known to be taken. Raises `OSError`."""
        name = file_name(self.producer, self.first, self.token, taken=True)
        return replace(self, taken=True, path=self.path.rename(self.path.with_name(name)))


def file_name(producer: str, first: int, token: str, *, taken: bool = False) -> str:
    """What a file is called whose first event has the number `first`."""
    if not token:
        return f"{producer}.{first:020d}.spool"
    if not _TOKEN.fullmatch(token):  # someone made it who makes others
        token = blake2b(token.encode(), digest_size=8).hexdigest()
    return f"{producer}.{first:020d}.{token}{'.taken' if taken else ''}.spool"


def set_aside(path: Path, suffix: str) -> Path:
    """Rename a file to a name that ends with `suffix` and that no other file has. Raises `OSError`."""
    aside, number = path.with_suffix(suffix), 1
    while os.path.lexists(aside):
        number += 1
        aside = path.with_suffix(f".{number}{suffix}")
    return path.rename(aside)
