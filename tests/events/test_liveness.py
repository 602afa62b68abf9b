"""A connection that has rested is not trusted: it is asked, or replaced, before a command is sent on it."""

import asyncio
import signal
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
import redis
from etlog_events.store import connect, connect_async, liveness
from support.certificates import Authority
from support.fakes import Clock, Mistaken
from support.guarded import TlsServer
from support.proxy import Proxy
from support.servers import Server, free_port, wait_until

PING = b"*1\r\n$4\r\nPING\r\n"

#: Seconds of rest after which a connection is asked, and after which it is replaced.
SHORT, LONG = 2.0, 31.0


class Client:
    """A client of one kind, which can be used as if it were blocking."""

    def __init__(self, url: str, kind: str, **options: Any) -> None:
        self._loop = asyncio.Runner() if kind == "asyncio" else None
        self._client: Any = (connect if self._loop is None else connect_async)(url, part="test", log="log", **options)

    def do(self, *command: Any) -> Any:
        """The answer to a command."""
        return self._wait(self._client.execute_command(*command))

    @property
    def socket(self) -> socket.socket:
        """The socket of a connection that it hands out."""
        pool = self._client.connection_pool
        connection = self._wait(pool.get_connection())
        self._wait(pool.release(connection))
        found: socket.socket = (
            connection._sock if self._loop is None else connection._writer.transport.get_extra_info("socket")
        )
        return found

    def calls(self, command: str) -> int:
        """How often its store was given a command."""
        stats = self.do("INFO", "commandstats")
        return int(stats.get(f"cmdstat_{command}", {"calls": 0})["calls"])

    def close(self) -> None:
        """Leave the store."""
        if self._loop is None:
            self._client.close()
        else:
            self._wait(self._client.aclose())
            self._loop.close()

    def _wait(self, answer: Any) -> Any:
        async def wait(answer: Coroutine[Any, Any, Any]) -> Any:
            return await answer

        return answer if self._loop is None else self._loop.run(wait(answer))


Made = Callable[..., Client]
Rests = Callable[[float], None]


@pytest.fixture(params=["blocking", "asyncio"])
def made(request: pytest.FixtureRequest) -> Iterator[Made]:
    """Makes a client of one kind, then the other."""
    with ExitStack() as clients:
        yield lambda url, **options: clients.enter_context(closing(Client(url, request.param, **options)))


