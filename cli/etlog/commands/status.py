"""`etlog status`: how far the log is applied, what waits, and which consumer is active."""

import orjson
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from etlog.client import client_of
from etlog.options import API_URL, ApiUrl, AsJson, AskedLog, new_app

app = new_app()


@app.command()
def status(json: AsJson = False, log: AskedLog = None, url: ApiUrl = API_URL) -> None:
    """Show the cursor, the lag, the counts and the active consumer. What needs attention is red.

    \b
    etlog status
    etlog status --json | jq .data.lag
    """
    show(client_of(url).get("/model/etl/status", {"log": log}), as_json=json)


def show(body: bytes, *, as_json: bool) -> None:
    """Print the API's answer, unchanged or as a table."""
    if as_json:
        typer.echo(body)
        return
    console = Console()
    status = orjson.loads(body)["data"]
    stats, store = status["stats"], status["store"]
    lag, unit, oldest = status["lag"], status["lag_unit"], status["oldest_unapplied"]
    if lag is None:
        waiting = f"an unknown number of {unit}"
    elif lag == 1:
        waiting = "1 event" if unit == "events" else "1 entry"
    else:
        waiting = f"{lag:,} {unit}" if lag else "nothing"
    if oldest is not None:
        waiting += f", the oldest for {oldest:.1f} s"
    version = store.get("valkey_version") or store.get("redis_version", "unknown")
    name = "Valkey" if "valkey_version" in store else "Redis"
    rows = {
        "cursor": status["cursor"] or "nothing applied yet",
        "waiting": waiting,
        "applied": f"{stats.get('applied', 0):,}",
        "dead": f"{stats.get('dead', 0):,}",
        "lost": f"{stats.get('lost', 0):,}",
        "duplicate": f"{stats.get('duplicate', 0):,}",
        "active": status["active_consumer"] or "no consumer is active",
        "stream": f"{status['entries']:,} entries",
        "store": f"{name} {version}, {store.get('role', 'unknown role')}, {store.get('used_memory_human', '?')} used",
    }
    bad = {
        "waiting": oldest is not None and oldest > 10,
        "dead": stats.get("dead", 0) > 0,
        "lost": stats.get("lost", 0) > 0,
        "active": status["active_consumer"] is None,
    }
    table = Table(box=None, show_header=False, pad_edge=False)
    for row, value in rows.items():
        table.add_row(row, Text(value, style="bold red" if bad.get(row) else ""))
    console.print(table)
    for warning in status.get("warnings", []):
        console.print(Text(f"Warning: {warning}", style="yellow"))
