"""`etlog log`: the log as a table, from the API."""

import signal
import sys
from collections.abc import Iterator, Sequence
from textwrap import wrap
from typing import Any
from urllib.parse import urlsplit

import httpx
import orjson
from etlog_events import times
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from etlog.errors import FAILED, MISUSED, CommandFailed

#: Seconds to wait for an answer.
TIMEOUT = 10.0

#: Columns of a terminal that has room for times to the nanosecond and both ends of a window.
WIDE = 130

#: Columns of what is not a terminal: each event stays on one line, for `grep` and its like.
ENDLESS = 1_000_000

_STYLES = {"Error": "bold red", "Saved": "green", "Loaded": "cyan", "Reconciled": "blue"}


def fetch(url: str, path: str, parameters: dict[str, str], token: str | None) -> bytes:
    """The body of the API's answer. Raises `CommandFailed` with what it said, or that it is not there."""
    where = _shown(url)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        answer = httpx.get(url.rstrip("/") + path, params=parameters, headers=headers, timeout=TIMEOUT)
    except (httpx.HTTPError, httpx.InvalidURL) as e:
        reason = str(e) or type(e).__name__
        raise CommandFailed(
            f"the API at {where} cannot be reached ({reason}); name another with --url or ETLOG_URL"
        ) from e
    try:
        body = orjson.loads(answer.content)
        said = body["data"]["counters"] if answer.status_code == 200 else body["message"]
    except (ValueError, KeyError, TypeError) as e:
        raise CommandFailed(
            f"what answers at {where} is not etlog ({answer.status_code} {answer.reason_phrase}); "
            "name its API with --url or ETLOG_URL"
        ) from e
    if answer.status_code != 200:
        code = FAILED if answer.status_code >= 500 else MISUSED
        raise CommandFailed(f"the API answered {answer.status_code}: {printable(str(said))}", code)
    return answer.content


def show(body: bytes, *, as_json: bool) -> None:
    """Print an answer on standard output, as it is or as a table."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `etlog log | head` ends as every other command does
    if as_json:
        sys.stdout.buffer.write(body + b"\n")
        return
    console = Console()
    for line in table(body, console.width if console.is_terminal else ENDLESS):
        console.print(line, soft_wrap=True)


def table(body: bytes, width: int) -> list[Text]:
    """The lines that show an answer on `width` columns: a line an event, oldest first, and the warning.

    An error or metadata of the stage's own end the line of their event if there is room, else they follow it.
    """
    answer = orjson.loads(body)
    events = [event for category, items in answer["data"].items() if category != "counters" for event in items]
    events.sort(key=lambda event: event["time"].rstrip("Z"))
    lines = [Text("No events.")]
    if events:
        rows = [("time (UTC)", "kind", "size", "window", "")] + [_row(event, wide=width >= WIDE) for event in events]
        widths = [max(len(row[column]) for row in rows) for column in range(4)]
        lines = [line for row in rows for line in _lines(row, widths, width)]
        lines[0].stylize("bold")
    if "warning" in answer:
        lines.append(Text(f"Warning: {printable(answer['warning'])}", style="yellow"))
    return lines


def printable(text: str) -> str:
    """`text` with escapes in place of all that could move the cursor, colour the screen or reorder letters."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _row(event: dict[str, Any], *, wide: bool) -> tuple[str, str, str, str, str]:
    """Time, kind, size, window and the rest of an event as texts."""
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
        yield from (Text(f"    {part}") for part in wrap(details, width - 4))


def _to_seconds(time: str) -> str:
    return f"{time[:10]} {time[11:19]}"


def _window(window: dict[str, str], *, wide: bool) -> str:
    """`2022-06-03T10:00:00Z to 2022-06-03T11:00:00Z`, or in short `2022-06-03 10:00:00 +1h`."""
    start, end = window["start"], window["end"]
    if wide:
        return f"{start} to {end}"
    seconds = (times.to_nanoseconds(end) - times.to_nanoseconds(start)) // 10**9
    length = ""
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        number, seconds = divmod(seconds, size)
        length += f"{number}{unit}" if number else ""
    return f"{_to_seconds(start)} +{length or '<1s'}"


def _shown(url: str) -> str:
    """`url` without user and password. Raises `CommandFailed` for one that names no host by HTTP."""
    try:
        parts = urlsplit(url)
        if parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0:
            return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    except ValueError:
        pass
    raise CommandFailed("--url or ETLOG_URL must be the address of an API such as http://127.0.0.1:9090")
