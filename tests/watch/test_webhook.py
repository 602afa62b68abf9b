"""Webhooks against real receivers: what they get, what each answer means, and that no secret is repeated."""

import asyncio
import base64
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from email.utils import formatdate
from pathlib import Path

import pytest
import standardwebhooks
from etlog_events.config import Notify
from etlog_events.errors import ConfigError
from etlog_watch import webhook
from etlog_watch.message import Message, ProblemTold
from etlog_watch.sender import SENT, Outcome
from etlog_watch.senders import sender_of
from etlog_watch.webhook import Webhook
from support.certificates import Authority
from support.receivers import Answer, Raw, Receiver, receiving, talking
from support.servers import free_port

#: In every place of an address, in the secret and in what receivers say: it must never be repeated.
MARKER = "hunter2"

PROBLEM = ProblemTold(
    id="i1",
    log="nightly",
    category="asset",
    every="1h",
    stages=("Saved",),
    state="stopped",
    from_="2026-11-18T08:00:00Z",
    to="2026-11-18T14:00:00Z",
    sets=6,
    since="2026-11-18T09:02:10Z",
    text="asset Saved stopped: last 07:00 to 08:00, 6 sets since",
)
MESSAGE = Message("msg_1", "opened", "2026-11-18T09:02:20Z", [PROBLEM])

KEY = bytes(range(32))
SECRET = "whsec_" + base64.b64encode(KEY).decode()


def sent(*webhooks: Webhook, message: Message = MESSAGE) -> Outcome:
    """What comes of sending a message by each of these webhooks, which is the same for all of them."""

    async def send() -> set[Outcome]:
        try:
            return {await webhook.send(message) for webhook in webhooks}
        finally:
            for webhook in webhooks:
                await webhook.close()

    [outcome] = asyncio.run(send())
    return outcome


def made(notify: Notify, environment: Mapping[str, str] | None = None) -> Webhook:
    """The webhook of a table."""
    sender = sender_of(0, notify, environment or {})
    assert isinstance(sender, Webhook)
    return sender


def refused(notify: Notify, environment: Mapping[str, str] | None = None) -> str:
    """Why a table has no sender."""
    with pytest.raises(ConfigError) as refused:
        sender_of(2, notify, environment or {})
    [problem] = refused.value.problems
    assert MARKER not in repr(refused.value)
    return problem


def test_a_message_is_posted_as_standard_webhooks_have_it(receiver: Receiver) -> None:
    """Headers and body."""
    clock = 1_900_000_000.9

    assert sent(Webhook(f"{receiver.url}/etlog?x=1", KEY, lambda: clock)) == SENT

    [received] = receiver.received
    assert received.path == "/etlog?x=1"
    assert received.headers["Content-Type"] == "application/json"
    assert received.headers["User-Agent"].startswith("etlog-watch/")
    assert (received.id, received.headers["webhook-timestamp"]) == ("msg_1", "1900000000")
    assert received.headers["Authorization"] is None
    assert received.is_signed_with(KEY)
    assert not received.is_signed_with(KEY[1:])
    assert received.json == {
        "type": "etlog.problem.opened",
        "timestamp": "2026-11-18T09:02:20Z",
        "data": {
            "problems": [
                {
                    "id": "i1",
                    "log": "nightly",
                    "category": "asset",
                    "every": "1h",
                    "stages": ["Saved"],
                    "state": "stopped",
                    "from": "2026-11-18T08:00:00Z",
                    "to": "2026-11-18T14:00:00Z",
                    "sets": 6,
                    "since": "2026-11-18T09:02:10Z",
                    "error": None,
                    "text": "asset Saved stopped: last 07:00 to 08:00, 6 sets since",
                    "url": None,
                }
            ]
        },
    }


