"""`etlog verify`: the log proves its completeness, or says what is wrong."""

import orjson
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from etlog.connection import connected
from etlog.errors import DONE, FAILED
from etlog.options import AsJson, LogName, RedisUrl, new_app, settings_of
from etlog.verification import MOST_COUNTED, Verification
from etlog.verification import verify as check

app = new_app()


@app.command()
def verify(json: AsJson = False, redis_url: RedisUrl = None, log: LogName = None) -> None:
    """Check that every published event is accounted for: for each producer,
    published = applied + dead + lost + in flight. Exits 1 if not.

    \b
    etlog verify --log nightly
    etlog verify --json | jq .holds
    """
    settings = settings_of(redis_url=redis_url, name=log)
    with connected(settings, "verify") as client:
        found = check(client, settings.keys)
    if json:
        typer.echo(orjson.dumps(found.json()).decode())
    else:
        show(found)
    raise typer.Exit(FAILED if found.faults else DONE)


def show(found: Verification) -> None:
    """Print `found` as a table."""
    console = Console()
    shown = Table("producer", "published", "applied", "dead", "lost", "in flight", box=None)
    for column in shown.columns[1:]:
        column.justify = "right"
    others = [account for account in (found.retired, found.pruned) if account.published]
    for account in [*found.producers, *others, found.total]:
        numbers = (account.published, account.applied, account.dead, account.lost, account.in_flight)
        shown.add_row(Text(account.producer), *map(str, numbers))
    console.print(shown)
    console.print(
        f"Entries without a number: {found.unnumbered}, and {found.unnumbered_in_flight} in flight. "
        f"Duplicates that were not applied: {found.duplicates}.",
        highlight=False,
    )
    if not found.counted:
        console.print(f"More than {MOST_COUNTED} entries wait: in-flight counts are derived from the sequence numbers.")
    for fault in found.faults:
        console.print(f"Fault: {fault}", highlight=False)
    if not found.faults:
        console.print("published = applied + dead + lost + in flight, for each producer and in total")
