"""`etlog mark`: what people say of sets is put down, listed and removed."""

import getpass
import os
import re
import secrets
import socket
import sys
from collections.abc import Mapping
from contextlib import suppress
from datetime import tzinfo
from typing import Annotated, Any

import typer
from etlog_events.kinds import Kinds
from etlog_events.timestamps import from_nanoseconds, to_nanoseconds
from etlog_ledger.cadence import Every
from etlog_ledger.marks import (
    DEAD_LETTERS,
    LONGEST_NAME,
    LONGEST_REASON,
    LOST_EVENTS,
    MARK_KINDS,
    Mark,
    encode,
    is_over,
)
from etlog_ledger.row import STAGES
from rich.console import Console
from rich.table import Table
from rich.text import Text
from typer.core import TyperCommand
from typer.main import get_command

from etlog import marks
from etlog.client import printable
from etlog.connection import connected
from etlog.errors import EXIT_CODES, FAILED, CommandFailed
from etlog.options import LogName, RedisUrl, new_app, settings_of
from etlog.time_options import end_of, moment

#: Marks that say that someone is at work, and how many seconds they hold unless they are told otherwise: what is still
#: wrong tomorrow is looked at again. Losses stay as they are, so a mark on those holds for good.
AT_WORK, A_DAY = ("acknowledged", "repairing"), 86400

#: Columns where there is no terminal: each mark stays on one line, for `grep`.
ENDLESS = 1_000_000

_LOSSES = {LOST_EVENTS: "lost events", DEAD_LETTERS: "dead letters"}

app = new_app()
_others = new_app()


