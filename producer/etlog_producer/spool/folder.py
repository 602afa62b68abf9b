"""The folder that holds the spool files of one log, and whom to trust in it.

What lies there is sent to the store, and quoted in log lines where it is damaged. So a folder is used only by the user
who owns it (root may read those of others), and a file only if its owner put it there: a regular file of the folder's
owner, under one name, and no link.
"""

import errno
import fcntl
import os
import pwd
import stat
from contextlib import suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from time import time

from etlog_producer.errors import FileRefused, FolderRefused
from etlog_producer.spool.names import SpoolFile

#: Seconds after which a file that is not finished, and that no process has locked, is removed.
UNFINISHED = 60.0


#: Why something cannot be opened that is no file.
_NO_FILE = {
    errno.ELOOP: "it is a link, and links are not followed",
    **dict.fromkeys((errno.ENXIO, errno.ENODEV, errno.EISDIR), "it is no regular file"),
}


@dataclass(frozen=True, slots=True)
class SpoolFolder:
    """The folder that holds the spool files of one log; `store` is the address they belong to, without secrets."""

    path: Path
    log: str
    store: str

    def make(self) -> None:
        """Make the folder, readable by this user alone. Raises `FolderRefused` and other `OSError`s."""
        with suppress(FileExistsError):  # it is no folder: that is said below
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = self.path.lstat()
        self._refuse_others(found, os.geteuid())
        if stat.S_IMODE(found.st_mode) & 0o077:
            self.path.chmod(0o700)

    def owner(self) -> int | None:
        """The user whose files are in it, None where there is no folder. Raises `OSError` where this user must not
        read them, with a text that says what to do."""
        try:
            found = self.path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        user = os.geteuid()
        self._refuse_others(found, found.st_uid if user == 0 else user)
        return found.st_uid

    def _refuse_others(self, found: os.stat_result, user: int) -> None:
        if not stat.S_ISDIR(found.st_mode):
            what = "a link" if stat.S_ISLNK(found.st_mode) else "a file"
            fault, owner = f"is {what} of user {_named(found.st_uid)} and no folder", None
        elif found.st_uid != user:
            owner = _named(found.st_uid)
            fault = f"belongs to user {owner}, not to {_named(user)}"
        else:
            return
        raise FolderRefused(f"the spool folder {self.path} {fault}", owner)

    def files(self) -> list[SpoolFile]:
        """All files, those that are sent under one id together and in the order of their numbers. Raises `OSError`."""
        try:
            names = os.listdir(self.path)  # noqa: PTH208 - an interrupt leaves nothing open
        except (FileNotFoundError, NotADirectoryError):
            return []
        found = [SpoolFile.named(self.path / name) for name in names]
        return sorted((file for file in found if file), key=lambda file: (file.owner, file.first))

    def bytes(self) -> int:
        """Bytes of all files. Raises `OSError`."""
        return sum(_size(file.path) for file in self.files())

    def sweep(self, owner: int) -> None:
        """Remove the files that a process of the user `owner` began and did not finish. Raises `OSError`."""
        for path in self.path.glob(".*.new"):
            with suppress(OSError), open_trusted(path, owner) as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if time() - os.fstat(file.fileno()).st_mtime > UNFINISHED:
                    path.unlink()


class Descriptor(FileIO):
    """A file that is used by its descriptor. One that an interrupt or a fork has let drop is closed silently."""

    def __del__(self) -> None:
        self.close()


def open_trusted(path: Path, owner: int | None = None, access: int = os.O_RDONLY) -> Descriptor:
    """Open a file that the user `owner`, by default that of its folder, has put at `path`.

    Raises `OSError`, and `FileRefused` where anything else is there.
    """

    def opener(name: str, _: int) -> int:
        return os.open(name, access | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)

    if owner is None:
        owner = path.parent.lstat().st_uid
    try:
        file = Descriptor(str(path), "rb", opener=opener)
    except OSError as e:
        if e.errno in _NO_FILE:
            raise FileRefused(_NO_FILE[e.errno]) from e
        raise
    try:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise FileRefused("it is no regular file")
        if found.st_uid != owner:
            raise FileRefused(f"it belongs to user {_named(found.st_uid)}, not to {_named(owner)}")
        if found.st_nlink > 1:
            raise FileRefused("it has more than one name")
    except BaseException:
        file.close()
        raise
    return file


def _named(user: int) -> str:
    try:
        return f"{pwd.getpwuid(user).pw_name} ({user})"
    except KeyError:
        return str(user)


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except OSError:
        return 0