@pytest.fixture
def rests(monkeypatch: pytest.MonkeyPatch) -> Rests:
    """Lets time pass, in seconds. Nothing else does."""
    clock = Clock()
    monkeypatch.setattr(liveness, "now", clock)

    def rest(seconds: float) -> None:
        clock.now += seconds

    return rest


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer to PING is not waited for as long as usual."""
    monkeypatch.setattr(liveness, "PING_TIMEOUT", 0.1)


def port_of(proxy: Proxy) -> int:
    """Where a proxy listens."""
    return int(proxy.url.rpartition(":")[2].removesuffix("/0"))


def by_tcp(proxy: Proxy, opened: ExitStack, _: Path) -> str:
    """The address of a single store behind `proxy`."""
    proxy.lead_to(opened.enter_context(closing(Server())).port)
    return proxy.url


def by_tls(proxy: Proxy, opened: ExitStack, folder: Path) -> str:
    """That of one that speaks TLS."""
    server = opened.enter_context(closing(TlsServer(Authority(folder / "authority"))))
    proxy.lead_to(server.port)
    return server.url.replace(f":{server.port}/", f":{port_of(proxy)}/")


def by_sentinel(proxy: Proxy, opened: ExitStack, folder: Path) -> str:
    """That of a sentinel, which knows the store behind `proxy`."""
    by_tcp(proxy, opened, folder)
    return f"redis+sentinel://127.0.0.1:{opened.enter_context(closing(Mistaken(port_of(proxy)))).port}/etlog"


def by_cluster(proxy: Proxy, opened: ExitStack, _: Path) -> str:
    """That of a cluster of one node, which believes to be where `proxy` is. It takes a while to serve keys."""
    node = ("--cluster-enabled", "yes", "--cluster-port", str(free_port()))
    server = opened.enter_context(closing(Server(*node, "--cluster-announce-port", str(port_of(proxy)))))
    proxy.lead_to(server.port)
    with connect(server.url, part="test") as client:
        client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
    return f"redis+cluster://127.0.0.1:{server.port}"


@pytest.fixture(scope="module", params=[by_tcp, by_tls, by_sentinel, by_cluster], ids=lambda way: way.__name__)
def behind(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Proxy, str]]:
    """A proxy, and the address of a store behind it, on each way to a store."""
    with ExitStack() as opened:
        proxy = opened.enter_context(closing(Proxy(0)))
        yield proxy, request.param(proxy, opened, tmp_path_factory.mktemp("way"))


@pytest.fixture
def proxy(store_url: str) -> Iterator[Proxy]:
    """A proxy in front of the shared server."""
    with closing(Proxy(int(store_url.rpartition(":")[2].removesuffix("/0")))) as proxy:
        yield proxy


@pytest.mark.usefixtures("impatient", "rested")
def test_a_connection_that_was_forgotten_costs_a_moment(behind: tuple[Proxy, str], made: Made) -> None:
    """Nothing but PING was sent on it, so the command runs once."""
    proxy, url = behind
    client = made(url)
    before = client.calls("echo")
    proxy.lost.clear()
    proxy.forget()

    began = time.monotonic()
    assert client.do("ECHO", "text") == b"text"

    assert time.monotonic() - began < 2
    assert client.calls("echo") == before + 1
    assert len(proxy.lost) == 1
    if not url.startswith("rediss:"):
        assert proxy.lost == [PING]


def test_a_connection_that_has_rested_long_is_replaced(proxy: Proxy, made: Made, rests: Rests) -> None:
    """Without a question, and the command goes to the new one."""
    client = made(proxy.url)
    before = client.do("CLIENT", "ID")
    rests(LONG)
    proxy.forget()

    assert client.do("CLIENT", "ID") > before
    assert proxy.lost == []


def test_a_connection_that_has_rested_is_asked_and_kept(server: Server, made: Made, rests: Rests) -> None:
    """Once after each rest."""
    client = made(server.url)
    connection, pings = client.do("CLIENT", "ID"), client.calls("ping")
    for _ in range(3):
        rests(SHORT)
        assert client.do("CLIENT", "ID") == connection

    assert client.calls("ping") == pings + 3


def test_a_connection_in_use_is_not_asked(server: Server, made: Made, rests: Rests) -> None:
    """Although it is used for long."""
    client = made(server.url)
    connection, pings = client.do("CLIENT", "ID"), client.calls("ping")
    for _ in range(50):
        rests(0.9)
        assert client.do("CLIENT", "ID") == connection

    assert client.calls("ping") == pings


def test_a_clock_that_was_set_back_is_no_reason_for_trust(server: Server, made: Made, rests: Rests) -> None:
    """As when the process was moved to another machine."""
    client = made(server.url)
    pings = client.calls("ping")
    rests(-100.0)

    assert client.calls("ping") == pings + 1


@pytest.mark.usefixtures("rested")
def test_a_store_that_is_slow_is_waited_for(server: Server, made: Made) -> None:
    """For longer than for PING, and nothing is done twice."""
    client = made(server.url)
    client.do("SET", "log", 1)
    server.stop()
    resumed = threading.Timer(liveness.PING_TIMEOUT + 0.1, server.resume)
    resumed.start()

    assert client.do("INCR", "log") == 2

    resumed.join()
    assert client.do("GET", "log") == b"2"


@pytest.mark.usefixtures("impatient", "rested")
def test_a_command_has_more_time_than_the_question(store_url: str, made: Made) -> None:
    """The answer to PING was awaited for a short while; that to the command, longer."""
    client = made(store_url)
    client.do("PING")

    assert client.do("BLPOP", "nothing", 0.2) is None


@pytest.mark.usefixtures("rested")
def test_a_store_that_refuses_ping_has_answered(server: Server, made: Made) -> None:
    """A user of one's own making may lack the permission."""
    with connect(server.url, part="test") as root:
        root.execute_command("ACL", "SETUSER", "narrow", "on", ">secret", "~*", "+@all", "-ping")
    client = made(server.url.replace("redis://", "redis://narrow:secret@"))

    assert client.do("CLIENT", "ID") == client.do("CLIENT", "ID")


