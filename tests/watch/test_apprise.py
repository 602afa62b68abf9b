"""Targets of Apprise: the real one sends to a real receiver, and nothing that it says reaches the log."""

import asyncio
import importlib.util
import logging
import os
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
from etlog_events.config import Notify
from etlog_events.errors import ConfigError
from etlog_watch import apprise_target
from etlog_watch.apprise_target import AppriseTarget
from etlog_watch.message import Happened, Message, ProblemTold
from etlog_watch.sender import SENT, Outcome
from etlog_watch.senders import sender_of
from support.receivers import Answer, Receiver

#: Apprise imports what old Pythons have and new ones do not.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

#: In every place of an address: it must never be repeated.
MARKER = "hunter2"

PROBLEM = ProblemTold(
    id="i1", log="nightly", state="stopped", since="2026-11-18T09:02:10Z", text="asset Saved <stopped> & *waits*"
)


@pytest.fixture
def apprise() -> Any:
    """The real one. `etlog` does without it."""
    if importlib.util.find_spec("apprise") is None and os.environ.get("CI"):
        pytest.fail("apprise is missing; in CI it must not be")
    return pytest.importorskip("apprise")


def message(happened: Happened = "opened", problems: int = 1) -> Message:
    """A message of so many problems."""
    return Message("msg_1", happened, "2026-11-18T09:02:20Z", [PROBLEM] * problems)


def made(receiver: Receiver, query: str = "") -> AppriseTarget:
    """A target that posts what it gets to a receiver, as Apprise does it."""
    url = f"json://{MARKER}:{MARKER}@127.0.0.1:{receiver.port}/{MARKER}?+{MARKER}={MARKER}{query}"
    sender = sender_of(0, Notify(url), {})
    assert isinstance(sender, AppriseTarget)
    return sender


def sent(target: AppriseTarget, message: Message) -> Outcome:
    """What comes of sending a message."""

    async def send() -> Outcome:
        outcome = await target.send(message)
        await target.close()
        return outcome

    return asyncio.run(send())


@pytest.mark.usefixtures("apprise")
@pytest.mark.parametrize(
    ("happened", "kind", "title"),
    [
        ("opened", "failure", "Problem in nightly"),
        ("changed", "warning", "Changed in nightly"),
        ("resolved", "success", "Resolved in nightly"),
        ("expired", "info", "Expired in nightly"),
        ("reminder", "warning", "Still open in nightly"),
    ],
)
def test_a_message_is_sent_in_words(happened: Happened, kind: str, title: str, receiver: Receiver) -> None:
    """With the colour of what happened."""
    assert sent(made(receiver), message(happened)) == SENT

    [received] = receiver.received
    assert received.path.startswith(f"/{MARKER}")
    assert received.json["type"] == kind
    assert received.json["title"] == f"{title}: asset Saved <stopped> & *waits*"
    assert received.json["message"] == "asset Saved <stopped> & *waits* (began 2026-11-18 09:02 UTC)"


@pytest.mark.usefixtures("apprise")
def test_words_are_no_markup(receiver: Receiver) -> None:
    """An error in them may look like it."""
    assert sent(made(receiver, "&format=html"), message()) == SENT

    [received] = receiver.received
    assert "&lt;stopped&gt;" in received.json["message"]
    assert "<stopped>" not in received.json["message"]


