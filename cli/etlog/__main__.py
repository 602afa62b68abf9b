"""The `etlog` command: reads arguments and settings, wires the parts, and turns errors into one sentence.

Each command imports what it needs itself: scripts start `etlog emit` again and again.
"""

import sys
from importlib import metadata
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from etlog_events.errors import EtlogError, NewerContract, StoreError
from etlog_events.event import Event

from etlog import logging_setup
from etlog.commands import dead, spool
from etlog.commands.serve import serve
from etlog.errors import DONE, FAILED, MISUSED, CommandFailed
from etlog.options import ApiUrl, AskedLog, LogName, RedisUrl, settings_of
from etlog.stopping import until_stopped

if TYPE_CHECKING:
    from etlog.client import Client

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)

#: Where the API is, if nothing else is said.
API_URL = "http://127.0.0.1:9090"

#: Events of each category with which `etlog log --follow` begins.
FOLLOW_FROM = 10

app.add_typer(dead.app, name="dead")
app.add_typer(spool.app, name="spool")


def main() -> None:
    """Run the command and leave with its exit code: 0 done, 1 failed, 2 misused."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # it is None when it was closed by the one who started us
            stream.reconfigure(errors="backslashreplace")  # an event may hold any letter
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run the command with `arguments`; errors become one sentence on standard error."""
    try:
        code = app(arguments, prog_name="etlog", standalone_mode=False)
    except typer.TyperException as e:
        context = getattr(e, "ctx", None)
        command = context.command_path if context else "etlog"
        return _say(f"{e.format_message().rstrip('.')}; see '{command} --help'", MISUSED)
    except CommandFailed as e:
        return _say(str(e), e.code)
    except NewerContract as e:
        return _say(str(e), FAILED)
    except StoreError as e:
        return _say(f"{str(e).rstrip('.')}; name another with --redis-url or ETLOG_REDIS_URL", MISUSED)
    except EtlogError as e:
        return _say(str(e), MISUSED)
    except OSError as e:  # a full disk, a file that is gone
        return _say(f"{e.strerror or e}{f': {e.filename}' if e.filename else ''}", FAILED)
    except (typer.Abort, KeyboardInterrupt):
        return 130
    return code if isinstance(code, int) else DONE


def _say(sentence: str, code: int) -> int:
    typer.echo(f"etlog: {sentence}", err=True)
    return code


@app.callback(invoke_without_command=True)
def etlog(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    """The event log for ETL pipelines: which sets were loaded, saved, aggregated, totaled and reconciled,
    which failed, and which never came.

    Settings are ETLOG_* environment variables; an option here wins. To see everything at work: etlog dev
    """
    if version:
        typer.echo(f"etlog {metadata.version('etlog')}")
    elif context.invoked_subcommand is None:
        typer.echo(context.get_help(), err=True)
        raise typer.Exit(MISUSED)


@app.command()
def emit(
    kind: Annotated[
        str | None, typer.Argument(metavar="KIND", help="Such as AllocationSetSaved.", show_default=False)
    ] = None,
    size: Annotated[int | None, typer.Option(metavar="N", help="Number of records in the set.")] = None,
    start: Annotated[str | None, typer.Option(metavar="TIME", help="Start of the set's window, RFC 3339.")] = None,
    end: Annotated[str | None, typer.Option(metavar="TIME", help="End of the set's window, RFC 3339.")] = None,
    error: Annotated[str | None, typer.Option(metavar="TEXT", help="What failed, for the two kinds of errors.")] = None,
    time: Annotated[
        str | None, typer.Option(metavar="TIME", help="When it happened, RFC 3339; now if not given.")
    ] = None,
    meta: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="Further metadata; may be repeated.")
    ] = None,
    file: Annotated[
        str | None,
        typer.Option(
            metavar="FILE", help="Emit one event a line (NDJSON) from this file, or from standard input for '-'."
        ),
    ] = None,
    on_error: Annotated[
        str, typer.Option(metavar="stop|skip", help="What a line that is no event does to the rest of the file.")
    ] = "stop",
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on where the last run over this file was interrupted.")
    ] = False,
    redis_url: RedisUrl = None,
    log: LogName = None,
) -> None:
    """Publish one event, or one a line from a file. It is delivered when the command ends.

    \b
    etlog emit AllocationSetSaved --size 97 --start 2022-06-03T10:00:00Z --end 2022-06-03T11:00:00Z
    etlog emit AssetSetComputeError --error 'no prices' --meta region=eu-1
    etlog emit --file events.ndjson
    zcat events.ndjson.gz | etlog emit --file -

    \b
    A line is one event:
    {"kind":"AssetSetTotaled","metadata":{"window":{"start":"2022-06-03T10:00:00Z",
     "end":"2022-06-03T11:00:00Z"}},"time":"2022-06-03T17:07:54Z"}   (in one line)
    """
    from etlog import emit as emitting  # noqa: PLC0415

    settings = settings_of(redis_url=redis_url, name=log)
    if (kind is None) == (file is None):
        raise CommandFailed("give either a KIND or --file; see 'etlog emit --help'")
    if file is not None and any(option is not None for option in (size, start, end, error, time, meta or None)):
        raise CommandFailed(
            "with --file all that is known of an event comes from its line; leave the other options out"
        )
    if (start is None) != (end is None):
        raise CommandFailed("give --start and --end together, they are the window of the set")
    logging_setup.configure("ERROR", settings.log_format)
    if on_error not in {"stop", "skip"}:
        raise CommandFailed(f"--on-error must be stop or skip, not {on_error!r}")
    if file is not None:
        emitted = emitting.emit_file(file, settings, on_error="skip" if on_error == "skip" else "stop", resume=resume)
        count, skipped = emitted.events, emitted.skipped
    else:
        window = (start, end) if start is not None and end is not None else None
        metadata = _pairs(meta or [])
        event = Event.new(
            str(kind), size=size, window=window, error=error, time=time, metadata=metadata, kinds=settings.kinds
        )
        count, skipped = emitting.emit_one(event, settings), 0
    typer.echo(f"{count} event{'' if count == 1 else 's'} delivered to log {settings.name}")
    if skipped:
        raise CommandFailed(f"{skipped} line{'' if skipped == 1 else 's'} were no events and were skipped", FAILED)


