"""The page's state: what each message makes of it, and which effects follow."""

from dataclasses import dataclass
from typing import Any

import pytest
from playwright.sync_api import Page

from browser.conftest import run

Message = dict[str, Any]

#: Plays messages one after another, and notes whether any of them changed a state that it was given.
PLAY = """(() => {
    const text = (state) => JSON.stringify(state, (_, value) => (value instanceof Map ? [...value] : value));
    const view = { log: '', window: given.window, kinds: [], category: '', q: '', set: '', zone: 'local' };
    let state = m.initial(view, { cap: 1000, timezone: 'UTC', categories: { asset: 'AssetSet' } });
    let pure = true;
    const effects = [];
    for (const message of given.messages) {
        const before = text(state);
        const [next, ...due] = m.reduce(state, message);
        pure &&= text(state) === before;
        state = next;
        effects.push(due);
    }
    const { log, held, ...model } = state.model;
    const shown = log.newest().map(({ event }) => event.metadata.n).reverse();
    return { pure, effects, view: state.view, connection: state.connection, shown, held: held.length,
        counted: log.total, refusal: model.refusal, status: model.status };
})()"""


@dataclass(frozen=True, slots=True)
class Played:
    """The state after the last message. `shown` are the numbers of the events, the oldest first."""

    effects: list[list[Message]]
    view: Message
    connection: Message
    shown: list[int]
    held: int
    counted: int
    refusal: str | None
    status: Message | None

    def last(self, *types: str) -> list[Message]:
        """The effects of the last message; of some types, where they are named."""
        return [effect for effect in self.effects[-1] if not types or effect["type"] in types]


def play(page: Page, *messages: Message, window: str = "") -> Played:
    """The state that messages make of the first one."""
    found = run(page, "state", PLAY, {"messages": list(messages), "window": window})
    assert found.pop("pure")
    return Played(**found)


BEGAN: Message = {"type": "began", "hidden": False}
TICKED: Message = {"type": "ticked"}
PAUSE: Message = {"type": "pausePressed"}
RESUMED: Message = {"type": "streamOpened", "resumed": True}
AFRESH: Message = {"type": "streamOpened", "resumed": False}
LOST: Message = {"type": "streamLost", "blocked": False}
BLOCKED: Message = {"type": "streamLost", "blocked": True}


def event(number: int) -> Message:
    """An event that carries a number, a second after the one before."""
    return {"kind": "AssetSetTotaled", "metadata": {"n": number}, "time": f"2022-06-03T17:07:{number:02}Z"}


def answered(read: int, *numbers: int, tag: str = "W/1", **more: Any) -> Message:
    """The answer to a read: events, the last of which is the last that is applied."""
    data = {"asset": [event(number) for number in numbers], "counters": {"AssetSetTotaled": len(numbers)}}
    answer = {"data": data, "cursor": f"{max(numbers, default=0)}-0", "tag": tag, **more}
    return {"type": "logAnswered", "number": read, "answer": answer}


def same(read: int) -> Message:
    """The answer that nothing has changed."""
    return {"type": "logAnswered", "number": read, "answer": None}


def refused(read: int, status: int, message: str = "why") -> Message:
    """A read that failed."""
    return {"type": "logFailed", "number": read, "problem": {"status": status, "message": message}}


def came(*numbers: int) -> Message:
    """Events that came live."""
    return {"type": "eventsCame", "events": [{"id": f"{number}-0", "event": event(number)} for number in numbers]}


def windowed(window: str) -> Message:
    """The reader chooses a window."""
    return {"type": "viewChanged", "part": {"window": window}}


def looked(applied: int = 0, at: int = 0) -> Message:
    """A status."""
    return {"type": "statusAnswered", "status": {"stats": {"applied": applied}}, "at": at}


def unanswered(status: int) -> Message:
    """A status that could not be had."""
    return {"type": "statusFailed", "problem": {"status": status, "message": "why"}}


def read(number: int, path: str = "model/etl/log", tag: str | None = None) -> Message:
    """The effect that reads the log."""
    return {"type": "read", "number": number, "path": path, "tag": tag}


