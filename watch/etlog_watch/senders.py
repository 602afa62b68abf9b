"""Which sender sends to a target."""

from collections.abc import Mapping

from etlog_events.config import Notify

from etlog_watch.sender import Sender


def sender_of(index: int, notify: Notify, environment: Mapping[str, str]) -> Sender:
    """The sender of `notify[index]`: a webhook for `http` and `https`, Apprise for every other scheme.

    A secret of `env:NAME` is taken from `environment`. Raises `ConfigError`, which names the table and the key.
    """
    if notify.is_webhook:
        from etlog_watch.webhook import webhook_of  # noqa: PLC0415 - httpx is slow to import

        return webhook_of(index, notify, environment)
    from etlog_watch.apprise_target import apprise_of  # noqa: PLC0415 - it is an extra

    return apprise_of(index, notify)
