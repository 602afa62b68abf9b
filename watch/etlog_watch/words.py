"""Messages in words, for people: a title and a text."""

import re
from datetime import UTC, datetime

from etlog_watch.message import Happened, Message, ProblemTold

#: Problems that a text lists. Those who get a thousand look at the page.
LISTED = 20

#: Characters of a title, and of the sentence of a problem: a subject of a mail, a line on a phone.
TITLE_LENGTH = 150
LINE_LENGTH = 400

#: What the title of a message with one problem begins with, and what that of one with several says of them.
_ONE: dict[Happened, str] = {
    "opened": "Problem",
    "changed": "Changed",
    "resolved": "Resolved",
    "expired": "Expired",
    "reminder": "Still open",
}
_SEVERAL: dict[Happened, str] = {
    "opened": "problems",
    "changed": "problems changed",
    "resolved": "problems resolved",
    "expired": "problems expired",
    "reminder": "problems still open",
}

#: Line breaks, and what moves the cursor or hides text.
_UNPRINTABLE = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]+")


def title(message: Message) -> str:
    """What a message is about: its problem, or how many there are; and the log, if it is one."""
    logs = {problem.log for problem in message.problems}
    log = next(iter(logs)) if len(logs) == 1 else None
    if len(message.problems) == 1:
        where = f" in {log}" if log is not None else ""
        return _line(f"{_ONE[message.happened]}{where}: {message.problems[0].text}", TITLE_LENGTH)
    named = [log for log in logs if log is not None]
    where = f" in {log}" if log is not None else f" in {len(named)} logs" if len(named) == len(logs) > 1 else ""
    return f"{len(message.problems)} {_SEVERAL[message.happened]}{where}"


def text(message: Message) -> str:
    """A line for each problem: what it is, when it began, where to look. At most `LISTED` of them, then how many more.

    The log is named where there are several.
    """
    several = len({problem.log for problem in message.problems}) > 1
    lines = [_told(problem, several) for problem in message.problems[:LISTED]]
    more = len(message.problems) - LISTED
    return "\n".join([*lines, f"and {more} more"] if more > 0 else lines)


def _told(problem: ProblemTold, with_log: bool) -> str:
    sentence = f"{problem.log}: {problem.text}" if with_log and problem.log is not None else problem.text
    told = f"{_line(sentence, LINE_LENGTH)} (began {_in_utc(problem.since)})"
    return f"{told} {problem.url}" if problem.url else told


def _in_utc(text: str) -> str:
    """A time as people read it, to the minute; the text itself if it is not a time."""
    try:
        return f"{datetime.fromisoformat(text).astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    except ValueError:
        return _line(text, LINE_LENGTH)


def _line(text: str, longest: int) -> str:
    """A text on one line, cut to so many characters: an error in it may be pages long."""
    line = _UNPRINTABLE.sub(" ", text).strip()
    return line if len(line) <= longest else f"{line[: longest - 1].rstrip()}…"
