"""Images from an S3 bucket: all that lies below a prefix, or a zip file.

    fetch("s3://clinic/lesions", Path("work/images"), S3Access(), frozenset({".jpg", ".csv"}))
    fetch("s3://clinic/lesions.zip", Path("work/images"), S3Access(), frozenset())

Nothing about a bucket is believed: what an archive would be refused for, a prefix is refused for
too. The target appears with one rename, when every object has arrived whole and unchanged.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import TypeVar

from skin_pipeline.data.archive import Limits, Tree, appearing, extract, junk, refuse_full, shown
from skin_pipeline.errors import BadInput, Unavailable
from skin_pipeline.storage import CONNECTIONS, Bucket, Named, S3Access, S3Object

log = logging.getLogger(__name__)

S3 = "s3://"
LIMITS = Limits()
ZIP = ".zip"
IMAGES = Named(
    place="the address in `data` or `external`",
    connection="SKIN_DATA_CONNECTION (if empty: SKIN_STORE_CONNECTION)",
    endpoint="SKIN_DATA_ENDPOINT (if empty: SKIN_S3_ENDPOINT)",
    rights="list and read",
    public=". For a public bucket, set SKIN_DATA_ANONYMOUS to true",
)
PAUSES = (1.0, 5.0)  # seconds between one attempt and the next
BATCH = 1000  # objects that are waited for together
WAYS = "Give s3://BUCKET/PREFIX with the images somewhere below, or s3://BUCKET/KEY.zip"
Pause = Callable[[float], object]  # is given seconds
T = TypeVar("T")


def fetch(
    url: str,
    target: Path,
    access: S3Access,
    suffixes: Collection[str],
    *,
    limits: Limits = LIMITS,
    pause: Pause = time.sleep,
) -> int:
    """Bring the objects below a prefix, or a zip file's content, into the new folder `target`.

    Memory stays flat: no object is held as a whole, and several come at once.

    Args:
        url: `s3://BUCKET/PREFIX`, or `s3://BUCKET/KEY.zip`.
        target: appears whole or not at all.
        access: endpoint and credentials.
        suffixes: of the objects below a prefix that are wanted, in lower case.
        limits: the same as for archives.
        pause: waits some seconds before the next attempt.

    Returns:
        The number of files.

    Raises:
        BadInput: the URL, the bucket or the access is wrong, nothing wanted lies there, or an
            object cannot be a file (the message names it and the reason).
        Unavailable: the server or the disk does not do its part, or an object changed meanwhile.
    """
    bucket = Bucket(url, access, IMAGES)
    if bucket.prefix.lower().endswith(ZIP) and not url.endswith("/"):
        return _fetch_zip(bucket, target, limits, pause)
    return _fetch_folder(bucket, target, suffixes, limits, pause)


def patiently(attempt: Callable[[], T], pause: Pause) -> T:
    """`attempt()`, up to three times while it raises `Unavailable`, with growing pauses."""
    for seconds in PAUSES:
        try:
            return attempt()
        except Unavailable as error:
            log.warning('download_interrupted pause_seconds=%g problem="%s"', seconds, error)
        pause(seconds)
    return attempt()


def _fetch_zip(bucket: Bucket, target: Path, limits: Limits, pause: Pause) -> int:
    item = _zip(bucket, limits)
    path = target.with_name(PurePosixPath(item.key).name)
    log.info('s3_fetch_started bucket=%s key="%s" bytes=%d', bucket.name, item.key, item.bytes)
    with appearing(path) as part:
        refuse_full(path.parent, item.bytes)
        _fetch(bucket, item, part, pause)
    try:
        return extract(path, target, limits)
    finally:
        path.unlink()


def _zip(bucket: Bucket, limits: Limits) -> S3Object:
    """The object that the URL names."""
    key = bucket.prefix
    item = next(bucket.objects(key), None)  # of all keys that begin so, this one comes first
    if item is None or item.key != key:
        raise BadInput(f"there is no object {shown(key)} in the bucket {bucket.name!r}. {WAYS}")
    reason = Tree(limits.entries).add(PurePosixPath(key).name)
    if item.bytes > limits.total_bytes:
        reason = f"has {item.bytes} bytes; {limits.total_bytes} are allowed"
    if reason:
        raise _refusal(bucket, key, reason)
    return item


def _fetch_folder(
    bucket: Bucket, target: Path, suffixes: Collection[str], limits: Limits, pause: Pause
) -> int:
    files = _listed(bucket, suffixes, limits)
    size = sum(item.bytes for item in files.values())
    place = (bucket.name, bucket.prefix)
    log.info('s3_fetch_started bucket=%s prefix="%s" files=%d bytes=%d', *place, len(files), size)
    with appearing(target) as part:
        part.mkdir()
        refuse_full(part, size)
        _fetch_all(bucket, files, part, pause)
    log.info('s3_fetch_finished bucket=%s prefix="%s" files=%d', *place, len(files))
    return len(files)


def _listed(bucket: Bucket, suffixes: Collection[str], limits: Limits) -> dict[str, S3Object]:
    """The objects to fetch, by path below the prefix. Every name passed every check."""
    folder = f"{bucket.prefix}/".lstrip("/")
    tree, size = Tree(limits.entries), 0
    files: dict[str, S3Object] = {}
    for item in bucket.objects(folder):
        name = item.key.removeprefix(folder)
        if not name:  # how some tools keep an empty folder
            continue
        reason = _bad_parts(name) or tree.add(name)
        if not reason and _wanted(name, suffixes):
            files[name] = item
            size += item.bytes
            reason = _bad_size(item.bytes, size, limits)
        if reason:
            raise _refusal(bucket, item.key, reason)
    if not files:
        raise BadInput(
            f"there are no images ({', '.join(sorted(suffixes))}) below s3://{bucket.name}/"
            f"{folder}. {WAYS}"
        )
    return files


def _wanted(name: str, suffixes: Collection[str]) -> bool:
    is_file = not name.endswith("/") and not junk(name)
    return is_file and PurePosixPath(name).suffix.lower() in suffixes


def _bad_parts(name: str) -> str | None:
    # HTTP clients take such a part out of an address, so another object would come.
    return "has `.` as a part of its name" if "." in name.split("/") else None


def _bad_size(size: int, total: int, limits: Limits) -> str | None:
    if size > limits.entry_bytes:
        return f"has {size} bytes; {limits.entry_bytes} are allowed"
    if total > limits.total_bytes:
        return f"brings the total to {total} bytes; {limits.total_bytes} are allowed"
    return None


def _refusal(bucket: Bucket, key: str, reason: str) -> BadInput:
    return BadInput(
        f"the bucket {bucket.name!r} is refused because of its object {shown(key)}, which "
        f"{reason}. Nothing was kept; rename or remove it, or name another prefix"
    )


def _fetch_all(bucket: Bucket, files: dict[str, S3Object], folder: Path, pause: Pause) -> None:
    def one(name: str) -> None:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        _fetch(bucket, files[name], path, pause)

    names = iter(files)
    done = 0
    with ThreadPoolExecutor(CONNECTIONS) as pool:
        while batch := list(islice(names, BATCH)):
            done += sum(1 for _ in pool.map(one, batch))
            log.info("s3_fetched files=%d of=%d", done, len(files))


def _fetch(bucket: Bucket, item: S3Object, path: Path, pause: Pause) -> None:
    if not patiently(lambda: bucket.fetch(item, path), pause):
        raise Unavailable(
            f"s3://{bucket.name}/{item.key} changed between listing and reading. Try again when "
            "nobody writes there"
        )