def test_the_page_begins_with_the_log_the_status_and_the_stream(blank: Page) -> None:
    """All at once; in a hidden tab it connects when it is seen."""
    assert play(blank, BEGAN).last() == [{"type": "logs"}, read(1), {"type": "connect"}, {"type": "look"}]
    hidden = {"type": "began", "hidden": True}
    assert play(blank, hidden).last() == [{"type": "logs"}, read(1), {"type": "disconnect"}]


def test_a_new_window_cancels_the_read_under_way(blank: Page) -> None:
    """And reads the new one at once."""
    played = play(blank, BEGAN, windowed("1h"))
    assert played.last("cancel", "read") == [{"type": "cancel"}, read(2, "model/etl/log?window=1h")]
    back = {"type": "navigated", "view": {**played.view, "window": ""}}
    assert play(blank, BEGAN, windowed("1h"), back).last("cancel", "read") == [{"type": "cancel"}, read(3)]


def test_nothing_is_cancelled_where_nothing_is_read(blank: Page) -> None:
    """The read before had ended."""
    played = play(blank, BEGAN, answered(1, 1), windowed("1h"))
    assert played.last("cancel", "read") == [read(2, "model/etl/log?window=1h")]


@pytest.mark.parametrize("late", [answered(1, 1, 2, 3), same(1), refused(1, 503), refused(1, 401)])
def test_an_answer_that_arrives_after_the_view_changed_is_dropped(blank: Page, late: Message) -> None:
    """Whatever it says, before the new answer and after it."""
    before = play(blank, BEGAN, windowed("1h"), late)
    assert (before.shown, before.connection["problem"], before.last()) == ([], None, [])
    assert before.connection["reading"]["number"] == 2
    after = play(blank, BEGAN, windowed("1h"), answered(2, 3), late)
    assert (after.shown, after.connection["problem"], after.last()) == ([3], None, [])


@pytest.mark.parametrize(
    "part", [{"kinds": ["AssetSetSaved"]}, {"q": "x"}, {"category": "asset"}, {"zone": "pipeline"}]
)
def test_a_filter_of_the_page_itself_reads_nothing(blank: Page, part: Message) -> None:
    """And leaves the read under way alone."""
    played = play(blank, BEGAN, {"type": "viewChanged", "part": part})
    assert played.last("cancel", "read") == []
    assert played.view == {**played.view, **part}
    assert played.connection["reading"]["number"] == 1


def test_a_link_with_a_kind_reads_every_kind(blank: Page) -> None:
    """So that the rest is there when the filter is taken off."""
    kind = {"type": "viewChanged", "part": {"kinds": ["AssetSetSaved"]}}
    assert play(blank, kind, BEGAN).last("read") == [read(1)]


def test_typing_makes_no_entries_in_the_history(blank: Page) -> None:
    """Any other change does."""
    typed = play(blank, {"type": "viewChanged", "part": {"q": "x"}})
    assert typed.last("address") == [{"type": "address", "view": typed.view, "replace": True}]
    chosen = play(blank, windowed("1h"))
    assert chosen.last("address") == [{"type": "address", "view": chosen.view, "replace": False}]


def test_another_log_is_another_page(blank: Page) -> None:
    """It begins anew."""
    played = play(blank, BEGAN)
    assert play(blank, BEGAN, {"type": "navigated", "view": {**played.view, "log": "nightly"}}).last() == [
        {"type": "reload"}
    ]


def test_what_comes_live_during_a_read_is_shown_once(blank: Page) -> None:
    """Whether the answer holds it already or not."""
    played = play(blank, BEGAN, came(2), came(3), answered(1, 1, 2))
    assert (played.shown, played.counted) == ([1, 2, 3], 3)
    assert play(blank, BEGAN, came(2), answered(1, 1), came(2, 3)).shown == [1, 2, 3]


def test_what_comes_live_outlasts_a_cancelled_and_a_failed_read(blank: Page) -> None:
    """The next answer may be from before it."""
    cancelled = play(blank, BEGAN, answered(1, 1), windowed("1h"), came(2), windowed(""), answered(3, 1))
    assert cancelled.shown == [1, 2]
    assert play(blank, BEGAN, answered(1, 1), AFRESH, came(2), refused(2, 0)).shown == [1, 2]


