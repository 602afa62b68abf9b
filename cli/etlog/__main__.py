"""The `etlog` command: reads arguments and settings, wires the parts, and turns errors into one sentence."""

import os
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import click
import orjson
import typer
from etlog_events import store
from etlog_events.errors import EtlogError
from etlog_events.settings import Settings, variable_of
from etlog_producer import Producer
from rich.console import Console

from etlog import consume as consuming
from etlog import dead as dead_letters
from etlog import emit as emitting
from etlog import log as logging_view
from etlog import logs
from etlog import serve as serving
from etlog import verify as verifying
from etlog.dev.command import develop
from etlog.errors import DONE, FAILED, MISUSED, CommandFailed
from etlog.stopping import until_stopped

app = typer.Typer(
    name="etlog",
    help="The event log for ETL pipelines: which sets were loaded, saved, aggregated, totaled and reconciled, "
    "which failed, and which never came.\n\nSettings are ETLOG_* environment variables; an option here wins.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

RedisUrl = Annotated[str | None, typer.Option("--redis-url", help="Address of the store.  [env: ETLOG_REDIS_URL]")]
LogName = Annotated[str | None, typer.Option("--log", help="Name of the log.  [env: ETLOG_NAME]")]
ApiUrl = Annotated[str, typer.Option("--url", envvar="ETLOG_URL", show_envvar=True, help="Address of the API.")]


def main() -> None:
    """Run the command and leave with its exit code: 0 done, 1 failed, 2 misused."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run the command with `arguments`; errors become one sentence on standard error."""
    try:
        code = app(arguments, prog_name="etlog", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as e:
        click.echo(e.format_message())
        return DONE
    except click.UsageError as e:
        command = e.ctx.command_path if e.ctx else "etlog"
        return _say(f"{e.format_message().rstrip('.')}; see '{command} --help'", MISUSED)
    except click.ClickException as e:
        return _say(e.format_message(), MISUSED)
    except (click.Abort, KeyboardInterrupt):
        return 130
    except CommandFailed as e:
        return _say(str(e), e.code)
    except EtlogError as e:
        return _say(str(e), MISUSED)
    except BrokenPipeError:  # the reader of a pipe has seen enough
        sys.stderr.close()
        return DONE
    return code if isinstance(code, int) else DONE


def _dump(value: Any) -> str:
    """`value` as JSON on one line."""
    return orjson.dumps(value).decode()


def _say(sentence: str, code: int) -> int:
    click.echo(f"etlog: {sentence}", err=True)
    return code


def _settings(**options: Any) -> Settings:
    """The settings of the environment, with the options that were given in their place."""

    given = {variable_of(name): str(value) for name, value in options.items() if value is not None}
    os.environ.update(given)  # worker processes read them from there
    return Settings.from_environment()


@app.command()
def emit(
    kind: Annotated[str | None, typer.Argument(help="Such as AllocationSetSaved.", show_default=False)] = None,
    size: Annotated[int | None, typer.Option(help="Number of records in the set.")] = None,
    start: Annotated[str | None, typer.Option(help="Start of the set's window, RFC 3339.")] = None,
    end: Annotated[str | None, typer.Option(help="End of the set's window, RFC 3339.")] = None,
    error: Annotated[str | None, typer.Option(help="What failed, for the two kinds of errors.")] = None,
    time: Annotated[str | None, typer.Option(help="When it happened, RFC 3339; now if not given.")] = None,
    meta: Annotated[list[str] | None, typer.Option(help="Further metadata as key=value; may be repeated.")] = None,
    file: Annotated[
        str | None, typer.Option(help="Emit one event a line (NDJSON) from this file, or from standard input for '-'.")
    ] = None,
    redis_url: RedisUrl = None,
    log: LogName = None,
) -> None:
    """Publish one event, or one a line from a file.

    \b
    etlog emit AllocationSetSaved --size 97 --start 2022-06-03T10:00:00Z --end 2022-06-03T11:00:00Z
    etlog emit --file events.ndjson
    """
    settings = _settings(redis_url=redis_url, name=log)
    if (kind is None) == (file is None):
        raise click.UsageError("give either a KIND or --file")
    if (start is None) != (end is None):
        raise click.UsageError("give --start and --end together")
    logs.configure("ERROR", settings.log_format)
    with Producer() as producer:
        if file is not None:
            lines, bytes_to_come = emitting.open_lines(file)
            with lines if file != "-" else nullcontext(lines):
                count = emitting.emit_lines(producer, lines, bytes_to_come, settings.redis_url, settings.kinds)
        else:
            window = (start, end) if start is not None and end is not None else None
            producer.emit(str(kind), size=size, window=window, error=error, time=time, **_pairs(meta or []))
            emitting.deliver(producer, settings.redis_url)
            count = 1
    typer.echo(f"{count} event{'' if count == 1 else 's'} delivered to log {settings.name}")


def _pairs(texts: list[str]) -> dict[str, str]:
    pairs = {}
    for text in texts:
        key, separator, value = text.partition("=")
        if not key or not separator:
            raise click.UsageError(f"--meta must be key=value, not {text!r}")
        if key in {"kind", "size", "window", "error", "time"}:
            raise click.UsageError(f"--meta cannot be {key}; there is an option for it")
        pairs[key] = value
    return pairs


@app.command()
def consume(redis_url: RedisUrl = None, log: LogName = None) -> None:
    """Apply the stream to the lists and counters, until stopped. Start as many as you like: one is active."""
    settings = _settings(redis_url=redis_url, name=log)
    logs.configure(settings.log_level, settings.log_format)
    consuming.consume(settings)


@app.command()
def verify(
    json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
    redis_url: RedisUrl = None,
    log: LogName = None,
) -> None:
    """Prove that all that was published is accounted for; exit 1 when it is not."""
    settings = _settings(redis_url=redis_url, name=log)
    with store.translated(settings.redis_url), store.connect(settings.redis_url, part="verify") as client:
        found = verifying.verify(client, settings.keys)
    if json:
        typer.echo(_dump(found.json()))
    else:
        verifying.table(found, Console())
    raise typer.Exit(FAILED if found.faults else DONE)


dead = typer.Typer(help="Look at, mend, put back or drop the entries that the consumer refused.", no_args_is_help=True)
app.add_typer(dead, name="dead")

Ids = Annotated[list[str] | None, typer.Argument(help="Ids of dead letters.", show_default=False)]
Reason = Annotated[str | None, typer.Option(help="Those whose reason contains this text.")]
All = Annotated[bool, typer.Option("--all", help="All of them.")]


@dead.command("list")
def dead_list(
    reason: Reason = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object a line.")] = False,
    redis_url: RedisUrl = None,
    log: LogName = None,
) -> None:
    """List dead letters, oldest first."""
    settings = _settings(redis_url=redis_url, name=log)
    with store.translated(settings.redis_url), store.connect(settings.redis_url, part="dead") as client:
        found = dead_letters.letters(client, settings.keys, dead_letters.Choice(reason=reason))
        if json:
            for letter in found:
                typer.echo(_dump(letter.json()))
        else:
            dead_letters.table(found, Console())


@dead.command("show")
def dead_show(ids: Ids, redis_url: RedisUrl = None, log: LogName = None) -> None:
    """Show dead letters with all that was kept of them."""
    settings = _settings(redis_url=redis_url, name=log)
    with store.translated(settings.redis_url), store.connect(settings.redis_url, part="dead") as client:
        for letter in dead_letters.letters(client, settings.keys, dead_letters.Choice(ids or ())):
            typer.echo(_dump(letter.json()))


@dead.command("requeue")
def dead_requeue(
    ids: Ids = None,
    reason: Reason = None,
    every: All = False,
    event: Annotated[str | None, typer.Option(help="The mended event, for one id.")] = None,
    file: Annotated[Path | None, typer.Option(help="A file with the mended event, for one id.", exists=True)] = None,
    force: Annotated[bool, typer.Option("--force", help="Even what would be refused again.")] = False,
    redis_url: RedisUrl = None,
    log: LogName = None,
) -> None:
    """Put dead letters back into the stream, mended or as they are. Each leaves the dead letters in the same step."""
    settings = _settings(redis_url=redis_url, name=log)
    if event is not None and file is not None:
        raise click.UsageError("give either --event or --file")
    mended = file.read_bytes().strip() if file is not None else event.encode() if event is not None else None
    choice = dead_letters.Choice(ids or (), reason, every)
    with store.translated(settings.redis_url), store.connect(settings.redis_url, part="dead") as client:
        count = dead_letters.requeue(client, settings.keys, choice, mended, settings.kinds, force)
    typer.echo(f"{count} put back into log {settings.name}")


@dead.command("drop")
def dead_drop(
    ids: Ids = None, reason: Reason = None, every: All = False, redis_url: RedisUrl = None, log: LogName = None
) -> None:
    """Remove dead letters for good. They stay counted."""
    settings = _settings(redis_url=redis_url, name=log)
    with store.translated(settings.redis_url), store.connect(settings.redis_url, part="dead") as client:
        count = dead_letters.drop(client, settings.keys, dead_letters.Choice(ids or (), reason, every))
    typer.echo(f"{count} dropped from log {settings.name}")


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.  [env: ETLOG_HOST]")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on.  [env: ETLOG_PORT]")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes that answer on the port.")] = 1,
    redis_url: RedisUrl = None,
    log: LogName = None,
) -> None:
    """Answer queries over HTTP, until stopped. Start as many as you like: every replica gives the same answer."""
    settings = _settings(redis_url=redis_url, name=log, host=host, port=port)
    logs.configure(settings.log_level, settings.log_format)
    serving.serve(settings.host, settings.port, workers)


