"""A disk that is soon full, or suddenly read-only: a real one, or at least its errors."""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from children import in_child

BLOCK = 4096
MIB = 1 << 20
CLONE_NEWNS, CLONE_NEWUSER = 0x0002_0000, 0x1000_0000


class Disk:
    """A file system of some MiB in memory, which this process alone sees mounted."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._filler = folder / ".filler"

    def fill(self, leave: int) -> None:
        """Leave so many free blocks; every file of at most one takes one."""
        there = os.statvfs(self.folder)
        with self._filler.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, there.f_bavail * there.f_frsize - leave * BLOCK)

    def free(self) -> None:
        self._filler.unlink()

    def lock(self) -> None:
        """Make it read-only."""
        _run("mount", "-o", "remount,ro", str(self.folder))

    def unlock(self) -> None:
        _run("mount", "-o", "remount,rw", str(self.folder))


class Errors:
    """A folder that has the errors of such a disk, for this process alone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._fsync = os.fsync

    def fill(self, leave: int) -> None:
        left = leave

        def take(file: int) -> None:
            nonlocal left
            now = os.fstat(file)
            blocks = -(-now.st_size // BLOCK) if stat.S_ISREG(now.st_mode) else 0
            if blocks > left:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            left -= blocks

        os.fsync = take  # type: ignore[assignment]

    def lock(self) -> None:
        def refuse(_: int) -> None:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))

        os.fsync = refuse  # type: ignore[assignment]

    def free(self) -> None:
        os.fsync = self._fsync

    unlock = free


def mounted(folder: Path, size: int = 16 * MIB) -> Disk | Errors:
    """A disk at `folder`, for the rest of this process; its errors where nobody may mount."""
    folder.mkdir()
    try:
        _leave_the_others()
        _run("mount", "--make-rprivate", "/")
        _run("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder))
    except (OSError, subprocess.CalledProcessError):
        return Errors(folder)
    return Disk(folder)


def _leave_the_others() -> None:
    """See mounts that no other process sees, be it as the root of a world of one's own."""
    libc = ctypes.CDLL(None, use_errno=True)
    user, group = os.getuid(), os.getgid()
    if libc.unshare(CLONE_NEWNS) == 0:
        return
    if libc.unshare(CLONE_NEWNS | CLONE_NEWUSER) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {user} 1")
    Path("/proc/self/gid_map").write_text(f"0 {group} 1")


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


def find_no_room(folder: Path, write: Callable[[Path], object]) -> None:
    """Check that writing below a folder on a disk that becomes full raises an error; a signal would
    end the process."""

    def fill_it() -> None:
        disk = mounted(folder)
        if isinstance(disk, Errors):
            return  # nobody may mount here
        disk.fill(leave=2)
        with pytest.raises(OSError, match="No space left"):
            write(disk.folder)

    in_child(fill_it)