def test_there_is_one_read_at_a_time(blank: Page) -> None:
    """Another one that is due is for the next look."""
    played = play(blank, BEGAN, {"type": "streamResynced"})
    assert played.last("read") == []
    assert played.connection["stale"]
    played = play(blank, BEGAN, {"type": "streamResynced"}, answered(1, 1, tag="W/7"), looked())
    assert played.last() == [read(2, tag="W/7")]
    assert not played.connection["stale"]


def test_a_log_that_is_the_same_stays(blank: Page) -> None:
    """With what came since."""
    played = play(blank, BEGAN, answered(1, 1), LOST, looked(), came(2), same(2))
    assert played.shown == [1, 2]
    assert played.connection["reading"] is None


def test_the_tag_of_one_window_says_nothing_of_another(blank: Page) -> None:
    """Only the answer that is shown may be said to be the same."""
    played = play(blank, BEGAN, answered(1, 1, tag="W/1"), LOST, windowed("1h"), refused(2, 0), looked())
    assert played.last("read") == [read(3, "model/etl/log?window=1h")]


def test_only_the_server_knows_what_is_in_a_window(blank: Page) -> None:
    """What comes live is no part of the view until it is read at the next look."""
    played = play(blank, BEGAN, answered(1, 1), came(2), window="1h")
    assert (played.shown, played.connection["stale"]) == ([1], True)
    played = play(blank, BEGAN, answered(1, 1), came(2), looked(), window="1h")
    assert played.last() == [read(2, "model/etl/log?window=1h", "W/1")]


def test_the_refusal_of_a_window_is_told_until_the_next_answer(blank: Page) -> None:
    """What was shown before stays."""
    played = play(blank, BEGAN, answered(1, 1), windowed("7y"), refused(2, 400, "illegal window: 7y"))
    assert (played.refusal, played.shown, played.connection["problem"]) == ("illegal window: 7y", [1], None)
    played = play(blank, BEGAN, windowed("7y"), refused(2, 400), windowed("1h"), answered(3, 1))
    assert played.refusal is None


def test_a_pause_holds_what_comes(blank: Page) -> None:
    """It is shown on resuming, without another read."""
    played = play(blank, BEGAN, answered(1, 1), PAUSE, came(2, 3))
    assert (played.shown, played.held) == ([1], 2)
    played = play(blank, BEGAN, answered(1, 1), PAUSE, came(2, 3), PAUSE)
    assert (played.shown, played.held) == ([1, 2, 3], 0)
    assert played.last("read") == []


def test_an_answer_does_not_change_what_a_pause_holds(blank: Page) -> None:
    """If it knows of more than what came live, it is read on resuming."""
    started = (BEGAN, answered(1, 1), PAUSE, came(2), AFRESH)
    played = play(blank, *started, answered(2, 1, 2, 3))
    assert (played.shown, played.connection["stale"]) == ([1], True)
    assert play(blank, *started, answered(2, 1, 2, 3), PAUSE).last("read") == [read(3)]
    assert not play(blank, *started, answered(2, 1, 2)).connection["stale"]


def test_another_window_is_shown_while_paused(blank: Page) -> None:
    """There and back: a pause holds one view only."""
    there = (BEGAN, answered(1, 1, 2), PAUSE, windowed("1h"), answered(2, 2))
    assert play(blank, *there).shown == [2]
    assert play(blank, *there, windowed(""), answered(3, 1, 2)).shown == [1, 2]


def test_a_paused_page_reads_nothing_by_itself(blank: Page) -> None:
    """Not even where no stream brings the log."""
    assert play(blank, BEGAN, answered(1, 1), BLOCKED, PAUSE, looked()).last("read") == []


def test_a_lost_connection_is_replaced_by_reading_at_each_look(blank: Page) -> None:
    """Until the stream is there again."""
    lost = play(blank, BEGAN, answered(1, 1), RESUMED, LOST, looked())
    assert (lost.connection["link"], lost.last()) == ("lost", [read(2, tag="W/1")])
    blocked = play(blank, BEGAN, answered(1, 1), BLOCKED, looked())
    assert (blocked.connection["link"], blocked.last()) == ("blocked", [read(2, tag="W/1")])
    restored = play(blank, BEGAN, answered(1, 1), LOST, RESUMED, looked())
    assert (restored.connection["link"], restored.last()) == ("live", [])


