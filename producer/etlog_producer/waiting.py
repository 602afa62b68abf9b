"""What a `flush` waits for, and when waiting is in vain."""

from dataclasses import dataclass

from etlog_events.backoff import Backoff
from etlog_events.errors import OtherContract

from etlog_producer.delivery import Delivery
from etlog_producer.errors import AcksUnavailable


def is_hopeless(error: Exception | None) -> bool:
    """Whether the last attempt ended in an error that no waiting helps against."""
    return isinstance(error, AcksUnavailable | OtherContract)


@dataclass(frozen=True, slots=True)
class Waiting:
    """Waits for the delivery of the events that were accepted up to the number `accepted`."""

    delivery: Delivery
    backoff: Backoff
    accepted: int

    @property
    def is_delivered(self) -> bool:
        """Whether they are delivered."""
        with self.delivery.inbox.lock:
            return self.delivery.has_delivered(self.accepted)

    @property
    def is_over(self) -> bool:
        """Whether there is nothing more to wait for. Raises what waiting cannot help against."""
        if self.is_delivered or self.delivery.closing:
            return True
        error = self.backoff.error
        if error is not None and is_hopeless(error):
            raise error
        return False