class MarkCommand(TyperCommand):
    """`etlog mark CATEGORY KIND`, beside which there are `etlog mark list` and `remove`. A category may have such a
    name: what follows it is a kind then."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """That of the command which the arguments mean."""
        if args[:1] in (["list"], ["remove"]) and not {*args[1:2]} & {*MARK_KINDS}:
            others: Any = get_command(_others)
            for each in others.commands.values():
                each.epilog = self.epilog
            return others.make_context(info_name, args, parent, **extra)
        return super().make_context(info_name, args, parent, **extra)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """The options, and the two commands."""
        super().format_options(ctx, formatter)
        with formatter.section("Commands"):
            formatter.write_dl([("list", "List the marks of a log."), ("remove", "Remove a mark.")])


@app.command(cls=MarkCommand)
def mark(
    category: Annotated[
        str, typer.Argument(metavar="CATEGORY", help="Such as asset; or lost-events, dead-letters.", show_default=False)
    ],
    kind: Annotated[str, typer.Argument(metavar="KIND", help="What is said of them, see above.", show_default=False)],
    reason: Annotated[str, typer.Option(metavar="TEXT", help="Why; shown wherever the mark is.", show_default=False)],
    every: Annotated[
        str | None, typer.Option(metavar="LENGTH", help="Only sets that come so often: 15m, 1h, 1d, 1w, 1mo.")
    ] = None,
    stage: Annotated[str | None, typer.Option(metavar="STAGE", help="Only this stage, such as Saved.")] = None,
    one: Annotated[
        str | None, typer.Option("--set", metavar="START/END", help="Only the set with this window.")
    ] = None,
    from_: Annotated[
        str | None, typer.Option("--from", metavar="TIME", help="Only sets that end after this time or date.")
    ] = None,
    to: Annotated[
        str | None, typer.Option("--to", metavar="TIME", help="Only sets that start before this time or date.")
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="When the mark ends: a time, a date, or so long from now, such as 2h or 3d. By default, acknowledged "
            "and repairing end after a day, the others never.",
        ),
    ] = None,
    by: Annotated[str | None, typer.Option(metavar="NAME", help="Who says so; by default user@host.")] = None,
    redis_url: RedisUrl = None,
    log: LogName = None,
) -> None:
    """Say of sets that something is known or right about them. Everyone who reads the log sees it.

    \b
    expected-empty  no set comes, or an empty one, and that is right
    waived          it does not matter
    retired         none comes any more
    repairing       it is wrong, and someone repairs it
    acknowledged    it is wrong, and someone knows

    Sets with one of the first three are not expected. The last two only silence what is wrong. A date is its first
    moment in ETLOG_TIMEZONE.

    \b
    etlog mark asset acknowledged --every 1h --reason 'disk full, see OPS-7'
    etlog mark asset repairing --stage Saved --until 3h --reason 'new disk'
    etlog mark allocation expected-empty --from 2026-12-24 --to 2026-12-27 \\
      --reason 'nothing runs at Christmas'
    etlog mark asset waived --set 2026-11-18T09:00:00Z/2026-11-18T10:00:00Z \\
      --reason 'its source is gone'
    etlog mark lost-events acknowledged --reason 'restored from a backup'
    etlog mark list
    etlog mark remove 5f1c09d2a7b3
    """
    settings = settings_of(redis_url=redis_url, name=log)
    zone = settings.timezone
    made: dict[str, Any] = {
        **{"id": secrets.token_hex(6), "category": category, "kind": kind},
        **{"reason": _text("--reason", reason, LONGEST_REASON), "by": _text("--by", _user(by), LONGEST_NAME)},
    }
    _check(category, kind, settings.kinds)
    of_losses = category in _LOSSES
    if not of_losses:
        made |= {"every": _cadence(every), "stage": _stage(stage), **_sets(one, from_, to, zone)}
    elif any(option is not None for option in (every, stage, one, from_, to)):
        raise CommandFailed(f"{category} belong to no set: leave out --every, --stage, --set, --from and --to")
    with connected(settings, "mark") as client:
        now, _ = client.time()
        made["at"] = _spelled(now)
        made["until"] = _default_end(made) if until is None else end_of("--until", until, zone, now)
        if of_losses:
            made["count"] = marks.losses(client, settings.keys, category)
            if not made["count"]:
                raise CommandFailed(f"log {settings.name} has no {_LOSSES[category]} to acknowledge", FAILED)
        put = Mark(**made)
        marks.put(client, settings.keys, put, now)
        typer.echo(f"{put.id} in log {settings.name}: {described(put, now)}")
        if not of_losses and (doubt := marks.doubt(client, settings.keys, put, zone)):
            typer.echo(f"Warning: this mark may match nothing: {doubt}", err=True)


@_others.command("list", epilog=EXIT_CODES)
def mark_list(
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object per line.")] = False,
    redis_url: RedisUrl = None,
    log: LogName = None,
) -> None:
    """List the marks of a log, the oldest first. One that has ended is listed for 30 days at least.

    \b
    etlog mark list
    etlog mark list --json | jq -r 'select(.category == "asset") | .id'
    """
    settings = settings_of(redis_url=redis_url, name=log)
    with connected(settings, "mark") as client:
        found = marks.read(client, settings.keys)
        now, _ = client.time()
    if json:
        for each in found.marks:
            typer.echo(encode(each))
    else:
        show(found.marks, now)
    for name in found.broken:
        typer.echo(f"Warning: {settings.keys.marks} holds no mark under '{printable(name)}'", err=True)


@_others.command("remove", epilog=EXIT_CODES)
def mark_remove(
    mark_id: Annotated[str, typer.Argument(metavar="ID", help="That of a mark in the list.", show_default=False)],
    redis_url: RedisUrl = None,
    log: LogName = None,
) -> None:
    """Remove a mark, as if it had never been made.

    \b
    etlog mark remove 5f1c09d2a7b3
    """
    settings = settings_of(redis_url=redis_url, name=log)
    with connected(settings, "mark") as client:
        now, _ = client.time()
        marks.remove(client, settings.keys, mark_id, now)
    typer.echo(f"{printable(mark_id)} removed from log {settings.name}")


def show(found: list[Mark], now: float) -> None:
    """Print marks as a table."""
    console = Console()
    if not console.is_terminal:
        console.width = ENDLESS
    table = Table("id", "mark", "reason", box=None, pad_edge=False)
    table.columns[0].no_wrap = True  # to be copied
    for each in found:
        style = "dim" if is_over(each, now) else ""
        cells = (each.id, described(each, now), f"{each.reason} ({each.by}, {each.at})")
        table.add_row(*(Text(printable(cell), style=style) for cell in cells))  # as text: brackets are not markup
    console.print(table if found else "no marks")


def described(mark: Mark, now: float) -> str:
    """What a mark is on, what it says, and until when, in a sentence."""
    if mark.category in _LOSSES:
        what = f"{mark.count or 0:,} {_LOSSES[mark.category]}"
    else:
        what = " ".join(filter(None, (mark.category, mark.stage, mark.every and f"every {mark.every}")))
        if mark.exact:
            what += f", the set from {mark.from_} to {mark.to}"
        elif mark.from_ or mark.to:
            what += "," + (f" from {mark.from_}" if mark.from_ else "") + (f" to {mark.to}" if mark.to else "")
    ends = f" {'ended' if is_over(mark, now) else 'until'} {mark.until}" if mark.until else ""
    return f"{what}: {mark.kind}{',' if ends and is_over(mark, now) else ''}{ends}"


def _check(category: str, kind: str, kinds: Kinds) -> None:
    """Raise `CommandFailed` unless there may be a mark of this kind on this category."""
    if category not in {*kinds.categories, *_LOSSES}:
        known = ", ".join((*kinds.categories, *_LOSSES))
        raise CommandFailed(f"CATEGORY must be one of {known}, not {category!r}; ETLOG_CATEGORIES adds further ones")
    if kind not in MARK_KINDS:
        raise CommandFailed(f"KIND must be one of {', '.join(MARK_KINDS)}, not {kind!r}")
    if category in _LOSSES and kind != "acknowledged":
        raise CommandFailed(f"{category} can only be acknowledged, not {kind}")


def _text(option: str, text: str, longest: int) -> str:
    text = text.strip()
    if not text:
        raise CommandFailed(f"{option} must not be empty")
    if len(text) > longest:
        raise CommandFailed(f"{option} must have at most {longest} characters, not {len(text):,}")
    try:
        text.encode()
    except UnicodeEncodeError as e:
        raise CommandFailed(f"{option} must be UTF-8") from e
    return text


def _user(named: str | None) -> str:
    """Who runs this command, as the machine knows them: in a container, a user may have no name."""
    if named is not None:
        return named
    try:
        user = getpass.getuser()
    except (KeyError, OSError, ImportError):
        user = f"uid{os.getuid()}" if sys.platform != "win32" else "unknown"
    return f"{user}@{socket.gethostname() or 'localhost'}"[:LONGEST_NAME]


def _cadence(text: str | None) -> str | None:
    try:
        return None if text is None else str(Every.parse(text))
    except ValueError as e:
        raise CommandFailed(f"--every {e}") from e


def _stage(text: str | None) -> str | None:
    if text is not None and text not in STAGES:
        raise CommandFailed(f"--stage must be one of {', '.join(STAGES)}, not {text!r}")
    return text


def _sets(one: str | None, from_: str | None, to: str | None, zone: tzinfo) -> dict[str, Any]:
    """The fields of a mark that say on which sets of its category it is."""
    first, last = "--from", "--to"
    if one is not None:
        if from_ is not None or to is not None:
            raise CommandFailed("give either --set, or --from and --to")
        match = re.fullmatch(r"([^/,]+)[/,]([^/,]+)", one)
        if match is None:
            raise CommandFailed(f"--set must be the start and the end of a window, START/END, not {one!r}")
        from_, to = match.groups()
        first, last = "the start of --set", "the end of --set"
    start = None if from_ is None else moment(first, from_, zone)
    end = None if to is None else moment(last, to, zone)
    if start is not None and end is not None and start[:-1] >= end[:-1]:
        raise CommandFailed(f"{first}, {start}, must be before {last}, {end}")
    return {"from_": start, "to": end, "exact": one is not None}


def _default_end(made: Mapping[str, Any]) -> str | None:
    """When a mark ends that is not told: if it says that someone is at work, a day after it is made, or after the sets
    that it is on if they come later."""
    if made["kind"] not in AT_WORK or made["category"] in _LOSSES:
        return None
    last = max(made["at"][:-1], (made["to"] or made["from_"] or made["at"])[:-1])
    with suppress(OverflowError):  # in the last days of the calendar
        return _spelled(to_nanoseconds(last + "Z") // 1_000_000_000 + A_DAY)
    return None


def _spelled(seconds: int) -> str:
    return from_nanoseconds(seconds * 1_000_000_000)
