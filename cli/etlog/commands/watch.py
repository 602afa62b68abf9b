"""`etlog watch`: the watch as a process."""

import asyncio
import logging
import os
import threading
from collections.abc import Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from typing import Annotated

import typer
from etlog_events import config, timestamps
from etlog_events.config import Config
from etlog_events.settings import Settings
from etlog_watch.http import served
from etlog_watch.message import Message, ProblemTold
from etlog_watch.metrics import Metrics
from etlog_watch.senders import sender_of
from etlog_watch.target import Target
from etlog_watch.watch import Watch

from etlog import logging_setup
from etlog.connection import connected
from etlog.errors import FAILED, CommandFailed
from etlog.options import LogName, RedisUrl, new_app, settings_of
from etlog.stopping import until_stopped

app = new_app()
logger = logging.getLogger("etlog.watch")


@app.command()
def watch(
    test: Annotated[
        bool, typer.Option("--test", help="Send a sample to each target, say what came of it, and end.")
    ] = False,
    redis_url: RedisUrl = None,
    log: LogName = None,
) -> None:
    """Judge every log served, and tell people of problems, until stopped: once when one opens, changes or ends.

    The [[notify]] tables of the file in ETLOG_CONFIG say whom. Start as many as you like: one tells, and another takes
    over when it ends.

    \b
    export ETLOG_CONFIG=/etc/etlog/etlog.toml
    etlog watch --test
    etlog watch
    """
    settings = settings_of(redis_url=redis_url, name=log)
    logging_setup.configure(settings.log_level, settings.log_format)
    found = config.load(settings)
    targets = [
        Target(index, notify, sender_of(index, notify, os.environ), settings.timezone)
        for index, notify in enumerate(found.notify)
    ]
    if test:
        say_hello(targets)
    else:
        run(settings, found, targets)


def run(settings: Settings, found: Config, targets: Sequence[Target]) -> None:
    """Watch the logs of `settings` until stopped.

    Raises `StoreError` when the store cannot be reached at the start, and `OtherContract` if the only log is not
    understood.
    """
    metrics, port = Metrics(), settings.metrics_port

    async def watching(stop: threading.Event) -> None:
        if not targets:
            logger.warning(
                "No one is told of problems: add a [[notify]] to the file that ETLOG_CONFIG names",
                extra={"action": "no_target"},
            )
        stopped = asyncio.Event()
        watch = asyncio.create_task(Watch(settings, found, targets, metrics).run(stopped))
        stopping = asyncio.create_task(asyncio.to_thread(stop.wait))
        await asyncio.wait({watch, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopped.set()
        stop.set()
        await watch

    with connected(settings, "watch", "etlog-watch"):
        pass
    try:
        with served(metrics, settings.host, port) if port else nullcontext():
            until_stopped(lambda stop: asyncio.run(watching(stop)))
    except OSError as e:
        raise CommandFailed(
            f"cannot listen on {settings.host}:{port}: {e.strerror}; name another port in ETLOG_METRICS_PORT"
        ) from e


def say_hello(targets: Sequence[Target]) -> None:
    """Send a sample to each target, and print what came of it. Raises `CommandFailed` unless all took it."""
    if not targets:
        raise CommandFailed("there is no target: add a [[notify]] to the file that ETLOG_CONFIG names")
    now = timestamps.from_datetime(datetime.now(UTC).replace(microsecond=0))
    sample = ProblemTold(
        id="sample", log="sample", state="failed", since=now, text="This is a sample: etlog can tell you of problems"
    )
    message = Message(f"msg_{os.urandom(12).hex()}", "opened", now, (sample,))

    async def send() -> bool:
        are_fine = True
        for target in targets:
            outcome = await target.sender.send(message)
            await target.sender.close()
            are_fine &= outcome.kind == "sent"
            typer.echo(f"{target.shown}: {'sent' if outcome.kind == 'sent' else f'not sent: {outcome.reason}'}")
        return are_fine

    if not asyncio.run(send()):
        raise CommandFailed("not every target took the sample", FAILED)
