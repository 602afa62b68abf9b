"""TLS on every way: from each part to the store, with certificates on both sides, and from clients to the API."""

import asyncio
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import httpx
import pytest
from etlog.__main__ import run
from etlog_api import create_app
from etlog_events import Settings, StoreError
from etlog_events.keys import Keys
from etlog_events.store import connect, translated
from etlog_ledger.reading.connection import StoreClients
from etlog_producer import Producer
from support import apis, commands
from support.certificates import Authority, Signed
from support.consumers import consumer_thread
from support.guarded import TlsServer
from support.samples import WINDOW
from support.servers import free_port, wait_until

LOG = "nightly"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls") / "authority")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """An authority that no one here trusts."""
    return Authority(tmp_path_factory.mktemp("tls") / "stranger")


@pytest.fixture(scope="module")
def own(authority: Authority) -> Signed:
    """The certificate of the API."""
    return authority.sign("api")


@pytest.fixture(scope="module")
def server(authority: Authority) -> Iterator[TlsServer]:
    """A store that speaks TLS alone."""
    server = TlsServer(authority)
    yield server
    server.close()


def test_every_part_reaches_the_store_by_tls(server: TlsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The files of authority, certificate and key stand in its address."""
    with (
        consumer_thread(server.url, Keys(LOG)),
        Producer(server.url, log=LOG) as producer,
        apis.serve(create_app(Settings(redis_url=server.url, name=LOG))) as api,
        apis.tail(api.url) as live,
    ):
        producer.emit("AssetSetTotaled", window=WINDOW)
        assert producer.flush(10)
        wait_until(lambda: api.log()["data"]["counters"] == {"AssetSetTotaled": 1}, what="the event")
        live.wait(1)
        assert api.get("/readyz").status_code == 200

    monkeypatch.setenv("ETLOG_REDIS_URL", server.url)
    monkeypatch.setenv("ETLOG_NAME", LOG)
    assert run(["verify"]) == 0


@pytest.mark.parametrize("fault", ["no certificate", "a stranger's certificate", "another authority", "no TLS"])
def test_who_cannot_prove_who_it_is_does_not_get_in(
    server: TlsServer, authority: Authority, stranger: Authority, fault: str
) -> None:
    """On either side. The sentence names the store, and no file of the address."""
    url = {
        "no certificate": server.url_of(None),
        "a stranger's certificate": server.url_of(stranger.sign("client")),
        "another authority": server.url_of(authority.sign("client"), stranger),
        "no TLS": f"redis://127.0.0.1:{server.port}/0",
    }[fault]

    with (
        pytest.raises(StoreError, match=rf"rediss?://127\.0\.0\.1:{server.port}/0 ") as raised,
        translated(url),
        connect(url, part="test") as client,
    ):
        client.ping()
    with pytest.raises(StoreError):
        asyncio.run(StoreClients("api", url, "default", "primary").ask(lambda store: store.ping()))
    assert ".pem" not in str(raised.value)


def test_a_file_that_is_not_there_is_one_sentence(server: TlsServer, tmp_path: Path) -> None:
    """From the command, with its exit code."""
    url = f"rediss://127.0.0.1:{server.port}/0?{urlencode({'ssl_ca_certs': str(tmp_path / 'none.pem')})}"

    ended = commands.run("verify", "--redis-url", url)

    assert ended.returncode == 3
    assert ended.stderr.startswith(f"etlog: the store at rediss://127.0.0.1:{server.port}/0 cannot be reached: ")
    assert ended.stderr.count("\n") == 1


def test_the_api_answers_by_https(
    store_url: str, keys: Keys, authority: Authority, own: Signed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To anyone who trusts its authority, etlog's own commands among them; and not by HTTP."""
    port = free_port()
    options = ("--ssl-certfile", str(own.certificate), "--ssl-keyfile", str(own.key))
    monkeypatch.setenv("ETLOG_REDIS_URL", store_url)
    monkeypatch.setenv("ETLOG_NAME", keys.name)

    with commands.running("serve", "--port", str(port), *options) as command:
        command.wait_for("Uvicorn running")
        url = f"https://127.0.0.1:{port}"
        trusting = ssl.create_default_context(cafile=authority.certificate)
        assert httpx.get(f"{url}/model/etl/log", verify=trusting).status_code == 200
        with pytest.raises(httpx.ConnectError, match="certificate verify failed"):
            httpx.get(f"{url}/model/etl/log")
        with pytest.raises(httpx.HTTPError):
            httpx.get(f"http://127.0.0.1:{port}/model/etl/log")

        monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))
        assert commands.run("status", "--url", url).returncode == 0
        command.stop()
        assert command.wait() == 0
    assert "Traceback" not in command.shown


def test_the_api_wants_a_certificate_of_its_clients(
    store_url: str, keys: Keys, authority: Authority, own: Signed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If it is told to; its own key is encrypted, and both processes that answer know its password."""
    client = authority.sign("client")
    encrypted = own.key.with_name("encrypted.key")
    subprocess.run(
        ["openssl", "pkey", "-aes256", "-in", own.key, "-out", encrypted, "-passout", "pass:open-sesame"], check=True
    )
    port = free_port()
    monkeypatch.setenv("ETLOG_REDIS_URL", store_url)
    monkeypatch.setenv("ETLOG_NAME", keys.name)
    monkeypatch.setenv("ETLOG_SSL_KEYFILE_PASSWORD", "open-sesame")
    options = ("--ssl-certfile", str(own.certificate), "--ssl-keyfile", str(encrypted))

    with commands.running(
        *("serve", "--port", str(port), "--workers", "2", "--ssl-ca-certs", str(authority.certificate)), *options
    ) as command:
        command.wait_for("Uvicorn running")
        known = ssl.create_default_context(cafile=authority.certificate)
        known.load_cert_chain(client.certificate, client.key)
        address = f"https://127.0.0.1:{port}/model/etl/log"
        wait_until(lambda: answers(address, known), what="the API to serve")
        with pytest.raises(httpx.TransportError):
            httpx.get(address, verify=ssl.create_default_context(cafile=authority.certificate))
        command.stop()

    monkeypatch.setenv("ETLOG_SSL_KEYFILE_PASSWORD", "another")
    ended = commands.run("serve", "--port", str(port), *options)
    assert (ended.returncode, ended.stderr.count("\n")) == (2, 1)
    assert "the key has another password" in ended.stderr
    assert "open-sesame" not in command.shown + ended.stderr


def answers(address: str, context: ssl.SSLContext) -> bool:
    """Whether the API does."""
    try:
        return httpx.get(address, verify=context).status_code == 200
    except httpx.TransportError:
        return False


@pytest.mark.parametrize(
    ("certificate", "key", "said"),
    [
        ("api.pem", None, "give --ssl-certfile and --ssl-keyfile together"),
        ("api.pem", "none.key", "No such file or directory"),
        ("api.key", "api.pem", "are not a PEM certificate and its key, or the key has another password: "),
        ("api.pem", "authority.key", "KEY_VALUES_MISMATCH"),
    ],
)
def test_a_certificate_that_cannot_be_used_is_one_sentence(
    own: Signed, certificate: str, key: str | None, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before any worker is started."""
    folder = own.certificate.parent
    options = ["--ssl-certfile", str(folder / certificate)]
    if key is not None:
        options += ["--ssl-keyfile", str(folder / key)]

    assert run(["serve", "--port", str(free_port()), *options]) == 2

    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert said in error
