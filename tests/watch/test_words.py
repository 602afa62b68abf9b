"""Messages in words: what people read in a mail or a channel."""

import pytest
from etlog_watch import words
from etlog_watch.message import Happened, Message, ProblemTold


def problem(text: str = "asset Saved stopped: last 07:00 to 08:00, 6 sets since", **told: str | None) -> ProblemTold:
    """A problem of the log `nightly`, unless told otherwise."""
    whole = {"id": "i", "log": "nightly", "state": "stopped", "since": "2026-11-18T09:02:10Z", "text": text}
    return ProblemTold(**(whole | told))  # type: ignore[arg-type]


def message(*problems: ProblemTold, happened: Happened = "opened") -> Message:
    """A message of these problems."""
    return Message("msg_1", happened, "2026-11-18T09:02:20Z", problems)


@pytest.mark.parametrize(
    ("happened", "one", "several"),
    [
        ("opened", "Problem in nightly: asset Saved stopped: last 07:00 to", "3 problems in nightly"),
        ("changed", "Changed in nightly: asset Saved stopped: last 07:00 to", "3 problems changed in nightly"),
        ("resolved", "Resolved in nightly: asset Saved stopped: last 07:00 to", "3 problems resolved in nightly"),
        ("expired", "Expired in nightly: asset Saved stopped: last 07:00 to", "3 problems expired in nightly"),
        ("reminder", "Still open in nightly: asset Saved stopped: last 07:00 to", "3 problems still open in nightly"),
    ],
)
def test_a_title_says_what_happened(happened: Happened, one: str, several: str) -> None:
    """To the problem, or to how many."""
    assert words.title(message(problem(), happened=happened)).startswith(one)
    assert words.title(message(problem(), problem(), problem(), happened=happened)) == several


def test_a_title_names_the_log_if_it_is_one() -> None:
    """A store that is away concerns no single one."""
    hourly, store = problem(log="hourly"), problem("the store is away", log=None)

    assert words.title(message(problem(), hourly)) == "2 problems in 2 logs"
    assert words.title(message(problem(), hourly, hourly, store)) == "4 problems"
    assert words.title(message(store)) == "Problem: the store is away"
    assert words.title(message(store, happened="resolved")) == "Resolved: the store is away"


def test_a_text_has_a_line_for_each_problem() -> None:
    """What it is, when it began, and where to look."""
    first = problem(url="https://etlog.example.com/?log=nightly")
    second = problem("asset Loaded missing: 25 Nov 01:00 to 02:00", since="2026-11-25T03:20:00.123456789+01:00")

    assert words.text(message(first, second)).splitlines() == [
        "asset Saved stopped: last 07:00 to 08:00, 6 sets since (began 2026-11-18 09:02 UTC) "
        "https://etlog.example.com/?log=nightly",
        "asset Loaded missing: 25 Nov 01:00 to 02:00 (began 2026-11-25 02:20 UTC)",
    ]


def test_a_text_names_the_log_where_there_are_several() -> None:
    """Else the title does."""
    lines = words.text(message(problem("a"), problem("b", log="hourly"), problem("c", log=None))).splitlines()

    assert [line.partition(" (")[0] for line in lines] == ["nightly: a", "hourly: b", "c"]


def test_a_text_lists_twenty_problems() -> None:
    """And how many more there are, if there are."""
    texts = [words.text(message(*map(problem, map(str, range(count))))).splitlines() for count in (20, 21, 1000)]

    assert [len(lines) for lines in texts] == [20, 21, 21]
    assert [lines[-1] for lines in texts] == ["19 (began 2026-11-18 09:02 UTC)", "and 1 more", "and 980 more"]


def test_what_an_error_says_stays_on_its_line() -> None:
    """It may be pages long, and may hold what hides or moves text."""
    long = problem("asset Saved failed:\n\nTraceback\r\n \x1b[2Jhidden\u202e\u2028" + "x" * 10_000, since="a\nb")

    [line] = words.text(message(long)).splitlines()

    assert line.startswith("asset Saved failed: Traceback [2Jhidden xxx")
    assert line.endswith("xxx… (began a b)")
    assert len(line) == words.LINE_LENGTH + len(" (began a b)")
    title = words.title(message(long))
    assert title.startswith("Problem in nightly: asset Saved failed: Traceback [2Jhidden xxx")
    assert len(title) == words.TITLE_LENGTH