def _pairs(texts: list[str]) -> dict[str, str]:
    pairs = {}
    for text in texts:
        key, separator, value = text.partition("=")
        if not key or not separator:
            raise CommandFailed(f"--meta must be key=value, not {text!r}")
        if key in {"kind", "size", "window", "error", "time"}:
            raise CommandFailed(f"--meta must not be {key}; an option or the KIND says it")
        pairs[key] = value
    return pairs


@app.command()
def consume(redis_url: RedisUrl = None, log: LogName = None) -> None:
    """Apply the stream to the lists and counters, until stopped. Start as many as you like: one is active.

    With several logs, in ETLOG_NAMES, each takes its share of them.

    \b
    etlog consume --redis-url redis://127.0.0.1:6379/0 --log nightly
    ETLOG_NAMES=nightly,hourly etlog consume
    """
    from etlog.consume import consume as apply  # noqa: PLC0415

    settings = settings_of(redis_url=redis_url, name=log)
    logging_setup.configure(settings.log_level, settings.log_format)
    apply(settings)


@app.command()
def verify(
    json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
    redis_url: RedisUrl = None,
    log: LogName = None,
) -> None:
    """Prove that all that was published is accounted for; exit 1 when it is not.

    \b
    etlog verify --log nightly
    """
    from etlog import verify as verifying  # noqa: PLC0415
    from etlog.connection import connected  # noqa: PLC0415

    settings = settings_of(redis_url=redis_url, name=log)
    with connected(settings, "verify") as client:
        found = verifying.verify(client, settings.keys)
    if json:
        typer.echo(verifying.as_json(found))
    else:
        verifying.show(found)
    raise typer.Exit(FAILED if found.faults else DONE)


app.command()(serve)


