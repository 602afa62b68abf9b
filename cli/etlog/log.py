"""`etlog log`: the log as a table, from the API."""

from typing import Any

import httpx
import orjson
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from etlog.errors import FAILED, CommandFailed

#: Seconds to wait for an answer.
TIMEOUT = 10.0

_STYLES = {"Error": "bold red", "Saved": "green", "Loaded": "cyan", "Reconciled": "blue"}


def fetch(url: str, path: str, parameters: dict[str, str]) -> bytes:
    """The body of an answer of the API at `url`. Raises `CommandFailed` with what it said, or that it is not there."""
    try:
        answer = httpx.get(url.rstrip("/") + path, params=parameters, timeout=TIMEOUT)
    except (httpx.HTTPError, httpx.InvalidURL) as e:
        raise CommandFailed(f"the API at {url} cannot be reached ({e}); name another with --url or ETLOG_URL") from e
    if answer.status_code != 200:
        raise CommandFailed(f"the API answered {answer.status_code}: {_message(answer)}", _code(answer.status_code))
    return answer.content


def table(body: bytes, console: Console) -> None:
    """Print all events of an answer, oldest first, and its warning."""
    answer = orjson.loads(body)
    data = answer["data"]
    events = [event for category, items in data.items() if category != "counters" for event in items]
    events.sort(key=lambda event: event["time"].rstrip("Z"))
    if not events:
        console.print("No events.")
    else:
        shown = Table("time", "kind", "window", Column("size", justify="right"), "details", box=None, pad_edge=False)
        for event in events:
            shown.add_row(*_row(event))
        console.print(shown)
    if "warning" in answer:
        console.print(Text(f"Warning: {answer['warning']}", style="yellow"))


def _row(event: dict[str, Any]) -> list[Text]:
    metadata = dict(event["metadata"])
    window = metadata.pop("window", None)
    size = metadata.pop("size", None)
    error = metadata.pop("error", None)
    details = [error] if error else []
    details += [f"{key}={orjson.dumps(value).decode()}" for key, value in metadata.items()]
    style = next((style for ending, style in _STYLES.items() if event["kind"].endswith(ending)), "")
    return [
        Text(event["time"]),
        Text(event["kind"], style=style),
        Text(f"{window['start']} … {window['end']}" if window else ""),
        Text("" if size is None else str(size)),
        Text("  ".join(details)),
    ]


def _message(answer: httpx.Response) -> str:
    try:
        return str(orjson.loads(answer.content)["message"])
    except (ValueError, KeyError, TypeError):
        return answer.reason_phrase


def _code(status: int) -> int:
    return FAILED if status >= 500 else 2
