"""The connection to the store: no retries, errors in etlog's words, no secret in a message."""

import asyncio
from contextlib import closing

import pytest
import redis
from etlog_events import store
from etlog_events.errors import SettingsError, StoreError, StoreRefused, StoreUnavailable
from etlog_events.store.url import check
from support.proxy import Proxy
from support.servers import Server, free_port


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/0"),
        ("redis://user:hunter2@host:6379/0", "redis://host:6379/0"),
        ("redis://:hunter2@host", "redis://host"),
        ("rediss://user@host:6380/2", "rediss://host:6380/2"),
        ("redis://user:hunter2@[::1]:6379/0", "redis://[::1]:6379/0"),
        ("redis://user:hunter2@@host:6379/0", "redis://host:6379/0"),
        ("redis://host:6379/0?password=hunter2", "redis://host:6379/0"),
        ("unix://user:hunter2@/run/redis.sock?db=1", "unix:///run/redis.sock?db=1"),
        ("unix:///run/redis.sock?db=0&password=hunter2", "unix:///run/redis.sock"),
        ("unix:///run/redis.sock?password=hunter2", "unix:///run/redis.sock"),
    ],
)
def test_an_address_is_shown_without_user_and_password(url: str, shown: str) -> None:
    """Messages and pages may show it to anyone."""
    assert store.shown(url) == shown


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://host:1/?db=2", "redis://host:1/2"),
        ("redis://host:1?db=2&password=hunter2", "redis://host:1/2"),
        ("redis://host:1/0?db=2", "redis://host:1/2"),
        ("redis://host:1/12?db=2", "redis://host:1/2"),
        ("redis://host:1/2?db=0", "redis://host:1/0"),
        ("redis://host:1/2?db=2", "redis://host:1/2"),
        ("redis://host:1?db=0", "redis://host:1"),
        ("redis://host:1?db=%32", "redis://host:1/2"),
        ("redis://host:1?db=2&db=3", "redis://host:1/2"),
        ("redis://host:1?db=two", "redis://host:1"),
        ("unix:///run/redis.sock?db=2", "unix:///run/redis.sock?db=2"),
        ("redis+sentinel://a:1,b:2/primary?db=2", "redis+sentinel://a:1,b:2/primary/2"),
        ("redis+sentinel://a:1,b:2/primary/1?db=2", "redis+sentinel://a:1,b:2/primary/2"),
        ("redis+sentinel://a:1,b:2/primary2?db=2", "redis+sentinel://a:1,b:2/primary2/2"),
        ("redis+sentinel://a:1,b:2/primary/2", "redis+sentinel://a:1,b:2/primary/2"),
    ],
)
def test_two_databases_of_a_server_are_shown_apart(url: str, shown: str) -> None:
    """As the driver takes the address: an option wins over the path."""
    assert store.shown(url) == shown
    assert store.shown(shown) == shown
    if not url.startswith("redis+") and "two" not in url:
        assert database(shown) == database(url)


def database(url: str) -> int:
    """The number of the database that the driver would use."""
    with store.connect(url, part="test") as client:
        return int(client.connection_pool.connection_kwargs.get("db", 0))


@pytest.mark.parametrize("sign", ["/", "#", "?"])
def test_a_password_that_was_not_escaped_is_not_shown_either(sign: str) -> None:
    """The address is wrong then, and its pieces are not what they seem to be: the password looks like a port."""
    url = f"redis://user:hun{sign}ter2@host:6379/0"

    assert "hun" not in store.shown(url)
    with pytest.raises(SettingsError) as refused:
        store.connect(url, part="test")
    assert "hun" not in str(refused.value)
    assert "ter2" not in str(refused.value)


@pytest.mark.parametrize(
    "url",
    [
        "redis://127.0.0.1:6379/0",
        "redis://localhost",
        "redis://host/",
        "redis://host:6379/15",
        "redis://[::1]:6379",
        "redis://user:pass%2F%23%3F%40word@host:6379/0",
        "redis://:password@host?db=2",
        "rediss://host?ssl_cert_reqs=none&ssl_ca_certs=/etc/ca.pem",
        "unix:///run/redis.sock",
        "unix://user:password@/run/redis.sock?db=1&password=other",
    ],
)
def test_an_address_of_any_kind_is_taken(url: str) -> None:
    """By name, number or path, with what belongs to it."""
    check(url)


