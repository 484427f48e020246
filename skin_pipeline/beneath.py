"""Files below a folder that others may write to, reached without following a link.

A path is a chain of names, and each may be exchanged for a link between two looks at it. So every
folder on the way is opened by itself, relative to the one above it, and the last name is used
relative to the folder that is open by then. Only the root may be a link: whoever names it made it.

    with at(Path("/srv/skin"), "gate/4f1a/report.html") as place, place.open() as file:
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

# Nobody else on the machine reads any of it. What the umask takes away is gone too, so that the
# usual 022 leaves 0640 and 0750, and 002 lets a group share the folders.
FILE_MODE = 0o640
FOLDER_MODE = 0o770
LOCK_MODE = 0o660

NOT_THERE = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# A pipe without a writer would block whoever opens it.
_FILE = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_LINK_IN_THE_WAY = {errno.ELOOP, errno.EMLINK, errno.ENXIO}  # the last one is a socket's
_KINDS = {
    stat.S_IFLNK: "a link",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFDIR: "a folder",
    stat.S_IFREG: "a file",
}

REMOVE = "Remove it, and find out who put it there"
COPY = (
    "If a snapshot made the others, use a copy of the whole folder (cp -a --no-preserve=links). "
    f"If not: {REMOVE}"
)


def kind(mode: int) -> str:
    """Returns what a file of this mode is, for people."""
    return _KINDS.get(stat.S_IFMT(mode), "something unknown")


@dataclass(frozen=True)
class Place:
    """A name in an open folder.

    Attributes:
        folder: descriptor of the folder.
        name: the name in it, without a slash.
        root: the folder below which all this lies, for messages.
        key: the whole name below the root, for messages.
    """

    folder: int
    name: str
    root: Path
    key: str

    def beside(self, name: str) -> Place:
        """Another name in the same folder."""
        key = "/".join([*self.key.split("/")[:-1], name])
        return Place(self.folder, name, self.root, key)

    def seen(self) -> os.stat_result:
        """What stands under the name, if it is a plain file.

        Raises:
            FileNotFoundError: nothing does.
            IsADirectoryError: a folder does.
            BadInput: a link, a pipe, a device, or another name of a file of elsewhere.
        """
        return self._check(self._look)

    def _look(self) -> os.stat_result:
        return os.stat(self.name, dir_fd=self.folder, follow_symlinks=False)

    def is_taken(self) -> bool:
        """Whether a plain file has the name.

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
        """The file, open for reading; raises what `seen` does."""
        self.seen()  # before it is opened: opening a device can already do something
        return self._checked(self._descriptor(os.O_RDONLY), "rb")

    def create(self) -> BinaryIO:
        """A new file, open for writing; raises FileExistsError if anything has the name."""
        how = os.O_WRONLY | os.O_CREAT | os.O_EXCL
        return os.fdopen(self._descriptor(how, FILE_MODE), "wb")

    def open_lock(self) -> BinaryIO:
        """A file to lock, made if there is none.

        Raises:
            BadInput: something else than a file has the name.
        """
        self.is_taken()
        return self._checked(self._descriptor(os.O_RDWR | os.O_CREAT, LOCK_MODE), "rb+")

    def link_to(self, name: str) -> None:
        """Gives the file a second name in its folder; raises FileExistsError if that is taken."""
        here = {"src_dir_fd": self.folder, "dst_dir_fd": self.folder}
        os.link(self.name, name, **here, follow_symlinks=False)

    def move_to(self, other: Place) -> None:
        """Gives the file another name, whose file goes."""
        os.replace(self.name, other.name, src_dir_fd=self.folder, dst_dir_fd=other.folder)

    def is_same(self, other: Place) -> bool:
        """Whether both names are of one file."""
        return os.path.samestat(self._look(), other._look())

    def written(self) -> float:
        """When what stands under the name was last written to."""
        return self._look().st_mtime

    def touch(self) -> None:
        """Makes the file as new as one that is written now."""
        os.utime(self.name, dir_fd=self.folder, follow_symlinks=False)

    def unlink(self) -> None:
        """Removes the name; raises FileNotFoundError if there is none."""
        os.unlink(self.name, dir_fd=self.folder)

    def refused(self, what: str, way_out: str = REMOVE) -> BadInput:
        """The error for what stands under the name."""
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
        """The open file, if it is a plain one: it may have been exchanged since it was seen."""
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
        # A file has a second, hidden name while it is written, or if its writer was killed. That
        # one may go while the names are counted, so they are counted before the second look.
        if found.st_nlink > 1 and self._names(found) < look().st_nlink:
            raise self.refused("one of several names (hard links) of a file", COPY)
        return found

    def _names(self, found: os.stat_result) -> int:
        """How many names in this folder are the store's own names of a file: at least one."""
        return max(1, sum(self._is(name, found) for name in names_of(self.folder)))

    def _is(self, name: str, found: os.stat_result) -> bool:
        if name != self.name and not name.startswith("."):
            return False
        with suppress(FileNotFoundError):
            other = os.stat(name, dir_fd=self.folder, follow_symlinks=False)
            return os.path.samestat(other, found)
        return False


