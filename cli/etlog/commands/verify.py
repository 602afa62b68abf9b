"""`etlog verify`: the log proves its completeness, or says what is wrong."""

import orjson
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from etlog import in_flight, progress
from etlog.connection import connected
from etlog.errors import DONE, FAILED
from etlog.options import AsJson, LogName, RedisUrl, new_app, settings_of
from etlog.verification import Verification
from etlog.verification import verify as check

app = new_app()

#: Producers without anything to tell that the table shows, those seen last.
MOST_QUIET = 50


@app.command()
def verify(json: AsJson = False, redis_url: RedisUrl = None, log: LogName = None) -> None:
    """Check that every published event is accounted for: for each producer,
    published = applied + dead + lost + in flight; for each kind, counter =
    events in rows of the ledger + events in none. Exits 1 if not.

    \b
    etlog verify --log nightly
    etlog verify --json | jq .holds
    """
    settings = settings_of(redis_url=redis_url, name=log)
    with connected(settings, "verify") as client, progress.shown("reading the producers") as advance:
        found = check(client, settings.keys, advance, settings.kinds)
    if json:
        typer.echo(orjson.dumps(found.json()).decode())
    else:
        show(found)
    raise typer.Exit(FAILED if found.faults else DONE)


def show(found: Verification) -> None:
    """Print `found` as a table."""
    console = Console()
    table = Table("producer", "published", "applied", "dead", "lost", "in flight", box=None)
    for column in table.columns[1:]:
        column.justify = "right"
    notable = [account for account in found.producers if account.is_notable]
    shown = [*notable, *[account for account in found.producers if not account.is_notable][:MOST_QUIET]]
    for account in [*shown, *([found.ended] if found.ended.published else []), found.total]:
        numbers = (account.published, account.applied, account.dead, account.lost, account.in_flight)
        table.add_row(Text(account.producer), *map(str, numbers))
    console.print(table)

    def say(text: str) -> None:
        console.print(text, highlight=False)

    more, notable_more = found.producers_total - len(shown), found.producers_notable - len(notable)
    if more > 0 and notable_more > 0:
        say(f"and {more} more producers, {notable_more} of them with dead, lost or waiting events")
    elif more > 0:
        say(f"and {more} more producers, every event of theirs accounted for")
    say(
        f"Events without a number: {found.unnumbered}, and {found.unnumbered_in_flight} in flight. "
        f"Duplicates that were not applied: {found.duplicates}."
    )
    ledger = found.ledger
    sets = ", ".join(f"{number} set{'' if number == 1 else 's'} of {name}" for name, number in ledger.sets.items())
    events = f" Events in rows: {ledger.events}, in none: {ledger.unrowed}." if ledger.stood_still else ""
    say(f"Ledger: {sets}.{events}")
    if not found.counted:
        say(f"More than {in_flight.COUNTED_EVENTS} events wait: how many is derived from the sequence numbers.")
    if not found.stood_still:
        say("The log did not stand still while it was read, so not all could be compared: verify it once it does.")
    for fault in found.faults:
        say(f"Fault: {fault}")
    if not found.faults:
        say("published = applied + dead + lost + in flight, for each producer and in total")
