"""Targets of Apprise: Slack, Teams, mail, PagerDuty, ntfy and the rest, which get a message in words.

See https://github.com/caronc/apprise/wiki for the addresses. It is an extra: `pip install 'etlog-watch[apprise]'`.
"""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from etlog_events.config import Notify
from etlog_events.errors import ConfigError

from etlog_watch import words
from etlog_watch.message import Happened, Message
from etlog_watch.sender import SENT, Outcome
from etlog_watch.talkative import silence

#: Seconds that an attempt may take. Mail takes longer than a webhook.
LIMIT = 25.0

#: What Apprise makes colours and priorities of.
_TYPES: dict[Happened, str] = {
    "opened": "failure",
    "changed": "warning",
    "resolved": "success",
    "expired": "info",
    "reminder": "warning",
}

#: Loggers that name addresses: Apprise's, and those of what most of its targets are reached by.
_TALKATIVE = ("apprise", "urllib3", "requests", "requests_oauthlib", "oauthlib")


class AppriseTarget:
    """Sends messages in words to one address of Apprise.

    Apprise blocks, so each attempt has a thread; one that outlives its time limit is left behind, and no other begins
    until it has ended.
    """

    def __init__(self, url: str) -> None:
        """Send to `url`. Raises `ImportError` without Apprise, and `ValueError`, which does not repeat the address."""
        import apprise  # noqa: PLC0415 - it is an extra

        silence(*_TALKATIVE)
        asset = apprise.AppriseAsset(app_id="etlog", app_desc="etlog")
        target = apprise.Apprise.instantiate(url, asset=asset)
        if target is None:
            raise ValueError("is not understood by apprise, or needs a package that is not installed")
        if "overflow=" not in url:
            target.overflow_mode = apprise.OverflowMode.SPLIT  # else a service refuses what is too long for it
        self._apprise = apprise.Apprise(asset=asset)
        self._apprise.add(target)
        self._attempt: threading.Thread | None = None
        self._turn = asyncio.Lock()

    async def send(self, message: Message) -> Outcome:
        """Make one attempt, once those of other logs have ended. Never raises for what the target or the network does;
        takes `LIMIT` at most."""
        async with self._turn:
            return await self._send(message)

    async def _send(self, message: Message) -> Outcome:
        if self._attempt is not None and self._attempt.is_alive():
            return Outcome("later", "apprise has not ended the attempt before")
        title, text = words.title(message), words.text(message)
        done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

        def deliver() -> bool:
            return bool(
                self._apprise.notify(title=title, body=text, notify_type=_TYPES[message.happened], body_format="text")
            )

        self._attempt = threading.Thread(target=_work, args=(deliver, done), name="etlog-apprise", daemon=True)
        self._attempt.start()
        try:
            async with asyncio.timeout(LIMIT):
                delivered = await done
        except TimeoutError:
            return Outcome("later", f"apprise did not end within {LIMIT:g} s")
        return SENT if delivered else Outcome("later", "apprise could not deliver")

    async def close(self) -> None:
        """Leave the target. An attempt that runs ends with the process."""


def apprise_of(index: int, notify: Notify) -> AppriseTarget:
    """The target of `notify[index]`. Raises `ConfigError`."""
    where = f"notify[{index}].url"
    try:
        return AppriseTarget(notify.url)
    except ImportError:
        raise ConfigError([f"{where} needs apprise: pip install 'etlog-watch[apprise]'"]) from None
    except ValueError as e:
        raise ConfigError([f"{where} {e}"]) from None


def _work(deliver: Callable[[], bool], done: "asyncio.Future[bool]") -> None:
    """Deliver in this thread, and tell the loop, if it still runs, how that went."""
    try:
        delivered = deliver()
    except Exception:  # whatever a target of Apprise raises, its text may hold the address
        delivered = False
    with suppress(RuntimeError):  # the loop is closed
        done.get_loop().call_soon_threadsafe(_settle, done, delivered)


def _settle(done: "asyncio.Future[Any]", value: Any) -> None:
    if not done.done():
        done.set_result(value)
