"""Many logs on a real cluster: each is applied on the node that holds it, and asked for by its name."""

from contextlib import ExitStack, closing

import pytest
from etlog_api import create_app
from etlog_events.keys import CONSUMERS, Keys
from etlog_events.settings import Settings
from etlog_events.store import connect
from etlog_producer import Producer
from support import commands
from support.apis import serve
from support.clustered import Clustered
from support.samples import WINDOW
from support.servers import wait_until

LOGS = tuple(f"tenant-{number}" for number in range(9))


def test_logs_are_spread_over_the_nodes_and_all_are_applied(monkeypatch: pytest.MonkeyPatch) -> None:
    """By two processes that share them; the key of who is alive has its own slot."""
    with closing(Clustered(Keys(LOGS[0]))) as cluster, ExitStack() as opened:
        clients = {log: opened.enter_context(connect(cluster.url, part="test", log=log)) for log in LOGS}
        monkeypatch.setenv("ETLOG_REDIS_URL", cluster.url)
        monkeypatch.setenv("ETLOG_NAMES", ",".join(LOGS))
        processes = [opened.enter_context(commands.running("consume")) for _ in range(2)]
        for number, log in enumerate(LOGS, 1):
            with Producer(cluster.url, log=log) as producer:
                for _ in range(number):
                    producer.emit("AssetSetTotaled", window=WINDOW)

        def applied() -> list[bytes | str | None]:
            return [client.hget(Keys(log).counters, "AssetSetTotaled") for log, client in clients.items()]

        wait_until(lambda: applied() == [b"%d" % number for number in range(1, 10)], what="all to be applied")
        with connect(cluster.url, part="test", log=CONSUMERS) as members:
            wait_until(lambda: members.zcard(CONSUMERS) == 2, what="two processes")
        assert len({client.info("server")["tcp_port"] for client in clients.values()}) == 3
        with serve(create_app(Settings(redis_url=cluster.url, name=LOGS[0], names=LOGS))) as api:
            assert [api.log(log=log)["data"]["counters"]["AssetSetTotaled"] for log in LOGS] == list(range(1, 10))
            assert api.get("/metrics").text.count("etlog_store_up{") == 9
            assert api.get("/readyz").status_code == 200
        for process in processes:
            process.stop()
            assert process.wait() == 0
