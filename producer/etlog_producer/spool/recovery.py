"""Spool files whose producer is gone: the process that finds them sends them, under their own id and numbers.

A file goes to the log that it was written for, by the id of the log, wherever that is now; a file without one goes by
the address of the store. A file whose producer's id another process took goes under an id of its own, which is made of
what its name says, so that the next attempt goes on where the last one stopped.

The files of one producer after another are sent, and noted as delivered. Some time later the store is asked whether it
still has all of it, by then on its disk, and they are deleted: by this process, or by the next one that finds them. A
file that cannot be used for whatever reason is kept, and reported once; the others go on.
"""

import errno
import logging
import re
from collections import deque
from collections.abc import Sequence
from itertools import groupby
from pathlib import Path
from time import monotonic

from etlog_events.sequence import SENT_WITHIN
from redis.exceptions import ResponseError

from etlog_producer.errors import FileRefused, IdTaken, OtherLog
from etlog_producer.publish import Publisher
from etlog_producer.spool.folder import SpoolFolder
from etlog_producer.spool.header import SegmentHeader
from etlog_producer.spool.left_behind import LeftBehind
from etlog_producer.spool.names import SpoolFile, set_aside
from etlog_producer.spool.orphan import Orphan

logger = logging.getLogger("etlog.producer")

#: Seconds from the last batch to the deletion of a file. A store that syncs every second has it on disk by then.
SETTLE = 2.0

#: Files that are held open at once. Those of one producer beyond that are sent after its first ones.
AT_ONCE = 64

#: An address that says itself which database it means: options, which an earlier release left out, cannot say another.
_NAMES_DATABASE = re.compile(r"(?!unix:).*/[0-9]+|rediss?\+cluster:.*")

#: What is wrong with a file when both copies of its header are damaged.
_UNKNOWN_LOG = (
    "its header is damaged, so no one knows for which log it is; 'etlog spool flush --any-store' sends it to the one "
    "there is"
)

_Owner = tuple[str, str, int]


def is_meant_for(folder: SpoolFolder, header: SegmentHeader) -> bool:
    """Whether a file may be for the log of `folder`: by the id of a log, which the store will compare, or else by the
    store's address. An earlier release left out a database that came after `?`, so there the path must name it."""
    if header.log_id:
        return True
    return header.store == folder.store and (
        not header.of_first_release or _NAMES_DATABASE.fullmatch(header.store) is not None
    )


