"""uWSGI forks its workers without Python's hooks, and as it comes, it lets no thread of Python run beside requests.

It runs nothing of `atexit` in a worker that a signal ends in the middle of a request, so the tests wait for the end of
each.
"""

import signal

import pytest
from hosts.trial import Trial, Web
from support.servers import wait_until

UWSGI = ("uwsgi", "--module", "hosts.programs.web:application", "--need-app", "--processes", "2", "--die-on-term")
RECYCLED = ("--master", "--max-requests", "3", "--min-worker-lifetime", "1")
LAZY = ("--master", "--lazy-apps")


@pytest.mark.parametrize(
    ("master", "threads"),
    [
        ((), ()),
        ((), ("--enable-threads",)),
        (RECYCLED, ()),
        (RECYCLED, ("--enable-threads",)),
        (RECYCLED, ("--threads", "2")),
        (LAZY, ("--enable-threads",)),
    ],
    ids=" ".join,
)
def test_workers(trial: Trial, master: tuple[str, ...], threads: tuple[str, ...]) -> None:
    """Those that are recycled, and those that SIGTERM ends."""
    web = Web()
    with trial.host(*UWSGI, "--http-socket", web.address, *master, *threads) as host:
        web.wait(host)
        for _ in range(10):
            web.ask(4)
        wait_until(lambda: host.printed.count("GET /?4 => generated") == 10, what="the requests to end")

        host.end(signal.SIGTERM, whole=not master)

    trial.assert_complete(40)
