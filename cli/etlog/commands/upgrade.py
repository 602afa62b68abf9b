"""`etlog upgrade`: logs of an earlier release are converted."""

import typer
from etlog_events import contract, store
from etlog_events.keys import CONSUMERS, Keys
from etlog_events.settings import Settings

from etlog import progress
from etlog.errors import FAILED, CommandFailed
from etlog.options import LogName, RedisUrl, new_app, settings_of
from etlog.upgrade import Converted, Ledger, build_ledger, needs_upgrade, refuse_running, upgrade_consumers
from etlog.upgrade import upgrade as convert

app = new_app()


@app.command()
def upgrade(redis_url: RedisUrl = None, log: LogName = None) -> None:
    """Convert logs that an earlier release wrote, while all parts are stopped.

    First stop all stages, consumers and APIs, and back up the store. Then run
    this, once, on any machine: nothing waits or is lost on the way, and what
    was interrupted is run again. Then start consumers, APIs and stages of this
    release. Converting needs as much memory again as the producers' records.

    The ledger, a row of each set, is built from the lists; older events are in
    no row of it.

    Without --log, all logs of ETLOG_NAMES are converted.

    \b
    etlog upgrade --redis-url redis://127.0.0.1:6379/0
    etlog upgrade --log nightly
    """
    settings = settings_of(redis_url=redis_url, name=log)
    others, apis = look(settings, named=log is not None)
    with store.translated(settings.redis_url):
        with store.connect(settings.redis_url, part="upgrade", log=CONSUMERS) as client:
            upgrade_consumers(client)
        for name in settings.logs:
            run(settings, name, others.get(name))
    for address in apis:
        typer.echo(f"restart the API that is connected from {address}")


def look(settings: Settings, *, named: bool) -> tuple[dict[str, str], list[str]]:
    """The logs that are not to be converted and why, and the addresses of APIs that must be restarted afterwards.

    Raises what keeps this from being done, before anything is: a log that is not there, too, if it was `named`.
    """
    others: dict[str, str] = {}
    apis: list[str] = []
    for name in settings.logs:
        keys = Keys(name)
        with (
            store.translated(settings.redis_url),
            store.connect(settings.redis_url, part="upgrade", log=name) as client,
        ):
            if needs_upgrade(client, keys):
                apis += refuse_running(client)
            elif client.exists(keys.contract):
                others[name] = f"nothing to convert, it is at contract {contract.VERSION} already"
            elif client.exists(keys.events):
                others[name] = "nothing to convert"  # entries alone are the same in both contracts
            elif named:
                raise CommandFailed(f"the store holds no log {name}", FAILED)
            else:
                others[name] = "the store holds no such log"
    return others, list(dict.fromkeys(apis))


def run(settings: Settings, log: str, other: str | None) -> None:
    """Convert one log, unless there is nothing to convert for the reason `other`; build its ledger, if there is none;
    and say what was done."""
    keys = Keys(log)
    with store.connect(settings.redis_url, part="upgrade", log=log) as client:
        if other is None:
            with progress.shown(f"converting log {log}") as advance:
                done = convert(client, keys, advance)
        typer.echo(f"log {log}: {other or _converted(done)}")
        ledger = build_ledger(client, keys, settings.kinds, keep=settings.keep_sets)
    if ledger is not None and (ledger.is_new or other is None):
        typer.echo(f"log {log}: {_held(ledger)}")


def _held(ledger: Ledger) -> str:
    held = f"the ledger holds {_counted(ledger.sets, 'set')}"
    if not ledger.unrowed:
        return held
    return f"{held}; {_counted(ledger.unrowed, 'older event')} {'is' if ledger.unrowed == 1 else 'are'} in no row"


def _converted(done: Converted | None) -> str:
    if done is None:
        return "another 'etlog upgrade' has converted it"
    waiting = done.waiting
    more, wait = "" if waiting.complete else "more than ", "waits" if waiting.events == 1 else "wait"
    return (
        f"{_counted(done.producers, 'producer')} converted, "
        f"{more}{_counted(waiting.events, 'event')} {wait} to be applied"
    )


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
