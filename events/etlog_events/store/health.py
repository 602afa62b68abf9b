"""What in a store's configuration endangers a log that must lose nothing."""

from collections.abc import Mapping
from typing import Any

#: The oldest version whose streams tell how far a group has read.
OLDEST = (7, 0)


def store_warnings(info: Mapping[str, Any]) -> list[str]:
    """A sentence for each danger, by the store's `INFO`. No part of etlog sends `CONFIG`: it may change the store."""
    warnings = []
    policy = info.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        warnings.append(
            f"the store may evict the log when its memory is full (maxmemory-policy {policy}); set it to noeviction"
        )
    if not int(info.get("aof_enabled", 1)):
        warnings.append(
            "the store keeps no append-only file, so a crash loses what came after its last snapshot, or everything; "
            "set appendonly to yes"
        )
    version = str(info.get("redis_version", "7.0"))
    if tuple(int(part) for part in version.split(".")[:2] if part.isdigit()) < OLDEST:
        warnings.append(f"the store is version {version}; etlog needs 7.0 or newer")
    return warnings
