"""What `emit` hands in: the newest events in memory, those before them in the spool, in the order of the calls.

delivered … | unacked (sender, memory) | spool (disk) | inbox (memory) <- emit
"""

import errno
import logging
import threading
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Literal

from etlog_producer.errors import ProducerClosed, SpoolFull
from etlog_producer.spool.writer import SpoolWriter

logger = logging.getLogger("etlog.producer")

#: What becomes of a new event when memory and spool are full.
WhenFull = Literal["drop_newest", "block", "raise"]

#: At most so many events and bytes are in memory; more go to the spool. About 10 MiB of usual events.
INBOX_EVENTS = 50_000
INBOX_BYTES = 16 * 1024 * 1024

#: Events that go to the spool at once: the one `emit` in so many that writes them takes about a millisecond.
SPILL_EVENTS = 1000


class Inbox:
    """Takes encoded events from any thread, and gives them to the sender's, numbered 1, 2, 3 …"""

    def __init__(self, spool: SpoolWriter, *, durable: bool, when_full: WhenFull, before: int = 0) -> None:
        #: Guards everything below but the end of the inbox; notified when something was delivered.
        self.changed = threading.Condition()
        #: Set when there may be something to send.
        self.wake = threading.Event()
        self.dropped = 0
        self._spool = spool
        self._durable = durable
        self._when_full = when_full
        self._inbox: deque[bytes] = deque()
        self._inbox_bytes = 0  # counted without a lock: near enough to bound memory, and set right when it is emptied
        self._left = before  # number of the last event that left the inbox
        self._given = before  # number of the last event that the sender got
        self._sealed = False
        self._last = 0  # number of the last event of all, once it is sealed
        self._warned_of_disk = False

    @property
    def accepted(self) -> int:
        """Number of the last event that was taken in."""
        return self._last if self._sealed else self._left + len(self._inbox)

    @property
    def spooled(self) -> int:
        """Events that are in the spool and not in memory."""
        return self._left - self._given

    def put(self, event: bytes) -> None:
        """Take an event. Waits only where the caller asked for that; raises `SpoolFull`, `ProducerClosed`."""
        event = bytes(memoryview(event))  # a copy of its size: the encoder's own takes a kilobyte and more of memory
        inbox = self._inbox
        if self._durable or len(inbox) >= INBOX_EVENTS or self._inbox_bytes >= INBOX_BYTES:
            self._put_carefully(event)
        else:
            inbox.append(event)
            self._inbox_bytes += len(event)
            if self._sealed:
                self._put_late(event)
        if not self.wake.is_set():
            self.wake.set()

    def _put_carefully(self, event: bytes) -> None:
        with self.changed:
            while True:
                if self._sealed:
                    raise ProducerClosed
                full = self._make_room()
                if full is None and self._durable:
                    full = self._write(self.accepted + 1, [event])
                if full is None:
                    self._inbox.append(event)
                    self._inbox_bytes += len(event)
                    return
                if self._when_full == "raise":
                    raise SpoolFull(f"no room for the event: {full.strerror}") from full
                if self._when_full == "drop_newest":
                    self._drop(full)
                    return
                self.wake.set()
                self.changed.wait(0.1)

    def _make_room(self) -> OSError | None:
        """Move the oldest events of a full inbox to the spool. Returns why that failed."""
        if len(self._inbox) < INBOX_EVENTS and self._inbox_bytes < INBOX_BYTES:
            return None
        oldest = list(islice(self._inbox, SPILL_EVENTS))
        if not self._durable:  # else they are there
            failed = self._write(self._left + 1, oldest)
            if failed is not None:
                return failed
        self._leave(len(oldest))
        return None

    def _write(self, first: int, events: Sequence[bytes]) -> OSError | None:
        try:
            self._spool.append(first, events)
        except OSError as e:
            if e.errno != errno.ENOSPC and not self._warned_of_disk:
                self._warned_of_disk = True
                logger.error("Cannot write to the spool: %s", e, extra={"action": "spool_failed"})
            return e
        return None

    def _leave(self, count: int) -> list[bytes]:
        events = [self._inbox.popleft() for _ in range(count)]
        self._left += count
        self._inbox_bytes = self._inbox_bytes - sum(map(len, events)) if self._inbox else 0
        return events

    def _drop(self, why: OSError) -> None:
        self.dropped += 1
        if self.dropped == 1:
            logger.warning(
                "No room for new events; they are dropped and counted: %s",
                why.strerror,
                extra={"action": "events_dropped"},
            )

    def _put_late(self, event: bytes) -> None:
        """`close` began meanwhile: either this very event was counted by then, or it must be refused."""
        with self.changed:
            for place, left in enumerate(list(self._inbox)):
                if left is event and self._left + 1 + place > self._last:
                    del self._inbox[place]
                    raise ProducerClosed

    def take(self, limit: int, *, from_spool: bool) -> tuple[int, list[bytes]]:
        """The next events for the sender, at most `limit`: number of the first, and the events.

        What is in the spool comes first, and only when the sender asks for it (`from_spool`). Where a spool file is
        damaged, the first number is not the one that follows on.
        """
        if self._given < self._left:
            if not from_spool:
                return self._given + 1, []
            first, events = self._spool.read(self._given + 1, self._left, limit)
        else:
            first, events = self._left + 1, self._leave(min(limit, self.accepted - self._left))
        self._given = first + len(events) - 1
        return first, events

    def delivered(self, surely: int) -> None:
        """The store has everything up to `surely` and will keep it: spool files that hold no more can go."""
        release = self._spool.release_all_but_newest if self._durable else self._spool.release
        if release(surely):
            self.changed.notify_all()

    def know_log(self, log_id: str) -> None:
        """The store has said that the log has this id."""
        self._spool.know_log(log_id)

    def mark(self, surely: int) -> None:
        """Note in the spool how far the store has the events, for people who find the files of a killed process."""
        with suppress(OSError):  # nothing depends on the note
            self._spool.mark(surely)

    def renew(self, spool: SpoolWriter) -> bool:
        """Begin anew with the number 1 and the spool of another id, if no event here has a number yet. Tells whether it
        did."""
        if self.spooled or self._sealed or (self._durable and self._inbox):
            return False
        self._spool.release(self._left)
        self._spool.close()
        self._spool = spool
        self._left = self._given = 0
        return True

    def split(self, first: int, events: Sequence[bytes]) -> tuple[list[bytes], int]:
        """What the sender has, numbered from `first`: the events of it that are in no file, and how many others are."""
        alone = [event for number, event in enumerate(events, first) if not self._spool.holds(number)]
        return alone, len(events) - len(alone)

    def hand_over(self, spool: SpoolWriter, numbered: int) -> tuple[list[Path], int, int]:
        """Another process goes by this id. Leave what is in the spool to recovery, and go on with the spool of another
        id, under which the sender has the events up to `numbered` and the next one here follows.

        Returns the files, how many undelivered events they have beside those of the sender, and by how much the numbers
        of all that follows are smaller now.
        """
        handed = self.spooled
        if self._durable:  # what is here is there, too
            handed += len(self._leave(self.accepted - self._left))
        self._spool.take()
        paths = self._spool.paths
        self._spool.close()
        self._spool = spool
        shift = self._left - numbered
        self._last -= shift
        self._left = self._given = numbered
        return paths, handed, shift

    def seal(self) -> None:
        """Take no more: what other threads add from now on is refused."""
        if not self._sealed:
            self._sealed = True
            self._last = self._left + len(self._inbox)
            self.changed.notify_all()

    @property
    def has_files(self) -> bool:
        """Whether events are in spool files, or were."""
        return bool(self._spool.paths)

    def forget(self) -> bool:
        """The store has all that the sender got: delete the files, if nothing more can come.

        Tells whether none is left. Raises `OSError`.
        """
        if not self._sealed or self._given < self.accepted:
            return False
        self._spool.release(self._given)
        return not self._spool.paths

    def drain(self, delivered: int, waiting: Sequence[bytes]) -> tuple[list[Path], int]:
        """Take no more; leave what is undelivered in the spool, `waiting` (after `delivered`) before all else.

        Returns the files, and how many events could not be written.
        """
        self.seal()
        first = self._left + 1
        rest = self._leave(self.accepted - self._left)
        failed = self._keep(delivered + 1, waiting) + self._keep(first, rest)
        self._spool.release(delivered)
        self.mark(delivered)
        paths = self._spool.paths
        self._spool.close()
        self.changed.notify_all()
        return paths, failed

    def _keep(self, first: int, events: Sequence[bytes]) -> int:
        """Write what is not in the spool, past its limit if need be: disk space matters less than events."""
        missing = [i for i in range(len(events)) if not self._spool.holds(first + i)]
        if not missing:
            return 0
        start, end = missing[0], missing[-1] + 1  # what is in the spool already is at either end, never in between
        try:
            for i in range(start, end, SPILL_EVENTS):
                self._spool.append(first + i, events[i : min(end, i + SPILL_EVENTS)], bounded=False)
        except OSError as e:
            logger.error("Cannot write to the spool: %s", e, extra={"action": "spool_failed"})
            return sum(not self._spool.holds(first + i) for i in missing)
        return 0

    def abandon(self) -> None:
        """This process was forked off: the files belong to the parent."""
        self._spool.close()