def test_a_receiver_with_the_library_accepts_the_signature(receiver: Receiver) -> None:
    """With the secret as its user copies it, and the time of now."""
    sent(made(Notify(f"{receiver.url}/", SECRET)))
    [received] = receiver.received

    verified = standardwebhooks.Webhook(SECRET).verify(received.body, dict(received.headers))

    assert verified == json.loads(MESSAGE.body)
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        standardwebhooks.Webhook(SECRET).verify(received.body + b" ", dict(received.headers))


def test_the_signature_is_that_of_the_example_of_standard_webhooks() -> None:
    """The one that its libraries test themselves with."""
    key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    webhook = Webhook("http://127.0.0.1/", key, lambda: 1614265330)

    headers = webhook._headers("msg_p5jXN8AQM9LWM0D4loKWxJek", b'{"test": 2432232314}')

    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize(
    ("secret", "key"),
    [
        (SECRET, KEY),
        (SECRET.rstrip("="), KEY),
        ("any text, such as süß", "any text, such as süß".encode()),
        (base64.b64encode(KEY).decode(), base64.b64encode(KEY)),
    ],
)
def test_a_secret_is_base64_after_its_prefix_or_any_text(secret: str, key: bytes, receiver: Receiver) -> None:
    """In the file, and in a variable."""
    url = f"{receiver.url}/"

    sent(made(Notify(url, secret)), made(Notify(url, "env:A_SECRET"), {"A_SECRET": secret}))

    assert [received.is_signed_with(key) for received in receiver.received] == [True, True]


def test_without_a_secret_nothing_is_signed(receiver: Receiver) -> None:
    """There is an id and a time all the same."""
    sent(made(Notify(receiver.url)))

    [received] = receiver.received
    assert received.headers["webhook-signature"] is None
    assert received.headers["webhook-timestamp"] is not None


@pytest.mark.parametrize(
    ("secret", "environment", "problem"),
    [
        ("env:A_SECRET", {}, "notify[2].secret is in the variable A_SECRET, which is not set"),
        ("env:A_SECRET", {"A_SECRET": ""}, "notify[2].secret is in the variable A_SECRET, which is not set"),
        (
            "env:A_SECRET",
            {"A_SECRET": f"whsec_{MARKER}!"},
            "notify[2].secret must be base64 after whsec_, in the variable A_SECRET",
        ),
        (f"whsec_{MARKER}ab", {}, "notify[2].secret must be base64 after whsec_"),
        (f"whsec_{MARKER}ü", {}, "notify[2].secret must be base64 after whsec_"),
        (f"whsec_{MARKER}-_", {}, "notify[2].secret must be base64 after whsec_"),
        ("whsec_", {}, "notify[2].secret must be base64 after whsec_"),
    ],
)
def test_a_secret_that_cannot_sign_is_refused(secret: str, environment: Mapping[str, str], problem: str) -> None:
    """In one sentence, at the start."""
    assert refused(Notify("https://hooks.example.com", secret), environment) == problem


