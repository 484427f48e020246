"""Opens files below a folder that other users may write to, without following a link.

A path is a chain of names, and each may be replaced by a link between two system calls. So every
folder on the way is opened by itself, relative to the one above it, and the last name is used
relative to the folder that is open by then. Only the root may be a link: the operator chose it.

    with at(Path("/srv/skin"), "gate/4f1a/report.html") as entry, entry.open() as file:
        file.read()
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

from skin_pipeline.errors import BadInput

# No other user of the machine may read any of it. The umask takes its bits away as well: the usual
# 022 leaves 0640 and 0750, and 002 lets a group share the folders.
FILE_MODE = 0o640
FOLDER_MODE = 0o770
LOCK_MODE = 0o660

NOT_THERE = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# Without O_NONBLOCK, opening a pipe that has no writer would never return.
_FILE = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
# What the kernel reports for a link that O_NOFOLLOW refuses; ENXIO is for a socket.
_LINK_IN_THE_WAY = {errno.ELOOP, errno.EMLINK, errno.ENXIO}
_KINDS = {
    stat.S_IFLNK: "a link",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
    stat.S_IFREG: "a file",
}

# Ends of messages: what a person can do about it.
REMOVE = "Remove it, and find out who put it there"
COPY = (
    "If a snapshot made the others, use a copy of the whole folder (cp -a --no-preserve=links). "
    f"If not: {REMOVE}"
)


def kind(mode: int) -> str:
    """Returns what a file of this mode is, for a message."""
    return _KINDS.get(stat.S_IFMT(mode), "something unknown")


@dataclass(frozen=True)
class Entry:
    """A name in an open folder, whether or not a file has it.

    Attributes:
        folder: Descriptor of the open folder.
        name: The name in it, without a slash.
        root: The folder that `at` started from, for messages.
        key: The whole name below the root, for messages.
    """

    folder: int
    name: str
    root: Path
    key: str

    def beside(self, name: str) -> Entry:
        """Returns another name in the same folder."""
        key = "/".join([*self.key.split("/")[:-1], name])
        return Entry(self.folder, name, self.root, key)

    def seen(self) -> os.stat_result:
        """Returns the state of the file under the name.

        Raises:
            FileNotFoundError: there is nothing.
            IsADirectoryError: it is a folder.
            BadInput: it is a link, a pipe, a device, or a hard link to a file outside this folder.
        """
        return self._check(self._look)

    def _look(self) -> os.stat_result:
        return os.stat(self.name, dir_fd=self.folder, follow_symlinks=False)

    def is_taken(self) -> bool:
        """Returns whether a plain file has the name.

        Raises:
            BadInput: something else has it.
        """
        try:
            self.seen()
        except FileNotFoundError:
            return False
        except IsADirectoryError:
            raise self.refused("a folder") from None
        return True

    def open(self) -> BinaryIO:
        """Opens the file for reading; raises what `seen` raises."""
        self.seen()  # before it is opened: the opening alone can make a device do something
        return self._checked(self._descriptor(os.O_RDONLY), "rb")

    def create(self) -> BinaryIO:
        """Opens a new file for writing; raises FileExistsError if anything has the name."""
        how = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        return os.fdopen(self._descriptor(how, FILE_MODE), "wb")

    def open_lock(self) -> BinaryIO:
        """Opens a file to lock, and makes it if there is none.

        Raises:
            BadInput: something other than a file has the name.
        """
        self.is_taken()
        return self._checked(self._descriptor(os.O_RDWR | os.O_CREAT, LOCK_MODE), "rb+")

    def link_to(self, name: str) -> None:
        """Gives the file a second name in its folder; raises FileExistsError if that is taken."""
        here = {"src_dir_fd": self.folder, "dst_dir_fd": self.folder}
        os.link(self.name, name, **here, follow_symlinks=False)

    def move_to(self, other: Entry) -> None:
        """Gives the file another name; a file that had this name is gone."""
        os.replace(self.name, other.name, src_dir_fd=self.folder, dst_dir_fd=other.folder)

    def is_same(self, other: Entry) -> bool:
        """Returns whether both names are of one file."""
        return os.path.samestat(self._look(), other._look())

    def written(self) -> float:
        """Returns when the file was last written to, in seconds since 1970."""
        return self._look().st_mtime

    def touch(self) -> None:
        """Sets the time of the last change to now."""
        os.utime(self.name, dir_fd=self.folder, follow_symlinks=False)

    def unlink(self) -> None:
        """Removes the name; raises FileNotFoundError if there is none."""
        os.unlink(self.name, dir_fd=self.folder)

    def refused(self, what: str, way_out: str = REMOVE) -> BadInput:
        """Returns the error for something that this program did not put there.

        Args:
            what: What it is, such as `a link`.
            way_out: What a person can do about it.
        """
        return BadInput(
            f"{self.key} in the folder {self.root} is {what}, and no file that this program wrote. "
            f"Nothing was read or written through it. {way_out}"
        )

    def _descriptor(self, how: int, mode: int = 0) -> int:
        try:
            return os.open(self.name, how | _FILE, mode, dir_fd=self.folder)
        except OSError as error:
            if error.errno in _LINK_IN_THE_WAY:
                raise self.refused("a link or a socket") from None
            raise

    def _checked(self, handle: int, mode: str) -> BinaryIO:
        """Returns the open file; refuses it if another one took the name since `seen`."""
        try:
            self._check(partial(os.fstat, handle))
        except BaseException:
            os.close(handle)
            raise
        return os.fdopen(handle, mode)  # type: ignore[return-value]

    def _check(self, look: Callable[[], os.stat_result]) -> os.stat_result:
        found = look()
        if stat.S_ISDIR(found.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not stat.S_ISREG(found.st_mode):
            raise self.refused(kind(found.st_mode))
        # A draft is a second, hidden name of a file, until the write is over or after a killed
        # one. It may be removed while the names are counted. So they are counted first, and then
        # compared with the number of links that the file has now.
        if found.st_nlink > 1 and self._names(found) < look().st_nlink:
            raise self.refused("one of several names (hard links) of a file", COPY)
        return found

    def _names(self, found: os.stat_result) -> int:
        """Counts the names in this folder that the store itself gave to a file: at least one."""
        return max(1, sum(self._is(name, found) for name in names_of(self.folder)))

    def _is(self, name: str, found: os.stat_result) -> bool:
        """Returns whether a name is one of the store's own for this file."""
        if name != self.name and not name.startswith("."):
            return False
        with suppress(FileNotFoundError):
            other = os.stat(name, dir_fd=self.folder, follow_symlinks=False)
            return os.path.samestat(other, found)
        return False


