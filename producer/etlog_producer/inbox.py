"""What `emit` hands in: the newest events in memory, those before them in the spool, in the order of the calls.

delivered … | unacked (sender, memory) | spool (disk) | inbox (memory) <- emit
"""

import errno
import logging
import threading
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from itertools import repeat, starmap
from pathlib import Path
from time import monotonic
from typing import Literal

from etlog_producer.errors import ProducerClosed, SpoolFull
from etlog_producer.spool.writer import SpoolWriter
from etlog_producer.threads import Wake

logger = logging.getLogger("etlog.producer")

#: What becomes of a new event when memory and spool are full.
WhenFull = Literal["drop_newest", "block", "raise"]

#: At most so many events and bytes are in memory; more go to the spool. About 10 MiB of usual events.
INBOX_EVENTS = 50_000
INBOX_BYTES = 16 * 1024 * 1024

#: Events that go to the spool at once: the one `emit` in so many that writes them takes about a millisecond.
SPILL_EVENTS = 1000

#: Seconds until a durable producer tries again to write to a disk that took nothing.
DISK_RETRY = 0.5


class Inbox:
    """Takes encoded events from any thread, and gives them to the sender's, numbered 1, 2, 3 …

    An event has its number by its place in memory from the moment when it is appended, which takes no lock. What is
    done to events that are there, such as writing them to files, is done under the `lock`. A signal handler or
    a finalizer may find the lock taken by its own thread, in the middle of such work: it then only appends, and who was
    interrupted, or the sender, sees to the rest.
    """

    def __init__(self, spool: SpoolWriter, *, durable: bool, when_full: WhenFull, before: int = 0) -> None:
        #: Guards everything below but the end of the inbox. The lock itself, which `with` takes in one step: between
        #: the steps of a `Condition`, an exception of a signal handler would leave it taken for ever.
        self.lock = threading.RLock()
        #: Notified when something was delivered.
        self.changed = threading.Condition(self.lock)
        #: Set when there may be something to send.
        self.wake = Wake()
        self.dropped = 0
        self._spool = spool
        self._durable = durable
        self._when_full = when_full
        self._inbox: deque[bytes] = deque()
        self._inbox_bytes = 0  # counted without a lock: near enough to bound memory, and set right when it is emptied
        self._left = before  # number of the last event that left the inbox
        self._given = before  # number of the last event that the sender got
        self._written = before  # number up to which all is in files, or has left the inbox; where that is asked for
        self._write_again_at = 0.0
        self._sealed = False
        self._last: int | None = None  # number of the last event of all, soon after it is sealed
        self._warned_of_disk = False

    @property
    def accepted(self) -> int:
        """Number of the last event that was taken in."""
        return self._left + len(self._inbox) if self._last is None else self._last

    @property
    def spooled(self) -> int:
        """Events that are in the spool and not in memory."""
        return self._left - self._given

    @property
    def is_interrupted(self) -> bool:
        """Whether the caller has interrupted its own thread in the middle of what the lock guards."""
        return self.lock._is_owned()  # type: ignore[attr-defined, no-any-return]

    def put(self, event: bytes) -> None:
        """Take an event. Waits only where the caller asked for that; raises `SpoolFull`, `ProducerClosed`."""
        event = bytes(memoryview(event))  # a copy of its size: the encoder's own takes a kilobyte and more of memory
        self._inbox.append(event)
        self._inbox_bytes += len(event)
        if self._sealed:
            self._put_late(event)
        if (self._durable or self._is_full) and not self.is_interrupted:
            self._put_carefully(event)
        self.wake.set()

    @property
    def _is_full(self) -> bool:
        return len(self._inbox) > INBOX_EVENTS or self._inbox_bytes > INBOX_BYTES

    def _put_carefully(self, event: bytes) -> None:
        """Write what is to be in a file, and make room in memory."""
        with self.lock:
            while True:
                if self._durable:
                    self._write_inbox()
                full = self._make_room()
                if full is None or not self._has_in_memory_alone(event):
                    return
                if self._sealed:
                    self._put_late(event)
                    return
                if self._when_full != "block":
                    self._take_out(event)
                    if self._when_full == "raise":
                        raise SpoolFull(f"no room for the event: {full.strerror}") from full
                    self._drop(full)
                    return
                self.wake.set()
                self.changed.wait(0.1)

    def _write_inbox(self) -> None:
        """Write what is in memory and in no file. While the disk takes nothing, memory has to do."""
        self._written = max(self._written, self._left)
        while self._written < self.accepted and (not self._write_again_at or monotonic() >= self._write_again_at):
            events = self._events(self._written + 1, min(self._written + SPILL_EVENTS, self.accepted))
            if self._write(self._written + 1, events) is not None:
                self._write_again_at = monotonic() + DISK_RETRY
                return
            self._write_again_at = 0.0
            self._written += len(events)

    def _make_room(self) -> OSError | None:
        """Move the oldest events of a full inbox to the spool. Returns why that failed."""
        while self._is_full:
            oldest = self._events(self._left + 1, min(self._left + SPILL_EVENTS, self.accepted))
            if self._written < self._left + len(oldest):
                failed = self._write(self._left + 1, oldest)
                if failed is not None:
                    return failed
            self._leave(len(oldest))
        return None

    def _write(self, first: int, events: Sequence[bytes]) -> OSError | None:
        """Write events numbered from `first`. Returns why that failed."""
        try:
            self._spool.append(first, events)
        except OSError as e:
            if self._durable or e.errno != errno.ENOSPC:  # else it is said when the first event is dropped
                self._warn_of_disk(e)
            return e
        self._warned_of_disk = False
        return None

    def _write_missing(self, first: int, events: Sequence[bytes]) -> None:
        """Write those of the events, numbered from `first`, that are in no file. The limit of the spool is for floods;
        these are no more than memory holds."""
        missing = [number for number in range(first, first + len(events)) if not self._spool.holds(number)]
        begin = 0
        while begin < len(missing):
            end = begin + 1
            while end < len(missing) and end - begin < SPILL_EVENTS and missing[end] == missing[begin] + end - begin:
                end += 1
            run = events[missing[begin] - first : missing[end - 1] + 1 - first]
            try:
                self._spool.append(missing[begin], run, bounded=False)
            except OSError as e:
                self._warn_of_disk(e)
                return
            begin = end

    def _warn_of_disk(self, error: OSError) -> None:
        if not self._warned_of_disk:
            self._warned_of_disk = True
            logger.error(
                "Cannot write to the spool: %s; what is not delivered is in memory alone",
                error.strerror or error,
                extra={"action": "spool_failed"},
            )

    def _events(self, first: int, last: int) -> list[bytes]:
        """The events in memory with these numbers. Others may be added meanwhile, which an iterator would not bear."""
        return [self._inbox[number - self._left - 1] for number in range(first, last + 1)]

    def _leave(self, count: int) -> list[bytes]:
        events: list[bytes] = []
        leaving = starmap(self._inbox.popleft, repeat((), count))
        self._left += count  # this line and the next are one step: nothing interrupts between them
        events.extend(leaving)
        self._inbox_bytes = self._inbox_bytes - sum(map(len, events)) if self._inbox else 0
        return events

    def _place(self, event: bytes) -> int | None:
        """Where in memory this very event is; one that came a moment ago is near the end."""
        for place in range(len(self._inbox) - 1, -1, -1):
            if self._inbox[place] is event:
                return place
        return None

    def _has_in_memory_alone(self, event: bytes) -> bool:
        place = self._place(event)
        return place is not None and not self._spool.holds(self._left + 1 + place)

    def _take_out(self, event: bytes) -> None:
        """Forget an event. None that came after it is in a file, so their numbers may still change."""
        place = self._place(event)
        if place is not None:
            del self._inbox[place]
            self._inbox_bytes -= len(event)

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
        with self.lock:
            place = self._place(event)
            if place is not None and self._left + 1 + place > self.accepted:
                self._take_out(event)
                raise ProducerClosed

    def take(self, limit: int, *, from_spool: bool) -> tuple[int, list[bytes]]:
        """The next events for the sender, at most `limit`: number of the first, and the events.

        What is in the spool comes first, and only when the sender asks for it (`from_spool`). Where a spool file is
        damaged, the first number is not the one that follows on.
        """
        if self._durable:
            self._write_inbox()
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
        """Note in the spool how far the store has the events, for people who find the files of a killed process; and
        see whether someone damaged the files."""
        with suppress(OSError):  # nothing depends on the note
            self._spool.heal()
            self._spool.mark(surely)

    def renew(self, spool: SpoolWriter) -> bool:
        """Begin anew with the number 1 and the spool of another id, if no event here has a number yet. Tells whether it
        did."""
        if self.spooled or self._sealed or (self._inbox and (self._durable or self._spool.paths)):
            return False
        self._spool.release(self._left)
        self._spool.close()
        self._spool = spool
        self._left = self._given = self._written = 0
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
        before = self._left
        here = self._leave(self.accepted - self._left)
        alone, in_files = self.split(before + 1, here)
        handed = before - self._given + in_files
        self._spool.mark_taken()
        paths = self._spool.paths
        self._spool.close()
        self._spool = spool
        shift = before + in_files - numbered
        if self._last is not None:
            self._last -= shift
        self._left = self._given = self._written = numbered
        self._inbox.extendleft(reversed(alone))
        self._inbox_bytes += sum(map(len, alone))
        return paths, handed, shift

    def seal(self) -> None:
        """Take no more: what other threads add from now on is refused."""
        self._sealed = True
        if self._last is None:
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

    def keep(self, delivered: int, waiting: Sequence[bytes]) -> None:
        """Put into files what is in memory alone, `waiting` (after `delivered`) before all else. It stays in memory,
        too. May be interrupted and called again."""
        with suppress(OSError):  # the writing that follows says so
            self._spool.heal()
        self._write_missing(delivered + 1, waiting)
        self._write_missing(self._left + 1, self._events(self._left + 1, self.accepted))

    def drain(self, delivered: int, waiting: Sequence[bytes]) -> tuple[list[Path], int]:
        """Take no more; leave what is undelivered in the spool. May be interrupted and called again.

        Returns the files, and how many events are in none of them.
        """
        self.seal()
        self.keep(delivered, waiting)
        missing = max(0, self.accepted - delivered - self._spool.count(delivered + 1, self.accepted))
        self._spool.release(delivered)
        self.mark(delivered)
        return self._spool.paths, missing

    def let_go(self) -> None:
        """Let go of the files: from now on anyone may send what is in them."""
        self._spool.close()
        self.changed.notify_all()

    def abandon(self) -> None:
        """This process was forked off: the files belong to the parent."""
        self._spool.close()