@pytest.mark.parametrize("url", [f"https://hooks.example.com:{MARKER}/", f"https://xn--{MARKER}-.ü.com/\x7f"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    """Without being repeated."""
    assert refused(Notify(url)) == "notify[2].url is not an address that messages can be sent to"


def test_a_message_that_is_sent_again_is_the_same_but_for_its_time(receiver: Receiver) -> None:
    """The receiver knows it by its id. Each attempt has its own time, so that a late one is not refused."""
    times = iter([100.0, 200.0])
    receiver.answer(Answer(500), Answer())
    again = Webhook(receiver.url, KEY, lambda: next(times))

    async def send() -> list[Outcome]:
        return [await again.send(MESSAGE), await again.send(Message("msg_1", "opened", MESSAGE.timestamp, [PROBLEM]))]

    first, second = asyncio.run(send())

    assert (first, second) == (Outcome("later", "it answered 500 Internal Server Error"), SENT)
    assert len({received.body for received in receiver.received}) == 1
    assert receiver.ids == ["msg_1", "msg_1"]
    assert [received.headers["webhook-timestamp"] for received in receiver.received] == ["100", "200"]
    assert all(received.is_signed_with(KEY) for received in receiver.received)


REDIRECTED = "redirects are not followed, so url must be the address that it leads to"


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (200, SENT),
        (202, SENT),
        (204, SENT),
        (299, SENT),
        (301, Outcome("later", f"it answered 301 Moved Permanently: {REDIRECTED}")),
        (307, Outcome("later", f"it answered 307 Temporary Redirect: {REDIRECTED}")),
        (400, Outcome("later", "it answered 400 Bad Request")),
        (401, Outcome("later", "it answered 401 Unauthorized")),
        (404, Outcome("later", "it answered 404 Not Found")),
        (410, Outcome("gone", "it answered 410 Gone")),
        (429, Outcome("later", "it answered 429 Too Many Requests")),
        (500, Outcome("later", "it answered 500 Internal Server Error")),
        (503, Outcome("later", "it answered 503 Service Unavailable")),
        (799, Outcome("later", "it answered 799")),
    ],
)
def test_what_each_answer_means(status: int, outcome: Outcome, receiver: Receiver) -> None:
    """Receivers are repaired, so all but "gone" is worth another attempt."""
    receiver.answer(Answer(status))

    assert sent(Webhook(receiver.url)) == outcome
    assert len(receiver.received) == 1


@pytest.mark.parametrize("location", ["{other}/", "/other", "http://a:b/", "ftp://{other}", "//", "http://a\xff:0/"])
def test_a_redirect_is_not_followed(location: str, receiver: Receiver) -> None:
    """Wherever it leads: a message is signed for whom the file names."""
    with receiving() as other:
        receiver.answer(Answer(308, {"Location": location.format(other=other.url)}))

        outcome = sent(Webhook(receiver.url, KEY))

        assert outcome == Outcome("later", f"it answered 308 Permanent Redirect: {REDIRECTED}")
        assert (len(receiver.received), other.received) == (1, [])


NOW = 1_900_000_000.0


