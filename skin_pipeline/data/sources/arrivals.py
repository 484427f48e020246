"""Lists the images in a source before any is fetched, and fetches some of them.

    listing = listed(job, "s3://clinic/new")
    with brought(job, "s3://clinic/new", listing.images[:500]) as paths:
        paths["a.jpg"]

For sources that grow, of which most images are known already: a folder, a zip file, or a bucket.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from skin_pipeline.config import DEMO
from skin_pipeline.data import kinds
from skin_pipeline.data.sources import from_bucket, from_folder, from_kaggle, from_zip
from skin_pipeline.data.sources.archives import access_to_images
from skin_pipeline.data.sources.contents import Listed, Listing
from skin_pipeline.errors import BadInput, Unavailable
from skin_pipeline.foreign import shown
from skin_pipeline.job import Job
from skin_pipeline.storage import scratch

# Errors that a person must mend; all others are those of the disk or the network.
OURS = {errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG}
WAYS = "Give a folder, a zip file, or s3://BUCKET/PREFIX"


def listed(job: Job, source: str) -> Listing:
    """Returns the images in a source, without reading them; none if it is empty.

    Args:
        job: Has the folders that may be read, and the access to S3.
        source: A folder, a zip file, `s3://BUCKET/PREFIX` or `s3://BUCKET/KEY.zip`.

    Raises:
        BadInput: There is no such source, it may not be read, or it is dangerous.
        Unavailable: The server or the disk does not answer.
    """
    if source.startswith(from_bucket.S3):
        return from_bucket.listed(source, access_to_images(job))
    path = _path(job, source)
    if path.is_dir():
        return from_folder.listed(path, job.roots)
    found, state = from_zip.listed(path), path.stat()
    about = f"{state.st_size}-{state.st_mtime_ns}-{state.st_ctime_ns}"
    images = (item._replace(state=f"{item.state}-{about}") for item in found.images)
    return Listing(tuple(images), found.notices)


@contextmanager
def brought(
    job: Job, source: str, wanted: Sequence[Listed]
) -> Generator[dict[str, Path], None, None]:
    """Yields the paths of images that `listed` returned, by name. Removes what was fetched.

    Those that are gone are left out, and so is what was changed in a bucket since.

    Raises:
        BadInput, Unavailable: as `listed`.
    """
    remote = source.startswith(from_bucket.S3)
    path = None if remote else _path(job, source)
    if path and path.is_dir():
        yield from_folder.brought(path, wanted, job.roots)
        return
    with scratch() as folder:
        target = folder / "images"
        if path:
            contents = from_zip.extract(path, target, only={item.name for item in wanted})
            yield {item.name: item.path for item in contents.images}
        else:
            yield from_bucket.brought(source, wanted, target, access_to_images(job))


def _path(job: Job, source: str) -> Path:
    """Returns the path of a folder or of a zip file.

    Raises:
        BadInput: It is neither.
        Unavailable: The disk does not answer.
    """
    if source == DEMO or from_kaggle.is_address(source):
        raise BadInput(f"{shown(source)} does not grow, so it is nothing to watch. {WAYS}")
    path = job.roots.path(source)
    try:
        path.stat()
        if path.is_dir():
            os.scandir(path).close()
            return path
        head = from_folder.start(path) if path.is_file() else b""
    except OSError as error:
        reason = f"{shown(source)} cannot be reached ({error.strerror})"
        if error.errno in OURS:
            raise BadInput(f"{reason}. {WAYS} that this user may read") from None
        raise Unavailable(f"{reason}. See whether its disk or network still answers") from None
    if head and kinds.packed(path.suffix.lower(), head) == "zip":
        return path
    raise BadInput(f"{shown(source)} is neither a folder nor a zip file. {WAYS}")