@pytest.mark.usefixtures("rested")
def test_a_caller_who_gives_up_leaves_no_answer_behind(proxy: Proxy) -> None:
    """The one to PING is still under way, and the next command must not take it for its own."""

    async def ask() -> Any:
        async with connect_async(proxy.url, part="test") as client:
            await client.ping()
            proxy.delay_replies(0.2)
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(client.get("log"), 0.05)
            proxy.delay_replies(0)
            return await client.echo("own")

    assert asyncio.run(ask()) == b"own"


@pytest.mark.usefixtures("rested")
def test_an_interrupt_leaves_no_answer_behind(proxy: Proxy) -> None:
    """The same for blocking code."""

    class Interrupt(BaseException):
        pass

    def interrupt(*_: object) -> None:
        raise Interrupt

    with connect(proxy.url, part="test") as client:
        client.ping()
        proxy.delay_replies(0.2)
        before = signal.signal(signal.SIGALRM, interrupt)
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            with pytest.raises(Interrupt):
                client.get("log")
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        proxy.delay_replies(0)
        assert client.echo("own") == b"own"


@pytest.mark.usefixtures("rested")
def test_who_cuts_the_connections_ends_the_call(proxy: Proxy) -> None:
    """Another thread waits for the answer to PING: it makes no new connection then, but fails."""
    failed: list[Exception] = []

    def ask() -> None:
        try:
            client.get("log")
        except redis.ConnectionError as e:
            failed.append(e)

    with connect(proxy.url, part="test") as client:
        client.ping()
        proxy.forget()
        asking = threading.Thread(target=ask)
        asking.start()
        wait_until(lambda: proxy.lost, what="the question")
        client.connection_pool.disconnect()
        asking.join()

    assert [str(error) for error in failed] == ["the connection was closed meanwhile"]


@pytest.mark.skipif(not hasattr(socket, "TCP_USER_TIMEOUT"), reason="options of Linux")
def test_the_system_watches_a_connection_by_tcp(store_url: str, made: Made) -> None:
    """It asks the other end before a NAT forgets it, notices within a minute that no one answers, and soon that no one
    takes what is sent."""
    found = made(store_url).socket

    def option(name: str) -> int:
        return found.getsockopt(socket.IPPROTO_TCP, getattr(socket, name))

    assert found.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    assert option("TCP_KEEPIDLE") < 30
    assert option("TCP_KEEPIDLE") + option("TCP_KEEPINTVL") * option("TCP_KEEPCNT") <= 60
    assert 0 < option("TCP_USER_TIMEOUT") < 5000


@pytest.fixture
def own_options() -> Iterator[None]:
    """The options of TCP are found out again, for this test alone."""
    liveness.tcp_options.cache_clear()
    yield
    liveness.tcp_options.cache_clear()


@pytest.mark.usefixtures("own_options")
def test_what_the_system_lacks_is_done_without(store_url: str, made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python does not know the one, the system refuses the other."""
    monkeypatch.delattr(socket, "TCP_USER_TIMEOUT", raising=False)
    monkeypatch.setitem(liveness._TCP, "TCP_KEEPCNT", -1)

    assert set(liveness.tcp_options()) == {socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL}
    assert made(store_url).do("PING")


@pytest.mark.usefixtures("rested")
def test_a_connection_by_a_socket_of_the_machine_is_asked_as_well(made: Made) -> None:
    """A proxy may be behind it. Options of TCP do not fit it."""
    with closing(Server("--unixsocket", "store.sock")) as server:
        client = made(f"unix://{server.folder}/store.sock?db=1")
        pings = client.calls("ping")

        assert client.calls("ping") == pings + 1
        assert client.socket.family == socket.AF_UNIX


def test_the_clock_goes_on_while_the_machine_sleeps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there is such a clock: a kernel may lack it."""
    monkeypatch.setattr(time, "CLOCK_BOOTTIME", 7, raising=False)
    monkeypatch.setattr(time, "CLOCK_MONOTONIC", 1)
    times = {7: 900.0, 1: 20.0}

    def gettime(clock: int) -> float:
        if clock not in times:
            raise OSError
        return times[clock]

    monkeypatch.setattr(time, "clock_gettime", gettime)

    assert liveness._clock()() == 900.0
    del times[7]
    assert liveness._clock()() == 20.0
