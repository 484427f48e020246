"""Writes files and folders that appear whole or not at all, and checks that there is space.

with appearing(Path("work/lesions")) as part:
    part.mkdir()
    ...  # write into `part`; at the end of the block it is `work/lesions`
"""

from __future__ import annotations

import errno
import logging
import re
import shutil
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from skin_pipeline.errors import BadInput, PipelineError, Unavailable

log = logging.getLogger(__name__)

LEFTOVER_SECONDS = 24 * 3600  # no write takes that long, so its process was killed
# Problems that no retry solves: a person must name another path or change permissions.
PERSON_MUST_ACT = {
    errno.EACCES, errno.EEXIST, errno.EISDIR, errno.ENAMETOOLONG, errno.ENOENT, errno.ENOTDIR,
    errno.ENOTEMPTY, errno.EPERM, errno.EROFS,
}  # fmt: skip


@contextmanager
def appearing(target: Path) -> Generator[Path, None, None]:
    """Yields a path beside `target`, at which the block makes a file or folder.

    At the end of the block the path is renamed to `target`, so `target` appears whole. If the block
    raises, the path is removed. What killed processes left for this target is removed after a day.

    Raises:
        BadInput: `target` cannot be written.
        Unavailable: The disk is full or fails.
    """
    part = target.with_name(f".{target.name}.{uuid4().hex}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(target)
        yield part
        part.replace(target)
    except OSError as error:
        raise _disk_problem(error, target) from None
    finally:
        _remove(part)


def _remove_leftovers(target: Path) -> None:
    ours = re.compile(rf"\.{re.escape(target.name)}\.[0-9a-f]{{32}}\.part")
    for path in target.parent.iterdir():
        if ours.fullmatch(path.name) and time.time() - _changed_at(path) > LEFTOVER_SECONDS:
            log.warning("leftover_removed path=%s", path)
            _remove(path)


def _changed_at(path: Path) -> float:
    try:
        return path.lstat().st_mtime
    except FileNotFoundError:  # another process has just finished with it
        return time.time()


def _remove(path: Path) -> None:
    with suppress(OSError):  # what went wrong before matters more
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _disk_problem(error: OSError, target: Path) -> PipelineError:
    if error.errno in PERSON_MUST_ACT:
        return BadInput(f"{target} cannot be written: {error.strerror}. Name a new, writable path")
    return Unavailable(f"{target} could not be written: {error.strerror}. Nothing was kept of it")


def refuse_taken(target: Path) -> None:
    """Raises `BadInput` if `target` exists and is not an empty folder."""
    try:
        taken = target.is_symlink() or any(target.iterdir())
    except FileNotFoundError:
        taken = False
    except OSError:  # a file, or a folder that cannot be read
        taken = True
    if taken:
        raise BadInput(f"{target} is taken. Name a folder that is new or empty")


def refuse_full(folder: Path, size: int) -> None:
    """Raises `Unavailable` if less than `size` bytes are free where `folder` is."""
    free = shutil.disk_usage(folder).free
    if size > free:
        raise Unavailable(
            f"not enough disk space below {folder.parent}: the data needs {size} bytes, "
            f"{free} are free. Free some, or choose another folder"
        )