@app.command("log")
def log_command(
    kind: Annotated[str, typer.Option(help="Only kinds that contain this text; several by comma.")] = "",
    window: Annotated[str, typer.Option(help="Only events of this window: today, 24h, 7d, start,end …")] = "",
    limit: Annotated[int | None, typer.Option(min=1, help="Only the newest so many of each category.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the API's answer as it is.")] = False,
    url: ApiUrl = "http://127.0.0.1:9090",
) -> None:
    """Show the log, oldest first."""
    parameters = {"kind": kind, "window": window, "limit": "" if limit is None else str(limit)}
    body = logging_view.fetch(url, "/model/etl/log", {name: value for name, value in parameters.items() if value})
    if json:
        typer.echo(body)
    else:
        logging_view.table(body, Console())


@app.command()
def sample(
    data: Annotated[Path, typer.Option(help="Folder for the sets.")] = Path("etlog-data/sample"),
    fail: Annotated[bool, typer.Option("--fail", help="Damage a set now and then, for a show of errors.")] = False,
    redis_url: RedisUrl = None,
    log: LogName = None,
) -> None:
    """Run the sample ETL: it meters this machine and publishes what it does with the figures."""
    from etlog.sample.run import run as run_sample  # noqa: PLC0415

    settings = _settings(redis_url=redis_url, name=log)
    logs.configure(settings.log_level, settings.log_format)
    raise typer.Exit(
        until_stopped(
            lambda stop: run_sample(url=settings.redis_url, log=settings.name, data=data, fail=fail, stop=stop)
        )
    )


@app.command()
def dev(
    data: Annotated[Path, typer.Option(help="Folder that keeps the log, the sets and the parts' own logs.")] = Path(
        "etlog-data"
    ),
    no_etl: Annotated[bool, typer.Option("--no-etl", help="Leave the sample ETL out.")] = False,
    fail: Annotated[bool, typer.Option("--fail", help="Let the sample ETL fail now and then.")] = False,
    seconds: Annotated[float | None, typer.Option("--for", min=0, help="Stop by itself after so many seconds.")] = None,
    port: Annotated[int | None, typer.Option(help="Port of the API.  [env: ETLOG_PORT]")] = None,
) -> None:
    """Run everything in this terminal: store, consumer, API, page and sample ETL. Ctrl-C stops it."""
    settings = _settings(port=port)
    raise typer.Exit(develop(settings, data, etl=not no_etl, fail=fail, seconds=seconds))


if __name__ == "__main__":
    main()
