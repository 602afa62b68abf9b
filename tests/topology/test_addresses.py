"""Addresses of several nodes: sentinels, or nodes of a cluster."""

import pytest
from etlog_events import store
from etlog_events.errors import SettingsError, StoreRefused, StoreUnavailable
from etlog_events.settings import Settings
from etlog_events.store.discovery import Seeds, seeds, spread
from support.servers import Server

SENTINELS = "redis+sentinel://127.0.0.1:1,127.0.0.1:2/main/0"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis+sentinel://a:26379,b:26379,c:26379/main/0", "redis+sentinel://a:26379,b:26379,c:26379/main/0"),
        ("redis+sentinel://a/main", "redis+sentinel://a/main"),
        ("redis+sentinel://a,[::1]:5/main-1.x/", "redis+sentinel://a,[::1]:5/main-1.x/"),
        ("redis+sentinel://u:hun%2Fter2@a,b/main/3?sentinel_password=hunter3", "redis+sentinel://a,b/main/3"),
        ("redis+cluster://a:6379,b:6379", "redis+cluster://a:6379,b:6379"),
        ("redis+cluster://:hunter2@a/", "redis+cluster://a/"),
        ("redis+cluster://u:hunter2@[::1],b/0", "redis+cluster://[::1],b/0"),
        ("rediss+sentinel://a/main?ssl_ca_certs=/etc/ca.pem", "rediss+sentinel://a/main"),
        ("rediss+cluster://a?ssl_cert_reqs=none", "rediss+cluster://a"),
    ],
)
def test_an_address_of_several_nodes_is_taken_and_shown_without_secrets(url: str, shown: str) -> None:
    """With TLS and without, by name and number, and with what belongs to it."""
    assert Settings.from_environment({"ETLOG_REDIS_URL": url}).redis_url == url
    assert store.shown(url) == shown
    for connect in (store.connect, store.connect_async):
        client = connect(url, part="test", log="l")
        assert "hunter" not in repr(client)


@pytest.mark.parametrize(
    "url",
    [
        "redis+sentinel://",
        "redis+sentinel://a:26379",
        "redis+sentinel://a:26379/",
        "redis+sentinel:///main",
        "redis+sentinel://a,,b/main",
        "redis+sentinel://a,b,/main",
        "redis+sentinel://a/main/zero",
        "redis+sentinel://a/main/0/1",
        "redis+sentinel://a/main name/0",
        "redis+sentinel://a:port/main",
        "redis+sentinel://a:0/main",
        "redis+sentinel://u:hunter2/x@a/main",
        "redis+sentinel://u:hunter2@x@a/main",
        "redis+sentinel://u:hunter2#@a/main",
        "redis+sentinel://a/main?hunter2",
        "redis+sentinel://a/main?socket_timeout=1",
        "redis+cluster://",
        "redis+cluster://a:1:2",
        "redis+cluster://a:65536",
        "redis+cluster://a b",
        "redis+cluster://a/1",
        "redis+cluster://a?db=1",
        "redis+cluster://a?sentinel_password=hunter2",
        "redis+cluster://u:hunter2/x@a",
    ],
)
def test_an_invalid_address_is_refused_in_one_sentence(url: str) -> None:
    """Which names the setting, and repeats no piece of the address."""
    with pytest.raises(SettingsError, match=r"^ETLOG_REDIS_URL (is not a store address: |must be a store)") as refused:
        Settings.from_environment({"ETLOG_REDIS_URL": url})
    with pytest.raises(SettingsError):
        store.connect(url, part="test", log="l")

    assert "hunter" not in str(refused.value)
    assert "hunter" not in store.shown(url)


@pytest.mark.parametrize("url", ["http://a", "redis+other://a:1", "sentinel://a/main"])
def test_the_right_forms_are_told(url: str) -> None:
    """All of them: no one knows them by heart."""
    with pytest.raises(SettingsError, match=r"redis\+sentinel://\S+ or redis\+cluster://"):
        Settings.from_environment({"ETLOG_REDIS_URL": url})


def test_a_cluster_is_connected_to_for_one_log() -> None:
    """Without its name, no one can tell which node has it."""
    with pytest.raises(SettingsError, match="for one log"):
        store.connect("redis+cluster://a", part="test")


@pytest.mark.parametrize("url", [SENTINELS, "redis+cluster://127.0.0.1:1,127.0.0.1:2"])
def test_nodes_that_are_not_there_are_an_outage(url: str) -> None:
    """The message names them all, and why the last one told nothing."""
    with (
        store.connect(url, part="test", log="l") as client,
        pytest.raises(StoreUnavailable, match=r"redis\+\w+://127.0.0.1:1,127.0.0.1:2\S* cannot be reached: .*refused"),
        store.translated(url),
    ):
        client.ping()


def test_a_server_that_is_not_a_cluster_is_named(server: Server) -> None:
    """Waiting does not make one of it."""
    url = f"redis+cluster://127.0.0.1:{server.port}"
    with (
        store.connect(url, part="test", log="l") as client,
        pytest.raises(StoreRefused, match="cluster support disabled"),
        store.translated(url),
    ):
        client.ping()


def test_a_server_that_is_not_a_sentinel_is_named(server: Server) -> None:
    """It does not know the command."""
    url = f"redis+sentinel://127.0.0.1:{server.port}/main"
    with (
        store.connect(url, part="test") as client,
        pytest.raises(StoreRefused, match="unknown command"),
        store.translated(url),
    ):
        client.ping()


def test_a_node_that_tells_nothing_is_asked_last_from_then_on() -> None:
    """By all connections that begin with the same nodes: each timeout is waited for once."""
    nodes = (("a", 1), ("b", 1), ("c", 1))

    seeds(nodes).put_last(("a", 1))

    assert seeds(nodes).nodes == (("b", 1), ("c", 1), ("a", 1))


def test_further_nodes_are_asked_after_those_of_the_address() -> None:
    """Of a cluster that was renewed node by node, the named ones may all be gone."""
    found = Seeds((("a", 1), ("b", 1)))

    found.learn([("b", 1), ("c", 1)])
    assert found.nodes == (("a", 1), ("b", 1), ("c", 1))
    found.put_last(("a", 1))
    found.learn([("d", 1)])
    assert found.nodes == (("b", 1), ("a", 1), ("d", 1))


def test_a_process_keeps_to_one_of_equal_nodes() -> None:
    """In whichever order they are named, so that it never reads from one that is behind what it read before."""
    nodes = [("a", 1), ("b", 1), ("c", 1)]

    assert spread(nodes) == spread(nodes[::-1])
    assert sorted(spread(nodes)) == nodes