def test_a_stream_that_could_not_resume_has_the_log_read(blank: Page) -> None:
    """What was missed is in the answer."""
    assert play(blank, BEGAN, answered(1, 1), LOST, AFRESH).last() == [read(2)]
    assert play(blank, BEGAN, answered(1, 1), LOST, RESUMED).last() == []


def test_an_api_that_is_away_is_a_problem_until_it_answers(blank: Page) -> None:
    """The log stays, and is read again."""
    away = play(blank, BEGAN, answered(1, 1), looked(), unanswered(0))
    assert (away.connection["problem"]["status"], away.status, away.shown) == (0, None, [1])
    assert away.last() == [read(2, tag="W/1")]
    back = play(blank, BEGAN, answered(1, 1), looked(), unanswered(0), refused(2, 0), looked())
    assert (back.connection["problem"], back.last()) == (None, [read(3, tag="W/1")])


def test_a_store_that_is_away_is_a_problem_where_nothing_is_known(blank: Page) -> None:
    """With a log to show, its answer carries the warning."""
    assert play(blank, BEGAN, refused(1, 503), unanswered(503)).connection["problem"]["status"] == 503
    known = play(blank, BEGAN, answered(1, 1), unanswered(503))
    assert (known.connection["problem"], known.status) == (None, None)
    assert known.last() == [read(2, tag="W/1")]


def test_a_warning_that_the_store_is_away_has_the_log_read_at_each_look(blank: Page) -> None:
    """Until it is gone."""
    warned = answered(1, 1, warning="the store does not answer since 17:07:54")
    assert play(blank, BEGAN, warned, looked()).last() == [read(2, tag="W/1")]
    assert play(blank, BEGAN, warned, looked(), answered(2, 1), looked()).last() == []


def test_the_token_is_asked_for_once(blank: Page) -> None:
    """While it is, nothing else is; with it everything is read anew."""
    asked = play(blank, BEGAN, refused(1, 401))
    assert asked.last() == [{"type": "disconnect"}, {"type": "askToken"}]
    for message in (unanswered(401), {"type": "streamRefused"}, TICKED, {"type": "visibilityChanged", "hidden": False}):
        assert play(blank, BEGAN, refused(1, 401), message).last() == []
    given = (BEGAN, refused(1, 401), {"type": "tokenGiven"})
    assert play(blank, *given).last() == [{"type": "logs"}, {"type": "connect"}, {"type": "look"}]
    assert play(blank, *given, looked()).last() == [read(2)]


def test_a_token_that_was_not_given_is_asked_for_again(blank: Page) -> None:
    """At the next look."""
    dismissed = (BEGAN, refused(1, 401), {"type": "tokenDismissed"})
    assert play(blank, *dismissed, TICKED).last() == [{"type": "look"}]
    assert {"type": "askToken"} in play(blank, *dismissed, unanswered(401)).last()


def test_a_hidden_tab_does_nothing(blank: Page) -> None:
    """And catches up when it is seen."""
    hidden = {"type": "visibilityChanged", "hidden": True}
    assert play(blank, BEGAN, hidden).last() == [{"type": "disconnect"}]
    assert play(blank, BEGAN, hidden, TICKED).last() == []
    seen = {"type": "visibilityChanged", "hidden": False}
    assert play(blank, BEGAN, hidden, seen).last() == [{"type": "connect"}, {"type": "look"}]
    assert play(blank, BEGAN, hidden, seen, TICKED).last() == [{"type": "look"}]


def test_the_looks_of_the_last_minute_are_kept(blank: Page) -> None:
    """They begin anew where fewer events are applied than before."""
    looks = "(() => { let s = m.initial({}, {categories: {}, cap: 9, timezone: 'UTC'}); for (const one of given) "
    looks += "[s] = m.reduce(s, one); return s.model.looks.map(({ applied }) => applied); })()"
    assert run(blank, "state", looks, [looked(1, 0), looked(2, 30_000), looked(3, 60_000)]) == [2, 3]
    assert run(blank, "state", looks, [looked(5, 0), looked(1, 5_000)]) == [1]