@app.command("log")
def log_command(
    kind: Annotated[
        str, typer.Option(metavar="TEXT", help="Only kinds that contain this text; several by comma.")
    ] = "",
    window: Annotated[
        str, typer.Option(metavar="WINDOW", help="Only events of this window: today, 24h, 7d, start,end …")
    ] = "",
    limit: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Only the newest so many of each category.")
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Then show every event as it is applied, until Ctrl-C.")
    ] = False,
    json: Annotated[
        bool, typer.Option("--json", help="Print the API's answer as it is; with --follow, one event a line.")
    ] = False,
    log: AskedLog = None,
    url: ApiUrl = API_URL,
) -> None:
    """Show the log, oldest first. An API that wants a token gets that of ETLOG_API_TOKEN.

    \b
    etlog log --kind Error --window today
    etlog log --kind AllocationSet,AssetSetSaved --limit 5
    etlog log --json | jq .data.counters
    etlog log --follow --kind Error
    """
    from etlog.log import follow as follow_log  # noqa: PLC0415
    from etlog.log import show  # noqa: PLC0415

    client = _client(url)
    if follow:
        if window:
            raise CommandFailed("leave --window out with --follow: what is applied from now on has no end")
        follow_log(client, _given(log=log, kind=kind), limit or FOLLOW_FROM, as_json=json)
    given = _given(log=log, kind=kind, window=window, limit=None if limit is None else str(limit))
    show(client.get("/model/etl/log", given), as_json=json)


@app.command()
def status(
    json: Annotated[bool, typer.Option("--json", help="Print the API's answer as it is.")] = False,
    log: AskedLog = None,
    url: ApiUrl = API_URL,
) -> None:
    """Show how far the log is applied, what waits, and who is at work.

    \b
    etlog status --json | jq .data.lag
    """
    from etlog.status import show  # noqa: PLC0415

    show(_client(url).get("/model/etl/status", _given(log=log)), as_json=json)


@app.command()
def bugreport(
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="Where to write the zip.")] = Path(
        "etlog-bugreport.zip"
    ),
    log: AskedLog = None,
    url: ApiUrl = API_URL,
) -> None:
    """Save a zip of the log, the status, the settings without secrets, and what the store says of itself.

    \b
    etlog bugreport -o report.zip
    """
    from etlog.bugreport import save  # noqa: PLC0415

    typer.echo(f"{save(_client(url), output, _given(log=log)):,} bytes written to {output}")


def _client(url: str) -> "Client":
    """A client of the API, with the token of the settings."""
    from etlog.client import Client  # noqa: PLC0415

    return Client(url, next((token.secret for token in settings_of().tokens), None))


def _given(**parameters: str | None) -> dict[str, str]:
    """Those of the parameters of a query that have a value."""
    return {name: value for name, value in parameters.items() if value}


@app.command()
def sample(
    data: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder for the sets.")] = Path("etlog-data/sample"),
    fail: Annotated[bool, typer.Option("--fail", help="Damage a set now and then, for a show of errors.")] = False,
    redis_url: RedisUrl = None,
    log: LogName = None,
) -> None:
    """Run the sample ETL: it meters this machine and publishes what it does with the figures.

    \b
    etlog sample --redis-url redis://127.0.0.1:6379/0
    """
    from etlog_dev.sample.run import run as run_sample  # noqa: PLC0415

    settings = settings_of(redis_url=redis_url, name=log)
    logging_setup.configure(settings.log_level, settings.log_format)
    raise typer.Exit(
        until_stopped(
            lambda stop: run_sample(url=settings.redis_url, log=settings.name, data=data, fail=fail, stop=stop)
        )
    )


@app.command()
def dev(
    data: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Keeps the log, the sets and the parts' own logs.")
    ] = Path("etlog-data"),
    no_etl: Annotated[bool, typer.Option("--no-etl", help="Leave the sample ETL out.")] = False,
    fail: Annotated[bool, typer.Option("--fail", help="Let the sample ETL fail now and then.")] = False,
    seconds: Annotated[
        float | None, typer.Option("--for", metavar="SECONDS", min=0, help="Stop by itself after so many seconds.")
    ] = None,
    port: Annotated[int | None, typer.Option(metavar="N", help="Port of the API.  [env: ETLOG_PORT]")] = None,
) -> None:
    """Run everything in this terminal: store, consumer, API, page and sample ETL. Ctrl-C stops it.

    The store is one of its own; a second start with the same folder goes on where the first ended.

    \b
    etlog dev
    etlog dev --no-etl --data /tmp/etlog    then, in another terminal:
    etlog emit AssetSetTotaled --start 2022-06-03T10:00:00Z --end 2022-06-03T11:00:00Z
    etlog log
    """
    from etlog_dev.develop import develop  # noqa: PLC0415

    settings = settings_of(port=port)
    raise typer.Exit(develop(settings, data, etl=not no_etl, fail=fail, seconds=seconds))


if __name__ == "__main__":
    main()
