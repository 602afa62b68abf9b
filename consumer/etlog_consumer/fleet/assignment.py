"""Who applies which log, when many processes apply many: each can tell by itself, and all come to the same answer."""

from collections.abc import Iterable, Sequence
from hashlib import blake2b


def shares(logs: Iterable[str], members: Sequence[str]) -> dict[str, list[str]]:
    """The logs of each member: as many as of any other, or one more, and few change hands when a member comes or goes.

    Each log goes to the member that it weighs highest with (rendezvous hashing), as long as that has room.
    """
    logs = list(logs)
    least, more = divmod(len(logs), len(members))
    found: dict[str, list[str]] = {member: [] for member in sorted(members)}
    placed: set[str] = set()
    for _, log, member in sorted((_weight(log, member), log, member) for log in logs for member in found):
        held = len(found[member])
        if log not in placed and held < least + (more > 0):
            more -= held == least
            found[member].append(log)
            placed.add(log)
    return found


def _weight(log: str, member: str) -> bytes:
    return blake2b(f"{log} {member}".encode(), digest_size=8).digest()
