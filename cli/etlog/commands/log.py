"""`etlog log`: the log as a table, from the API."""

from collections.abc import Iterator, Sequence
from textwrap import wrap
from typing import Annotated, Any

import orjson
import typer
from etlog_events import timestamps
from etlog_events.kinds import ACTIONS
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from etlog.client import Client, Parameters, client_of, printable
from etlog.errors import CommandFailed
from etlog.options import API_URL, ApiUrl, AskedLog, new_app
from etlog.terminal import columns, ending_with_the_reader

app = new_app()

#: Columns of a terminal with room for times to the nanosecond and both ends of a window.
WIDE = 130

#: Columns of time, kind, size and window while the log is followed, when the events to come are unknown.
FOLLOWED, FOLLOWED_WIDE = (19, 27, 8, 25), (30, 27, 8, 44)

#: The colour of each action; an empty one is the terminal's own.
_STYLES = {
    **{"Loaded": "cyan", "Saved": "green", "Aggregated": "", "Totaled": "", "Reconciled": "blue"},
    **{action.name: "bold red" for action in ACTIONS if action.is_error},
}

#: Events of each category with which `--follow` begins.
FOLLOW_FROM = 10


@app.command()
def log(
    kind: Annotated[
        str, typer.Option(metavar="TEXT", help="Only kinds that contain this text; comma-separated for several.")
    ] = "",
    window: Annotated[
        str,
        typer.Option(metavar="WINDOW", help="Only events that happened in this window: today, 24h, 7d, start,end …"),
    ] = "",
    limit: Annotated[int | None, typer.Option(metavar="N", min=1, help="At most N newest per category.")] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Then show every event as it is applied, until Ctrl-C.")
    ] = False,
    json: Annotated[
        bool, typer.Option("--json", help="Print the API's answer unchanged; with --follow, one event per line.")
    ] = False,
    log: AskedLog = None,
    url: ApiUrl = API_URL,
) -> None:
    """Show the log, oldest event first. If the API requires a token, set ETLOG_API_TOKEN.

    \b
    etlog log --kind Error --window today
    etlog log --kind AllocationSet,AssetSetSaved --limit 5
    etlog log --json | jq .data.counters
    etlog log --follow --kind Error
    """
    client = client_of(url)
    if not follow:
        asked = {"log": log, "kind": kind, "window": window, "limit": None if limit is None else str(limit)}
        show(client.get("/model/etl/log", asked), as_json=json)
    elif window:
        raise CommandFailed("--follow and --window cannot be combined: following has no end")
    else:
        follow_log(client, {"log": log, "kind": kind}, limit or FOLLOW_FROM, as_json=json)


def show(body: bytes, *, as_json: bool) -> None:
    """Print an answer on standard output, unchanged or as a table."""
    with ending_with_the_reader():
        if as_json:
            typer.echo(body)
            return
        console = Console()
        for line in table(body, columns(console)):
            console.print(line, soft_wrap=True)


def follow_log(client: Client, asked: Parameters, limit: int, *, as_json: bool) -> None:
    """Print the newest `limit` events of each category, then every event as it is applied, until interrupted.

    `asked` holds the query's `log` and `kind`. JSON is one event per line.
    """
    console = Console()
    width = columns(console)
    parameters = {**asked, "limit": str(limit)}
    already: set[bytes] = set()  # in the answer, and perhaps in the live log once more

    def put(event: dict[str, Any]) -> None:
        with ending_with_the_reader():
            if as_json:
                typer.echo(orjson.dumps(event))
                return
            wide = width >= WIDE
            for line in _lines(_row(event, wide=wide), FOLLOWED_WIDE if wide else FOLLOWED, width):
                console.print(line, soft_wrap=True)

    for live in client.live(asked):
        if live is None:
            events = events_of(orjson.loads(client.get("/model/etl/log", parameters)))
            already = {orjson.dumps(event) for event in events}
            for event in events:
                put(event)
        elif live.name == "resync":
            typer.echo(f"etlog: some events are not shown here: {printable(live.data)}", err=True)
        elif live.name == "message":
            event = orjson.loads(live.data)
            if orjson.dumps(event) in already:
                already.discard(orjson.dumps(event))
            else:
                put(event)


def events_of(answer: dict[str, Any]) -> list[dict[str, Any]]:
    """The events of all categories in an answer, oldest first."""
    events = [event for category, items in answer["data"].items() if category != "counters" for event in items]
    return sorted(events, key=lambda event: event["time"].rstrip("Z"))


def table(body: bytes, width: int) -> list[Text]:
    """The lines that show an answer on `width` columns: one per event, oldest first, then the warning.

    An error and further metadata end the line of their event where they fit, and follow it where they do not.
    """
    answer = orjson.loads(body)
    events = events_of(answer)
    lines = [Text("No events.")]
    if events:
        rows = [("time (UTC)", "kind", "size", "window", "")] + [_row(event, wide=width >= WIDE) for event in events]
        widths = [max(len(row[column]) for row in rows) for column in range(4)]
        lines = [line for row in rows for line in _lines(row, widths, width)]
        lines[0].stylize("bold")
    if "warning" in answer:
        lines.append(Text(f"Warning: {printable(answer['warning'])}", style="yellow"))
    return lines


def _row(event: dict[str, Any], *, wide: bool) -> tuple[str, str, str, str, str]:
    """Time, kind, size, window and the rest of an event, as text."""
    metadata = dict(event["metadata"])
    window, size, error = (metadata.pop(name, None) for name in ("window", "size", "error"))
    details = [] if error is None else [error]
    details += [f"{key}={orjson.dumps(value).decode()}" for key, value in metadata.items()]
    return (
        event["time"] if wide else _to_seconds(event["time"]),
        printable(event["kind"]),
        "" if size is None else str(size),
        _window(window, wide=wide) if window else "",
        printable("  ".join(details)),
    )


def _lines(row: tuple[str, str, str, str, str], widths: Sequence[int], width: int) -> Iterator[Text]:
    time, kind, size, window, details = row
    style = next((style for ending, style in _STYLES.items() if kind.endswith(ending)), "")
    line = Text(f"{time:<{widths[0]}}  ")
    line.append(f"{kind:<{widths[1]}}", style).append(f"  {size:>{widths[2]}}  {window:<{widths[3]}}  ")
    fits = len(line) + cell_len(details) <= width
    if fits:
        line.append(details)
    line.rstrip()
    yield line
    if not fits:
        yield from (Text(f"    {part}") for part in wrap(details, max(width - 4, 10)))


def _to_seconds(time: str) -> str:
    return f"{time[:10]} {time[11:19]}"


def _window(window: dict[str, str], *, wide: bool) -> str:
    """`2022-06-03T10:00:00Z to 2022-06-03T11:00:00Z`, or for short `2022-06-03 10:00:00 +1h`."""
    start, end = window["start"], window["end"]
    if wide:
        return f"{start} to {end}"
    seconds = (timestamps.to_nanoseconds(end) - timestamps.to_nanoseconds(start)) // 10**9
    length = ""
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        number, seconds = divmod(seconds, size)
        length += f"{number}{unit}" if number else ""
    return f"{_to_seconds(start)} +{length or '<1s'}"