@pytest.mark.parametrize(
    "url",
    [
        "redis://",
        "redis:///0",
        "redis://:6379",
        "redis://host:port",
        "redis://host:0",
        "redis://host:65536",
        "redis://host/zero",
        "redis://host/0/1",
        "redis://host:6379/0 ",
        "redis://ho st",
        "redis://host/0#1",
        "redis://host?foo=1",
        "redis://host?db",
        "redis://host?decode_responses=true",
        "redis://host?socket_timeout=soon",
        "redis://[::1",
        "redis://user:pass/word@host",
        "unix://",
        "unix:///",
        "unix://run/redis.sock",
    ],
)
def test_an_address_that_the_driver_would_take_for_another_is_refused(url: str) -> None:
    """Or would not take at all: found when it is read, not when it is used."""
    with pytest.raises(ValueError, match=r"^(it|its|what) "):
        check(url)


@pytest.mark.parametrize("url", ["redis://host:port/0", "redis://[/0", "redis://host?socket_timeout=soon"])
def test_an_address_that_cannot_be_one_is_a_bad_setting(url: str) -> None:
    """It is found before anything is sent."""
    with pytest.raises(SettingsError, match=r"^ETLOG_REDIS_URL is not a store address"):
        store.connect(url, part="test")
    with pytest.raises(SettingsError, match=r"^ETLOG_REDIS_URL is not a store address"):
        store.connect_async(url, part="test")


def test_a_connection_carries_the_name_of_its_part(store_url: str) -> None:
    """`CLIENT LIST` tells who is who."""
    with store.connect(store_url, part="example") as client:
        assert client.client_getname() in (b"etlog-example", "etlog-example")


def test_a_command_is_sent_once(server: Server) -> None:
    """What is safe to send again only the caller knows: a command whose answer was lost must not run twice."""
    with closing(Proxy(server.port)) as proxy, store.connect(proxy.url, part="test", answer_timeout=0.2) as client:
        client.ping()
        proxy.swallow_replies(True)

        with pytest.raises(redis.TimeoutError):
            client.incr("count")

        proxy.swallow_replies(False)
        assert client.get("count") == b"1"


def test_a_store_that_is_not_there_is_unavailable() -> None:
    """The message names the store, without its password."""
    port = free_port()
    url = f"redis://:hunter2@127.0.0.1:{port}/0"

    with (
        store.connect(url, part="test") as client,
        pytest.raises(StoreUnavailable, match=f"^the store at redis://127.0.0.1:{port}/0 cannot be reached") as caught,
        store.translated(url),
    ):
        client.ping()

    assert "hunter2" not in str(caught.value)
    assert isinstance(caught.value, StoreError)
    assert isinstance(caught.value.__cause__, redis.ConnectionError)


def test_a_store_that_does_not_answer_is_unavailable(server: Server) -> None:
    """A stopped process keeps its connections open and says nothing."""
    with store.connect(server.url, part="test", answer_timeout=0.1) as client:
        client.ping()
        server.stop()

        with pytest.raises(StoreUnavailable), store.translated(server.url):
            client.ping()

        server.resume()


def test_a_wrong_type_is_a_refusal(fake_client: redis.Redis) -> None:
    """The store can be reached, and refuses."""
    fake_client.set("text", "x")

    with pytest.raises(StoreRefused, match="refused: WRONGTYPE"), store.translated("redis://localhost"):
        fake_client.lpush("text", "y")


def test_a_wrong_password_is_a_refusal_that_hides_it(server: Server) -> None:
    """Waiting does not fix a password."""
    with store.connect(server.url, part="test") as client:
        client.config_set("requirepass", "right")
    url = server.url.replace("redis://", "redis://:hunter2@")

    with store.connect(url, part="test") as client, pytest.raises(StoreRefused) as caught, store.translated(url):
        client.ping()

    assert "hunter2" not in str(caught.value)


def test_a_missing_permission_is_a_refusal(server: Server) -> None:
    """A user who may read may do nothing else."""
    with store.connect(server.url, part="test") as client:
        client.execute_command("ACL", "SETUSER", "reader", "on", ">secret", "~*", "+@read", "+@connection")
    url = server.url.replace("redis://", "redis://reader:secret@")

    with store.connect(url, part="test") as client:
        assert client.get("text") is None
        with pytest.raises(StoreRefused, match="permissions"), store.translated(url):
            client.set("text", "x")


def test_the_asynchronous_client_is_the_same(store_url: str) -> None:
    """Same name, same errors, no retries."""

    async def ask() -> tuple[object, object]:
        async with store.connect_async(store_url, part="example") as client:
            name = await client.client_getname()
        with store.translated("redis://127.0.0.1:1/0"):
            async with store.connect_async(f"redis://127.0.0.1:{free_port()}", part="test") as absent:
                return name, await absent.ping()

    with pytest.raises(StoreUnavailable, match="cannot be reached"):
        asyncio.run(ask())
