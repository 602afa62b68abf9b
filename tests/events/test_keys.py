"""The names of the keys are read by people and by other programs: each is pinned here."""

import pytest
from etlog_events.keys import CONSUMERS, CONSUMERS_CONTRACT, GROUP, Keys
from redis.crc import key_slot

KEYS = Keys("default")


@pytest.mark.parametrize(
    ("key", "name"),
    [
        (KEYS.contract, "etlog:{default}:contract"),
        (KEYS.events, "etlog:{default}:events"),
        (KEYS.cursor, "etlog:{default}:cursor"),
        (KEYS.log("allocation"), "etlog:{default}:log:allocation"),
        (KEYS.log("asset"), "etlog:{default}:log:asset"),
        (KEYS.counters, "etlog:{default}:counters"),
        (KEYS.stats, "etlog:{default}:stats"),
        (KEYS.dead, "etlog:{default}:dead"),
        (KEYS.producers, "etlog:{default}:producers"),
        (KEYS.retired, "etlog:{default}:retired"),
        (KEYS.lease, "etlog:{default}:lease"),
        (GROUP, "etlog"),
        (CONSUMERS, "etlog:consumers"),
        (CONSUMERS_CONTRACT, "{etlog:consumers}:contract"),
    ],
)
def test_a_key_is_called_what_it_always_was(key: str, name: str) -> None:
    """A key that changes its name loses the log that was kept under the old one."""
    assert key == name


def test_the_lists_come_in_the_order_of_the_categories() -> None:
    """The script that applies a batch knows the lists by their places."""
    assert KEYS.logs(["asset", "allocation"]) == ["etlog:{default}:log:asset", "etlog:{default}:log:allocation"]


def test_all_keys_of_a_log_share_a_hash_tag() -> None:
    """A Redis Cluster keeps them in one slot, and another log in another."""
    keys = Keys("nightly")

    names = [
        keys.contract,
        keys.events,
        keys.cursor,
        keys.lease,
        *keys.logs(["asset"]),
        keys.counters,
        keys.stats,
        keys.dead,
        keys.producers,
        keys.retired,
    ]
    assert all(name.startswith("etlog:{nightly}:") for name in names)


def test_the_keys_of_the_fleet_share_a_slot() -> None:
    """One script writes both."""
    assert key_slot(CONSUMERS.encode()) == key_slot(CONSUMERS_CONTRACT.encode())