class Recovery:
    """All orphaned files of a folder, one thing at a time."""

    def __init__(self, folder: SpoolFolder, publish: Publisher, *, any_store: bool = False) -> None:
        self._folder = folder
        self._publish = publish
        self._any_store = any_store
        self._user = 0  # whose files they are
        self._found: deque[list[SpoolFile]] = deque()  # not yet looked into, by their producers
        self._passed: set[_Owner] = set()  # not to be tried before the next look
        self._sending: Orphan | None = None
        self._settling: deque[Orphan] = deque()  # sent, and not held open; the oldest first
        self._reported: set[_Owner | Path] = set()
        self._unreadable: dict[_Owner, list[SpoolFile]] = {}
        self.done: list[Orphan] = []
        #: Files that the store refused at this look, by their owner: it holds another log than the one they are for.
        self.for_other_logs: dict[_Owner, list[Path]] = {}
        #: Those of them that were written for the address of this store: their log was deleted, and another one begun.
        self.for_earlier_logs: list[Path] = []
        #: Files that were written for another store, before their producers had reached it.
        self.for_other_stores: list[Path] = []
        #: Files that cannot be used at this look, and why.
        self.unusable: dict[Path, str] = {}

    def look(self) -> None:
        """Adopt what is there and may belong to this log."""
        self._passed.clear()
        self._unreadable.clear()
        self.for_other_logs.clear()
        self.for_earlier_logs.clear()
        self.for_other_stores.clear()
        self.unusable.clear()
        try:
            user = self._folder.owner()
            if user is None:
                return
            self._user = user
            self._folder.sweep(user)
            self._find()
        except OSError as e:
            self._report(self._folder.path, e.strerror or str(e), "Cannot look for spool files in")
        else:
            self._adopt()

    def _find(self) -> None:
        """List the files of those who are neither here nor passed. Raises `OSError`."""
        here = {orphan.owner for orphan in self._settling} | self._passed
        if self._sending is not None:
            here.add(self._sending.owner)
        groups = groupby(self._folder.files(), key=lambda file: file.owner)
        self._found = deque(list(files) for owner, files in groups if owner not in here)

    def _adopt(self) -> None:
        """Take the files of the next producer that is gone and has any for this log."""
        while self._sending is None and self._found:
            files = self._found.popleft()
            self._passed.add(files[0].owner)
            orphan = self._adopted(files)
            if orphan is None:
                continue
            self._passed.discard(orphan.owner)
            if orphan.age > SENT_WITHIN:
                orphan.set_aside()
                self._is_done(orphan)
            else:
                self._sending = orphan

    def _adopted(self, files: Sequence[SpoolFile]) -> Orphan | None:
        """Lock the files of a producer. None if it runs, another process has locked them, or they are not for here."""
        opened = self._opened(files)
        try:
            header = _header_of(opened)
            if header is None and self._any_store and opened:
                first = opened[0].file
                header = SegmentHeader("", first.producer, "?", token=first.token, resumable=True)
            if header is None or not (self._any_store or is_meant_for(self._folder, header)):
                self._report_other(opened, header)
            else:
                locked = []
                for left in opened:
                    try:
                        left.lock()
                        locked.append(left)
                    except FileNotFoundError:  # delivered meanwhile
                        left.close()
                if locked:
                    orphan = Orphan(locked, _header_of(locked) or header, any_log=self._any_store)
                    opened = []
                    return orphan
        except BlockingIOError:
            pass
        except OSError as e:
            self._leave_unsent([left.file.path for left in opened], f"it cannot be locked ({e.strerror})")
        finally:
            for left in opened:
                left.close()
        return None

    def _opened(self, files: Sequence[SpoolFile]) -> list[LeftBehind]:
        opened: list[LeftBehind] = []
        for file in files:
            try:
                opened.append(LeftBehind(file, self._user))
            except FileNotFoundError:  # delivered meanwhile
                continue
            except FileRefused as e:
                self._leave_unsent([file.path], f"it is ignored: {e.strerror}; remove it, or put the file itself there")
            except OSError as e:
                if e.errno in {errno.EMFILE, errno.ENFILE, errno.ENOMEM}:
                    for left in opened:
                        left.close()
                    raise
                self._leave_unsent([file.path], f"it cannot be read ({e.strerror})")
                self._unreadable.setdefault(file.owner, []).append(file)
            if len(opened) == AT_ONCE:
                break
        return opened

    def _report_other(self, files: Sequence[LeftBehind], header: SegmentHeader | None) -> None:
        paths = [left.file.path for left in files]
        if header is not None:
            self.for_other_stores += paths
            return
        for left in files:
            try:
                left.lock()
            except OSError:  # someone is using it, or it is gone
                continue
            self._leave_unsent([left.file.path], _UNKNOWN_LOG)

    @property
    def has_work(self) -> bool:
        """Whether `step` has anything to do."""
        return self._sending is not None or bool(self._settling)

    def step(self) -> float | None:
        """Do one thing; returns seconds until the next, None when nothing is left. Raises the driver's errors."""
        if self._sending is None:
            self._adopt_settled()
        if self._sending is not None:
            self._send(self._sending)
        if self._sending is None:
            self._adopt()
        if self._sending is not None:
            return 0.0
        if self._settling:
            return max(0.0, _due(self._settling[0]) - monotonic())
        self._find()
        self._adopt()
        return None if self._sending is None else 0.0

    def _send(self, orphan: Orphan) -> None:
        """Send something of it. If it is not the one to be sent any longer, it is let go of."""
        try:
            if orphan.step(self._publish, SETTLE):
                self._sending = None
                self._is_done(orphan)
                if orphan.may_end and not any(file.owner == orphan.owner for file in self._folder.files()):
                    orphan.end(self._publish)
            elif orphan.due is not None:
                self._sending = None
                orphan.release()
                self._settling.append(orphan)
            elif (number := orphan.skips_from) is not None:
                self._set_unreadable_aside(orphan.owner, number)
        except OtherLog:
            self._pause(orphan)
            self._report_other_log(orphan)
        except IdTaken as e:
            self._pause(orphan)
            if orphan.taken:
                self._leave_unsent(orphan.paths, str(e))
            else:
                self._mark_taken(orphan)
        except ResponseError as e:
            if "ARGUMENT" not in str(e):
                raise
            self._pause(orphan)
            self._leave_unsent(orphan.paths, f"the store refuses it ({e})")

    def _mark_taken(self, orphan: Orphan) -> None:
        try:
            orphan.mark_taken()
        except OSError as e:
            self._leave_unsent(
                orphan.paths, f"another process publishes under its id, and it cannot be renamed ({e.strerror})"
            )
        else:
            self._passed.discard(orphan.owner)

    def _pause(self, orphan: Orphan) -> None:
        orphan.release()
        self._sending = None
        self._passed.add(orphan.owner)

    def _adopt_settled(self) -> None:
        """Go on with the files that were sent long enough ago."""
        while self._sending is None and self._settling and _due(self._settling[0]) <= monotonic():
            orphan = self._settling.popleft()
            try:
                if orphan.adopt_again():
                    self._sending = orphan
                else:  # someone else wrote to it: it is found again
                    orphan.release()
            except BlockingIOError:  # another process does the same
                self._passed.add(orphan.owner)
                self._is_done(orphan)
            except OSError as e:
                self._is_done(orphan)
                if e.errno != errno.ENOENT:
                    self._leave_unsent(orphan.paths, f"it cannot be read ({e.strerror})")
                    self._passed.add(orphan.owner)

    def _is_done(self, orphan: Orphan) -> None:
        self.done.append(orphan)
        for path, why in orphan.stuck.items():
            self._leave_unsent([path], why)
            self._passed.add(orphan.owner)

    def _set_unreadable_aside(self, owner: _Owner, number: int) -> None:
        """The log is about to count the events before `number` as lost. Some may be in a file that cannot be read: set
        it aside, for it must not be taken for delivered once it can be."""
        for file in [file for file in self._unreadable.get(owner, []) if file.first < number]:
            self._unreadable[owner].remove(file)
            why = self.unusable.pop(file.path, "")
            try:
                self._leave_unsent([set_aside(file.path, ".broken")], f"{why}; its events are counted as lost")
            except OSError as e:
                self._leave_unsent([file.path], f"{why}, nor renamed ({e.strerror}); its events are counted as lost")

    def _leave_unsent(self, paths: Sequence[Path], why: str) -> None:
        """Leave files where they are until the next look."""
        for path in paths:
            self.unusable[path] = why
            self._report(path, why, "Spool file is kept:")

    def _report(self, path: Path, why: str, what: str) -> None:
        if path not in self._reported:
            self._reported.add(path)
            logger.warning("%s %s: %s", what, path, why, extra={"action": "spool_file_kept", "path": str(path)})

    def _report_other_log(self, orphan: Orphan) -> None:
        """Leave the files where they are until the next look."""
        self.for_other_logs[orphan.owner] = orphan.paths
        is_earlier = orphan.store == self._folder.store
        if is_earlier:
            self.for_earlier_logs += orphan.paths
        if orphan.owner in self._reported:
            return
        self._reported.add(orphan.owner)
        paths = ", ".join(map(str, orphan.paths))
        extra = {
            "action": "spool_other_log",
            "paths": [str(path) for path in orphan.paths],
            "store": orphan.store,
        }
        if is_earlier:
            logger.warning(
                "The log %s was deleted and begun again since these spool files were written, so they are kept: %s. "
                "'etlog spool flush --any-store' sends them to the new one",
                self._folder.log,
                paths,
                extra=extra,
            )
        else:
            logger.warning(
                "Spool files are for another log %s than the one in this store, and are kept: %s; they were written "
                "for the store %s, where a producer or 'etlog spool flush' sends them. "
                "Only 'etlog spool flush --any-store' sends them here, although this is another log",
                self._folder.log,
                paths,
                orphan.store,
                extra=extra,
            )

    def release(self) -> None:
        """Let go of everything, as it is."""
        if self._sending is not None:
            self._sending.release()
            self._sending = None
        self._settling.clear()
        self._found.clear()


def _header_of(files: Sequence[LeftBehind]) -> SegmentHeader | None:
    """The header of a producer's files, that of the newest one which knows the log; None where none is whole."""
    found = None
    for left in files:
        if left.header is not None and (found is None or left.header.log_id):
            found = left.header
    return found


def _due(orphan: Orphan) -> float:
    return orphan.due or 0.0
