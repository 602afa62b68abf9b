"""`etlog emit`: one event from the command line, or a file of them."""

from typing import Annotated

import typer
from etlog_events import store
from etlog_events.event import Event
from etlog_events.settings import Settings
from etlog_producer import Producer

from etlog import logging_setup
from etlog.connection import connected
from etlog.errors import FAILED, CommandFailed
from etlog.event_file import Emitted, OnError, emit_file
from etlog.options import LogName, RedisUrl, new_app, settings_of

app = new_app()

#: Seconds to wait for the store to accept one event; then it goes to the spool.
TIMEOUT = 5.0


@app.command()
def emit(
    kind: Annotated[
        str | None, typer.Argument(metavar="KIND", help="Such as AllocationSetSaved.", show_default=False)
    ] = None,
    size: Annotated[int | None, typer.Option(metavar="N", help="Number of records in the set.")] = None,
    start: Annotated[str | None, typer.Option(metavar="TIME", help="Start of the set's window, RFC 3339.")] = None,
    end: Annotated[str | None, typer.Option(metavar="TIME", help="End of the set's window, RFC 3339.")] = None,
    error: Annotated[
        str | None, typer.Option(metavar="TEXT", help="What failed, for a ComputeError or ReconcileError.")
    ] = None,
    time: Annotated[
        str | None, typer.Option(metavar="TIME", help="When it happened, RFC 3339.  [default: now]")
    ] = None,
    meta: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="Further metadata; repeatable.")] = None,
    file: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Emit one event per line (NDJSON) from this file; '-' is standard input."),
    ] = None,
    on_error: Annotated[OnError, typer.Option(metavar="stop|skip", help="How to handle invalid lines.")] = "stop",
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue where the last run over this file ended: emit nothing twice.")
    ] = False,
    redis_url: RedisUrl = None,
    log: LogName = None,
) -> None:
    """Publish one event, or one per line from a file. Everything is delivered when the command ends.

    \b
    etlog emit AssetSetSaved --size 29 \\
        --start 2022-06-03T10:00:00Z --end 2022-06-03T11:00:00Z
    etlog emit AssetSetComputeError --error 'no prices' --meta region=eu-1
    etlog emit --file events.ndjson
    zcat events.ndjson.gz | etlog emit --file -

    \b
    Each line of a file is one event. This one is wrapped to fit here:
    {"kind":"AssetSetTotaled",
     "metadata":{"window":{"start":"2022-06-03T10:00:00Z",
                           "end":"2022-06-03T11:00:00Z"}},
     "time":"2022-06-03T17:07:54Z"}
    """
    settings = settings_of(redis_url=redis_url, name=log)
    if (kind is None) == (file is None):
        raise CommandFailed("give either a KIND or --file; see 'etlog emit --help'")
    if file is not None and any(option is not None for option in (size, start, end, error, time, meta or None)):
        raise CommandFailed("with --file, each line holds a whole event; leave out the options that describe one")
    if (start is None) != (end is None):
        raise CommandFailed("give --start and --end together; they are the window of the set")
    logging_setup.configure("ERROR", settings.log_format)
    if file is not None:
        emitted = emit_file(file, settings, on_error=on_error, resume=resume)
    else:
        window = (start, end) if start is not None and end is not None else None
        event = Event.new(
            str(kind),
            size=size,
            window=window,
            error=error,
            time=time,
            metadata=_pairs(meta or []),
            kinds=settings.kinds,
        )
        emit_one(event, settings)
        emitted = Emitted(1)
    before = _counted(emitted.before, "event")
    if resume and not emitted.events:
        typer.echo(f"already emitted: {before} of {file}, to log {settings.name}")
    else:
        after = f", after {before} of earlier runs" if emitted.before else ""
        typer.echo(f"{_counted(emitted.events, 'event')} delivered to log {settings.name}{after}")
    if emitted.skipped:
        raise CommandFailed(f"{_counted(emitted.skipped, 'invalid line')} skipped", FAILED)


def emit_one(event: Event, settings: Settings) -> None:
    """Deliver `event`.

    Raises `StoreError` when the log cannot be published to, and `CommandFailed` when the store goes away meanwhile;
    then the event is in the spool.
    """
    with connected(settings, "emit"):
        pass  # a store that cannot be used is an error now; a producer would keep trying
    with Producer(settings=settings) as producer:
        producer.publish(event)
        if producer.flush(TIMEOUT):
            return
        reason = str(producer.last_error or "it does not answer").rstrip(".")
        producer.close(0)
        kept = "the event is in the spool, and the next producer or 'etlog spool flush' delivers it"
        lost = "the event is lost, because the spool cannot be written"
        raise CommandFailed(
            f"not delivered, the store at {store.shown(settings.redis_url)} cannot be used: {reason}; "
            f"{kept if producer.stats().spooled else lost}",
            FAILED,
        )


def _pairs(texts: list[str]) -> dict[str, str]:
    pairs = {}
    for text in texts:
        key, separator, value = text.partition("=")
        if not key or not separator:
            raise CommandFailed(f"--meta must be key=value, not {text!r}")
        if key in {"kind", "size", "window", "error", "time"}:
            raise CommandFailed(f"--meta must not be {key}; it has an option or argument of its own")
        pairs[key] = value
    return pairs


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