@pytest.mark.parametrize(("query", "parts"), [("", True), ("&overflow=truncate", False)])
def test_what_is_too_long_for_a_service_is_split(
    query: str, parts: bool, receiver: Receiver, apprise: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the service refuses it, whenever it is sent again. The address may say otherwise."""
    monkeypatch.setattr(apprise.plugins.N_MGR["json"], "body_maxlen", 200)

    assert sent(made(receiver, query), message(problems=20)) == SENT

    told = [received.json["message"] for received in receiver.received]
    assert max(map(len, told)) <= 200
    assert (len(told) > 1) == parts
    assert ("".join(told).count("stopped") == 20) == parts


@pytest.mark.usefixtures("apprise")
def test_what_could_not_be_delivered_is_tried_again(receiver: Receiver) -> None:
    """Apprise does not say why."""
    failed = Outcome("later", "apprise could not deliver")
    receiver.answer(Answer(500))
    assert sent(made(receiver), message()) == failed
    with receiver.down():
        assert sent(made(receiver), message()) == failed


def test_what_a_target_raises_is_a_failure(receiver: Receiver, apprise: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its text may hold the address."""

    def fail(*_: Any, **__: Any) -> None:
        raise TypeError(MARKER)

    monkeypatch.setattr(apprise.Apprise, "notify", fail)

    assert sent(made(receiver), message()) == Outcome("later", "apprise could not deliver")


@pytest.mark.usefixtures("apprise")
def test_a_target_that_hangs_is_not_waited_for(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor are others begun beside it. When it has ended, the next attempt is one again."""
    monkeypatch.setattr(apprise_target, "LIMIT", 0.3)
    go_on = threading.Event()

    def hang(write: Callable[[bytes], object], _: threading.Event) -> None:
        go_on.wait(30)
        write(b"HTTP/1.1 200 OK\r\n\r\n")

    receiver.answer(Answer(raw=hang), Answer())
    target = made(receiver)

    assert sent(target, message()) == Outcome("later", "apprise did not end within 0.3 s")
    assert sent(target, message()) == Outcome("later", "apprise has not ended the attempt before")

    go_on.set()
    assert target._attempt is not None
    target._attempt.join(30)
    monkeypatch.setattr(apprise_target, "LIMIT", 30.0)
    assert sent(target, message()) == SENT
    assert len(receiver.received) == 2


@pytest.mark.usefixtures("apprise")
@pytest.mark.parametrize("answer", [Answer(), Answer(302, {"Location": f"/{MARKER}"}), Answer(500), None], ids=str)
def test_no_secret_is_repeated(answer: Answer | None, receiver: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    """Neither in the log, at any level and of any library, nor where a target is shown."""
    caplog.set_level(logging.DEBUG)
    receiver.answer(answer or Answer())
    target = made(receiver)
    if answer is None:
        receiver.close()

    outcome = sent(target, message())

    said = [record.getMessage() for record in caplog.records]
    assert MARKER not in f"{outcome!r} {target!r} {said}"
    assert {record.name for record in caplog.records} <= {"asyncio"}


@pytest.mark.usefixtures("apprise")
@pytest.mark.parametrize(
    "url",
    [f"nothing://{MARKER}", f"slack://{MARKER}", f"discord://{MARKER}?overflow={MARKER}", f"pagerduty://{MARKER}"],
)
def test_an_address_that_apprise_does_not_understand_is_refused(url: str, caplog: pytest.LogCaptureFixture) -> None:
    """At the start, and without being repeated."""
    caplog.set_level(logging.DEBUG)

    with pytest.raises(ConfigError) as refused:
        sender_of(2, Notify(url), {})

    problem = "notify[2].url is not understood by apprise, or needs a package that is not installed"
    assert refused.value.problems == (problem,)
    assert MARKER not in f"{refused.value!r} {[record.getMessage() for record in caplog.records]}"


@pytest.mark.parametrize(
    "url", ["slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#alerts", "mailto://a:b@example.com", "ntfy://topic"]
)
@pytest.mark.usefixtures("apprise")
def test_an_address_that_apprise_understands_is_taken(url: str) -> None:
    """Of a service that there is."""
    assert isinstance(sender_of(0, Notify(url), {}), AppriseTarget)


def test_without_apprise_the_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only who names such a target needs it."""
    monkeypatch.setitem(sys.modules, "apprise", None)

    with pytest.raises(ConfigError) as refused:
        sender_of(2, Notify(f"slack://{MARKER}"), {})

    assert refused.value.problems == ("notify[2].url needs apprise: pip install 'etlog-watch[apprise]'",)
    assert sender_of(2, Notify("https://hooks.example.com"), {})