@pytest.fixture
def in_tokyo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The clock of this machine is that of another zone than the dates'."""
    with monkeypatch.context() as there:
        there.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.parametrize(
    ("text", "after"),
    [
        ("120", 120),
        ("0", 0),
        ("3601", 3600),
        ("9" * 5000, 3600),
        (" 7 ", 7),
        (formatdate(NOW + 90, usegmt=True), 90),
        (formatdate(NOW + 90, localtime=False), 90),
        (formatdate(NOW - 90, usegmt=True), 0),
        (formatdate(NOW + 86_400, usegmt=True), 3600),
        ("-1", None),
        ("1.5", None),
        ("soon", None),
        ("", None),
        ("²", None),
        ("Mon, 99 Nov 2026 00:00:00 GMT", None),
        ("Fri, 31 Dec 9999 23:59:59 -2359", 3600),
        ("Fri, 31 Dec 99999999999999999999 23:59:59 GMT", None),
        ("Mon, 01 Jan 0001 00:00:00 +2359", 0),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.usefixtures("in_tokyo")
def test_a_receiver_may_say_when_to_try_again(status: int, text: str, after: float | None, receiver: Receiver) -> None:
    """In seconds or as a date, and at most in an hour."""
    receiver.answer(Answer(status, {"Retry-After": text}))

    outcome = sent(Webhook(receiver.url, clock=lambda: NOW))

    assert (outcome.kind, outcome.after) == ("later", after)


def test_only_who_is_too_busy_may_say_when(receiver: Receiver) -> None:
    """With another answer, the header means nothing."""
    receiver.answer(Answer(500, {"Retry-After": "120"}))

    assert sent(Webhook(receiver.url)).after is None


def saying(text: str) -> Raw:
    """An answer of these bytes."""

    def answer(write: Callable[[bytes], object], _: threading.Event) -> None:
        write(text.encode())

    return answer


def drip(first: bytes, again: bytes) -> Raw:
    """An answer that never ends: a beginning, then the same bytes again and again."""

    def answer(write: Callable[[bytes], object], closing: threading.Event) -> None:
        write(first)
        while not closing.wait(0.01):
            write(again)

    return answer


@pytest.mark.parametrize(
    "raw",
    [
        drip(b"", b""),
        drip(b"HTTP/1.1 200 OK\r\nX: ", b"x"),
        drip(b"HTTP/1.1 200 OK\r\n", b"X: x\r\n"),
        drip(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    ],
    ids=["silent", "long header", "many headers", "interim answers"],
)
def test_an_answer_that_never_comes_is_not_waited_for(
    raw: Raw, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However busy the receiver is with it."""
    monkeypatch.setattr(webhook, "LIMIT", 0.3)
    receiver.answer(Answer(raw=raw))

    assert sent(Webhook(receiver.url)) == Outcome("later", "it did not answer within 0.3 s")


def test_what_follows_the_headers_is_not_read(receiver: Receiver) -> None:
    """The message has arrived: an endless answer does not make it one to be sent again."""
    broken = threading.Event()

    def endless(write: Callable[[bytes], object], closing: threading.Event) -> None:
        try:
            drip(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n", b"x" * 1_000_000)(write, closing)
        except OSError:
            broken.set()
            raise

    receiver.answer(Answer(raw=endless))

    assert sent(Webhook(receiver.url)) == SENT
    assert broken.wait(10)


@pytest.mark.parametrize(
    "headers",
    [{"Content-Encoding": "gzip"}, {"Transfer-Encoding": "chunked"}, {"Content-Type": f"{MARKER}/{MARKER}"}],
    ids=str,
)
def test_what_the_body_is_said_to_be_does_not_matter(headers: Mapping[str, str], receiver: Receiver) -> None:
    """Nor whether it is."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    receiver.answer(Answer(raw=saying(f"HTTP/1.1 200 OK\r\n{lines}\r\nx")))

    assert sent(Webhook(receiver.url)) == SENT


@pytest.mark.parametrize(
    "answer",
    [b"", MARKER.encode(), b"HTTP/1.1 200", b"HTTP/1.1 abc OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: " + b"x" * 1_000_000],
    ids=["nothing", "words", "half a line", "no status", "a huge header"],
)
def test_an_answer_that_is_none_is_tried_again(answer: bytes) -> None:
    """And its bytes are not repeated."""
    with talking(answer) as port:
        outcome = sent(Webhook(f"http://127.0.0.1:{port}/"))

    assert outcome == Outcome("later", "its answer is not HTTP, or was cut off")


def test_a_receiver_that_is_down_is_tried_again(receiver: Receiver) -> None:
    """It gets the message when it is up."""
    with receiver.down():
        away = sent(Webhook(receiver.url))

    assert away == Outcome("later", "it cannot be reached: Connection refused")
    assert sent(Webhook(receiver.url)) == SENT


def test_a_host_that_is_unknown_is_tried_again() -> None:
    """The name may be in no directory yet."""
    outcome = sent(Webhook(f"http://etlog.invalid/{MARKER}"))

    assert outcome.kind == "later"
    assert outcome.reason.startswith("it cannot be reached: ")
    assert MARKER not in outcome.reason


def test_certificates_are_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against the authorities that `SSL_CERT_FILE` names, or those of the system."""
    authority = Authority(tmp_path / "authority")
    with receiving(authority.sign("127.0.0.1")) as receiver:
        assert sent(Webhook(receiver.url)) == Outcome(
            "later", "its certificate was refused: unable to get local issuer certificate"
        )
        assert receiver.received == []

        monkeypatch.setenv("SSL_CERT_FILE", str(authority.certificate))

        assert sent(Webhook(receiver.url, KEY)) == SENT
        assert receiver.received[0].is_signed_with(KEY)


def test_a_receiver_without_tls_is_told_apart(receiver: Receiver) -> None:
    """Of an address that should begin with http://."""
    url = receiver.url.replace("http://", "https://")

    assert sent(Webhook(url)) == Outcome("later", "it does not speak TLS as this machine does")


def test_a_proxy_of_the_environment_is_used(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine may have no other way out."""
    monkeypatch.setenv("HTTP_PROXY", f"http://user:{MARKER}@127.0.0.1:{receiver.port}")

    assert sent(Webhook("http://etlog.invalid/hook", KEY)) == SENT

    [received] = receiver.received
    assert received.path == "http://etlog.invalid/hook"
    assert received.headers["Proxy-Authorization"] == "Basic " + base64.b64encode(f"user:{MARKER}".encode()).decode()


@pytest.mark.parametrize(
    "proxy", [f"{MARKER}://user:{MARKER}@host", f"http://host:{MARKER}", f"socks5://{MARKER}@host"]
)
def test_a_proxy_that_cannot_be_used_is_refused(proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the start. Its address may hold a password."""
    monkeypatch.setenv("ALL_PROXY", proxy)

    problem = "notify[2].url cannot be reached through what HTTP_PROXY, HTTPS_PROXY or ALL_PROXY names"
    assert refused(Notify("https://hooks.example.com")) == problem


def test_a_proxy_that_refuses_is_named_as_such(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without its answer."""
    receiver.answer(Answer(407, body=MARKER.encode()))
    monkeypatch.setenv("HTTPS_PROXY", f"http://user:{MARKER}@127.0.0.1:{receiver.port}")

    outcome = sent(Webhook("https://etlog.invalid/hook"))

    assert outcome == Outcome("later", "the proxy did not let the message through")


@pytest.mark.parametrize("user", ["ann", "a%40n", ""])
def test_a_user_and_a_password_are_sent_as_basic_authentication(user: str, receiver: Receiver) -> None:
    """And not in the address."""
    sent(Webhook(receiver.url.replace("//", f"//{user}:pass%3Aword@") + "/hook"))

    [received] = receiver.received
    scheme, _, encoded = received.headers["Authorization"].partition(" ")
    assert (scheme, base64.b64decode(encoded).decode()) == ("Basic", f"{user.replace('%40', '@')}:pass:word")
    assert received.path == "/hook"
    assert received.headers["Host"] == f"127.0.0.1:{receiver.port}"


@pytest.mark.parametrize(
    "answer",
    [
        Answer(),
        Answer(302, {"Location": f"https://{MARKER}.example.com/{MARKER}"}),
        Answer(404, {"X": MARKER}, MARKER.encode()),
        Answer(410),
        Answer(503, {"Retry-After": MARKER}),
        Answer(raw=saying(f"{MARKER} {MARKER}\r\n\r\n")),
        Answer(raw=saying("")),
        None,
    ],
    ids=["200", "302", "404", "410", "503", "words", "nothing", "down"],
)
def test_no_secret_is_repeated(answer: Answer | None, receiver: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    """Neither in the log, at any level and of any library, nor in a reason, nor where a sender is shown."""
    caplog.set_level(logging.DEBUG)
    port = receiver.port if answer else free_port()
    notify = Notify(f"http://{MARKER}:{MARKER}@127.0.0.1:{port}/{MARKER}?{MARKER}={MARKER}#{MARKER}", "env:A_SECRET")
    receiver.answer(answer or Answer())
    sender = made(notify, {"A_SECRET": MARKER})

    outcome = sent(sender)

    said = [record.getMessage() for record in caplog.records]
    assert MARKER not in f"{outcome!r} {sender!r} {notify!r} {notify.shown} {said}"
    assert not [record for record in caplog.records if record.name.startswith("http")]
    if answer:
        assert receiver.received[0].path == f"/{MARKER}?{MARKER}={MARKER}"
