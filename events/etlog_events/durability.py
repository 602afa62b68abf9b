"""What in a store's configuration endangers a log that shall lose nothing."""

from collections.abc import Mapping
from typing import Any

#: The oldest version whose streams tell how far a group has read.
OLDEST = (7, 0)


def store_warnings(info: Mapping[str, Any], save: str | None) -> list[str]:
    """A sentence for each danger, by the store's `INFO`; `save` is that setting of it, None where it is not told."""
    warnings = []
    policy = info.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        warnings.append(
            f"the store may evict the log when its memory is full (maxmemory-policy {policy}); set it to noeviction"
        )
    if not int(info.get("aof_enabled", 1)) and save == "":
        warnings.append("the store keeps nothing on disk, a restart loses the log; set appendonly to yes")
    version = str(info.get("redis_version", "7.0"))
    if tuple(int(part) for part in version.split(".")[:2] if part.isdigit()) < OLDEST:
        warnings.append(f"the store is version {version}; etlog needs 7.0 or newer")
    return warnings
