"""Dead letters: the events that the consumer refused. They can be read, repaired, requeued or dropped."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from etlog_events import contract
from etlog_events.errors import InvalidEvent
from etlog_events.keys import Keys
from etlog_events.kinds import Kinds
from etlog_events.scripts import Script
from etlog_events.validation import validator

from etlog.errors import FAILED, CommandFailed

SCRIPT = Script.load("etlog_events:contract.lua", "etlog:requeue.lua")


@dataclass(frozen=True, slots=True)
class Letter:
    """A dead letter: its id; the id, producer and number that the event had in the stream, where each event of an entry
    has its own; its bytes and what is wrong."""

    id: str
    event: str
    producer: str
    seq: str
    raw: bytes
    reason: str

    @property
    def text(self) -> str:
        """The bytes as text; what is not UTF-8 is escaped."""
        return self.raw.decode(errors="backslashreplace")

    def json(self) -> dict[str, str]:
        """As a value for JSON."""
        names = ("id", "event", "producer", "seq", "reason")
        return {name: getattr(self, name) for name in names} | {"raw": self.text}


@dataclass(frozen=True, slots=True)
class Choice:
    """A choice of letters: those with these ids, those whose reason contains a text, or all."""

    ids: Sequence[str] = ()
    reason: str | None = None
    all: bool = False

    def check(self) -> None:
        """Raise `CommandFailed` unless it is one of the three."""
        if sum((bool(self.ids), self.reason is not None, self.all)) != 1:
            raise CommandFailed("choose dead letters by id, by --reason TEXT, or with --all")


#: Letters read or moved in one call; each holds at most 64 KiB.
AT_ONCE = 100

#: What an id must be, said when it is none.
_WHICH = "give the letter's own id, which 'etlog dead list' shows beside that of its event"


def letters(client: Any, keys: Keys, choice: Choice) -> Iterator[Letter]:
    """The letters of `choice`, oldest first. Raises `CommandFailed` for an id that is not one of a dead letter."""
    if choice.ids:
        for wanted in choice.ids:
            try:
                found = client.xrange(keys.dead, wanted, wanted)
            except Exception as e:
                if "Invalid stream ID" in str(e):
                    raise CommandFailed(f"{wanted!r} is not the id of a dead letter; {_WHICH}") from e
                raise
            if not found:
                raise CommandFailed(f"there is no dead letter {wanted}; {_WHICH}", FAILED)
            yield _letter(*found[0])
        return
    start = b"-"
    # Letters that arrive meanwhile are left out: one that is requeued unrepaired comes back.
    newest = client.xrevrange(keys.dead, count=1)
    while newest and (chunk := client.xrange(keys.dead, start, newest[0][0], count=AT_ONCE)):
        for entry_id, fields in chunk:
            letter = _letter(entry_id, fields)
            if choice.reason is None or choice.reason in letter.reason:
                yield letter
        start = b"(" + chunk[-1][0]


def _letter(letter_id: bytes, fields: dict[bytes, bytes]) -> Letter:
    def text(name: bytes) -> str:
        return fields.get(name, b"").decode(errors="backslashreplace")

    return Letter(
        letter_id.decode(), text(b"id"), text(b"producer"), text(b"seq"), fields.get(b"raw", b""), text(b"reason")
    )


def requeue(client: Any, keys: Keys, choice: Choice, repaired: bytes | None, kinds: Kinds, force: bool) -> int:
    """Put letters back into the stream under new ids; `repaired` replaces the event of one. Returns their number.

    Raises `CommandFailed`, before any letter is moved, when an event would be refused again, unless `force`.
    """
    choice.check()
    if repaired is not None and len(choice.ids) != 1:
        raise CommandFailed("--event and --file replace the event of one dead letter: give exactly one id")
    validate = validator(kinds)
    if not force:
        for letter in letters(client, keys, choice):
            try:
                validate(letter.raw if repaired is None else repaired)
            except InvalidEvent as e:
                raise CommandFailed(
                    f"dead letter {letter.id} would be refused again: {e.reason}; repair it with --event or --file, "
                    "or requeue it unchanged with --force",
                    FAILED,
                ) from e
    chosen = letters(client, keys, choice)
    return _move(
        client, keys, ((letter.id, "requeue", letter.raw if repaired is None else repaired) for letter in chosen)
    )


def drop(client: Any, keys: Keys, choice: Choice) -> int:
    """Remove letters. Returns their number."""
    choice.check()
    return _move(client, keys, ((letter.id, "drop", b"") for letter in letters(client, keys, choice)))


def _move(client: Any, keys: Keys, moves: Iterator[tuple[str, str, bytes]]) -> int:
    count = 0
    arguments: list[str | bytes] = []

    def send() -> int:
        with contract.translated(f"log {keys.name}", "etlog"):
            answers = SCRIPT.run(client, (keys.contract, keys.dead, keys.events), arguments) if arguments else []
        arguments.clear()
        return sum(answer is not None for answer in answers)

    for move in moves:
        arguments += move
        if len(arguments) >= 3 * AT_ONCE:
            count += send()
    return count + send()
