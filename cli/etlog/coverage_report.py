"""The first screen of `etlog coverage`: what is wrong, the worst first, and how each series stands."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from textwrap import wrap

from etlog_ledger.verdict import FAULTS, STATES, Fault, MarkShown, Problem, Quantiles, WindowlessErrors
from rich.cells import cell_len
from rich.text import Text

from etlog.client import printable
from etlog.coverage_answer import Coverage, Series, first_line, is_done, is_over
from etlog.moments import Moments, in_words, seconds_of

#: Columns of the word that begins a problem.
LABEL = 10

#: Problems that are told in full, and in all, the worst: what is more than this nobody reads at night.
IN_FULL, MOST_PROBLEMS = 6, 30

STYLES: Mapping[Fault, str] = {"failed": "bold red", "missing": "bold red", "stopped": "bold red", "unusual": "yellow"}

#: How a mark begins; another kind with its own name.
_MARKED = {"acknowledged": "Acknowledged by", "repairing": "Being repaired by"}

#: Stages of all series that the table lists: with the problems above, more do not fit on a screen.
MOST_STAGES = 30

#: Columns between those of the table, before a stage under its series, and of states at least.
_GAP, _INDENT, _NARROW = 2, 2, 19


def caution(coverage: Coverage, at: float, width: int) -> Iterator[Text]:
    """Lines if the answer is not of now, or may soon not be."""
    age = in_words(round(coverage.age(at)))
    moment = coverage.moments(at).moment_in_full(coverage.now)
    if coverage.suspended is not None:
        yield from _wrapped(f"SUSPENDED: {printable(coverage.suspended)}", width, "bold red")
        yield from _wrapped(f"What follows is as of {moment}, {age} ago.", width, "bold red")
    elif not coverage.is_present(at):
        outdated = f"OUTDATED: what follows is as of {moment}, {age} ago, and says nothing of now."
        yield from _wrapped(outdated, width, "bold red")
    if coverage.warning is not None:
        yield from _wrapped(f"Warning: {printable(coverage.warning)}", width, "yellow")


def heading(coverage: Coverage, at: float, shown: str, width: int) -> Iterator[Text]:
    """Whether the answer is of now, and whether anything is wrong. `shown` says what was asked for, if not for all."""
    yield from caution(coverage, at, width)
    of = f"log {printable(coverage.log)}{shown}"
    number, marked = len(coverage.problems), sum(problem.mark is not None for problem in coverage.problems)
    found = [f"{number:,} problem{'' if number == 1 else 's'}"] if number else []
    found += [f"{marked:,} of them acknowledged or being repaired"] if marked else []
    found += ["errors that name no set"] if coverage.errors else []
    if found:
        text = f"{', '.join(found)} in {of}. Times are in {coverage.moments(at).zone}."
        yield from _wrapped(text[0].upper() + text[1:], width, "bold red")
        return
    if not coverage.series:
        yield from _wrapped(f"Nothing to judge: no set in {of}.", width)
    elif coverage.is_present(at):
        text = f"Nothing is wrong in {of}: every set that is due by now is done."
        yield from _wrapped(text, width, "bold green")
    else:
        yield from _wrapped(f"Nothing was wrong then in {of}.", width)
    if coverage.series and not shown and coverage.expects_nothing():
        text = "But no stage has a habit yet, so a set that does not come is not missed."
        yield from _wrapped(text, width, "yellow")
    if elsewhere := _counted(coverage, FAULTS):
        yield from _wrapped(f"But not all is shown here; in the whole log: {elsewhere}.", width, "yellow")


def problems(coverage: Coverage, at: float, width: int) -> Iterator[Text]:
    """A paragraph for each problem, or a line where they are many, then one for each kind of error without a window."""
    moments = coverage.moments(at)
    urgent = coverage.by_urgency()
    for problem in urgent[:IN_FULL]:
        yield Text()
        yield from _paragraph(problem.state, STYLES[problem.state], _facts(problem, coverage, moments), width)
    if urgent[IN_FULL:]:
        yield Text()
        yield from _titles(urgent[IN_FULL:MOST_PROBLEMS], coverage, moments, width)
    if more := Counter(problem.state for problem in urgent[MOST_PROBLEMS:]):
        kinds = ", ".join(f"{more[fault]} {fault}" for fault in FAULTS if more[fault])
        yield Text(f"and {more.total()} more: {kinds}; choose with --category, --stage or --state, or see --json")
    for error in coverage.errors:
        yield Text()
        yield from _paragraph("errors", "bold red", _facts_of_errors(error, moments), width)


def titles(coverage: Coverage, at: float, width: int) -> Iterator[Text]:
    """A line for each problem and kind of error without a window: what `problems` says first."""
    yield from _titles(coverage.by_urgency()[:MOST_PROBLEMS], coverage, coverage.moments(at), width)
    for error in coverage.errors:
        yield from _paragraph("errors", "bold red", [_title_of_errors(error)], width)


def closing(coverage: Coverage, at: float, command: str, width: int) -> Iterator[Text]:
    """All states of the log, of when it is, and how to see more: `command` asks the same log again."""
    if hidden := coverage.hidden():
        first = min(hidden, key=lambda problem: seconds_of(problem.from_))
        number = "1 problem is" if len(hidden) == 1 else f"{len(hidden):,} problems are"
        yield from _wrapped(f"{number} of older sets than those shown here; to see them too:", width)
        yield Text(f"  {command} --window {first.from_},{coverage.now}")
    yield from _wrapped(f"Whole log: {_counted(coverage, (*STATES, 'unusual')) or 'no set'}.", width)
    moment = coverage.moments(at).moment_in_full(coverage.now)
    yield from _wrapped(f"As of {moment}, {in_words(round(coverage.age(at)))} ago.", width)
    for problem in coverage.by_urgency()[:1]:
        windows = [(each.window.start, each.window.end) for each in coverage.sets_of(problem)]
        for start, end in [(problem.from_, problem.to)] if problem.sets == 1 else windows[:1]:
            yield Text(f"A set's story: {command} --set {start}/{end}")


def table(coverage: Coverage, width: int) -> Iterator[Text]:
    """A line for each stage of each series: how many sets are in which state, its delay and how long it takes.

    Where these are many lines, series in which nothing is wrong are only named.
    """
    listed = listed_of(coverage)
    if listed:
        yield from _rows(listed, width)
    yield from unlisted(coverage, listed, width)


def listed_of(coverage: Coverage) -> list[Series]:
    """The series to show: all, or where these have many stages, those in which something is wrong."""
    if sum(len(series.stages) for series in coverage.series) <= MOST_STAGES:
        return list(coverage.series)
    return [series for series in coverage.series if not coverage.is_sound(series)]


def unlisted(coverage: Coverage, listed: Sequence[Series], width: int) -> Iterator[Text]:
    """A sentence that names the series beside those that are `listed`, if there are any."""
    steps: dict[str, list[str]] = {}
    for series in coverage.series:
        if series not in listed:
            steps.setdefault(series.category, []).append(series.cadence)
    if steps:
        names = ", ".join(printable(f"{category} ({', '.join(of)})") for category, of in steps.items())
        yield from _wrapped(f"Nothing is wrong in {names}. See how each stands with --category.", width)


def _rows(all_series: Sequence[Series], width: int) -> Iterator[Text]:
    """The lines of the table."""
    rows = [("series", "stage", "sets shown", "delay p50", "p95", "took p50", "p95")]
    for series in all_series:
        title = printable(series.name)
        for stage in series.stages:
            delay, duration = _quantiles(series.delay.get(stage)), _quantiles(series.duration.get(stage))
            rows.append((title, printable(stage), _states(series, stage), *delay, *duration))
            title = ""
    columns = [column for column in range(len(rows[0])) if any(row[column] for row in rows[1:])]
    widths = [max(cell_len(row[column]) for row in rows) for column in range(len(rows[0]))]
    if _total(widths, columns) <= width:
        for number, row in enumerate(rows):
            yield _line(row, columns, widths, "bold" if number == 0 else "")
        return
    # Too wide: the series gets a line of its own, states get several, and durations and delays are left out.
    columns.remove(0)
    room = 0
    while columns[2:] and (room := width - _INDENT - _total([*widths[:2], 0, *widths[3:]], columns)) < _NARROW:
        columns = columns[: -2 if len(columns) > 3 else -1]
    room = max(room if columns[2:] else width - _INDENT - widths[1] - _GAP, _NARROW)
    widths[2] = min(widths[2], room)
    for number, row in enumerate(rows):
        if number and row[0]:
            yield Text(row[0], style="bold")
        parts = wrap(row[2], room) or [""]
        style = "bold" if number == 0 else ""
        yield Text(" " * _INDENT) + _line((*row[:2], parts[0], *row[3:]), columns, widths, style)
        for part in parts[1:]:
            yield Text(" " * (_INDENT + widths[1] + _GAP) + part)


def _total(widths: Sequence[int], columns: Sequence[int]) -> int:
    return sum(widths[column] for column in columns) + _GAP * (len(columns) - 1)


def _line(row: Sequence[str], columns: Sequence[int], widths: Sequence[int], style: str) -> Text:
    padded = (row[column] + " " * (widths[column] - cell_len(row[column])) for column in columns)
    return Text((" " * _GAP).join(padded).rstrip(), style=style)


def _states(series: Series, stage: str) -> str:
    """`47 done, 1 failed`."""
    cells = [each.stages[stage] for each in series.sets if stage in each.stages]
    counted = Counter(cell.state for cell in cells)
    parts = [f"{counted[state]} {state}" for state in STATES if counted[state]]
    unusual = sum(cell.unusual for cell in cells)
    return ", ".join([*parts, *([f"{unusual} unusual"] if unusual else [])])


def _quantiles(found: Quantiles | None) -> tuple[str, str]:
    return ("", "") if found is None else (in_words(found.p50), in_words(found.p95))


def _titles(problems: Sequence[Problem], coverage: Coverage, moments: Moments, width: int) -> Iterator[Text]:
    for problem in problems:
        facts = [printable(problem.text) + _told_in_short(problem, coverage, moments)]
        facts += [] if problem.mark is None else [_marked(problem.mark, moments)]
        yield from _paragraph(problem.state, STYLES[problem.state], facts, width)


def _facts(problem: Problem, coverage: Coverage, moments: Moments) -> Iterator[str]:
    """What is known of a problem, a sentence each."""
    yield printable(problem.text)
    if problem.error is not None:
        if (line := first_line(problem.error)) not in problem.text:
            yield f"Error: {printable(line)}"
    elif problem.state == "stopped":
        for error in coverage.errors:  # all of them came since the last set that was done
            if error.category == problem.category and error.error is not None:
                yield f"Perhaps because of {printable(f'{error.kind}: {first_line(error.error)}')}"
    yield _since(problem, moments)
    span = moments.span(problem.from_, problem.to)
    yield f"{problem.sets:,} set{'' if problem.sets == 1 else 's'}, every {printable(problem.every)}: {span}"
    yield from _last(problem, coverage, moments)
    if behind := _waiting(problem, coverage):
        yield f"Waiting behind it: {', '.join(map(printable, behind))}"
    yield from _told(problem, coverage, moments)
    if problem.mark is not None:
        yield _marked(problem.mark, moments)


def _since(problem: Problem, moments: Moments) -> str:
    """When a problem began."""
    since = f"{moments.moment(problem.since)}, {moments.ago(problem.since)}"
    one = problem.sets == 1
    match problem.state:
        case "failed":
            return f"Failed at {since}" if one else f"Failing since {since}"
        case "unusual":
            return f"Done at {since}" if one else f"Since {since}"
        case _:
            return f"{'It' if one else 'The first'} was due by {since}"


def _last(problem: Problem, coverage: Coverage, moments: Moments) -> Iterator[str]:
    """When the stage was last done, and when it usually is. Of a set of an odd size neither matters."""
    last = problem.last_done
    if problem.state == "unusual":
        return
    if last is None:
        yield "Not done before, as far as is known"
    elif is_over(problem):
        yield f"Other sets were done since, the last at {moments.moment(last)}, {moments.ago(last)}"
    else:
        before = coverage.done_before(problem)
        of = "" if before is None else f": {moments.span(before.window.start, before.window.end)}"
        yield f"Last done at {moments.moment(last)}{of}"
    if problem.usual_delay is not None:
        side = "after" if problem.usual_delay >= 0 else "before"
        yield f"Usually done {in_words(abs(problem.usual_delay))} {side} the end of a set"


def _waiting(problem: Problem, coverage: Coverage) -> list[str]:
    """The stages that cannot do a set of a problem before it is solved."""
    found = {
        stage: None
        for each in coverage.sets_of(problem)
        for stage, cell in each.stages.items()
        if cell.behind in problem.stages and stage not in problem.stages and not is_done(cell)
    }
    return list(found)


def _told(problem: Problem, coverage: Coverage, moments: Moments) -> Iterator[str]:
    """Whether and when people were told."""
    if problem.told is not None:
        first, last = problem.told.first, problem.told.last
        if last == first:
            yield f"People were told at {moments.moment(first)}, {moments.ago(first)}"
        else:
            yield f"People were told {moments.ago(first)}, last at {moments.moment(last)}"
    elif _is_untold(problem, coverage):
        yield "No one was told yet"


def _told_in_short(problem: Problem, coverage: Coverage, moments: Moments) -> str:
    """The same in a few words, behind a sentence."""
    if problem.told is not None:
        return f" (told {moments.ago(problem.told.first)})"
    return " (not told yet)" if _is_untold(problem, coverage) else ""


def _is_untold(problem: Problem, coverage: Coverage) -> bool:
    """Whether a watcher told no one. Without a watcher no one ever is, and of what is marked people know."""
    return coverage.watched and problem.told is None and problem.mark is None


def _marked(mark: MarkShown, moments: Moments) -> str:
    by = _MARKED.get(mark.kind, f"{mark.kind.capitalize()} by")
    until = "" if mark.until is None else f" until {moments.moment(mark.until)}"
    return printable(f"{by} {mark.by}{until}: {mark.reason}")


def _title_of_errors(errors: WindowlessErrors) -> str:
    times = "once" if errors.count == 1 else f"{errors.count:,} times"
    return printable(f"{errors.category}: {errors.kind} that names no set, {times}")


def _facts_of_errors(errors: WindowlessErrors, moments: Moments) -> Iterator[str]:
    yield _title_of_errors(errors)
    if errors.error is not None:
        yield f"Error: {printable(first_line(errors.error))}"
    yield f"Last at {moments.moment(errors.last)}, {moments.ago(errors.last)}; ends with the next set that is done"


def _paragraph(label: str, style: str, facts: Iterator[str] | Sequence[str], width: int) -> Iterator[Text]:
    """`label` in capitals, and the facts beside it, each on a line of its own."""
    room = max(width - LABEL, 20)
    beside = (line for fact in facts for line in wrap(fact, room, subsequent_indent="  ", break_on_hyphens=False))
    for number, line in enumerate(beside):
        if number:
            yield Text(" " * LABEL + line)
        else:
            yield Text(f"{label.upper():<{LABEL}}", style=style) + Text(line, style="bold")


def _counted(coverage: Coverage, states: Sequence[str]) -> str:
    """`1 failed, 6 stopped`: how many stages of sets there are in these states in the whole log."""
    numbers = ((coverage.summary.get(state, 0), state) for state in states)
    return ", ".join(f"{number:,} {state}" for number, state in numbers if number)


def _wrapped(text: str, width: int, style: str = "") -> Iterator[Text]:
    return (Text(line, style=style) for line in wrap(text, max(width, 20), break_on_hyphens=False))
