"""The names of the keys are read by people and by other programs: each is pinned here."""

import pytest
from etlog_events.keys import CONSUMERS, CONSUMERS_CONTRACT, GROUP, Keys
from redis.crc import key_slot

KEYS = Keys("default")


@pytest.mark.parametrize(
    ("key", "name"),
    [
        (KEYS.contract, "etlog:{default}:contract"),
        (KEYS.id, "etlog:{default}:id"),
        (KEYS.events, "etlog:{default}:events"),
        (KEYS.trim, "etlog:{default}:trim"),
        (KEYS.cursor, "etlog:{default}:cursor"),
        (KEYS.log("allocation"), "etlog:{default}:log:allocation"),
        (KEYS.log("asset"), "etlog:{default}:log:asset"),
        (KEYS.counters, "etlog:{default}:counters"),
        (KEYS.sets("allocation"), "etlog:{default}:sets:allocation"),
        (KEYS.changes("asset"), "etlog:{default}:changes:asset"),
        (KEYS.unrowed, "etlog:{default}:unrowed"),
        (KEYS.stats, "etlog:{default}:stats"),
        (KEYS.dead, "etlog:{default}:dead"),
        (KEYS.producers, "etlog:{default}:producers"),
        (KEYS.producers_seen, "etlog:{default}:producers:seen"),
        (KEYS.producers_ended, "etlog:{default}:producers:ended"),
        (KEYS.marks, "etlog:{default}:marks"),
        (KEYS.lease, "etlog:{default}:lease"),
        (GROUP, "etlog"),
        (CONSUMERS, "etlog:consumers"),
        (CONSUMERS_CONTRACT, "{etlog:consumers}:contract"),
    ],
)
def test_a_key_is_called_what_it_always_was(key: str, name: str) -> None:
    """A key that changes its name loses the log that was kept under the old one."""
    assert key == name


def test_the_function_that_publishes_takes_these_keys() -> None:
    """Programs in other languages call it with them, in this order."""
    assert KEYS.publishing == (
        "etlog:{default}:events",
        "etlog:{default}:producers",
        "etlog:{default}:producers:seen",
        "etlog:{default}:producers:ended",
        "etlog:{default}:stats",
        "etlog:{default}:contract",
        "etlog:{default}:id",
    )


def test_an_upgrade_finds_what_an_earlier_release_wrote() -> None:
    """And what an interrupted one has made."""
    assert KEYS.upgrade == (
        "etlog:{default}:contract",
        "etlog:{default}:lease",
        "etlog:{default}:stats",
        "etlog:{default}:id",
        "etlog:{default}:producers",
        "etlog:{default}:retired",
        "etlog:{default}:producers:seen",
        "etlog:{default}:producers:ended",
        "etlog:{default}:upgrade:producers",
        "etlog:{default}:upgrade:seen",
        "etlog:{default}:upgrade:sums",
    )


def test_the_lists_come_in_the_order_of_the_categories() -> None:
    """The script that applies a batch knows the lists by their places."""
    assert KEYS.logs(["asset", "allocation"]) == ["etlog:{default}:log:asset", "etlog:{default}:log:allocation"]


def test_the_keys_of_a_category_come_in_the_order_of_the_script_that_applies() -> None:
    """List, rows and changes, of one category after the other."""
    assert KEYS.of_category("asset") == (
        "etlog:{default}:log:asset",
        "etlog:{default}:sets:asset",
        "etlog:{default}:changes:asset",
    )


def test_all_keys_of_a_log_share_a_hash_tag() -> None:
    """A Redis Cluster keeps them in one slot, and another log in another."""
    keys = Keys("nightly")

    names = [
        keys.contract,
        keys.events,
        keys.cursor,
        keys.lease,
        *keys.logs(["asset"]),
        *keys.of_category("asset"),
        keys.counters,
        keys.unrowed,
        keys.stats,
        keys.dead,
        keys.id,
        keys.trim,
        *keys.publishing,
        *keys.upgrade,
    ]
    assert all(name.startswith("etlog:{nightly}:") for name in names)


def test_the_keys_of_the_fleet_share_a_slot() -> None:
    """One script writes both."""
    assert key_slot(CONSUMERS.encode()) == key_slot(CONSUMERS_CONTRACT.encode())
