"""Brings the archive of a source to this machine, once for all tasks there.

    with archive_at(job, "kaggle://owner/lesions") as path:
        from_zip.extract(path, …)

What comes from Kaggle or from a bucket is kept in the cache of the machine, under what the server
says of its state, so that a changed archive is fetched anew.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

from skin_pipeline.data.sources import from_bucket, from_kaggle
from skin_pipeline.data.sources.names import harmless
from skin_pipeline.job import Job
from skin_pipeline.storage import LocalCache, S3Access, digest, own_cache, scratch

log = logging.getLogger(__name__)

FOLDER = "archives"  # below the folder of the cache


class Archive(NamedTuple):
    """An archive on a server.

    Attributes:
        name: Of its file.
        state: Changes whenever its bytes may have changed; "" if the server does not tell.
        fetch: Brings it into a folder; returns its path.
    """

    name: str
    state: str
    fetch: Callable[[Path], Path]


@contextmanager
def archive_at(job: Job, source: str) -> Generator[Path, None, None]:
    """Yields the path of an archive: where it is, or a copy of what a server has.

    Args:
        job: Has the credentials for Kaggle and S3, and says where the cache is.
        source: A path, an address of Kaggle, or `s3://BUCKET/KEY.zip`.

    Raises:
        BadInput: There is no such archive, or the server refuses.
        Unavailable: The server did not answer.
    """
    if from_kaggle.is_address(source):
        archive = _of_kaggle(job, source)
    elif source.startswith(from_bucket.S3):
        archive = _of_bucket(source, access_to_images(job))
    else:
        yield job.roots.path(source)
        return
    if archive.state:
        yield _cached(job, archive)
        return
    with scratch() as folder:
        yield archive.fetch(folder)


def _of_kaggle(job: Job, source: str) -> Archive:
    name, state = from_kaggle.state_of(source, credentials=job.kaggle, endpoint=job.kaggle_endpoint)

    def fetch(folder: Path) -> Path:
        return from_kaggle.download(
            source, folder, credentials=job.kaggle, endpoint=job.kaggle_endpoint
        )

    return Archive(name, state, fetch)


def _of_bucket(url: str, access: S3Access) -> Archive:
    name, state, fetch = from_bucket.packed(url, access)
    return Archive(name, state, fetch)


def _cached(job: Job, archive: Archive) -> Path:
    def fill(sink: BinaryIO) -> None:
        with scratch() as folder, archive.fetch(folder).open("rb") as fetched:
            shutil.copyfileobj(fetched, sink, 1 << 20)

    root = Path(job.deployment.cache) if job.deployment.cache else own_cache()
    # Apart from the copies of the store's objects: others wait while an archive is fetched.
    cache = LocalCache(root / FOLDER, job.deployment.cache_bytes)
    name = archive.name if harmless(archive.name) else "images.zip"
    return cache.get(f"{digest(archive.state.encode())}/{name}", fill)


def access_to_images(job: Job) -> S3Access:
    """Returns how buckets with images are reached."""
    if job.data_access:
        return job.data_access()
    set_up = job.deployment
    return S3Access(set_up.data_endpoint or set_up.s3_endpoint, anonymous=set_up.data_anonymous)