def names_of(folder: int) -> list[str]:
    """Returns all names in an open folder."""
    with os.scandir(folder) as entries:
        return [entry.name for entry in entries]


@contextmanager
def at(root: Path, key: str, *, make: bool = False) -> Generator[Entry, None, None]:
    """Opens the folder of a key below a root, and yields the key's entry in it.

    Args:
        root: The folder to start from; it may be a link.
        key: Names, separated by slashes. None of them may be empty, `.` or `..`.
        make: Whether to make folders that are missing, including the root.

    Raises:
        FileNotFoundError, NotADirectoryError: there is no such folder.
        BadInput: a link, a pipe or a device has the name of a folder.
    """
    *folders, name = key.split("/")
    with opened_folder(root, folders, make=make) as folder:
        yield Entry(folder, name, root, key)


@contextmanager
def opened_folder(
    root: Path, names: list[str], *, make: bool = False
) -> Generator[int, None, None]:
    """Opens a folder below a root, and yields its descriptor; see `at`."""
    if make:
        root.mkdir(FOLDER_MODE, parents=True, exist_ok=True)
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for number, name in enumerate(names, 1):
            try:
                below = os.open(name, _FOLDER, dir_fd=folder)
            except OSError as error:
                entry = Entry(folder, name, root, "/".join(names[:number]))
                below = _made(entry, error, make=make)
            os.close(folder)  # one descriptor at a time, however deep the folder is
            folder = below
        yield folder
    finally:
        os.close(folder)


def _made(entry: Entry, error: OSError, *, make: bool) -> int:
    """Returns the descriptor of a new folder where none could be opened, or raises why not."""
    if error.errno in {errno.ENOTDIR, *_LINK_IN_THE_WAY}:
        entry.seen()  # raises the error that says what it is, unless it is a file
    if not make or error.errno != errno.ENOENT:
        raise error
    with suppress(FileExistsError):  # another process was faster
        os.mkdir(entry.name, FOLDER_MODE, dir_fd=entry.folder)
    return os.open(entry.name, _FOLDER, dir_fd=entry.folder)


def walk(root: Path, key: str) -> Iterator[tuple[str, str]]:
    """Yields all that is below a folder, except folders: its key, and what it is, such as `a file`.

    Hidden names are left out with everything below them. A folder that does not exist is empty.

    Raises:
        BadInput: a link, a pipe or a device has the name of the folder.
    """
    waiting = [key]
    while waiting:
        above = waiting.pop()
        for name, found in _entries(root, above):
            below = f"{above}/{name}".lstrip("/")
            if found == "a folder":
                waiting.append(below)
            else:
                yield below, found


def _entries(root: Path, key: str) -> list[tuple[str, str]]:
    """Returns the names in a folder that are not hidden, and what each is."""
    found: list[tuple[str, str]] = []
    names = key.split("/") if key else []
    with (
        suppress(FileNotFoundError, NotADirectoryError),
        opened_folder(root, names) as folder,
        os.scandir(folder) as entries,
    ):
        found = [(e.name, _kind_of(e)) for e in entries if not e.name.startswith(".")]
    return found


def _kind_of(entry: os.DirEntry[str]) -> str:
    """Returns what an entry is. On most disks the folder itself says it, which saves a look at each
    file."""
    if entry.is_file(follow_symlinks=False):
        return "a file"
    if entry.is_dir(follow_symlinks=False):
        return "a folder"
    with suppress(FileNotFoundError):
        return kind(entry.stat(follow_symlinks=False).st_mode)
    return "gone"
