"""`etlog status`: how far the log is applied, what waits, and which consumer is active."""

from typing import Any

import orjson
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from etlog.client import Answer, Client, client_of, printable
from etlog.moments import Moments, seconds_of
from etlog.options import API_URL, ApiUrl, AsJson, AskedLog, new_app, settings_of
from etlog.spool_files import folder_of, of_other_logs

app = new_app()


@app.command()
def status(json: AsJson = False, log: AskedLog = None, url: ApiUrl = API_URL) -> None:
    """Show the cursor, the lag, the counts and the active consumer. What needs attention is red.

    \b
    etlog status
    etlog status --json | jq .data.lag
    """
    client = client_of(url)
    answer = client.ask("/model/etl/status", {"log": log})
    show(answer, as_json=json)
    if not json:
        warn_of_other_logs(client, log, orjson.loads(answer.body)["data"]["id"] or "")


def show(answer: Answer, *, as_json: bool) -> None:
    """Print the API's answer, unchanged or as a table."""
    if as_json:
        typer.echo(answer.body)
        return
    console = Console()
    status = orjson.loads(answer.body)["data"]
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
        "dead": _losses(status, "dead"),
        "lost": _losses(status, "lost"),
        "duplicate": f"{stats.get('duplicate', 0):,}",
        "active": status["active_consumer"] or "no consumer is active",
        "stream": "1 entry" if status["entries"] == 1 else f"{status['entries']:,} entries",
        "store": f"{name} {version}, {store.get('role', 'unknown role')}, {store.get('used_memory_human', '?')} used",
    }
    bad = {
        "waiting": oldest is not None and oldest > 10,
        "dead": stats.get("dead", 0) > _acknowledged(status, "dead"),
        "lost": stats.get("lost", 0) > _acknowledged(status, "lost"),
        "active": status["active_consumer"] is None,
    }
    table = Table(box=None, show_header=False, pad_edge=False)
    for row, value in rows.items():
        table.add_row(row, Text(value, style="bold red" if bad.get(row) else ""))
    for category, time in status.get("heard", {}).items():
        table.add_row(Text(printable(category)), Text(last_heard(time, Moments("UTC", answer.at))))
    console.print(table)
    for warning in status.get("warnings", []):
        console.print(Text(f"Warning: {warning}", style="yellow"))


def _acknowledged(status: dict[str, Any], name: str) -> int:
    """How many lost or dead events are acknowledged. An older API does not say."""
    return int(status.get("acknowledged", {}).get(name, 0))


def _losses(status: dict[str, Any], name: str) -> str:
    """How many events are lost or dead, and who has acknowledged them, and why."""
    number, acknowledged = status["stats"].get(name, 0), _acknowledged(status, name)
    mark = status.get("acknowledgements", {}).get(name)
    if not acknowledged or mark is None:
        return f"{number:,}"
    which = "" if acknowledged >= number else f"{acknowledged:,} of them "
    return printable(f"{number:,}, {which}acknowledged by {mark['by']}: {mark['reason']}")


def last_heard(time: str | None, moments: Moments) -> str:
    """When the last event of a set happened, in words."""
    if time is None:
        return "no event of a set"
    if seconds_of(time) >= moments.now + 1:
        return f"last event of a set at {moments.moment(time)} UTC, ahead of the API's clock"
    return f"last event of a set {moments.ago(time)} ({moments.moment(time)} UTC)"


def warn_of_other_logs(client: Client, log: str | None, log_id: str) -> None:
    """Print a line if spool files on this machine are for another log than the one with this id, which the API serves
    under the name `log`, by default its default name. They are kept until someone decides."""
    settings = settings_of()
    if not settings.spool_dir.is_dir():
        return
    name = log or orjson.loads(client.get("/model/etl/logs", {}))["data"]["default"]
    others = len(of_other_logs(folder_of(settings, name), log_id))
    if others:
        subject = "1 spool file on this machine is" if others == 1 else f"{others:,} spool files on this machine are"
        text = f"Warning: {subject} for another log {name} than this one; see 'etlog spool list'"
        Console().print(Text(text, style="yellow"), soft_wrap=True)