def names_of(folder: int) -> list[str]:
    """All names in an open folder."""
    with os.scandir(folder) as entries:
        return [entry.name for entry in entries]


@contextmanager
def at(root: Path, key: str, *, make: bool = False) -> Generator[Place, None, None]:
    """The place of a key below a root.

    Args:
        root: The folder; it may be a link.
        key: Names, separated by slashes. None of them may be empty, `.` or `..`.
        make: Whether folders that are missing are made, the root among them.

    Raises:
        FileNotFoundError, NotADirectoryError: there is no such folder.
        BadInput: a link, a pipe or a device stands in the place of a folder.
    """
    *folders, name = key.split("/")
    with opened_folder(root, folders, make=make) as folder:
        yield Place(folder, name, root, key)


@contextmanager
def opened_folder(
    root: Path, names: list[str], *, make: bool = False
) -> Generator[int, None, None]:
    """The descriptor of a folder below a root; see `at`."""
    if make:
        root.mkdir(FOLDER_MODE, parents=True, exist_ok=True)
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for number, name in enumerate(names, 1):
            try:
                below = os.open(name, _FOLDER, dir_fd=folder)
            except OSError as error:
                place = Place(folder, name, root, "/".join(names[:number]))
                below = _made(place, error, make=make)
            os.close(folder)
            folder = below
        yield folder
    finally:
        os.close(folder)


def _made(place: Place, error: OSError, *, make: bool) -> int:
    """The descriptor of a new folder at a place where none could be opened; or why not."""
    if error.errno in {errno.ENOTDIR, *_LINK_IN_THE_WAY}:
        place.seen()  # says what it is, unless that is a file
    if not make or error.errno != errno.ENOENT:
        raise error
    with suppress(FileExistsError):  # another process was faster
        os.mkdir(place.name, FOLDER_MODE, dir_fd=place.folder)
    return os.open(place.name, _FOLDER, dir_fd=place.folder)


def walk(root: Path, key: str) -> Iterator[tuple[str, str]]:
    """All that lies below a folder and is no folder: its key, and what it is, such as `a file`.

    Hidden names are left out, and so is what lies below them. A folder that is gone is empty.

    Raises:
        BadInput: the folder's own place is taken by a link, a pipe or a device.
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
    """Names in a folder that are not hidden, and what each is."""
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
    """What an entry is; from the folder alone, where the disk's folders say that."""
    if entry.is_file(follow_symlinks=False):
        return "a file"
    if entry.is_dir(follow_symlinks=False):
        return "a folder"
    with suppress(FileNotFoundError):
        return kind(entry.stat(follow_symlinks=False).st_mode)
    return "gone"
